use std::net::IpAddr;

use super::*;
use crate::engine::admission::{Claim, PeerState, PeerTable, Permit};
use crate::net::Received;
use crate::observe::TransferId;
use crate::wire::Packet;

/// The peer table of a server, and its unproven transfers.
struct Crowd {
    table: Arc<PeerTable>,
    unproven: Unproven,
    states: Vec<Arc<PeerState>>,
    /// The limits because of which transfers gave way.
    limits: Vec<Limit>,
}

impl Crowd {
    fn new() -> Self {
        Self {
            table: PeerTable::new(1),
            unproven: Unproven::default(),
            states: Vec::new(),
            limits: Vec::new(),
        }
    }

    /// Adds a transfer from this address. Returns the address of the one that gave way.
    fn add(&mut self, ip: impl Into<IpAddr>) -> Option<IpAddr> {
        let state = Arc::new(PeerState::new(&self.table.all, (ip, 1000).into()));
        self.unproven.admit(state.peer.ip());
        let gone = self.unproven.add(&state);
        self.states.push(state);
        gone.map(|(state, limit)| {
            self.limits.push(limit);
            state.peer.ip()
        })
    }

    fn count(&self) -> usize {
        let listed: usize = self.unproven.waiting.lock().unwrap().iter().map(VecDeque::len).sum();
        assert_eq!(listed, self.unproven.count.load(Ordering::Relaxed));
        listed
    }
}

/// An address for each number, each in another network.
fn from_anywhere(number: usize) -> IpAddr {
    std::net::Ipv4Addr::from_bits((u32::try_from(number).unwrap() << 8) | 1).into()
}

