use std::net::IpAddr;

use super::*;
use crate::actors::live_peers::LivePeers;

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
