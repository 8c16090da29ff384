use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::*;
use crate::engine::admission::peer_table::{Claim, LivePeers};
use crate::engine::test_support::service;
use crate::engine::transfers::assignment::Assignment;
use crate::net::Received;
use crate::store::{Memory, MemoryOptions};
use crate::wire::Packet;

/// A roster at which so many requests wait, numbered from 1, and the table of their peers.
fn waiting(count: u16) -> (Roster, Arc<LivePeers>) {
    let (roster, peers) = (Roster::default(), LivePeers::new(100));
    let (service, _) = service(Arc::new(Memory::new(MemoryOptions::default())));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 69));
    for number in 1..=count {
        let Ok(Packet::Request(request)) = Packet::decode(b"\0\x01file\0octet\0") else {
            panic!("a request")
        };
        let (peer, request) = (SocketAddr::from((Ipv4Addr::LOCALHOST, number)), request.into_owned());
        let received = Received { octets: 0, from: peer, to: local, to_broadcast: false };
        let id = TransferId(number.into());
        let Claim::New(ticket) = peers.claim(&received, &request, || unreachable!("it is new"), || id) else {
            panic!("no place")
        };
        let assignment = Assignment { id, peer, request, received_at: Instant::now(), to_broadcast: false };
        let way = service.route(&assignment.asked(local), 0).unwrap();
        let admitted = Admitted { assignment, way, local, opened: None, ticket };
        let serve = Serve { admitted, port: None, last_resort: None };
        roster.push_waiting(Box::new(serve)).unwrap();
    }
    (roster, peers)
}

fn numbers<'a>(serves: impl IntoIterator<Item = &'a Box<Serve>>) -> Vec<u64> {
    serves.into_iter().map(|serve| serve.admitted.assignment.id.0).collect()
}

#[test]
fn a_request_in_hand_goes_to_whoever_goes_on_for_the_roster_and_to_nobody_else() {
    let (roster, peers) = waiting(3);
    assert!(roster.take_in_hand().is_some());
    assert_eq!(numbers(&roster.hand_over()), [1]);
    assert!(roster.take_in_hand().is_some());
    assert_eq!(roster.load(), 2, "one waits, and one is in hand");
    // Its arbiter hangs as it opens the socket, and is given up.
    let (_, left) = roster.close();
    assert_eq!(numbers(&left), [2, 3]);
    assert!(roster.hand_over().is_none() && roster.take_in_hand().is_none());
    let next = Roster::adopting(Vec::new(), left);
    assert!(next.take_in_hand().is_some());
    assert_eq!(numbers(&next.hand_over()), [2]);
    assert_eq!((next.load(), peers.live()), (1, 1));
}

#[test]
fn a_request_over_which_a_supervisor_panicked_is_let_go() {
    let (roster, peers) = waiting(2);
    assert!(roster.take_in_hand().is_some());
    assert!(roster.take_in_hand().is_some());
    assert_eq!((roster.load(), peers.live()), (1, 1));
    assert_eq!(numbers(&roster.hand_over()), [2]);
    assert!(roster.take_in_hand().is_none());
}
