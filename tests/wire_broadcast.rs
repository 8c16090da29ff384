//! Requests to many hosts at once get silence (RFC 1123 §4.2.3.5), unless `--answer-broadcast`
//! allows an answer.

mod common;

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV6, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use common::daemon::Daemon;
use common::namespace::in_namespace;
use common::raw::{Packet, ack, receive_on, rrq, wrq};
use common::served::{GOOD, Served, directory};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

const PATIENCE: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(700);
const ONE_LINE: &str = "--answer-broadcast answers those whose file is there";

#[test]
fn r1123_04_broadcast_and_multicast_get_silence() {
    let setup = "ip link set lo up
        ip link add wire0 type veth peer name wire1
        ip link set wire1 up
        ip link set wire0 up multicast on
        ip addr add 10.9.0.1/24 brd + dev wire0
        ip route add 255.255.255.255 dev wire0
        ip route add 224.0.0.0/4 dev wire0";
    in_namespace(&r1123_04_broadcast_and_multicast_get_silence, setup, || {
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
        // The requests did arrive.
        let dropped = served.daemon.log().matches("broadcast or multicast").count();
        assert_eq!(dropped, 4 * to_many.len(), "{}", served.daemon.log());
        // The log reports this once, and without the packet log as well.
        assert_eq!(served.daemon.log().matches(ONE_LINE).count(), 1, "{}", served.daemon.log());
        // The same client is served when it asks this host alone.
        client.send_to(&rrq(GOOD, "octet", &[]), ("10.9.0.1", port)).unwrap();
        let (packet, from) = receive_on(&client, Duration::from_secs(5)).expect("an answer");
        assert!(matches!(packet, Packet::Data { block: 1, .. }), "{}", packet.brief());
        assert_eq!(from.ip().to_string(), "10.9.0.1");
        served.holds_only(&[]);
        served.still_serves();
    });
}

/// A network namespace for a client. Two networks connect it with the namespace of the test.
struct ClientNamespace(Child);

impl ClientNamespace {
    /// Makes 10.9.0.0/24 (the test has .1 and .5, the client has .2) and 10.8.0.0/24.
    fn make() -> Self {
        let mut namespace = Self(Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap());
        let (own, begun) = (namespace_of("/proc/self/ns/net"), Instant::now());
        while namespace_of(&namespace.path()) == own {
            assert!(begun.elapsed() < PATIENCE && matches!(namespace.0.try_wait(), Ok(None)));
            thread::yield_now();
        }
        let pid = namespace.0.id();
        let script = format!(
            "ip link set lo up
            for net in 9 8; do
                ip link add wire$net type veth peer name far$net netns {pid}
                ip addr add 10.$net.0.1/24 brd + dev wire$net
                ip addr add 10.$net.0.5/24 brd + dev wire$net
                ip link set wire$net up
                nsenter --target {pid} --net ip addr add 10.$net.0.2/24 brd + dev far$net
                nsenter --target {pid} --net ip link set far$net up
            done"
        );
        assert!(Command::new("sh").args(["-ec", &script]).status().unwrap().success());
        namespace
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A client's socket in that namespace.
    fn client(&self, address: Ipv4Addr) -> UdpSocket {
        let namespace = File::open(self.path()).unwrap();
        let bind = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            UdpSocket::bind((address, 0)).unwrap()
        };
        // A thread that has entered the namespace can't come back.
        let socket = thread::spawn(bind).join().unwrap();
        socket.set_broadcast(true).unwrap();
        socket
    }
}

impl Drop for ClientNamespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespace of a process.
fn namespace_of(path: &str) -> Option<PathBuf> {
    fs::read_link(path).ok()
}

