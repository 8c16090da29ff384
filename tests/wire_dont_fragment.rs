//! The "Don't fragment" bit is off in every packet that leaves, as seen on the wire. Boot PROMs
//! that don't know the bit drop such a packet, and so does a router whose next link has a smaller
//! MTU.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use common::daemon::{Daemon, binary};
use common::namespace::in_namespace;
use common::raw::{Client, Packet, ack, data, rrq, wrq};
use common::served::{GOOD, SLOW, Served, directory, read_from, write_to};
use socket2::{Domain, Protocol, Socket, Type};

const NETWORK: &str = "ip link set lo up mtu 1500";

/// Opcodes.
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// A capture of all packets on an interface of this namespace.
struct PacketCapture(Socket);

/// A UDP packet over IPv4, or the first fragment of one.
#[derive(Debug)]
struct CapturedPacket {
    to_port: u16,
    opcode: u16,
    dont_fragment: bool,
    is_fragment: bool,
}

impl PacketCapture {
    fn start() -> Self {
        /// Packets of every protocol (`ETH_P_ALL`), in network byte order.
        const ALL: u16 = 3u16.to_be();
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ALL)))).unwrap();
        socket.set_nonblocking(true).unwrap();
        // A full buffer loses packets. A whole window waits here, with the kernel's overhead.
        socket.set_recv_buffer_size(32 << 20).unwrap();
        Self(socket)
    }

    /// The packets since the last call.
    fn packets(&self) -> Vec<Vec<u8>> {
        // The kernel cuts a run into datagrams after the capture.
        let mut buffer = vec![0; 1 << 17];
        let mut packets = Vec::new();
        loop {
            match (&self.0).read(&mut buffer) {
                Ok(octets) => packets.push(buffer[..octets].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return packets,
                Err(error) => panic!("can't start the capture: {error}"),
            }
        }
    }

    fn seen(&self) -> Vec<CapturedPacket> {
        self.packets().iter().filter_map(|packet| CapturedPacket::parse(packet)).collect()
    }

    /// Checks that all packets to this client since the last call may be fragmented, and that they
    /// were of these kinds.
    #[track_caller]
    fn lets_fragment(&self, client: &UdpSocket, kinds: &[u16]) {
        let port = client.local_addr().unwrap().port();
        let to_client: Vec<CapturedPacket> =
            self.seen().into_iter().filter(|seen| seen.to_port == port).collect();
        let set: Vec<_> = to_client.iter().filter(|seen| seen.dont_fragment).collect();
        assert!(set.is_empty(), "don't fragment is set: {set:?}");
        let found: BTreeSet<u16> = to_client.iter().map(|seen| seen.opcode).collect();
        assert_eq!(found, kinds.iter().copied().collect(), "the opcodes that came");
    }
}

impl CapturedPacket {
    fn parse(packet: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let (version, header) = (packet.first()? >> 4, usize::from(packet[0] & 15) * 4);
        let fragment = number(6)?;
        let is_first = fragment & 0x1fff == 0;
        let is_udp = version == 4 && packet.get(9) == Some(&17);
        (is_udp && is_first).then_some(())?;
        Some(Self {
            to_port: number(header + 2)?,
            opcode: number(header + 8)?,
            dont_fragment: fragment & 0x4000 != 0,
            is_fragment: fragment & 0x2000 != 0,
        })
    }
}

/// A directory with a file of this length besides the good file.
fn with_file(name: &str, octets: usize) -> tempfile::TempDir {
    let root = directory();
    fs::write(root.path().join(name), vec![7; octets]).unwrap();
    root
}

fn start(flags: &[&str]) -> Served {
    let root = with_file("long", 200_000);
    let daemon = Daemon::start(root.path(), flags);
    Served::at(root, daemon)
}

/// Causes every kind of packet that a transfer or a refused request gets.
fn every_kind(served: &Served, capture: &PacketCapture) {
    // Transfers without options.
    for (name, octets) in [(GOOD, 1300), ("long", 200_000)] {
        let mut reader = served.ask(&rrq(name, "octet", &[]));
        assert_eq!(read_from(&mut reader).len(), octets);
        capture.lets_fragment(reader.socket(), &[DATA]);
    }
    let mut reader = served.ask(&rrq("long", "octet", &[("tsize", "0")]));
    read_from(&mut reader);
    capture.lets_fragment(reader.socket(), &[OACK, DATA]);
    // A window goes out in one system call if the kernel can cut it into datagrams.
    let mut windowed = served.ask(&rrq("long", "octet", &[("windowsize", "8"), ("blksize", "1428"), SLOW]));
    windowed.expect_oack();
    for last in [0, 8, 16] {
        windowed.send(&ack(last));
        (last + 1..=last + 8).for_each(|block| drop(windowed.expect_data(block)));
    }
    capture.lets_fragment(windowed.socket(), &[OACK, DATA]);
    for options in [&[][..], &[("blksize", "1024")]] {
        let name = format!("new {}", options.len());
        let mut writer = served.ask(&wrq(&name, "octet", options));
        write_to(&mut writer, &[1; 3000]);
        capture.lets_fragment(writer.socket(), if options.is_empty() { &[ACK] } else { &[OACK, ACK] });
    }
    // Refusals by the listener, and after a look into the store.
    for request in [
        rrq("..", "octet", &[]),
        rrq("nobody has this", "octet", &[]),
        rrq("nobody has this", "octet", &[("tsize", "0")]),
        wrq(GOOD, "octet", &[]),
        rrq(GOOD, "mail", &[]),
        b"\0\x01malformed".to_vec(),
    ] {
        let mut refused = served.ask(&request);
        assert!(matches!(refused.next(), Packet::Error { .. }));
        capture.lets_fragment(refused.socket(), &[ERROR]);
    }
    // An ERROR in the middle of a transfer.
    let mut writer = served.ask(&wrq("too much", "octet", &[]));
    writer.expect_ack(0);
    let last = (1..).find_map(|block| {
        writer.send(&data(block, &[1; 512]));
        Some(writer.next()).filter(|packet| !matches!(packet, Packet::Ack { .. }))
    });
    assert!(matches!(last, Some(Packet::Error { code: 3, .. })), "{last:?}");
    capture.lets_fragment(writer.socket(), &[ACK, ERROR]);
}

