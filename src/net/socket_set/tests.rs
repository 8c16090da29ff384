use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::limits;
use crate::net::refuse_registrations;
use crate::net::test_support::{block_on, peer};
use crate::net::{UdpLink, sys};

/// A set, whoever sends to its members, and a member that nothing comes to but the marks of this test.
struct Stage {
    set: SocketSet,
    client: UdpSocket,
    marker: Arc<UdpSocket>,
}

impl SocketSet {
    fn is_registered(&self) -> bool {
        self.registered.borrow().is_some()
    }
}

/// The number of the member that marks are sent to.
const MARK: u64 = u64::MAX;

impl Stage {
    fn new() -> Self {
        let stage = Self { set: SocketSet::new().unwrap(), client: peer("127.0.0.1:0"), marker: socket() };
        stage.set.add(&stage.marker, MARK).unwrap();
        stage
    }

    /// A new member.
    fn member(&self, token: u64) -> Arc<UdpSocket> {
        let socket = socket();
        self.set.add(&socket, token).unwrap();
        socket
    }

    fn send_to(&self, socket: &UdpSocket) {
        self.client.send_to(b"ack", socket.local_addr().unwrap()).unwrap();
    }

    /// What one call tells, 5 s from now at most, and whether there may be more.
    async fn one_call(&self) -> (Vec<SocketEvent>, bool) {
        // What was there before must not be told of again.
        let mut events = vec![SocketEvent { token: 404, error: true }];
        let call = poll_fn(|cx| self.set.poll_events(cx, &mut events));
        let more = tokio::time::timeout(Duration::from_secs(5), call).await.expect("an event").unwrap();
        (events, more)
    }

    /// The same without waiting, if there is something.
    async fn call(&self) -> Option<(Vec<SocketEvent>, bool)> {
        let mut events = Vec::new();
        let call = poll_fn(|cx| Poll::Ready(self.set.poll_events(cx, &mut events)));
        let Poll::Ready(more) = call.await else { return None };
        Some((events, more.unwrap()))
    }

    /// Everything that is told, up to a mark that is sent now: whatever has come before is told of before it, or together with it.
    async fn told(&self) -> Vec<SocketEvent> {
        self.send_to(&self.marker);
        let mut told = Vec::new();
        loop {
            told.extend(self.one_call().await.0);
            let before = told.len();
            told.retain(|event| event.token != MARK);
            if told.len() < before {
                return told;
            }
        }
    }
}

