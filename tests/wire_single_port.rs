//! `--single-port`: all packets of all transfers go through the port of the requests.

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use common::daemon::Daemon;
use common::raw::{self, Client, ack, data, rrq, wrq};
use common::served::{GOOD, Served, directory, read_from, write_to};

fn served() -> Served {
    Served::new(&["--single-port"])
}

/// Whether the answer came from the requested port.
fn is_the_port(served: &Served, client: &Client) -> bool {
    client.tid() == served.daemon.addr()
}

#[test]
fn all_answers_come_from_the_single_port() {
    let served = served();
    let mut reader = served.ask(&rrq(GOOD, "octet", &[]));
    assert_eq!(read_from(&mut reader).len(), 1300);
    assert!(is_the_port(&served, &reader));
    let mut windowed = served.ask(&rrq(GOOD, "octet", &[("blksize", "100"), ("windowsize", "4")]));
    windowed.expect_oack();
    windowed.send(&ack(0));
    for first in [1, 5, 9] {
        (first..first + 4).for_each(|block| assert_eq!(windowed.expect_data(block).len(), 100));
        windowed.send(&ack(first + 3));
    }
    windowed.expect_data(13);
    windowed.expect_data(14);
    windowed.send(&ack(14));
    assert!(is_the_port(&served, &windowed));
    let mut writer = served.ask(&wrq("new", "octet", &[("blksize", "1024")]));
    writer.expect_oack();
    writer.send(&data(1, &[7; 1024]));
    writer.expect_ack(1);
    writer.send(&data(2, b"end"));
    writer.expect_ack(2);
    assert!(is_the_port(&served, &writer));
    assert_eq!(served.contents("new").map(|octets| octets.len()), Some(1027));
    for request in [rrq("nobody has this", "octet", &[]), rrq("..", "octet", &[]), wrq(GOOD, "octet", &[])] {
        let mut refused = served.ask(&request);
        assert!(matches!(refused.next(), raw::Packet::Error { .. }));
        assert!(is_the_port(&served, &refused));
    }
    served.still_serves();
}

#[test]
fn many_single_port_transfers_do_not_mix() {
    let served = served();
    let content: Vec<u8> = (0..200_000u32).map(|at| (at ^ (at >> 9)) as u8).collect();
    served.file("big", &content);
    thread::scope(|scope| {
        for number in 0..20 {
            let (served, content) = (&served, &content);
            scope.spawn(move || {
                if number % 3 == 0 {
                    let name = format!("up-{number}");
                    write_to(&mut served.ask(&wrq(&name, "octet", &[("blksize", "1428")])), content);
                    assert!(served.contents(&name).is_some_and(|octets| octets == *content));
                } else {
                    let request = rrq("big", "octet", &[("blksize", "1000"), ("windowsize", "1")]);
                    assert!(read_from(&mut served.ask(&request)) == *content);
                }
            });
        }
    });
    served.still_serves();
}

#[test]
fn packets_of_no_transfer_get_silence() {
    let served = served();
    let client = served.client();
    for stray in
        [ack(1), data(1, b"octets"), raw::error(0, "text"), raw::oack(&[("tsize", "1")]), vec![0, 9], vec![]]
    {
        client.send(&stray);
    }
    client.expect_silence(Duration::from_millis(300));
    // A transfer that has just ended ignores the packet too.
    let mut reader = served.ask(&rrq(GOOD, "octet", &[]));
    read_from(&mut reader);
    reader.send(&ack(2));
    reader.expect_silence(Duration::from_millis(300));
    served.still_serves();
}

/// D13: a repeated request is ignored while the transfer makes progress, and restarts a transfer
/// that stands still.
#[test]
fn a_new_request_from_the_same_port_is_served() {
    let served = served();
    let request = rrq(GOOD, "octet", &[("timeout", "10")]);
    let mut client = served.ask(&request);
    client.expect_oack();
    client.send(&ack(0));
    client.expect_data(1);
    client.send(&request);
    client.expect_silence(Duration::from_millis(300));
    client.send(&ack(1));
    client.expect_data(2);
    thread::sleep(Duration::from_millis(1200));
    client.send(&request);
    client.expect_oack();
    served.logged("read superseded", GOOD);
    // A request for another file always starts anew.
    client.send(&ack(0));
    client.expect_data(1);
    served.file("other", b"what else");
    client.send(&rrq("other", "octet", &[]));
    assert_eq!(client.expect_data(1), b"what else");
    client.send(&ack(1));
    served.logged("read complete", "other");
    served.still_serves();
}

