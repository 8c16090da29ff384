use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::*;
use crate::engine::admission::peer_table::{Claim, PeerTable};
use crate::engine::test_support::service;
use crate::engine::transfers::assignment::Assignment;
use crate::net::Received;
use crate::store::{Memory, MemoryOptions};
use crate::wire::Packet;

/// A session table with `count` waiting requests, numbered from 1, and the table of their peers.
fn waiting(count: u16) -> (SessionTable, Arc<PeerTable>) {
    let (sessions, peers) = (SessionTable::default(), PeerTable::new(100));
    let (service, _) = service(Arc::new(Memory::new(MemoryOptions::default())));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 69));
    for number in 1..=count {
        let Ok(Packet::Request(request)) = Packet::decode(b"\0\x01file\0octet\0") else {
            panic!("a request")
        };
        let (peer, request) = (SocketAddr::from((Ipv4Addr::LOCALHOST, number)), request.into_owned());
        let received = Received { octets: 0, from: peer, to: local, to_broadcast: false };
        let id = TransferId(number.into());
        let Claim::New(permit) = peers.claim(&received, &request, || unreachable!("it is new"), || id) else {
            panic!("no place")
        };
        let config = service.config();
        let assignment =
            Assignment { id, peer, request, received_at: Instant::now(), to_broadcast: false, config };
        let routed = service.route(&assignment.config, &assignment.asked(local), 0).unwrap();
        let admitted = Admitted { assignment, routed, local, opened: None, permit };
        let pending = PendingRequest { admitted, port: None, last_resort: None };
        sessions.push_waiting(Box::new(pending)).unwrap();
    }
    (sessions, peers)
}

fn numbers<'a>(requests: impl IntoIterator<Item = &'a Box<PendingRequest>>) -> Vec<u64> {
    requests.into_iter().map(|request| request.admitted.assignment.id.0).collect()
}

#[test]
fn a_request_being_opened_moves_to_the_next_table() {
    let (sessions, peers) = waiting(3);
    assert!(sessions.begin_next().is_some());
    assert_eq!(numbers(&sessions.take_opening()), [1]);
    assert!(sessions.begin_next().is_some());
    assert_eq!(sessions.load(), 2, "one waits, and the socket of one is opened");
    // The arbiter hangs while it opens the socket, and is replaced.
    let (_, left) = sessions.close();
    assert_eq!(numbers(&left), [2, 3]);
    assert!(sessions.take_opening().is_none() && sessions.begin_next().is_none());
    let next = SessionTable::adopting(Vec::new(), left);
    assert!(next.begin_next().is_some());
    assert_eq!(numbers(&next.take_opening()), [2]);
    assert_eq!((next.load(), peers.live()), (1, 1));
}

#[test]
fn a_request_whose_start_panicked_is_dropped() {
    let (sessions, peers) = waiting(2);
    assert!(sessions.begin_next().is_some());
    assert!(sessions.begin_next().is_some());
    assert_eq!((sessions.load(), peers.live()), (1, 1));
    assert_eq!(numbers(&sessions.take_opening()), [2]);
    assert!(sessions.begin_next().is_none());
}
