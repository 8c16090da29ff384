//! Which clients may transfer, what they may transfer, and how many transfers each may have.

mod common;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use common::raw::{self, Client, ack, rrq, wrq};
use common::served::{GOOD, Served, read_from, write_to};

/// A client that has sent its request from the address with this last octet.
fn ask_from(served: &Served, last: u8, request: &[u8]) -> Client {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("an address of this machine");
    let client = Client::on(socket, served.daemon.addr());
    client.send(request);
    client
}

#[test]
fn the_first_rule_that_names_a_client_decides() {
    let served =
        Served::new(&["--allow", "127.0.0.2/32", "--deny", "127.0.0.0/30", "--allow", "127.0.0.0/8:write"]);
    let (read, write) = (rrq(GOOD, "octet", &[]), |name: &str| wrq(name, "octet", &[]));
    assert_eq!(read_from(&mut ask_from(&served, 2, &read)).len(), 1300);
    write_to(&mut ask_from(&served, 2, &write("by-2")), b"octets");
    for last in [1, 3] {
        assert_eq!(ask_from(&served, last, &read).expect_error(2), "Access violation");
        ask_from(&served, last, &write("never")).expect_error(2);
    }
    // A rule allows reads to another client, so a client without such a rule may not read.
    ask_from(&served, 9, &read).expect_error(2);
    write_to(&mut ask_from(&served, 9, &write("by-9")), b"octets");
    served.holds_only(&["by-2", "by-9"]);
}

#[test]
fn uploads_may_be_for_some_and_downloads_for_all() {
    let served = Served::new(&["--allow", "127.0.0.2:write"]);
    ask_from(&served, 3, &wrq("never", "octet", &[])).expect_error(2);
    write_to(&mut ask_from(&served, 2, &wrq("by-2", "octet", &[])), b"octets");
    assert_eq!(read_from(&mut ask_from(&served, 3, &rrq(GOOD, "octet", &[]))).len(), 1300);
    served.holds_only(&["by-2"]);
    served.still_serves();
}

#[test]
fn an_option_may_be_refused_to_some() {
    let served = Served::new(&["--refuse-option", "blksize=127.0.0.2/32", "--refuse-option", "rollover"]);
    let request = rrq(GOOD, "octet", &[("BLKSIZE", "1024"), ("tsize", "0"), ("rollover", "1")]);
    let mut old = ask_from(&served, 2, &request);
    assert_eq!(old.expect_oack(), [("tsize".to_owned(), "1300".to_owned())]);
    old.send(&ack(0));
    assert_eq!(old.expect_data(1).len(), 512);
    old.send(&raw::error(0, "thank you"));
    let mut other = ask_from(&served, 3, &request);
    assert_eq!(other.expect_oack().len(), 2);
    other.send(&raw::error(0, "thank you"));
    // The answer is as for a request without options: no empty OACK (R2347-02).
    let mut plain = ask_from(&served, 2, &rrq(GOOD, "octet", &[("blksize", "1024")]));
    assert_eq!(plain.expect_data(1).len(), 512);
    plain.send(&raw::error(0, "thank you"));
    served.still_serves();
}

#[test]
fn transfers_per_client_are_limited() {
    let served = Served::new(&["--max-transfers-per-client", "2"]);
    let request = rrq(GOOD, "octet", &[("timeout", "10")]);
    let mut first: Vec<_> = (0..2).map(|_| ask_from(&served, 2, &request)).collect();
    first.iter_mut().for_each(|client| drop(client.expect_oack()));
    // The server is silent. The client repeats its request, and finds a free place.
    let third = ask_from(&served, 2, &request);
    third.expect_silence(Duration::from_millis(300));
    ask_from(&served, 3, &request).expect_oack();
    first[0].send(&ack(0));
    first[0].expect_data(1);
    first[0].send(&raw::error(0, "enough"));
    served.logged("read peer-aborted", GOOD);
    for _ in 0..100 {
        third.send(&request);
        if third.receive(Duration::from_millis(100)).is_some() {
            return;
        }
    }
    panic!("the place of a transfer that is over is free");
}

#[test]
fn over_limit_error_tells_clients_the_server_is_busy() {
    let served = Served::new(&["--max-transfers-per-client", "1", "--over-limit", "error"]);
    let request = rrq(GOOD, "octet", &[("timeout", "10")]);
    ask_from(&served, 2, &request).expect_oack();
    assert_eq!(ask_from(&served, 2, &request).expect_error(0), "Server is busy");
    let served = Served::new(&["--max-transfers", "1", "--over-limit", "error"]);
    ask_from(&served, 2, &request).expect_oack();
    assert_eq!(ask_from(&served, 3, &request).expect_error(0), "Server is busy");
}
