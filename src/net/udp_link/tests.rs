use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::task::Waker;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover};

use super::*;
use crate::limits::DATAGRAM_OCTETS_MAX;
use crate::net::test_support::{block_on, event, in_namespace, packets, peer, slabs, take, whole_run};
use crate::transfer::{Blocks, Rollover};

mod runs;

fn link(local: &str) -> UdpLink {
    UdpLink::bind(local.parse().unwrap(), None).unwrap()
}

/// Sends the whole run and checks that the client receives exactly its packets, in order.
fn assert_run_arrives(link: &mut UdpLink, sizes: &[usize], offset: usize, blksize: usize, first: u64) {
    let client = peer(&SocketAddr::new(link.local_addr().ip(), 0).to_string());
    let slabs = slabs(sizes);
    let blocks = whole_run(&slabs, offset, blksize, first);
    let expected = packets(blocks);
    let to = client.local_addr().unwrap();
    link.send(to, &Transmit::Blocks(blocks)).unwrap();
    let received = take(&client, expected.len());
    assert!(received == expected, "blksize {blksize} from slabs {sizes:?} at {offset}");
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock, "nothing more");
}

async fn assert_quiet(link: &mut UdpLink) {
    let event = std::future::poll_fn(|cx| link.poll_event(cx));
    tokio::time::timeout(Duration::from_millis(50), event).await.expect_err("nothing happened");
}

#[tokio::test]
async fn segmented_runs_equal_single_packets() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let mut link = link(local);
        // Last block: short; straddles slabs; ends with a slab; empty; starts in a slab; alone.
        assert_run_arrives(&mut link, &[1000], 0, 512, 1);
        assert_run_arrives(&mut link, &[65536, 20_000], 0, 1428, 1);
        assert_run_arrives(&mut link, &[1024, 1024], 0, 1024, 7);
        assert_run_arrives(&mut link, &[512], 512, 512, 2);
        assert_run_arrives(&mut link, &[65536, 65536], 65000, 1428, 3);
        assert_run_arrives(&mut link, &[100], 0, 512, 1);
        // More than one call can hold: by segments, by octets; block numbers wrap; large blocks.
        assert_run_arrives(&mut link, &[8 * 200 + 3], 0, 8, 65_500);
        assert_run_arrives(&mut link, &[65536, 65536, 40_000], 0, 1428, 65_530);
        assert_run_arrives(&mut link, &[65536, 65536], 0, 8192, 1);
        assert_run_arrives(&mut link, &[65536, 65536, 3], 0, 65464, 1);
        assert!(link.segments, "nothing here may have made the kernel refuse segments");
    }
}

#[tokio::test]
async fn a_window_leaves_in_as_few_calls_as_it_can() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let mut link = link(local);
        let client = peer(&SocketAddr::new(link.local_addr().ip(), 0).to_string());
        // A client with GRO sees which datagrams were sent together.
        setsockopt(&client, sockopt::UdpGroSegment, &true).unwrap();
        let to = client.local_addr().unwrap();
        let slabs = slabs(&[65536, 65536]);
        let blocks = |count: usize, blksize: usize| {
            Blocks::new(&slabs, 0, count * blksize, blksize, 1, count as u64, Rollover::Zero)
        };
        for (blocks, calls) in [
            (blocks(1, 1428), &[1432][..]),
            (blocks(16, 1428), &[16 * 1432]),
            (blocks(64, 1428), &[45 * 1432, 19 * 1432]),
            (blocks(65, 512), &[64 * 516, 516]),
            (blocks(2, 65464), &[65468, 65468]),
        ] {
            link.send(to, &Transmit::Blocks(blocks)).unwrap();
            let lengths: Vec<usize> = take(&client, calls.len()).iter().map(Vec::len).collect();
            assert_eq!(lengths, calls);
        }
    }
}

#[tokio::test]
async fn a_short_block_never_runs_into_the_next() {
    let mut link = link("127.0.0.1:0");
    let client = peer("127.0.0.1:0");
    let slabs = slabs(&[1124]);
    let blocks = Blocks::new(&slabs, 0, 1124, 512, 1, 6, Rollover::Zero);
    link.send(client.local_addr().unwrap(), &Transmit::Blocks(blocks)).unwrap();
    assert!(take(&client, 6) == packets(blocks));
}