/// Repeats the request until the server answers, and reads the whole file. Returns the address of
/// the server.
fn read(client: &UdpSocket, to: (Ipv4Addr, u16)) -> IpAddr {
    let begun = Instant::now();
    let (first, from) = loop {
        client.send_to(&rrq(GOOD, "octet", &[]), to).unwrap();
        if let Some(answer) = receive_on(client, Duration::from_millis(300)) {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{to:?} is never answered");
    };
    let (mut packet, mut octets) = (first, 0);
    for block in 1..=3 {
        // A repeated request may have got a second answer.
        while !matches!(packet, Packet::Data { block: number, .. } if number == block) {
            packet = receive_on(client, PATIENCE).expect("the next block").0;
        }
        if let Packet::Data { payload, .. } = &packet {
            octets += payload.len();
        }
        client.send_to(&ack(block), from).unwrap();
    }
    assert_eq!(octets, 1300);
    from.ip()
}

#[test]
fn a_broadcast_read_is_answered_if_allowed() {
    in_namespace(&a_broadcast_read_is_answered_if_allowed, "ip link set lo up", || {
        let namespace = ClientNamespace::make();
        for flags in [&[][..], &["--single-port"], &["--port-range", "20000:20099"]] {
            let root = directory();
            let path = root.path().to_str().unwrap().to_owned();
            let usual = ["--host", "0.0.0.0", "-p", "0", "--answer-broadcast", "--strict", "--root", &path];
            let usual = [&usual[..], flags].concat();
            let served = Served::at(root, Daemon::start_with(&usual));
            let port = served.daemon.port();
            for net in [9, 8] {
                let client = namespace.client(Ipv4Addr::new(10, net, 0, 2));
                for to in
                    [Ipv4Addr::new(10, net, 0, 255), Ipv4Addr::BROADCAST, Ipv4Addr::new(10, net, 0, 255)]
                {
                    assert_eq!(read(&client, (to, port)), Ipv4Addr::new(10, net, 0, 1), "asked at {to}");
                }
                // A request that can't be served is not refused, as another host may have the file.
                let client = namespace.client(Ipv4Addr::new(10, net, 0, 2));
                for _ in 0..2 {
                    for request in [
                        rrq("missing", "octet", &[]),
                        rrq("missing", "octet", &[("tsize", "0")]),
                        rrq("..", "octet", &[]),
                        rrq(GOOD, "mail", &[]),
                        rrq(GOOD, "octet", &[("blksize", "1")]),
                        rrq("", "octet", &[]),
                        wrq("new", "octet", &[]),
                        b"\0\x01malformed".to_vec(),
                        ack(1),
                    ] {
                        client.send_to(&request, (Ipv4Addr::new(10, net, 0, 255), port)).unwrap();
                    }
                }
                assert_eq!(receive_on(&client, QUIET), None);
            }
            served.holds_only(&[]);
            served.still_serves();
            assert!(!served.daemon.log().contains(ONE_LINE), "{}", served.daemon.log());
        }
    });
}

/// For IPv6 the kernel does not report the address that was asked, so the server can't answer from
/// it.
#[test]
fn a_multicast_read_over_ipv6_is_never_answered() {
    let setup = "ip link set lo up
        ip link add wire0 type veth peer name wire1
        ip link set wire1 up
        ip link set wire0 up multicast on
        ip addr add fe80::9/64 dev wire0 nodad";
    in_namespace(&a_multicast_read_over_ipv6_is_never_answered, setup, || {
        let root = directory();
        let path = root.path().to_str().unwrap().to_owned();
        let flags = ["--host", "::", "-p", "0", "-v", "--answer-broadcast", "--root", &path];
        let served = Served::at(root, Daemon::start_with(&flags));
        let scope_id = if_nametoindex("wire0").unwrap();
        let at = |ip: &str| SocketAddrV6::new(ip.parse().unwrap(), served.daemon.port(), 0, scope_id);
        let client = UdpSocket::bind(SocketAddrV6::new("fe80::9".parse().unwrap(), 0, 0, scope_id)).unwrap();
        client.send_to(&rrq(GOOD, "octet", &[]), at("ff02::1")).unwrap();
        assert_eq!(receive_on(&client, QUIET), None);
        // The request did arrive, and the server did not try to answer.
        let log = served.daemon.log();
        let is_read = log.lines().any(|line| line.split(' ').nth(2) == Some("read"));
        assert!(log.contains("broadcast or multicast") && !is_read, "{log}");
        client.send_to(&rrq(GOOD, "octet", &[]), at("fe80::9")).unwrap();
        let (packet, _) = receive_on(&client, PATIENCE).expect("an answer");
        assert!(matches!(packet, Packet::Data { block: 1, .. }), "{}", packet.brief());
    });
}

#[test]
fn a_denied_broadcast_read_gets_silence() {
    in_namespace(&a_denied_broadcast_read_gets_silence, "ip link set lo up", || {
        let namespace = ClientNamespace::make();
        let root = directory();
        let path = root.path().to_str().unwrap().to_owned();
        let flags =
            ["--host", "0.0.0.0", "-p", "0", "--answer-broadcast", "--deny", "10.8.0.0/24", "--root", &path];
        let served = Served::at(root, Daemon::start_with(&flags));
        let port = served.daemon.port();
        let [near, kept_out] = [9, 8].map(|net| namespace.client(Ipv4Addr::new(10, net, 0, 2)));
        read(&near, (Ipv4Addr::new(10, 9, 0, 255), port));
        kept_out.send_to(&rrq(GOOD, "octet", &[]), (Ipv4Addr::new(10, 8, 0, 255), port)).unwrap();
        assert_eq!(receive_on(&kept_out, QUIET), None);
        // The request did arrive. The same client is refused when it asks this host alone.
        kept_out.send_to(&rrq(GOOD, "octet", &[]), (Ipv4Addr::new(10, 8, 0, 1), port)).unwrap();
        let (packet, _) = receive_on(&kept_out, PATIENCE).expect("an answer");
        assert!(matches!(packet, Packet::Error { code: 2, .. }), "{packet:?}");
    });
}

#[test]
fn an_unanswered_broadcast_read_names_its_flag() {
    in_namespace(&an_unanswered_broadcast_read_names_its_flag, "ip link set lo up", || {
        let namespace = ClientNamespace::make();
        let root = directory();
        let path = root.path().to_str().unwrap().to_owned();
        let served = Served::at(root, Daemon::start_with(&["--host", "0.0.0.0", "-p", "0", "--root", &path]));
        let port = served.daemon.port();
        let client = namespace.client(Ipv4Addr::new(10, 9, 0, 2));
        let begun = Instant::now();
        while !served.daemon.log().contains(ONE_LINE) {
            assert!(begun.elapsed() < PATIENCE, "no line says so: {}", served.daemon.log());
            client.send_to(&rrq(GOOD, "octet", &[]), (Ipv4Addr::BROADCAST, port)).unwrap();
            assert_eq!(receive_on(&client, Duration::from_millis(100)), None);
        }
        for _ in 0..10 {
            client.send_to(&rrq(GOOD, "octet", &[]), (Ipv4Addr::BROADCAST, port)).unwrap();
        }
        // The answer to a request to this host alone comes after the broadcast requests.
        read(&client, (Ipv4Addr::new(10, 9, 0, 1), port));
        let log = served.daemon.log();
        assert_eq!(log.matches(ONE_LINE).count(), 1, "{log}");
        assert!(log.contains("INFO") && log.contains("peer: 10.9.0.2:"), "{log}");
    });
}