/// A socket as transfers have them.
fn socket() -> Arc<UdpSocket> {
    UdpLink::open((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap()
}

fn data(token: u64) -> SocketEvent {
    SocketEvent { token, error: false }
}

fn error(token: u64) -> SocketEvent {
    SocketEvent { token, error: true }
}

/// Sends to a port that nobody listens on, which the kernel answers at once. (The address is one that only tests ask for, so that nobody takes the port.)
fn send_in_vain(socket: &UdpSocket) -> SocketAddr {
    let gone = UdpSocket::bind((Ipv4Addr::new(127, 83, 69, 84), 0)).unwrap().local_addr().unwrap();
    socket.send_to(b"data", gone).unwrap();
    gone
}

#[tokio::test]
async fn a_socket_is_told_of_once_for_all_that_has_come_and_again_for_what_comes_later() {
    let stage = Stage::new();
    let socket = stage.member(1);
    assert_eq!(stage.told().await, [], "nothing has come");
    stage.send_to(&socket);
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
    assert_eq!(stage.told().await, [], "nothing new, though nobody took what is there");
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
    while socket.recv(&mut [0; 4]).is_ok() {}
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
}

#[tokio::test]
async fn each_socket_is_told_of_with_its_own_number() {
    let stage = Stage::new();
    let sockets = [7, 1 << 32 | 8, u64::MAX - 1].map(|token| (token, stage.member(token)));
    for (token, socket) in sockets.iter().rev() {
        stage.send_to(socket);
        assert_eq!(stage.told().await, [data(*token)]);
    }
}

#[tokio::test]
async fn what_came_before_a_socket_was_added_is_told_of() {
    let (stage, socket) = (Stage::new(), socket());
    stage.send_to(&socket);
    stage.set.add(&socket, 1).unwrap();
    assert_eq!(stage.told().await, [data(1)]);
}

#[tokio::test]
async fn who_waits_for_a_set_is_woken_by_what_comes() {
    let stage = Stage::new();
    let socket = stage.member(1);
    // (The first call waits for the runtime to look at the set at all, the second one for the socket.)
    for _ in 0..2 {
        let later = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            stage.send_to(&socket);
        };
        let ((events, more), ()) = tokio::join!(stage.one_call(), later);
        assert_eq!((events, more), (vec![data(1)], false));
    }
}

#[tokio::test]
async fn a_closed_port_is_told_of_as_an_error_and_what_comes_after_it_is_not() {
    let stage = Stage::new();
    let socket = stage.member(1);
    for _ in 0..3 {
        let gone = send_in_vain(&socket);
        assert_eq!(stage.told().await, [error(1)]);
        assert_eq!(sys::take_unreachable(&socket), Some(gone));
        assert_eq!(sys::take_unreachable(&socket), None);
        assert_eq!(stage.told().await, []);
        stage.send_to(&socket);
        assert_eq!(stage.told().await, [data(1)]);
    }
}

#[tokio::test]
async fn an_error_is_not_missed_for_the_data_that_came_with_it() {
    let stage = Stage::new();
    let socket = stage.member(1);
    for error_first in [true, false] {
        if !error_first {
            stage.send_to(&socket);
        }
        let gone = send_in_vain(&socket);
        if error_first {
            stage.send_to(&socket);
        }
        assert_eq!(stage.told().await, [error(1)], "the error first: {error_first}");
        assert_eq!(sys::take_unreachable(&socket), Some(gone));
        assert_eq!(sys::receive(&socket, &mut [0; 4]).unwrap(), (3, stage.client.local_addr().unwrap()));
    }
    // What comes while an error lies there untouched is told of with it.
    send_in_vain(&socket);
    assert_eq!(stage.told().await, [error(1)]);
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [error(1)]);
}

#[tokio::test]
async fn a_socket_that_was_removed_is_told_of_no_more() {
    let stage = Stage::new();
    let (removed, other) = (stage.member(1), stage.member(2));
    stage.send_to(&removed);
    stage.set.remove(&removed).unwrap();
    stage.send_to(&removed);
    send_in_vain(&removed);
    stage.send_to(&other);
    assert_eq!(stage.told().await, [data(2)], "neither of what came before, nor after");
    assert_eq!(stage.set.remove(&removed).unwrap_err().kind(), ErrorKind::NotFound);
    // Another session of the transfer has it added again, with a number of its own; what lies there is told of then.
    stage.set.add(&removed, 3).unwrap();
    assert_eq!(stage.told().await, [error(3)]);
}

#[tokio::test]
async fn a_socket_that_was_closed_leaves_the_set_by_itself() {
    let stage = Stage::new();
    let (closed, other) = (stage.member(1), stage.member(2));
    stage.send_to(&closed);
    stage.send_to(&other);
    drop(closed);
    assert_eq!(stage.told().await, [data(2)]);
}

#[tokio::test]
async fn a_socket_is_added_once_and_keeps_its_number() {
    let stage = Stage::new();
    let socket = stage.member(1);
    assert_eq!(stage.set.add(&socket, 2).unwrap_err().kind(), ErrorKind::AlreadyExists);
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
}

#[tokio::test]
async fn a_thousand_clients_that_answer_at_once_are_told_of_in_turns_and_each_once() {
    let stage = Stage::new();
    let full_turns = 2;
    // The last turn has some left, more or fewer, or none.
    for left in [BUSY_SOCKETS_MIN + 2, 1, 0] {
        let count = SOCKETS_PER_TURN * full_turns + left;
        let sockets: Vec<_> = (0..count as u64).map(|token| stage.member(token)).collect();
        sockets.iter().for_each(|socket| stage.send_to(socket));
        let (first, mut more) = stage.one_call().await;
        let mut turns = vec![first];
        while more {
            // Nobody is woken for the rest: it must be there at once.
            let Some((events, more_yet)) = stage.call().await else { break };
            turns.push(events);
            more = more_yet;
        }
        let counts: Vec<_> = turns.iter().map(Vec::len).filter(|&count| count > 0).collect();
        let expected = [SOCKETS_PER_TURN, SOCKETS_PER_TURN, left];
        assert_eq!(counts, expected[..full_turns + usize::from(left > 0)]);
        let mut tokens: Vec<_> = turns.concat().iter().map(|event| event.token).collect();
        tokens.sort_unstable();
        assert!(tokens.into_iter().eq(0..count as u64), "each once");
        assert_eq!(stage.told().await, [], "nothing is left");
    }
}

