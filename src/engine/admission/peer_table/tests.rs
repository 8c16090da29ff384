use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::limits;
use crate::net::{Link, SharedLink};
use crate::wire::Packet;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 69);

fn client(number: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)), 2000)
}

fn claim(table: &Arc<PeerTable>, from: SocketAddr, to: SocketAddr, file: &str) -> Claim {
    let request = format!("\0\x01{file}\0octet\0");
    let Ok(Packet::Request(request)) = Packet::decode(request.as_bytes()) else { panic!("{request:?}") };
    let received = Received { octets: 0, from, to, to_broadcast: false };
    let id = table.live() as u64;
    table.claim(&received, &request, || unreachable!("it has no session"), || TransferId(id))
}

fn admitted(table: &Arc<PeerTable>, from: SocketAddr, to: SocketAddr, file: &str) -> Permit {
    let Claim::New(permit) = claim(table, from, to, file) else { panic!("no place for {file}") };
    permit
}

fn link(permit: &Permit) -> SharedLink {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    SharedLink::new(socket, Arc::clone(permit.state.inbox.as_ref().unwrap()), permit.key.0, LOCAL)
}

/// How many datagrams arrived for a transfer since the last call.
fn received(permit: &Permit) -> usize {
    let mut link = link(permit);
    std::iter::from_fn(|| link.receive(&mut [0; 8]).ok()).count()
}

fn is_gone(permit: &Permit) -> bool {
    link(permit).take_error().is_some()
}

#[test]
fn a_client_that_gets_no_place_leaves_no_entry() {
    let table = PeerTable::bounded(10, Some(0), true);
    assert!(matches!(claim(&table, client(1), LOCAL, "a"), Claim::Full(_)));
    assert!(lock(&table.table).clients.is_empty());
    let table = PeerTable::bounded(0, Some(1), true);
    assert!(matches!(claim(&table, client(1), LOCAL, "a"), Claim::Full(_)));
    assert!(lock(&table.table).clients.is_empty() && lock(&table.table).peers.is_empty());
}

#[test]
fn each_refused_claim_names_its_limit() {
    let limit_of = |claim| match claim {
        Claim::Full(limit) | Claim::Flood(limit) => limit,
        Claim::New(_) | Claim::Repeat => panic!("there is a place"),
    };
    let table = PeerTable::bounded(0, None, false);
    assert_eq!(limit_of(claim(&table, client(1), LOCAL, "a")), Limit::Transfers);
    let table = PeerTable::bounded(9, Some(0), false);
    assert_eq!(limit_of(claim(&table, client(1), LOCAL, "a")), Limit::TransfersPerClient);
    // First the limit of one network, then the limit of all.
    let table = PeerTable::new(usize::MAX);
    let from = |network: u8, number: usize| {
        SocketAddr::new(Ipv4Addr::new(network, 0, 0, 1).into(), u16::try_from(number + 1024).unwrap())
    };
    let one: Vec<_> = (0..limits::UNPROVEN_PER_PREFIX_MAX)
        .map(|number| admitted(&table, from(10, number), LOCAL, "a"))
        .collect();
    assert_eq!(limit_of(claim(&table, from(10, 60_000), LOCAL, "a")), Limit::UnprovenPerPrefix);
    // One network in 256 shares the place.
    let has_room = |network: &u8| matches!(claim(&table, from(*network, 0), LOCAL, "a"), Claim::New(_));
    let elsewhere = (11..).find(has_room).unwrap();
    let other: Vec<_> = (one.len()..limits::UNPROVEN_HELD_MAX)
        .map(|number| admitted(&table, from(elsewhere, number), LOCAL, "a"))
        .collect();
    assert_eq!(limit_of(claim(&table, from(9, 1), LOCAL, "a")), Limit::Unproven);
    drop((one, other));
}

#[test]
fn a_proven_client_restarts_in_its_own_place() {
    for table in [PeerTable::bounded(1, None, true), PeerTable::bounded(9, Some(1), true)] {
        let first = admitted(&table, client(1), LOCAL, "a");
        // The source of the request may be forged: the first transfer stays.
        assert!(matches!(claim(&table, client(1), LOCAL, "b"), Claim::Full(_)));
        assert!(table.deliver(client(1), LOCAL, b"ack"));
        assert_eq!(received(&first), 1);
        first.state.set_answered();
        let second = admitted(&table, client(1), LOCAL, "b");
        assert!(table.deliver(client(1), LOCAL, b"ack"));
        assert_eq!([&first, &second].map(received), [0, 1]);
        drop(first);
        assert_eq!(table.live(), 1);
        drop(second);
        assert_eq!((table.live(), lock(&table.table).clients.len()), (0, 0));
    }
}

#[test]
fn a_transfer_continues_if_its_successor_has_no_session() {
    let table = PeerTable::bounded(9, None, true);
    let first = admitted(&table, client(1), LOCAL, "a");
    first.state.set_answered();
    drop(admitted(&table, client(1), LOCAL, "b"));
    assert!(table.deliver(client(1), LOCAL, b"ack"), "nobody has it");
    assert_eq!(received(&first), 1);
    // Once the new transfer has a session, the old one is gone for good.
    let mut second = admitted(&table, client(1), LOCAL, "b");
    second.supersede();
    drop(second);
    assert!(!table.deliver(client(1), LOCAL, b"ack"));
}

#[test]
fn a_client_that_is_gone_is_gone_at_every_address() {
    let table = PeerTable::bounded(9, None, true);
    let other = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), 69);
    let other_port = SocketAddr::new(client(1).ip(), 2001);
    let of_it = [LOCAL, other].map(|local| admitted(&table, client(1), local, "a"));
    let others = [client(0), client(2), other_port].map(|peer| admitted(&table, peer, LOCAL, "a"));
    table.set_gone(client(1));
    assert_eq!(of_it.each_ref().map(is_gone), [true; 2]);
    assert_eq!(others.each_ref().map(is_gone), [false; 3]);
}

/// The cost must not grow with the number of clients.
#[test]
fn finding_a_gone_client_does_not_scan_all_clients() {
    let time = |clients: u32| {
        let table = PeerTable::bounded(20_000, None, true);
        let _permits: Vec<_> = (0..clients)
            .map(|number| {
                let permit = admitted(&table, client(number << 8), LOCAL, "a");
                permit.state.set_answered();
                permit
            })
            .collect();
        let times = (0..20).map(|_| {
            let began = std::time::Instant::now();
            (0..20).for_each(|number| table.set_gone(client(number << 8)));
            began.elapsed()
        });
        times.min().unwrap_or(Duration::MAX)
    };
    let (few, many) = (time(100), time(10_000));
    assert!(many < few * 20, "{few:?} among a hundred, {many:?} among ten thousand");
}
