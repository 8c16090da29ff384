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

/// A set, a sender to its members, and a member that only receives the marks of this test.
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

const MARK: u64 = u64::MAX;

impl Stage {
    fn new() -> Self {
        let stage = Self { set: SocketSet::new().unwrap(), client: peer("127.0.0.1:0"), marker: socket() };
        stage.set.add(&stage.marker, MARK).unwrap();
        stage
    }

    fn member(&self, token: u64) -> Arc<UdpSocket> {
        let socket = socket();
        self.set.add(&socket, token).unwrap();
        socket
    }

    fn send_to(&self, socket: &UdpSocket) {
        self.client.send_to(b"ack", socket.local_addr().unwrap()).unwrap();
    }

    /// The result of one call, within 5 s.
    async fn one_call(&self) -> (Vec<SocketEvent>, bool) {
        // Old content must be replaced.
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

    /// All events up to a mark that is sent now; earlier datagrams are reported before or with it.
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

/// A socket like that of a transfer.
fn socket() -> Arc<UdpSocket> {
    UdpLink::open((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap()
}

fn data(token: u64) -> SocketEvent {
    SocketEvent { token, error: false }
}

fn error(token: u64) -> SocketEvent {
    SocketEvent { token, error: true }
}

/// Sends to a closed port, which the kernel reports at once. (No other test uses this address.)
fn send_in_vain(socket: &UdpSocket) -> SocketAddr {
    let gone = UdpSocket::bind((Ipv4Addr::new(127, 83, 69, 84), 0)).unwrap().local_addr().unwrap();
    socket.send_to(b"data", gone).unwrap();
    gone
}

#[tokio::test]
async fn a_socket_is_reported_once_until_more_arrives() {
    let stage = Stage::new();
    let socket = stage.member(1);
    assert_eq!(stage.told().await, [], "nothing has come");
    stage.send_to(&socket);
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
    assert_eq!(stage.told().await, [], "nothing new, though the data is still there");
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
    while socket.recv(&mut [0; 4]).is_ok() {}
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [data(1)]);
}

#[tokio::test]
async fn each_socket_is_reported_with_its_token() {
    let stage = Stage::new();
    let sockets = [7, 1 << 32 | 8, u64::MAX - 1].map(|token| (token, stage.member(token)));
    for (token, socket) in sockets.iter().rev() {
        stage.send_to(socket);
        assert_eq!(stage.told().await, [data(*token)]);
    }
}

#[tokio::test]
async fn data_from_before_the_socket_was_added_is_reported() {
    let (stage, socket) = (Stage::new(), socket());
    stage.send_to(&socket);
    stage.set.add(&socket, 1).unwrap();
    assert_eq!(stage.told().await, [data(1)]);
}

#[tokio::test]
async fn a_waiting_task_is_woken_by_new_data() {
    let stage = Stage::new();
    let socket = stage.member(1);
    // The first call waits for the runtime to poll the set at all, the second one for the socket.
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
async fn a_closed_port_is_an_error_later_data_is_none() {
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
async fn an_error_is_not_hidden_by_data() {
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
    // What arrives while an error is pending is reported with the error.
    send_in_vain(&socket);
    assert_eq!(stage.told().await, [error(1)]);
    stage.send_to(&socket);
    assert_eq!(stage.told().await, [error(1)]);
}

#[tokio::test]
async fn a_removed_socket_is_reported_no_more() {
    let stage = Stage::new();
    let (removed, other) = (stage.member(1), stage.member(2));
    stage.send_to(&removed);
    stage.set.remove(&removed).unwrap();
    stage.send_to(&removed);
    send_in_vain(&removed);
    stage.send_to(&other);
    assert_eq!(stage.told().await, [data(2)], "neither of what came before, nor after");
    assert_eq!(stage.set.remove(&removed).unwrap_err().kind(), ErrorKind::NotFound);
    // The next session adds it again with its own token; pending events are reported then.
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
async fn a_thousand_ready_sockets_come_in_turns_each_once() {
    let stage = Stage::new();
    let full_turns = 2;
    // The last turn has many, one or none left.
    for left in [BUSY_SOCKETS_MIN + 2, 1, 0] {
        let count = SOCKETS_PER_TURN * full_turns + left;
        let sockets: Vec<_> = (0..count as u64).map(|token| stage.member(token)).collect();
        sockets.iter().for_each(|socket| stage.send_to(socket));
        let (first, mut more) = stage.one_call().await;
        let mut turns = vec![first];
        while more {
            // The task is not woken for the rest, so it must be there at once.
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
async fn a_busy_set_is_polled_until_empty_then_wakes() {
    let stage = Stage::new();
    let sockets: Vec<_> = (0..BUSY_SOCKETS_MIN as u64).map(|token| stage.member(token)).collect();
    for _ in 0..3 {
        sockets.iter().for_each(|socket| stage.send_to(socket));
        let (events, more) = stage.one_call().await;
        assert_eq!((events.len(), more), (sockets.len(), true), "more may come soon");
        assert!(!stage.set.is_registered(), "no notifications");
        for socket in &sockets {
            stage.send_to(socket);
            let (events, more) = stage.call().await.expect("what has come is there");
            assert_eq!((events.len(), more), (1, true));
        }
        // Idle: from here on the owner has to be woken.
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
async fn data_at_the_end_of_polling_is_not_forgotten() {
    let stage = Stage::new();
    let sockets: Vec<_> = (0..BUSY_SOCKETS_MIN as u64).map(|token| stage.member(token)).collect();
    sockets.iter().for_each(|socket| stage.send_to(socket));
    assert!(stage.one_call().await.1);
    // As if it had arrived right after the poll.
    assert_eq!(sys::take_ready(&stage.set.epoll, &mut Vec::new()).map_err(|error| error.kind()), Ok(()));
    *stage.set.registered.borrow_mut() = {
        stage.send_to(&sockets[3]);
        registered(Rc::clone(&stage.set.epoll)).ok()
    };
    assert_eq!(stage.one_call().await, (vec![data(3)], false));
}

#[test]
fn a_set_outside_a_runtime_is_an_error() {
    let error = SocketSet::new().unwrap_err();
    assert!(error.to_string().contains("inside a tokio runtime"), "{error}");
}

#[test]
fn a_set_whose_runtime_is_gone_is_an_error() {
    let mut set = None;
    block_on(async { set = Some(SocketSet::new().unwrap()) });
    let mut events = vec![data(1)];
    let polled = set.unwrap().poll_events(&mut Context::from_waker(Waker::noop()), &mut events);
    assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
    assert_eq!(events, []);
}

#[tokio::test]
async fn a_refused_registration_is_tried_again() {
    let stage = Stage::new();
    let sockets: Vec<_> = (0..BUSY_SOCKETS_MIN as u64).map(|token| stage.member(token)).collect();
    sockets.iter().for_each(|socket| stage.send_to(socket));
    assert!(stage.one_call().await.1, "from here on the runtime isn't notified");
    refuse_registrations(true);
    assert_eq!(stage.call().await, None, "the owner has to sleep instead of calling again");
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