#[tokio::test]
async fn a_transfer_over_ipv6_takes_no_ipv4() {
    let mut link = link("[::]:0");
    let to = ("127.0.0.1", link.local_addr().port());
    peer("127.0.0.1:0").send_to(b"ack", to).unwrap();
    assert_eq!(link.receive(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn routers_may_fragment_what_we_send() {
    // "Don't fragment" would lose large blocks if the path's MTU is smaller (RFC 2348).
    let v4 = link("127.0.0.1:0").socket;
    assert_eq!(ip_mtu_discover(&v4).unwrap(), Ipv4PathMtuDiscovery::DONT);
    let v6 = link("[::1]:0").socket;
    assert_eq!(ipv6_mtu_discover(&v6).unwrap(), Ipv6PathMtuDiscovery::DONT);
}

#[tokio::test]
async fn slabs_of_a_few_octets_only_cost_copies() {
    let mut link = link("127.0.0.1:0");
    assert_run_arrives(&mut link, &[3; 700], 0, 512, 1);
    assert_run_arrives(&mut link, &[1; 40], 0, 64, 1);
    assert_run_arrives(&mut link, &[0, 0, 30, 0, 40, 0], 0, 16, 1);
}

#[tokio::test]
async fn a_window_of_large_blocks_fits_the_send_buffer() {
    let link = link("127.0.0.1:0");
    let octets = socket2::SockRef::from(&*link.socket).send_buffer_size().unwrap();
    let limit: usize =
        std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap().trim().parse().unwrap();
    assert!(octets >= TRANSFER_SEND_BUFFER_OCTETS.min(limit), "{octets} octets where {limit} are allowed");
}

#[test]
fn blocks_larger_than_the_mtu_go_as_fragments() {
    let test = blocks_larger_than_the_mtu_go_as_fragments;
    in_namespace(&test, "ip link set lo up mtu 1500", || {
        block_on(async {
            for local in ["127.0.0.1:0", "[::1]:0"] {
                let mut link = link(local);
                assert_run_arrives(&mut link, &[40_000], 0, 1428, 1);
                assert!(link.segments, "a block that fits the MTU is sent in segments");
                assert_run_arrives(&mut link, &[40_000], 0, 8192, 1);
                assert!(!link.segments, "segments can't be fragmented: the kernel is not asked again");
                assert_run_arrives(&mut link, &[40_000], 0, 1428, 1);
                assert_run_arrives(&mut link, &[65536, 65536, 3], 0, 65464, 1);
            }
            // The largest segment that fits, and the smallest that doesn't.
            for (local, fits) in [("127.0.0.1:0", 1500 - 28 - 4), ("[::1]:0", 1500 - 48 - 4)] {
                let mut link = link(local);
                assert_run_arrives(&mut link, &[40_000], 0, fits, 1);
                assert!(link.segments);
                assert_run_arrives(&mut link, &[40_000], 0, fits + 1, 1);
                assert!(!link.segments);
            }
        });
    });
}

#[tokio::test]
async fn a_stranger_who_left_costs_the_peer_no_packet() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let mut link = link(local);
        let client = peer(&SocketAddr::new(link.local_addr().ip(), 0).to_string());
        let stranger = peer(&SocketAddr::new(link.local_addr().ip(), 0).to_string());
        let (to, gone) = (client.local_addr().unwrap(), stranger.local_addr().unwrap());
        drop(stranger);
        let slabs = slabs(&[40_000]);
        let blocks = whole_run(&slabs, 0, 1428, 1);
        for _ in 0..20 {
            link.send(gone, &Transmit::Packet(b"\0\x05\0\x05\0")).unwrap();
            link.send(to, &Transmit::Packet(b"to the peer")).unwrap();
            assert_eq!(take(&client, 1), [b"to the peer"]);
            link.send(gone, &Transmit::Packet(b"\0\x05\0\x05\0")).unwrap();
            link.send(to, &Transmit::Blocks(blocks)).unwrap();
            assert!(take(&client, blocks.count()) == packets(blocks));
            assert!(link.segments, "an ICMP is no sign that segments are refused");
            link.send(gone, &Transmit::Packet(b"\0\x05\0\x05\0")).unwrap();
            client.send_to(b"ack", link.local_addr()).unwrap();
            let mut buffer = [0; 16];
            assert_eq!(link.receive(&mut buffer).unwrap(), Arrived::one(3, to));
            assert_eq!(link.receive(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        event(&mut link).await;
        for _ in 0..60 {
            assert_eq!(link.take_error(), Some(gone), "every error names the stranger, none the peer");
        }
        assert_eq!(link.take_error(), None);
    }
}

#[tokio::test]
async fn a_peer_that_closed_its_port_is_known_at_once() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let mut link = link(local);
        let client = peer(&SocketAddr::new(link.local_addr().ip(), 0).to_string());
        let to = client.local_addr().unwrap();
        assert_eq!(link.take_error(), None);
        link.send(to, &Transmit::Packet(b"while it listens")).unwrap();
        assert_quiet(&mut link).await;
        drop(client);
        // Twice, because the first wait must have armed the readiness again.
        for _ in 0..2 {
            link.send(to, &Transmit::Packet(b"and no more")).unwrap();
            event(&mut link).await;
            assert_eq!(link.take_error(), Some(to));
            assert_eq!(link.take_error(), None);
            assert_eq!(link.receive(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}

#[tokio::test]
async fn data_wakes_and_long_datagrams_report_their_length() {
    let mut link = link("127.0.0.1:0");
    let client = peer("127.0.0.1:0");
    for octets in [600, 0, 16, 17, 65507] {
        client.send_to(&vec![7; octets], link.local_addr()).unwrap();
        event(&mut link).await;
        let mut buffer = [0; 16];
        let expected = Arrived::one(octets, client.local_addr().unwrap());
        assert_eq!(link.receive(&mut buffer).unwrap(), expected);
        assert!(buffer[..octets.min(16)].iter().all(|octet| *octet == 7));
        assert_eq!(link.receive(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_quiet(&mut link).await;
}

#[tokio::test]
async fn a_window_arrives_in_as_few_calls_as_it_left_in() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut sender, mut receiver) = (link(local), link(local));
        receiver.expect_runs();
        receiver.expect_runs();
        let slabs = slabs(&[65536, 65536]);
        let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
        for (offset, blksize, calls) in
            [(130_000, 1428, 1), (107_600, 1428, 1), (0, 1428, 3), (0, 65464, 3), (129_072, 8, 4)]
        {
            let blocks = whole_run(&slabs, offset, blksize, 1);
            sender.send(receiver.local_addr(), &Transmit::Blocks(blocks)).unwrap();
            event(&mut receiver).await;
            let mut received: Vec<Vec<u8>> = Vec::new();
            for _ in 0..calls {
                let arrived = receiver.receive(&mut buffer).unwrap();
                assert_eq!(arrived.from, sender.local_addr());
                received.extend(arrived.datagrams(&buffer).map(<[u8]>::to_vec));
            }
            assert!(received == packets(blocks), "blksize {blksize} from {offset}");
            assert_eq!(receiver.receive(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}

#[tokio::test]
async fn single_datagrams_stay_single_where_runs_are_expected() {
    let mut link = link("127.0.0.1:0");
    link.expect_runs();
    let clients = [peer("127.0.0.1:0"), peer("127.0.0.1:0")];
    for octets in [600, 600, 0, 0, 16, 65507] {
        for client in &clients {
            client.send_to(&vec![7; octets], link.local_addr()).unwrap();
            event(&mut link).await;
            let expected = Arrived::one(octets, client.local_addr().unwrap());
            assert_eq!(link.receive(&mut [0; 16]).unwrap(), expected);
        }
    }
    assert_quiet(&mut link).await;
}

#[test]
fn an_unreachable_host_is_not_a_closed_port() {
    let setup = "ip link set lo up
        ip link add wire0 type veth peer name wire1
        ip link set wire1 up
        ip link set wire0 up
        ip addr add 10.9.0.1/24 dev wire0
        echo 10 >/proc/sys/net/ipv4/neigh/wire0/retrans_time_ms";
    in_namespace(&an_unreachable_host_is_not_a_closed_port, setup, || {
        block_on(async {
            let mut link = link("10.9.0.1:0");
            // No host has this address; the kernel reports it unreachable after ARP has failed.
            let to = "10.9.0.77:2000".parse().unwrap();
            link.send(to, &Transmit::Packet(b"is anybody there")).unwrap();
            event(&mut link).await;
            assert_eq!(link.take_error(), None);
            assert_eq!(link.receive(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            link.send(to, &Transmit::Packet(b"and now")).unwrap();
        });
    });
}

#[tokio::test]
async fn a_second_link_receives_what_had_arrived() {
    let link = link("127.0.0.1:0");
    let client = peer("127.0.0.1:0");
    let (socket, tid) = (Arc::clone(&link.socket), link.local_addr());
    client.send_to(b"between two lives", tid).unwrap();
    drop(link);
    socket.send_to(b"still here", client.local_addr().unwrap()).unwrap();
    assert_eq!(take(&client, 1), [b"still here"]);
    let mut resumed = UdpLink::new(socket, tid);
    event(&mut resumed).await;
    let mut buffer = [0; 32];
    assert_eq!(resumed.receive(&mut buffer).unwrap().octets, 17);
}

#[test]
fn a_socket_outside_a_runtime_can_not_be_polled() {
    let mut link = link("127.0.0.1:0");
    let Poll::Ready(Err(error)) = link.poll_event(&mut Context::from_waker(Waker::noop())) else {
        panic!("waited for")
    };
    assert!(error.to_string().contains("tokio runtime"));
}

#[tokio::test]
async fn replies_come_from_the_address_that_was_asked() {
    let client = peer("127.0.0.1:0");
    let mut buffer = [0; 8];
    let mut link = link("127.0.0.2:69");
    assert_ne!(link.local_addr().port(), 69);
    link.send(client.local_addr().unwrap(), &Transmit::Packet(b"hi")).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap(), (2, link.local_addr()));
}

#[tokio::test]
async fn a_full_port_range_is_reported() {
    let free = peer("127.0.0.1:0").local_addr().unwrap().port().clamp(1024, 65000);
    let range = PortRange::new(free, free + 7).unwrap();
    let local = "127.0.0.1:0".parse().unwrap();
    let mut taken = Vec::new();
    let refusal = loop {
        match UdpLink::bind(local, Some(range)) {
            Ok(link) => taken.push(link),
            Err(error) => break error,
        }
    };
    assert!((1..=8).contains(&taken.len()), "{} links", taken.len());
    assert!(taken.iter().all(|link| (free..=free + 7).contains(&link.local_addr().port())));
    assert_eq!(refusal.kind(), ErrorKind::AddrInUse);
    assert!(refusal.to_string().contains(&format!("{range}")), "{refusal}");
    let freed = taken.pop().unwrap().local_addr();
    assert_eq!(UdpLink::bind(local, Some(range)).unwrap().local_addr(), freed);
}

#[tokio::test]
async fn ports_are_not_handed_out_one_after_the_other() {
    let ports: Vec<u16> = (0..50).map(|_| link("127.0.0.1:0").local_addr().port()).collect();
    let counted = ports.windows(2).filter(|two| two[1].abs_diff(two[0]) <= 2).count();
    assert!(counted < 10, "{ports:?}");
}

#[tokio::test]
async fn a_missing_route_is_an_error_a_full_buffer_is_not() {
    let mut link = link("127.0.0.1:0");
    // A loopback address has no route out of the machine.
    link.send("192.0.2.1:9".parse().unwrap(), &Transmit::Packet(b"x")).unwrap_err();
    let client = peer("127.0.0.1:0");
    let slabs = slabs(&[65536; 32]);
    for _ in 0..20 {
        link.send(client.local_addr().unwrap(), &Transmit::Blocks(whole_run(&slabs, 0, 1428, 1))).unwrap();
    }
}

#[test]
fn a_link_local_peer_is_answered_on_its_own_interface() {
    let setup = "ip link set lo up
        ip link add wire0 type veth peer name wire1
        ip link set wire1 up
        ip link set wire0 up
        ip -6 addr add fe80::1/64 dev wire0 nodad";
    in_namespace(&a_link_local_peer_is_answered_on_its_own_interface, setup, || {
        block_on(async {
            let scope_id = nix::net::if_::if_nametoindex("wire0").unwrap();
            let local = SocketAddrV6::new("fe80::1".parse::<Ipv6Addr>().unwrap(), 69, 0, scope_id);
            let mut link = UdpLink::bind(local.into(), None).unwrap();
            let client = UdpSocket::bind(SocketAddrV6::new(*local.ip(), 0, 0, scope_id)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send_to(b"ack", link.local_addr()).unwrap();
            event(&mut link).await;
            let Arrived { from, .. } = link.receive(&mut [0; 8]).unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            link.send(from, &Transmit::Packet(b"data")).unwrap();
            assert_eq!(client.recv_from(&mut [0; 8]).unwrap(), (4, link.local_addr()));
            drop(client);
            link.send(from, &Transmit::Packet(b"data")).unwrap();
            event(&mut link).await;
            assert_eq!(link.take_error(), Some(from), "with its scope, as the session knows it");
        });
    });
}
