//! Packets of strangers in a transfer, and the address of the server's answers: RFC 1350 §4, RFC
//! 1123, hosts with several addresses.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::daemon::Daemon;
use common::raw::{self, Client, Packet, ack, data, receive_on, rrq, wrq};
use common::served::{GOOD, Served, directory, read_from, write_to};

const QUIET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(5);

/// R1350-07: from another port, and from another address with the same port.
#[test]
fn a_stranger_gets_error_5_and_disturbs_no_transfer() {
    let served = Served::new(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let same_port = UdpSocket::bind(("127.0.0.3", socket.local_addr().unwrap().port())).unwrap();
    let mut client = Client::on(socket, served.daemon.addr());
    client.send(&rrq(GOOD, "octet", &[common::served::SLOW]));
    client.expect_oack();
    client.send(&ack(0));
    let mut octets = client.expect_data(1);
    for stranger in [Client::stranger(), same_port] {
        for packet in [ack(1), ack(2), data(1, b"x"), rrq(GOOD, "octet", &[]), raw::oack(&[("blksize", "8")])]
        {
            client.send_from(&stranger, &packet);
            let (answer, from) = receive_on(&stranger, PATIENCE).expect("an answer for the stranger");
            assert!(matches!(answer, Packet::Error { code: 5, .. }), "{}", answer.brief());
            assert_eq!(from, client.tid());
        }
    }
    client.expect_silence(QUIET);
    for block in 1..=3 {
        client.send(&ack(block));
        if block < 3 {
            octets.extend(client.expect_data(block + 1));
        }
    }
    assert_eq!(Some(octets), served.contents(GOOD));
    served.still_serves();
}

#[test]
fn a_strangers_data_is_not_written() {
    let served = Served::new(&[]);
    let mut client = served.writing("new", &[]);
    let stranger = Client::stranger();
    client.send_from(&stranger, &data(1, b"forged"));
    assert!(matches!(receive_on(&stranger, PATIENCE), Some((Packet::Error { code: 5, .. }, _))));
    client.send(&data(1, b"content"));
    client.expect_ack(1);
    assert_eq!(served.contents("new").as_deref(), Some(&b"content"[..]));
    served.still_serves();
}

/// R1350-08: an ERROR never gets an ERROR as its answer, and a flood of strangers does not get
/// answers for ever.
#[test]
fn a_strangers_error_is_ignored() {
    let served = Served::new(&[]);
    let mut client = served.reading(GOOD, &[]);
    client.expect_data(1);
    let stranger = Client::stranger();
    for packet in
        [raw::error(0, "stop"), raw::error(5, ""), b"\0\x05".to_vec(), b"\0\x05\0\0".to_vec(), vec![]]
    {
        client.send_from(&stranger, &packet);
    }
    assert_eq!(receive_on(&stranger, QUIET), None);
    for _ in 0..200 {
        client.send_from(&stranger, &ack(1));
    }
    let answers = std::iter::from_fn(|| receive_on(&stranger, QUIET)).count();
    assert!((1..=32).contains(&answers), "{answers} answers to 200 packets");
    client.send(&ack(1));
    client.expect_data(2);
    client.send(&ack(2));
    client.expect_data(3);
    client.send(&ack(3));
    served.still_serves();
}

/// R1350-07: a stranger's packet is no sign of life of the peer, and no progress.
#[test]
fn a_stranger_moves_no_timer_of_a_transfer() {
    let served = Served::new(&["--ack-timeout", "0.2", "--timeout", "1"]);
    let mut client = served.ask(&rrq(GOOD, "octet", &[]));
    client.expect_data(1);
    client.send(&ack(1));
    client.expect_new_data(2);
    let stranger = Client::stranger();
    let until = Instant::now() + Duration::from_secs(20);
    // The peer is silent from now on.
    while !served.daemon.log().contains("read timed-out") {
        assert!(Instant::now() < until, "the stranger keeps the transfer alive:\n{}", served.daemon.log());
        client.send_from(&stranger, &ack(2));
        std::thread::sleep(Duration::from_millis(20));
    }
    for packet in client.drain(Duration::from_millis(50)) {
        assert!(matches!(packet, Packet::Data { block: 1 | 2, .. }), "{}", packet.brief());
    }
    served.still_serves();
}

/// LORE-19: an ICMP error about a stranger's port does not concern the peer's port.
#[test]
fn a_stranger_that_closes_its_port_harms_no_transfer() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..30 * 512u32).map(|at| (at / 3) as u8).collect();
    served.file("file", &content);
    let mut reader = served.reading("file", &[]);
    let mut writer = served.writing("new", &[]);
    let mut octets = Vec::new();
    for block in 1..=31u16 {
        let read = reader.expect_data(block);
        for (client, packet) in [(&reader, ack(block)), (&writer, data(block, &read))] {
            let stranger = Client::stranger();
            client.send_from(&stranger, &packet);
            // In half of the cases the port closes before the answer arrives.
            if block % 2 == 0 {
                let _ = receive_on(&stranger, Duration::from_millis(20));
            }
        }
        reader.send(&ack(block));
        writer.send(&data(block, &read));
        writer.expect_ack(block);
        octets.extend(read);
    }
    assert!(octets == content);
    assert_eq!(served.contents("new"), Some(content));
    served.still_serves();
}