/// The earlier transfer ends when the new one begins, and not before.
#[test]
fn a_restarted_client_needs_no_second_place() {
    for limit in ["--max-transfers", "--max-transfers-per-client"] {
        let served = Served::new(&["--single-port", limit, "1", "--over-limit", "error"]);
        served.file("other", b"what else");
        let mut client = served.ask(&rrq(GOOD, "octet", &[("timeout", "10")]));
        client.expect_oack();
        // The client has not answered yet, so the request may be forged.
        client.send(&rrq("other", "octet", &[]));
        client.expect_error(0);
        client.send(&ack(0));
        client.expect_data(1);
        client.send(&rrq("other", "octet", &[]));
        assert_eq!(client.expect_data(1), b"what else");
        client.send(&ack(1));
        served.logged("read complete", "other");
        served.logged("read superseded", GOOD);
    }
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let root = directory();
    let path = root.path().to_str().expect("a path").to_owned();
    let daemon = Daemon::start_with(&["--single-port", "--host", "0.0.0.0", "-p", "0", "--root", &path]);
    let port = daemon.port();
    let _served = Served::at(root, daemon);
    for last in [1, 2, 77] {
        let asked = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        let mut client = Client::to(asked);
        client.send(&rrq(GOOD, "octet", &[("blksize", "1000")]));
        client.expect_oack();
        client.send(&ack(0));
        assert_eq!(client.expect_data(1).len(), 1000);
        client.send(&ack(1));
        assert_eq!(client.expect_data(2).len(), 300);
        client.send(&ack(2));
        assert_eq!(client.tid(), asked);
        let mut refused = Client::to(asked);
        refused.send(&rrq("nobody has this", "octet", &[]));
        refused.expect_error(1);
        assert_eq!(refused.tid(), asked);
    }
}

#[test]
fn a_client_that_closed_its_port_is_not_waited_for() {
    let served = served();
    let mut client = served.ask(&rrq(GOOD, "octet", &[("utimeout", "100000")]));
    client.expect_oack();
    client.send(&ack(0));
    client.expect_data(1);
    drop(client);
    served.logged("read peer-gone", GOOD);
    served.still_serves();
}

#[test]
fn a_stop_lets_live_single_port_transfers_end() {
    let served = served();
    let mut client = served.ask(&rrq(GOOD, "octet", &[("timeout", "10")]));
    client.expect_oack();
    client.send(&ack(0));
    client.expect_data(1);
    let pid = i32::try_from(served.daemon.pid()).expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .expect("it runs");
    served.daemon.wait_for_log(Duration::from_secs(20), |line| line.contains("draining")).expect("it drains");
    let late = served.ask(&rrq(GOOD, "octet", &[]));
    late.expect_silence(Duration::from_millis(200));
    for block in 1..=2 {
        client.send(&ack(block));
        client.expect_data(block + 1);
    }
    client.send(&ack(3));
    served.logged("read complete", GOOD);
}

/// The stranger's socket belongs to another client, which must not get into this transfer.
#[test]
fn a_stranger_has_no_transfer_and_disturbs_none() {
    let served = served();
    let mut client = served.reading(GOOD, &[]);
    client.expect_data(1);
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    stranger.send_to(&ack(1), served.daemon.addr()).expect("it is sent");
    stranger.send_to(&raw::error(0, "stop"), served.daemon.addr()).expect("it is sent");
    client.expect_silence(Duration::from_millis(200));
    client.send(&ack(1));
    client.expect_data(2);
    served.still_serves();
}

#[test]
fn a_single_port_works_over_ipv6() {
    let root = directory();
    let path = root.path().to_str().expect("a path").to_owned();
    let daemon = Daemon::start_with(&["--single-port", "--host", "::1", "-p", "0", "--root", &path]);
    let served = Served::at(root, daemon);
    let ask = |request: &[u8]| {
        let client = Client::to(served.daemon.addr());
        client.send(request);
        client
    };
    let mut reader = ask(&rrq(GOOD, "octet", &[("blksize", "100"), ("windowsize", "16")]));
    reader.expect_oack();
    reader.send(&ack(0));
    (1..=14).for_each(|block| drop(reader.expect_data(block)));
    reader.send(&ack(14));
    assert_eq!(reader.tid(), served.daemon.addr());
    served.logged("read complete", GOOD);
    let mut gone = ask(&rrq(GOOD, "octet", &[("utimeout", "100000")]));
    gone.expect_oack();
    gone.send(&ack(0));
    gone.expect_data(1);
    drop(gone);
    served.logged("read peer-gone", GOOD);
}
