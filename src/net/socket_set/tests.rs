use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::net::test_support::{block_on, peer};
use crate::net::{UdpLink, sys};

/// A set, whoever sends to its members, and a member that nothing comes to but the marks of this test.
struct Stage {
    set: SocketSet,
    client: UdpSocket,
    marker: Arc<UdpSocket>,
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
        let mut events = vec![SocketEvent { token: 404, error: true, strangers: false }];
        let call = poll_fn(|cx| self.set.poll_events(cx, &mut events));
        let more = tokio::time::timeout(Duration::from_secs(5), call).await.expect("an event").unwrap();
        (events, more)
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
    SocketEvent { token, error: false, strangers: false }
}

fn error(token: u64) -> SocketEvent {
    SocketEvent { token, error: true, strangers: false }
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
    // The last turn has some left, or none.
    for left in [10, 0] {
        let count = SOCKETS_PER_TURN * full_turns + left;
        let sockets: Vec<_> = (0..count as u64).map(|token| stage.member(token)).collect();
        sockets.iter().for_each(|socket| stage.send_to(socket));
        let mut tokens = Vec::new();
        for turn in 0..=full_turns {
            let (events, more) = if turn == 0 {
                stage.one_call().await
            } else {
                // Nobody is woken for the rest: it must be there at once.
                let mut events = Vec::new();
                let more = poll_fn(|cx| Poll::Ready(stage.set.poll_events(cx, &mut events))).await;
                let Poll::Ready(more) = more else { panic!("the rest has to be waited for") };
                (events, more.unwrap())
            };
            let expected = if turn < full_turns { SOCKETS_PER_TURN } else { left };
            assert_eq!((events.len(), more), (expected, turn < full_turns), "turn {turn}");
            tokens.extend(events.iter().map(|event| event.token));
        }
        tokens.sort_unstable();
        assert!(tokens.into_iter().eq(0..count as u64), "each once");
        assert_eq!(stage.told().await, [], "nothing is left");
    }
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
