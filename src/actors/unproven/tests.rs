use std::net::IpAddr;

use super::*;
use crate::actors::live_peers::{Claim, LivePeers};
use crate::net::Received;
use crate::observe::TransferId;
use crate::wire::Packet;

/// A server's table, and its transfers with peers that have not answered.
struct Crowd {
    table: Arc<LivePeers>,
    unproven: Unproven,
    states: Vec<Arc<PeerState>>,
}

impl Crowd {
    fn new() -> Self {
        Self { table: LivePeers::new(1), unproven: Unproven::default(), states: Vec::new() }
    }

    /// One more, of which the address is this; the address of the one that gave way.
    fn add(&mut self, ip: impl Into<IpAddr>) -> Option<IpAddr> {
        let state = Arc::new(PeerState::counted_in(&self.table, (ip, 1000).into()));
        self.unproven.admit(state.peer().ip());
        let gone = self.unproven.add(&state);
        self.states.push(state);
        gone.map(|state| state.peer().ip())
    }

    fn count(&self) -> usize {
        let listed: usize = self.unproven.lock().iter().map(VecDeque::len).sum();
        assert_eq!(listed, self.unproven.count.load(Ordering::Relaxed));
        listed
    }
}

/// An address for each number, all of different networks.
fn from_anywhere(number: usize) -> IpAddr {
    std::net::Ipv4Addr::from_bits((u32::try_from(number).unwrap() << 8) | 1).into()
}

#[test]
fn whoever_answers_makes_room() {
    let mut crowd = Crowd::new();
    for number in 0..=UNPROVEN_MANY {
        assert!(!crowd.unproven.are_many());
        crowd.add(from_anywhere(number));
    }
    assert!(crowd.unproven.are_many());
    crowd.unproven.remove(&crowd.states[7]);
    crowd.unproven.remove(&crowd.states[7]);
    assert!(!crowd.unproven.are_many());
    assert_eq!(crowd.count(), UNPROVEN_MANY);
}

#[test]
fn a_million_from_everywhere_are_no_more_than_there_is_room_for_and_the_oldest_go() {
    let mut crowd = Crowd::new();
    let mut gone = 0;
    for number in 0..UNPROVEN_MAX * 4 {
        gone += usize::from(crowd.add(from_anywhere(number)).is_some());
        assert!(crowd.unproven.count.load(Ordering::Relaxed) <= UNPROVEN_MAX);
    }
    assert_eq!((crowd.count(), gone), (UNPROVEN_MAX, UNPROVEN_MAX * 3));
    // A client of a network that nobody else is of has the time in which a place for each prefix is filled anew, twice over at least.
    let honest = IpAddr::from([203, 0, 113, 9]);
    crowd.add(honest);
    let stays = (0..UNPROVEN_MAX / 4).all(|number| crowd.add(from_anywhere(number)) != Some(honest));
    assert!(stays);
}

#[test]
fn a_flood_from_one_network_drives_out_its_own() {
    let mut crowd = Crowd::new();
    let honest: Vec<_> = (0..100).map(from_anywhere).collect();
    honest.iter().for_each(|&ip| assert_eq!(crowd.add(ip), None));
    let network = |number: usize| IpAddr::from([198, 51, 100, (number % 256) as u8]);
    let mut gone = Vec::new();
    for number in 0..UNPROVEN_PER_PREFIX_MAX * 2 {
        gone.extend(crowd.add(network(number)));
    }
    // (A few of the others may share its place.)
    let driven_out = gone.iter().filter(|ip| honest.contains(ip)).count();
    assert!(driven_out < 10, "{driven_out}");
    assert!(gone.len() >= UNPROVEN_PER_PREFIX_MAX);
}

#[test]
fn those_that_gave_way_count_until_they_are_gone() {
    let (mut crowd, mut gone) = (Crowd::new(), None);
    for number in 0..=UNPROVEN_MAX + UNPROVEN_MANY {
        assert!(!crowd.unproven.are_too_many());
        gone = crowd.add(from_anywhere(number));
    }
    assert!(crowd.unproven.are_too_many());
    assert_eq!(crowd.count(), UNPROVEN_MAX);
    let gone = crowd.states.iter().find(|state| Some(state.peer().ip()) == gone).expect("one gave way");
    crowd.unproven.remove(gone);
    assert!(!crowd.unproven.are_too_many());
    assert_eq!(crowd.count(), UNPROVEN_MAX);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_one_network_who_ask_at_once_have_the_time_to_answer() {
    let (mut crowd, network) = (Crowd::new(), IpAddr::from([198, 51, 100, 7]));
    for _ in 0..UNPROVEN_PER_PREFIX_MAX {
        assert!(crowd.unproven.have_room_for(network));
        crowd.add(network);
    }
    assert!(!crowd.unproven.have_room_for(network), "somebody would have to go who has just come");
    assert!(crowd.unproven.have_room_for([203, 0, 113, 9].into()), "others are not concerned");
    crowd.unproven.dismiss(&crowd.states[5]);
    assert!(crowd.unproven.have_room_for(network));
    assert_eq!(crowd.add(network), None);
    assert!(!crowd.unproven.have_room_for(network));
    tokio::time::advance(UNPROVEN_STAY_MIN).await;
    // Who hasn't answered by now gives way, one for one; those who gave way count until they are gone.
    for _ in 0..UNPROVEN_PER_PREFIX_MAX / 2 {
        assert!(crowd.unproven.have_room_for(network));
        assert_eq!(crowd.add(network), Some(network));
    }
    assert!(!crowd.unproven.have_room_for(network));
}

#[test]
fn those_that_wait_to_be_served_count_too() {
    let (crowd, network) = (Crowd::new(), IpAddr::from([198, 51, 100, 7]));
    for _ in 0..UNPROVEN_PER_PREFIX_MAX {
        crowd.unproven.admit(network);
    }
    assert!(!crowd.unproven.have_room_for(network));
}

#[test]
fn who_finds_no_room_gets_silence_until_somebody_has_answered() {
    let table = LivePeers::new(100_000);
    let octets = b"\0\x01file\0octet\0";
    let Ok(Packet::Request(request)) = Packet::decode(octets) else { panic!("a request") };
    let ask = |port| {
        let (from, to) = (([198, 51, 100, 7], port).into(), ([203, 0, 113, 1], 69).into());
        let received = Received { octets: octets.len(), from, to, to_broadcast: false };
        table.claim(&received, &request, || unreachable!("nobody repeats"), || TransferId(port.into()))
    };
    let ports = 1000..1000 + u16::try_from(UNPROVEN_PER_PREFIX_MAX).unwrap();
    let mut tickets: Vec<_> = ports
        .map(|port| match ask(port) {
            Claim::New(ticket) => ticket,
            _ => panic!("there is room"),
        })
        .collect();
    assert!(matches!(ask(9), Claim::Flood));
    tickets[17].state.set_answered();
    assert!(matches!(ask(9), Claim::New(_)), "the ticket is given back at once");
    tickets.pop();
    assert!(matches!((ask(9), ask(10)), (Claim::New(_), Claim::New(_))));
}