/// LORE-19: no other transfer is affected.
#[test]
fn a_closed_client_port_ends_only_its_transfer() {
    let served = Served::new(&["--timeout", "100"]);
    served.file("long", &[5; 100_000]);
    served.still_serves();
    let before = served.daemon.open_descriptors();
    let mut others: Vec<Client> = (0..20).map(|_| served.reading("long", &[])).collect();
    for other in &mut others {
        other.expect_data(1);
    }
    let with_others = served.daemon.open_descriptors();

    // Without options, the server repeats the block after some milliseconds, and finds the port
    // closed.
    served.file("gone-reading", &[5; 100_000]);
    let mut reader = served.ask(&rrq("gone-reading", "octet", &[]));
    reader.expect_data(1);
    reader.send(&ack(1));
    reader.expect_new_data(2);
    let mut writer = served.ask(&wrq("gone-writing", "octet", &[]));
    writer.expect_ack(0);
    writer.send(&data(1, &[1; 512]));
    writer.expect_new_ack(1);
    drop((reader, writer));
    // The transfer ends long before the 100 seconds of a silent client.
    served.logged("read peer-gone", "gone-reading");
    served.logged("write peer-gone", "gone-writing");
    served.descriptors_fall_to(with_others);
    for other in &mut others {
        other.send(&ack(1));
        other.expect_data(2);
        other.send(&raw::error(0, "thank you"));
    }
    served.descriptors_fall_to(before);
    served.holds_only(&["gone-reading", "long"]);
    served.still_serves();
}

/// R1350-05: answers of every kind come from the address of the request.
#[test]
fn answers_come_from_the_address_of_the_request() {
    let root = directory();
    let path = root.path().to_str().unwrap().to_owned();
    let daemon = Daemon::start_with(&["--host", "0.0.0.0", "-p", "0", "--root", &path]);
    let served = Served::at(root, daemon);
    let port = served.daemon.port();
    for (host, name) in [("127.0.0.1", "one"), ("127.0.0.2", "two"), ("127.9.8.7", "three")] {
        let server: SocketAddr = format!("{host}:{port}").parse().unwrap();
        // The client checks that all packets come from the address of the first one.
        let from_there = |client: &Client| assert_eq!(client.tid().ip(), server.ip());
        let mut client = Client::to(server);
        client.send(&rrq(GOOD, "octet", &[]));
        assert_eq!(Some(read_from(&mut client)), served.contents(GOOD));
        from_there(&client);
        let mut client = Client::to(server);
        client.send(&wrq(name, "octet", &[("blksize", "600")]));
        write_to(&mut client, &[1; 2000]);
        from_there(&client);
        // Refusals by the store, by a rule, and of a malformed request.
        for request in [rrq("missing", "octet", &[]), rrq(GOOD, "mail", &[]), b"\0\x01abc".to_vec()] {
            let mut client = Client::to(server);
            client.send(&request);
            client.next();
            from_there(&client);
        }
    }
    served.still_serves();
}

#[test]
fn v6_03_ipv6_and_both_families_are_served() {
    for host in ["::1", "::"] {
        let root = directory();
        let path = root.path().to_str().unwrap().to_owned();
        let daemon = Daemon::start_with(&["--host", host, "-p", "0", "--root", &path]);
        let served = Served::at(root, daemon);
        let port = served.daemon.port();
        let mut servers: Vec<SocketAddr> = vec![format!("[::1]:{port}").parse().unwrap()];
        if host == "::" {
            servers.push(format!("127.0.0.1:{port}").parse().unwrap());
            servers.push(format!("127.0.0.2:{port}").parse().unwrap());
        }
        for (number, &server) in servers.iter().enumerate() {
            let mut client = Client::to(server);
            client.send(&rrq(GOOD, "octet", &[("blksize", "1428"), ("windowsize", "1")]));
            assert_eq!(Some(read_from(&mut client)), served.contents(GOOD), "{server}");
            assert_eq!(client.tid().ip(), server.ip());
            let mut client = Client::to(server);
            client.send(&wrq(&format!("new{number}"), "octet", &[]));
            write_to(&mut client, &[1; 1000]);
            let mut client = Client::to(server);
            client.send(&rrq("missing", "octet", &[]));
            client.expect_error(1);
            assert_eq!(client.tid().ip(), server.ip());
        }
        assert!(!served.daemon.log().contains("panicked"));
    }
}
