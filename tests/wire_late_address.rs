//! `--host ADDR` before any interface has the address: a DHCP client, VRRP or a slow link assigns
//! the address later.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::daemon::{Daemon, binary};
use common::namespace::in_namespace;
use common::raw::{Client, Packet, rrq, wrq};
use common::served::{GOOD, directory, read_from, write_to};

const NETWORK: &str = "ip link set lo up; ip link add wire type veth peer name wire1; ip link set wire1 up; ip link set wire up";
const PATIENCE: Duration = Duration::from_secs(20);

fn ip(what: &str, address: &str) {
    let arguments = ["address", what, address, "dev", "wire", "nodad"];
    let arguments = if address.contains(':') && what == "add" { &arguments[..] } else { &arguments[..5] };
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "{arguments:?}");
}

/// Repeats the request until the server answers, as clients do.
fn ask(to: SocketAddr, request: &[u8]) -> Client {
    let begun = Instant::now();
    let client = Client::to(to);
    client.socket().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    loop {
        client.send(request);
        // A closed port may be reported first.
        if client.socket().peek_from(&mut [0; 4]).is_ok() {
            return client;
        }
        assert!(begun.elapsed() < PATIENCE, "{to} is there, and never served");
    }
}

#[test]
fn a_server_serves_once_its_address_appears() {
    in_namespace(&a_server_serves_once_its_address_appears, NETWORK, || {
        for (host, network) in
            [("10.7.0.1", "10.7.0.1/24"), ("fd00:7::1", "fd00:7::1/64"), ("fe80::7%wire", "fe80::7/64")]
        {
            let root = directory();
            let path = root.path().to_str().unwrap();
            let flags = ["--host", host, "--wait-for-address", "-p", "0", "--min-free", "0", "--root", path];
            let daemon = Daemon::start_with(&flags);
            let to = daemon.addr();
            let address = network.split('/').next().unwrap();
            assert_eq!(to.ip(), address.parse::<IpAddr>().unwrap());
            assert!(daemon.log().contains("no interface has this address yet"), "{}", daemon.log());
            // In the second round the address comes back to a server that has used it before.
            for round in 0..2 {
                ip("add", network);
                assert_eq!(read_from(&mut ask(to, &rrq(GOOD, "octet", &[]))).len(), 1300);
                let upload = format!("new {round}");
                write_to(&mut ask(to, &wrq(&upload, "octet", &[])), b"content");
                let mut refused = ask(to, &rrq("nobody has this", "octet", &[]));
                assert!(matches!(refused.next(), Packet::Error { code: 1, .. }));
                assert_eq!(refused.tid().ip(), to.ip());
                ip("del", network);
            }
        }
    });
}

#[test]
fn a_missing_address_names_the_flag_to_wait() {
    in_namespace(&a_missing_address_names_the_flag_to_wait, NETWORK, || {
        for address in ["10.7.0.1", "fd00:7::1"] {
            let mut command = Command::new(binary());
            command.args(["--host", address, "-p", "0", "--root", "/"]).stdin(Stdio::null());
            let ended = command.output().unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(1), "{said}");
            assert!(said.contains(address) && said.contains("--wait-for-address"), "{said}");
        }
    });
}

/// The server listens on the addresses that exist. A port in use is still an error.
#[test]
fn waiting_for_an_address_takes_no_used_port() {
    in_namespace(&waiting_for_an_address_takes_no_used_port, NETWORK, || {
        let root = directory();
        let path = root.path().to_str().unwrap();
        let flags =
            ["--host", "127.0.0.1", "--host", "10.7.0.1", "--wait-for-address", "-p", "0", "--root", path];
        let first = Daemon::start_with(&flags);
        let mut client = ask(first.addr(), &rrq(GOOD, "octet", &[]));
        read_from(&mut client);
        assert_eq!(first.log().matches("no interface has this address yet").count(), 1, "{}", first.log());
        let port = first.port().to_string();
        let mut command = Command::new(binary());
        command.args(["--host", "10.7.0.1", "--wait-for-address", "-p", &port, "--root", path]);
        let ended = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("in use"), "{said}");
    });
}