#[tokio::test]
async fn a_busy_set_is_asked_until_it_has_nothing_and_wakes_whoever_waits_from_then_on() {
    let stage = Stage::new();
    let sockets: Vec<_> = (0..BUSY_SOCKETS_MIN as u64).map(|token| stage.member(token)).collect();
    for _ in 0..3 {
        sockets.iter().for_each(|socket| stage.send_to(socket));
        let (events, more) = stage.one_call().await;
        assert_eq!((events.len(), more), (sockets.len(), true), "more may come soon");
        assert!(!stage.set.is_registered(), "nobody is told");
        for socket in &sockets {
            stage.send_to(socket);
            let (events, more) = stage.call().await.expect("what has come is there");
            assert_eq!((events.len(), more), (1, true));
        }
        // It rests: from here on its owner has to be woken.
        let later = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(stage.set.is_registered());
            stage.send_to(&sockets[1]);
        };
        let ((events, more), ()) = tokio::join!(stage.one_call(), later);
        assert_eq!((events, more), (vec![data(1)], false));
    }
}

#[tokio::test]
async fn what_came_while_nobody_was_told_is_not_forgotten_when_the_set_is_waited_for_again() {
    let stage = Stage::new();
    let sockets: Vec<_> = (0..BUSY_SOCKETS_MIN as u64).map(|token| stage.member(token)).collect();
    sockets.iter().for_each(|socket| stage.send_to(socket));
    assert!(stage.one_call().await.1);
    // As if it had come right after the set was asked.
    assert_eq!(stage.set.epoll.take_ready(&mut Vec::new()).map_err(|error| error.kind()), Ok(()));
    *stage.set.registered.borrow_mut() = {
        stage.send_to(&sockets[3]);
        stage.set.register()
    };
    assert_eq!(stage.one_call().await, (vec![data(3)], false));
}

#[test]
fn outside_a_runtime_there_is_no_set_and_that_is_an_error() {
    let error = SocketSet::new().unwrap_err();
    assert!(error.to_string().contains("inside a tokio runtime"), "{error}");
}

#[test]
fn a_set_whose_runtime_is_gone_says_so_to_whoever_waits() {
    let mut set = None;
    block_on(async { set = Some(SocketSet::new().unwrap()) });
    let mut events = vec![data(1)];
    let polled = set.unwrap().poll_events(&mut Context::from_waker(Waker::noop()), &mut events);
    assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
    assert_eq!(events, []);
}

#[tokio::test]
async fn a_set_that_the_runtime_does_not_take_back_is_asked_now_and_then_until_it_does() {
    let stage = Stage::new();
    let sockets: Vec<_> = (0..BUSY_SOCKETS_MIN as u64).map(|token| stage.member(token)).collect();
    sockets.iter().for_each(|socket| stage.send_to(socket));
    assert!(stage.one_call().await.1, "from here on the runtime isn't told");
    refuse_registrations(true);
    assert_eq!(stage.call().await, None, "its owner is to sleep, and not to call again at once");
    stage.send_to(&sockets[3]);
    assert_eq!(stage.one_call().await.0, [data(3)]);
    assert_eq!(stage.call().await, None);
    assert!(!stage.set.is_registered());
    refuse_registrations(false);
    let later = async {
        tokio::time::sleep(limits::SOCKET_ADDED_AGAIN_AFTER * 2).await;
        assert!(stage.set.is_registered());
        stage.send_to(&sockets[1]);
    };
    let ((events, more), ()) = tokio::join!(stage.one_call(), later);
    assert_eq!((events, more), (vec![data(1)], false));
}