const FLAGS: [&str; 6] = ["--max-upload-size", "4000", "--min-free", "0", "--drain-timeout", "0"];

#[test]
fn every_kind_of_packet_may_be_fragmented() {
    in_namespace(&every_kind_of_packet_may_be_fragmented, NETWORK, || {
        let capture = PacketCapture::start();
        for flags in [&[][..], &["--port-range", "20000:20099"], &["--single-port"]] {
            let served = start(&[&FLAGS[..], flags].concat());
            every_kind(&served, &capture);
            // The last packet of a server that ends.
            let mut reader = served.ask(&rrq("long", "octet", &[]));
            reader.expect_data(1);
            let Served { daemon, .. } = served;
            daemon.stop();
            reader.expect_error(0);
            capture.lets_fragment(reader.socket(), &[DATA, ERROR]);
        }
    });
}

/// No packet of the server or of the program's own clients has the bit.
#[test]
fn get_and_put_packets_may_be_fragmented() {
    in_namespace(&get_and_put_packets_may_be_fragmented, NETWORK, || {
        let capture = PacketCapture::start();
        let served = start(&[]);
        let to = served.daemon.addr().to_string();
        let local = served.path("long");
        for (verb, flags) in [
            (&["get", &to, GOOD, "-o", "-"][..], &[][..]),
            (&["get", &to, GOOD, "-o", "-"], &["--no-options"]),
            (&["get", &to, "nobody has this", "-o", "-"], &[]),
            (&["put", &to, local.to_str().unwrap(), "-r", "one"], &[]),
            (&["put", &to, local.to_str().unwrap(), "-r", "two"], &["--no-options"]),
        ] {
            let mut command = Command::new(binary());
            command.args(verb).args(flags).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().expect("the client");
            let seen = capture.seen();
            assert!(seen.len() > 2, "{verb:?}: {seen:?}");
            assert!(seen.iter().all(|seen| !seen.dont_fragment), "{verb:?} {flags:?}: {seen:?}");
        }
    });
}

/// A datagram above the MTU goes in fragments, over IPv6 as well, where only the sender may
/// fragment.
#[test]
fn large_blocks_arrive_in_fragments() {
    in_namespace(&large_blocks_arrive_in_fragments, NETWORK, || {
        let (capture, root) = (PacketCapture::start(), with_file("long", 200_000));
        let path = root.path().to_str().unwrap().to_owned();
        for flags in [&[][..], &["--single-port"]] {
            let daemon = Daemon::start_with(&[&["-p", "0", "--root", &path][..], flags].concat());
            let port = daemon.port();
            for host in ["127.0.0.1", "::1"] {
                let mut reader = Client::to(SocketAddr::new(host.parse().unwrap(), port));
                reader.send(&rrq("long", "octet", &[("blksize", "8192"), ("windowsize", "1")]));
                assert_eq!(read_from(&mut reader).len(), 200_000);
                let packets = capture.packets();
                if host == "127.0.0.1" {
                    let seen: Vec<_> =
                        packets.iter().filter_map(|packet| CapturedPacket::parse(packet)).collect();
                    assert!(seen.iter().any(|seen| seen.opcode == DATA && seen.is_fragment), "{seen:?}");
                } else {
                    // A fragment header (44) follows the IPv6 header.
                    assert!(packets.iter().any(|packet| packet[0] >> 4 == 6 && packet[6] == 44));
                }
            }
        }
    });
}

/// A socket as systemd makes it for `ListenDatagram=69`: IPv4 packets then leave from an IPv6
/// socket.
#[test]
fn a_passed_socket_for_both_families_lets_fragment() {
    in_namespace(&a_passed_socket_for_both_families_lets_fragment, NETWORK, || {
        let capture = PacketCapture::start();
        let passed = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        passed.set_only_v6(false).unwrap();
        passed.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
        let passed = UdpSocket::from(passed);
        let port = passed.local_addr().unwrap().port();
        let root = with_file("long", 20_000);
        let script = "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(binary()).arg("--root").arg(root.path());
        command.arg("--single-port").stdin(Stdio::from(std::os::fd::OwnedFd::from(passed)));
        let daemon = Daemon::spawn_with_its_stdin(command);
        let mut reader = Client::new(port);
        reader.send(&rrq("long", "octet", &[]));
        read_from(&mut reader);
        capture.lets_fragment(reader.socket(), &[DATA]);
        let mut refused = Client::new(port);
        refused.send(&rrq("nobody has this", "octet", &[]));
        refused.expect_error(1);
        capture.lets_fragment(refused.socket(), &[ERROR]);
        drop(daemon);
    });
}