#[test]
fn a_peer_that_answers_makes_room() {
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
fn a_flood_from_everywhere_displaces_the_oldest() {
    let mut crowd = Crowd::new();
    let mut gone = 0;
    for number in 0..UNPROVEN_MAX * 4 {
        gone += usize::from(crowd.add(from_anywhere(number)).is_some());
        assert!(crowd.unproven.count.load(Ordering::Relaxed) <= UNPROVEN_MAX);
    }
    assert_eq!((crowd.count(), gone), (UNPROVEN_MAX, UNPROVEN_MAX * 3));
    assert!(crowd.limits.iter().all(|limit| *limit == Limit::UnprovenWaiting));
    // A client that is alone in its network stays at least until one transfer of each prefix was
    // added twice.
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
    // A few of the others may share its place by chance.
    let driven_out = gone.iter().filter(|ip| honest.contains(ip)).count();
    assert!(driven_out < 10, "{driven_out}");
    assert!(gone.len() >= UNPROVEN_PER_PREFIX_MAX);
    assert!(crowd.limits.contains(&Limit::UnprovenPerPrefix));
}

#[tokio::test(start_paused = true)]
async fn thousands_behind_one_nat_have_time_to_answer() {
    let (mut crowd, network) = (Crowd::new(), IpAddr::from([198, 51, 100, 7]));
    for _ in 0..UNPROVEN_PER_PREFIX_MAX {
        assert!(crowd.unproven.have_room_for(network));
        crowd.add(network);
    }
    assert!(!crowd.unproven.have_room_for(network), "a transfer that just began would have to give way");
    // One of 256 networks shares the place.
    let place = |ip| crowd.unproven.prefixes.place(ip);
    let other = (0..).map(from_anywhere).find(|&ip| place(ip) != place(network)).expect("another place");
    assert!(crowd.unproven.have_room_for(other), "others are not concerned");
    crowd.unproven.dismiss(&crowd.states[5]);
    assert!(crowd.unproven.have_room_for(network));
    assert_eq!(crowd.add(network), None);
    assert!(!crowd.unproven.have_room_for(network));
    tokio::time::advance(UNPROVEN_STAY_MIN).await;
    // Transfers without an answer give way now, one for each new one. Those that gave way count
    // until they are dropped.
    for _ in 0..UNPROVEN_PER_PREFIX_MAX / 2 {
        assert!(crowd.unproven.have_room_for(network));
        assert_eq!(crowd.add(network), Some(network));
    }
    assert!(!crowd.unproven.have_room_for(network));
}

#[test]
fn transfers_without_a_session_count_too() {
    let (crowd, network) = (Crowd::new(), IpAddr::from([198, 51, 100, 7]));
    for _ in 0..UNPROVEN_PER_PREFIX_MAX {
        crowd.unproven.admit(network);
    }
    assert!(!crowd.unproven.have_room_for(network));
}

/// The permit for a transfer that `from` requests; `None` if there is no room.
fn ask(table: &Arc<PeerTable>, from: impl Into<std::net::SocketAddr>) -> Option<Permit> {
    let octets = b"\0\x01file\0octet\0";
    let Ok(Packet::Request(request)) = Packet::decode(octets) else { panic!("a request") };
    let to = ([203, 0, 113, 1], 69).into();
    let received = Received { octets: octets.len(), from: from.into(), to, to_broadcast: false };
    match table.claim(&received, &request, || unreachable!("nobody repeats"), || TransferId(1)) {
        Claim::New(permit) => Some(permit),
        _ => None,
    }
}

#[test]
fn without_room_a_request_is_ignored() {
    let (table, network) = (PeerTable::new(100_000), [198, 51, 100, 7]);
    let ports = 1000..1000 + u16::try_from(UNPROVEN_PER_PREFIX_MAX).unwrap();
    let mut permits: Vec<_> =
        ports.map(|port| ask(&table, (network, port)).expect("there is room")).collect();
    assert!(ask(&table, (network, 9)).is_none());
    permits[17].state.set_answered();
    assert!(ask(&table, (network, 9)).is_some(), "the permit is given back at once");
    permits.pop();
    assert!(ask(&table, (network, 9)).is_some() && ask(&table, (network, 10)).is_some());
}

#[test]
fn an_unproven_transfer_counts_until_it_is_dropped() {
    let table = PeerTable::new(100_000);
    let from = |number: usize| (from_anywhere(number), 1000);
    let mut permits: Vec<_> =
        (0..UNPROVEN_HELD_MAX).map(|number| ask(&table, from(number)).expect("there is room")).collect();
    let is_there_room = || ask(&table, from(UNPROVEN_HELD_MAX)).is_some();
    assert!(!is_there_room());
    // The transfer gave way or up, but its session is still there.
    permits[7].state.set_over();
    assert!(!is_there_room());
    let last = Arc::clone(&permits[7].state);
    drop(permits.remove(7));
    assert!(!is_there_room(), "its state is held");
    drop(last);
    assert!(is_there_room());
    permits[7].state.set_answered();
    permits[7].state.set_answered();
    assert!(is_there_room());
    let more = ask(&table, from(UNPROVEN_HELD_MAX + 1)).unwrap();
    let _last = (more, ask(&table, from(UNPROVEN_HELD_MAX + 2)));
    assert!(!is_there_room());
}

#[test]
fn a_session_that_hangs_keeps_no_place() {
    let table = PeerTable::new(100_000);
    let from = |number: usize| (from_anywhere(number), 1000);
    let permits: Vec<_> =
        (0..UNPROVEN_HELD_MAX).map(|number| ask(&table, from(number)).expect("there is room")).collect();
    // The sessions of a blocked arbiter hold their states for as long as the arbiter is blocked.
    let held: Vec<_> = permits.iter().map(|permit| Arc::clone(&permit.state)).collect();
    held.iter().for_each(|state| state.release());
    drop(permits);
    let others: Vec<_> = (0..UNPROVEN_HELD_MAX).map_while(|number| ask(&table, from(number))).collect();
    assert_eq!(others.len(), UNPROVEN_HELD_MAX);
    // They are not counted twice when they end at last.
    drop(held);
    assert!(ask(&table, from(UNPROVEN_HELD_MAX)).is_none());
}
