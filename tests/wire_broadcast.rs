//! Requests that were sent to many hosts at once get silence: RFC 1123 §4.2.3.5.

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::daemon::Daemon;
use common::namespace::in_namespace;
use common::raw::{Packet, receive_on, rrq, wrq};
use common::served::{GOOD, Served, directory};

#[test]
fn r1123_04_a_request_to_a_broadcast_or_multicast_address_gets_silence() {
    let setup = "ip link set lo up
        ip link add wire0 type veth peer name wire1
        ip link set wire1 up
        ip link set wire0 up multicast on
        ip addr add 10.9.0.1/24 brd + dev wire0
        ip route add 255.255.255.255 dev wire0
        ip route add 224.0.0.0/4 dev wire0";
    in_namespace(&r1123_04_a_request_to_a_broadcast_or_multicast_address_gets_silence, setup, || {
        let root = directory();
        let path = root.path().to_str().unwrap().to_owned();
        let daemon = Daemon::start_with(&["--host", "0.0.0.0", "-p", "0", "-v", "--root", &path]);
        let served = Served::at(root, daemon);
        let port = served.daemon.port();
        let client = UdpSocket::bind("10.9.0.1:0").unwrap();
        client.set_broadcast(true).unwrap();
        let to_many = ["10.9.0.255", "255.255.255.255", "224.0.0.1"];
        for host in to_many {
            for request in [rrq(GOOD, "octet", &[]), rrq("missing", "octet", &[]), wrq("new", "octet", &[])] {
                client.send_to(&request, (host, port)).unwrap();
            }
            client.send_to(b"\0\x01malformed", (host, port)).unwrap();
        }
        assert_eq!(receive_on(&client, Duration::from_millis(700)), None);
        // They did arrive.
        let dropped = served.daemon.log().matches("broadcast or multicast").count();
        assert_eq!(dropped, 4 * to_many.len(), "{}", served.daemon.log());
        // The same host is served when it asks this host alone.
        client.send_to(&rrq(GOOD, "octet", &[]), ("10.9.0.1", port)).unwrap();
        let (packet, from) = receive_on(&client, Duration::from_secs(5)).expect("an answer");
        assert!(matches!(packet, Packet::Data { block: 1, .. }), "{}", packet.brief());
        assert_eq!(from.ip().to_string(), "10.9.0.1");
        served.holds_only(&[]);
        served.still_serves();
    });
}
