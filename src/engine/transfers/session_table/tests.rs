use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::*;
use crate::engine::admission::{Claim, PeerTable};
use crate::engine::test_support::service;
use crate::engine::transfers::Assignment;
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
        assert!(sessions.push_waiting(&PendingRequest::new(admitted, None)));
    }
    (sessions, peers)
}

fn numbers<'a>(taken: impl IntoIterator<Item = &'a Admitted>) -> Vec<u64> {
    taken.into_iter().map(|admitted| admitted.assignment.id.0).collect()
}

#[test]
fn a_request_being_opened_moves_to_the_next_table() {
    let (sessions, peers) = waiting(3);
    let requests = sessions.waiting();
    requests[0].set_begun();
    assert_eq!(numbers(&sessions.take(&requests[0])), [1]);
    requests[1].set_begun();
    assert_eq!(sessions.load(), 2, "one waits, and the socket of one is opened");
    // The arbiter hangs while it opens the socket, and is replaced.
    let (_, left) = sessions.close();
    assert!(sessions.take(&requests[1]).is_none() && sessions.take(&requests[2]).is_none());
    let next = SessionTable::adopting(Vec::new(), left);
    next.drop_begun();
    assert_eq!((next.load(), peers.live()), (2, 2));
    assert_eq!(next.waiting().iter().map(|request| request.id.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(numbers(&next.take(&requests[1])), [2]);
    assert_eq!((next.load(), peers.live()), (1, 1));
}

#[test]
fn a_request_whose_start_panicked_is_dropped() {
    let (sessions, peers) = waiting(2);
    let requests = sessions.waiting();
    requests[0].set_begun();
    sessions.drop_begun();
    assert_eq!((sessions.load(), peers.live()), (1, 1));
    assert!(sessions.take(&requests[0]).is_none());
    assert_eq!(numbers(&sessions.take(&requests[1])), [2]);
}
