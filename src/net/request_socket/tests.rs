use std::io::ErrorKind;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::net::test_support::{block_on, in_namespace, peer};

/// The next datagram, within 5 s.
async fn next(socket: &mut RequestSocket, buffer: &mut [u8]) -> Received {
    let event = std::future::poll_fn(|cx| socket.poll_event(cx));
    tokio::time::timeout(Duration::from_secs(5), event).await.expect("a datagram within 5 s").unwrap();
    socket.receive(buffer).unwrap()
}

/// How the `text` of `send` arrives. Repeats `send`, because a new link loses early packets.
async fn arrival(socket: &mut RequestSocket, text: &str, send: impl Fn()) -> Received {
    for _ in 0..25 {
        send();
        let event = std::future::poll_fn(|cx| socket.poll_event(cx));
        if tokio::time::timeout(Duration::from_millis(200), event).await.is_ok() {
            let mut buffer = [0; 64];
            while let Ok(received) = socket.receive(&mut buffer) {
                if &buffer[..received.octets] == text.as_bytes() {
                    return received;
                }
            }
        }
    }
    panic!("{text} never arrived")
}

fn bind(address: &str) -> RequestSocket {
    RequestSocket::from_socket(RequestSocket::open(address.parse().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_address_that_was_asked_is_known() {
    for (bound, asked) in [("0.0.0.0:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
        let mut socket = bind(bound);
        let client = peer(bound);
        let to = SocketAddr::new(asked.parse().unwrap(), socket.local_addr.port());
        client.send_to(b"request", to).unwrap();
        let received = next(&mut socket, &mut [0; 16]).await;
        assert_eq!((received.octets, received.to, received.to_broadcast), (7, to, false));
        assert_eq!(received.from.port(), client.local_addr().unwrap().port());
        assert_eq!(socket.receive(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// The socket that systemd makes for `ListenDatagram=69`.
#[tokio::test]
async fn ipv4_at_a_passed_socket_for_both_families_is_ipv4() {
    for (asked, from) in [("127.0.0.1", "127.0.0.1:0"), ("127.0.0.2", "127.0.0.1:0"), ("::1", "[::1]:0")] {
        let passed = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        passed.set_only_v6(false).unwrap();
        passed.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let passed = Arc::new(UdpSocket::from(passed));
        let (client, port) = (peer(from), passed.local_addr().unwrap().port());
        let to = SocketAddr::new(asked.parse().unwrap(), port);
        // Arrived before we took the socket over: only the family is known.
        client.send_to(b"early", to).unwrap();
        let mut socket = RequestSocket::from_socket(passed).unwrap();
        let early = next(&mut socket, &mut [0; 16]).await;
        assert_eq!(early.from, client.local_addr().unwrap());
        assert_eq!((early.octets, early.to.is_ipv4(), early.to.port()), (5, to.is_ipv4(), port));
        client.send_to(b"request", to).unwrap();
        let received = next(&mut socket, &mut [0; 16]).await;
        assert_eq!((received.octets, received.to, received.to_broadcast), (7, to, false));
        assert_eq!(received.from, client.local_addr().unwrap());
    }
}

#[tokio::test]
async fn an_oversize_datagram_tells_its_length() {
    let mut socket = bind("127.0.0.1:0");
    let client = peer("127.0.0.1:0");
    for octets in [0, 16, 17, 9000] {
        client.send_to(&vec![1; octets], socket.local_addr).unwrap();
        assert_eq!(next(&mut socket, &mut [0; 16]).await.octets, octets);
    }
}

#[tokio::test]
async fn a_second_server_on_the_port_fails_to_start() {
    let first = bind("127.0.0.1:0");
    let error = RequestSocket::open(first.local_addr).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    let port = first.local_addr.port();
    assert!(error.to_string().starts_with(&format!("port {port} of 127.0.0.1 is in use")), "{error}");
    // The wildcard address must not take the port either.
    RequestSocket::open(SocketAddr::new("0.0.0.0".parse().unwrap(), port)).unwrap_err();
    // Nor may a sharing socket: it would take requests away.
    let sharer = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    sharer.set_reuse_address(true).unwrap();
    sharer.set_reuse_port(true).unwrap();
    sharer.bind(&first.local_addr.into()).unwrap_err();
}

#[tokio::test]
async fn both_families_listen_on_one_port() {
    let mut v6 = bind("[::]:0");
    let mut v4 = bind(&format!("0.0.0.0:{}", v6.local_addr.port()));
    let port = v4.local_addr.port();
    peer("127.0.0.1:0").send_to(b"four", ("127.0.0.1", port)).unwrap();
    peer("[::1]:0").send_to(b"sixsix", ("::1", port)).unwrap();
    assert_eq!(next(&mut v4, &mut [0; 16]).await.octets, 4);
    assert_eq!(next(&mut v6, &mut [0; 16]).await.octets, 6);
    assert_eq!(
        v6.receive(&mut [0; 16]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "no IPv4 on the IPv6 socket"
    );
}

#[tokio::test]
async fn a_restarted_listener_loses_no_port_and_no_request() {
    let first = bind("127.0.0.1:0");
    let (held, address) = (Arc::clone(first.readiness.socket()), first.local_addr);
    drop(first);
    peer("127.0.0.1:0").send_to(b"meanwhile", address).unwrap();
    let mut second = RequestSocket::from_socket(held).unwrap();
    assert_eq!(second.local_addr, address);
    let received = next(&mut second, &mut [0; 16]).await;
    assert_eq!((received.octets, received.to), (9, address));
}

#[tokio::test]
async fn a_socket_that_came_from_elsewhere_is_made_ready() {
    let held = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut socket = RequestSocket::from_socket(Arc::new(held)).unwrap();
    assert_eq!(socket.receive(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    peer("127.0.0.1:0").send_to(b"x", ("127.0.0.2", socket.local_addr.port())).unwrap();
    assert_eq!(next(&mut socket, &mut [0; 16]).await.to.ip().to_string(), "127.0.0.2");
}

#[tokio::test]
async fn what_arrives_before_anyone_listens_is_no_broadcast() {
    let opened = RequestSocket::open("0.0.0.0:0".parse().unwrap()).unwrap();
    let elsewhere = Arc::new(std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
    for held in [opened, elsewhere] {
        let port = held.local_addr().unwrap().port();
        let asked = SocketAddr::new("127.0.0.2".parse().unwrap(), port);
        peer("127.0.0.1:0").send_to(b"early", asked).unwrap();
        let mut socket = RequestSocket::from_socket(held).unwrap();
        let received = next(&mut socket, &mut [0; 16]).await;
        assert_eq!((received.to, received.to_broadcast), (asked, false));
    }
}

#[tokio::test]
async fn a_boot_storm_fits_the_receive_buffer() {
    let socket = bind("127.0.0.1:0");
    let octets = socket2::SockRef::from(socket.readiness.socket()).recv_buffer_size().unwrap();
    let limit: usize =
        std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    assert!(octets >= crate::limits::REQUEST_RECEIVE_BUFFER_OCTETS.min(limit), "{octets} octets");
}

#[test]
fn what_can_not_be_bound_is_said_in_a_sentence() {
    let text = |address: &str| RequestSocket::open(address.parse().unwrap()).unwrap_err().to_string();
    assert_eq!(
        text("192.0.2.1:6969"),
        "192.0.2.1 is not an address of this machine: choose one that `ip address` lists, or 0.0.0.0 for all; if it \
         comes later, --wait-for-address starts without it"
    );
    assert!(text("[2001:db8::1]:6969").contains("or :: for all;"));
    assert!(text("[fe80::1]:6969").contains("fe80::1%eth0"));
}

#[test]
fn a_privileged_port_without_rights_names_a_remedy() {
    // Below ip_unprivileged_port_start, even root needs the capability that setpriv drops.
    let setup = "ip link set lo up
        set -- setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service \"$@\"";
    in_namespace(&a_privileged_port_without_rights_names_a_remedy, setup, || {
        let error = RequestSocket::open("127.0.0.1:69".parse().unwrap()).unwrap_err();
        assert!(matches!(error, BindError::Privileged { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("CAP_NET_BIND_SERVICE") && text.contains("above 1023"), "{text}");
    });
}

#[test]
fn broadcast_and_multicast_requests_are_told_apart() {
    let setup = "ip link set lo up
        ip link add wire0 type veth peer name wire1
        ip link set wire1 up
        ip link set wire0 up multicast on
        ip addr add 10.9.0.1/24 brd + dev wire0
        ip -6 addr add fe80::1/64 dev wire0 nodad
        ip route add 255.255.255.255 dev wire0
        ip route add 224.0.0.0/4 dev wire0";
    in_namespace(&broadcast_and_multicast_requests_are_told_apart, setup, || {
        block_on(async {
            let mut v4 = bind("0.0.0.0:6969");
            let client = peer("10.9.0.1:0");
            client.set_broadcast(true).unwrap();
            for (asked, to_broadcast) in [
                ("10.9.0.1", false),
                ("10.9.0.255", true),
                ("255.255.255.255", true),
                ("224.0.0.1", true),
                ("127.0.0.1", false),
            ] {
                let sender = if asked == "127.0.0.1" { &peer("127.0.0.1:0") } else { &client };
                let send = || assert!(sender.send_to(asked.as_bytes(), (asked, 6969)).is_ok(), "{asked}");
                let received = arrival(&mut v4, asked, send).await;
                assert_eq!((received.octets, received.to_broadcast), (asked.len(), to_broadcast), "{asked}");
                let own = if asked == "127.0.0.1" { asked } else { "10.9.0.1" };
                assert_eq!(received.to, format!("{own}:6969").parse().unwrap(), "{asked}");
            }
            let mut v6 = bind("[::]:6969");
            let scope_id = nix::net::if_::if_nametoindex("wire0").unwrap();
            let client = peer("[::]:0");
            // Multicast last: the other end of the wire is ours too and receives it as well.
            for (asked, to_broadcast) in [("fe80::1", false), ("::1", false), ("ff02::1", true)] {
                let scope_id = if asked == "::1" { 0 } else { scope_id };
                let to = std::net::SocketAddrV6::new(asked.parse().unwrap(), 6969, 0, scope_id);
                let send = || assert!(client.send_to(asked.as_bytes(), to).is_ok(), "{asked}");
                let received = arrival(&mut v6, asked, send).await;
                assert_eq!((received.octets, received.to_broadcast), (asked.len(), to_broadcast), "{asked}");
                if !to_broadcast {
                    assert_eq!(received.to, to.into(), "with its scope");
                }
            }
        });
    });
}
