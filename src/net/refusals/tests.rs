use std::collections::HashSet;
use std::net::IpAddr;
use std::process::Command;

use super::*;
use crate::net::test_support::{in_namespace, peer};

/// Refuses `client` once and returns where the refusal came from.
fn refuse(refusals: &mut Refusals, client: &UdpSocket, from: &str) -> SocketAddr {
    let told = refusals.send(client.local_addr().unwrap(), from.parse().unwrap(), b"no").unwrap();
    let mut buffer = [0; 16];
    let (octets, heard) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..octets], b"no");
    assert_eq!(told.port(), heard.port(), "what is reported is where it came from");
    heard
}

#[test]
fn a_refusal_keeps_the_address_but_not_the_port() {
    let mut refusals = Refusals::new(None);
    for (client, from) in
        [("127.0.0.1:0", "127.0.0.3:69"), ("127.0.0.1:0", "127.0.0.4:69"), ("[::1]:0", "[::1]:69")]
    {
        let client = peer(client);
        for _ in 0..10 {
            let heard = refuse(&mut refusals, &client, from);
            assert_eq!(heard.ip(), from.parse::<SocketAddr>().unwrap().ip());
            assert_ne!(heard.port(), 69);
        }
    }
}

#[test]
fn a_client_that_asks_twice_hears_from_two_ports() {
    let (mut refusals, client) = (Refusals::new(None), peer("127.0.0.1:0"));
    let ports: Vec<u16> = (0..2000).map(|_| refuse(&mut refusals, &client, "127.0.0.1:69").port()).collect();
    assert!(ports.windows(2).all(|two| two[0] != two[1]));
}

#[test]
fn no_port_stands_for_long_and_few_are_taken() {
    let (mut refusals, client) = (Refusals::new(None), peer("127.0.0.1:0"));
    let round = REFUSAL_SOCKETS * REFUSALS_PER_SOCKET as usize;
    let mut ports_of_a_round = || -> HashSet<u16> {
        (0..round).map(|_| refuse(&mut refusals, &client, "127.0.0.1:69").port()).collect()
    };
    let (first, second) = (ports_of_a_round(), ports_of_a_round());
    assert_eq!((first.len(), second.len()), (REFUSAL_SOCKETS, REFUSAL_SOCKETS));
    assert!(first != second, "{first:?}");
}

#[test]
fn requests_to_many_addresses_need_few_descriptors() {
    let (mut refusals, client) = (Refusals::new(None), peer("127.0.0.1:0"));
    for last in 1..=100 {
        refuse(&mut refusals, &client, &format!("127.0.0.{last}:69"));
    }
    assert_eq!(refusals.kept.len(), REFUSAL_ADDRESSES_MAX * REFUSAL_SOCKETS);
}

#[test]
fn an_unknown_source_is_chosen_by_the_kernel() {
    let (mut refusals, client) = (Refusals::new(None), peer("127.0.0.1:0"));
    assert_eq!(refuse(&mut refusals, &client, "0.0.0.0:69").ip(), client.local_addr().unwrap().ip());
    let client = peer("[::1]:0");
    assert_eq!(refuse(&mut refusals, &client, "[::]:69").ip(), client.local_addr().unwrap().ip());
}

#[test]
fn a_refusal_leaves_the_port_range_to_the_transfers() {
    let client = peer("127.0.0.1:0");
    let free = peer("127.0.0.1:0").local_addr().unwrap().port().clamp(1024, 65000);
    let range = PortRange::new(free, free + 7).unwrap();
    let mut refusals = Refusals::new(Some(range));
    for _ in 0..20 {
        let heard = refuse(&mut refusals, &client, "127.0.0.1:69");
        assert!((free..=free + 7).contains(&heard.port()), "{heard}");
    }
    assert!(refusals.kept.is_empty());
}

#[test]
fn nobody_makes_the_server_keep_what_it_will_not_read() {
    let (mut refusals, client) = (Refusals::new(None), peer("127.0.0.1:0"));
    let port = refuse(&mut refusals, &client, "127.0.0.1:69");
    for _ in 0..1000 {
        client.send_to(&[0; 500], port).unwrap();
    }
    let socket = &refusals.kept[0].socket;
    let kept = std::iter::from_fn(|| socket.recv(&mut [0; 512]).ok()).count();
    assert!(kept < 10, "{kept}");
}

#[test]
fn an_address_that_comes_back_is_used_again() {
    let test = an_address_that_comes_back_is_used_again;
    in_namespace(&test, "ip link set lo up; ip address add 10.9.0.1/32 dev lo", || {
        let ip = |what: &str| {
            let arguments = ["address", what, "10.9.0.1/32", "dev", "lo"];
            assert!(Command::new("ip").args(arguments).status().unwrap().success());
        };
        let (mut refusals, client) = (Refusals::new(None), peer("127.0.0.1:0"));
        let address: IpAddr = "10.9.0.1".parse().unwrap();
        let ask_all = |refusals: &mut Refusals| {
            for _ in 0..REFUSAL_SOCKETS {
                assert_eq!(refuse(refusals, &client, "10.9.0.1:69").ip(), address);
            }
        };
        ask_all(&mut refusals);
        ip("del");
        for _ in 0..REFUSAL_SOCKETS {
            let from = "10.9.0.1:69".parse().unwrap();
            let error = refusals.send(client.local_addr().unwrap(), from, b"no").expect_err("it is gone");
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}");
        }
        ip("add");
        ask_all(&mut refusals);
    });
}
