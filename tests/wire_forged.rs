//! Requests with a forged source: how much the server answers, and what the requests cost (D8,
//! LORE-16).

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use common::daemon::Daemon;
use common::namespace::in_namespace;
use common::raw::{Client, ack, rrq};
use common::served::{GOOD, Served};

/// A network whose other hosts accept every packet and answer none.
const NETWORK: &str = "ip link set lo up
    ip link add away type veth peer name nobody
    ip link set nobody up
    echo 1 > /proc/sys/net/ipv6/conf/away/disable_ipv6 || true
    echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter || true
    ip addr add 10.0.0.1/8 dev away
    ip link set away up arp off";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A host that forges requests.
struct Forger {
    socket: Socket,
    port: u16,
}

impl Forger {
    fn new(port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).expect("the right to forge");
        socket.set_header_included_v4(true).expect("headers of our own");
        Self { socket, port }
    }

    /// Sends a request that seems to come from `from`.
    fn send(&self, from: SocketAddrV4, request: &[u8]) {
        let udp = 8 + request.len();
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(from.ip().octets());
        packet.extend(SERVER.octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(self.port.to_be_bytes());
        packet.extend(u16::try_from(udp).unwrap().to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(request);
        self.socket.send_to(&packet, &SocketAddrV4::new(SERVER, self.port).into()).expect("it is sent");
    }
}

/// A source that no other host has.
fn source(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0a40_0000 + number), 2000)
}

/// Packets and octets that went out to the other hosts.
fn sent_away() -> (u64, u64) {
    let table = fs::read_to_string("/proc/net/dev").expect("the kernel counts");
    let line = table.lines().find_map(|line| line.trim().strip_prefix("away:")).expect("the interface");
    let counts: Vec<u64> = line.split_whitespace().map(|count| count.parse().expect("a number")).collect();
    // The columns of sent octets and packets follow eight columns of received ones.
    (counts[9], counts[8])
}

/// A daemon at the address that the other hosts know.
fn served(flags: &[&str]) -> Served {
    let root = common::served::directory();
    fs::write(root.path().join("big"), vec![7; 4 << 20]).expect("a file");
    let path = root.path().to_str().expect("a path").to_owned();
    let host = SERVER.to_string();
    let daemon = Daemon::start_with(&[&["--host", &host, "-p", "0", "--root", &path], flags].concat());
    Served::at(root, daemon)
}

/// A real client repeats its request until the server answers, as the buffer of the well-known port
/// may be full.
fn ask(served: &Served, request: &[u8]) -> Client {
    let client = Client::to(served.daemon.addr());
    client.socket().set_read_timeout(Some(Duration::from_millis(200))).expect("a read timeout");
    for _ in 0..100 {
        client.send(request);
        if client.socket().peek_from(&mut [0; 4]).is_ok() {
            return client;
        }
    }
    panic!("nobody answers; the log:\n{}", served.daemon.log());
}

/// Reads the whole file. Returns the time from the first answer on.
fn read_big(served: &Served) -> Duration {
    let mut client = ask(served, &rrq("big", "octet", &[("blksize", "8192")]));
    let began = Instant::now();
    client.expect_oack();
    client.send(&ack(0));
    for block in 1..=513 {
        assert_eq!(client.expect_data(block).len(), if block == 513 { 0 } else { 8192 });
        client.send(&ack(block));
    }
    began.elapsed()
}

#[test]
fn a_flood_of_plain_requests_is_not_amplified() {
    in_namespace(&a_flood_of_plain_requests_is_not_amplified, NETWORK, || {
        let served = served(&[]);
        let forger = Forger::new(served.daemon.port());
        let (before, request) = (sent_away().0, rrq("big", "octet", &[]));
        const REQUESTS: u32 = 2400;
        for number in 0..REQUESTS {
            forger.send(source(number), &request);
            if number % 8 == 7 {
                thread::sleep(Duration::from_millis(10));
            }
        }
        // By then the server has given up all of them.
        thread::sleep(Duration::from_secs(4));
        let sent = sent_away().0 - before;
        assert!(sent >= u64::from(REQUESTS), "{sent}: each of them is answered");
        assert!(sent * 10 <= u64::from(REQUESTS) * 13, "{sent} for {REQUESTS}");
        read_big(&served);
    });
}

#[test]
fn a_request_with_options_gets_at_most_3_times_octets() {
    in_namespace(&a_request_with_options_gets_at_most_3_times_octets, NETWORK, || {
        let served = served(&[]);
        let forger = Forger::new(served.daemon.port());
        for request in [
            rrq("big", "octet", &[("blksize", "65464"), ("windowsize", "64"), ("tsize", "0")]),
            rrq("big", "octet", &[("tsize", "0")]),
        ] {
            let before = sent_away();
            for number in 0..50 {
                forger.send(source(number), &request);
            }
            thread::sleep(Duration::from_secs(4));
            let (packets, octets) = (sent_away().0 - before.0, sent_away().1 - before.1);
            // The kernel counts the headers of Ethernet, IP and UDP too.
            let payload = octets - packets * (14 + 20 + 8);
            assert!((50..=150).contains(&packets), "{packets}");
            assert!(payload <= 50 * 3 * request.len() as u64, "{payload} for 50 of {}", request.len());
        }
    });
}

#[test]
fn forged_sources_leave_memory_and_sockets_bounded() {
    // The long form, `STAGECOACH_FORGED=1000000`, also checks the time. It needs a release build,
    // and a machine without other load.
    let long = std::env::var("STAGECOACH_FORGED").ok().map(|value| value.parse::<u32>().expect("a number"));
    let (forged, is_long) = (long.unwrap_or(100_000), long.is_some());
    in_namespace(&forged_sources_leave_memory_and_sockets_bounded, NETWORK, || {
        let served = served(&[]);
        let forger = Forger::new(served.daemon.port());
        let request = rrq("big", "octet", &[]);
        let quiet: Duration = (0..3).map(|_| read_big(&served)).sum();
        let began = Instant::now();
        // Some 20,000 or 5000 requests a second: more than the server has sessions for within the
        // three seconds of each.
        let pause = Duration::from_micros(if is_long { 3100 } else { 500 });
        let flooded = thread::scope(|scope| {
            let flood = scope.spawn(|| {
                for number in 0..forged {
                    forger.send(source(number), &request);
                    if number % 16 == 15 {
                        thread::sleep(pause);
                    }
                }
            });
            let mut taken = vec![read_big(&served)];
            while !flood.is_finished() {
                thread::sleep(Duration::from_millis(100));
                taken.push(read_big(&served));
            }
            taken.sort();
            taken[taken.len() / 2]
        });
        let took = began.elapsed();
        let figures = format!(
            "{forged} forged requests in {took:?}; a client's transfer takes {flooded:?}, {:?} in quiet",
            quiet / 3
        );
        eprintln!("{figures}");
        assert!(!is_long || flooded * 2 <= quiet / 3 * 5, "{figures}");
        let pid = served.daemon.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let peak_kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let peak_kib: u64 = peak_kib.trim().trim_end_matches(" kB").trim().parse().expect("a number");
        eprintln!("{peak_kib} KiB at most");
        assert!(peak_kib < 64 << 10, "{peak_kib} KiB");
        for words in [", limit: UNPROVEN_MAX, ", "it gave way: UNPROVEN_MAX"] {
            let line = served.daemon.wait_for_log(Duration::from_secs(20), |line| line.contains(words));
            assert!(line.is_some(), "nothing in the log says {words:?}");
        }
        let lines = served.daemon.log().lines().count();
        assert!(lines < forged as usize / 20, "{lines} lines of the log");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count();
        assert!(descriptors < 7000, "{descriptors}");
        let mut client = ask(&served, &rrq(GOOD, "octet", &[]));
        assert_eq!(client.expect_data(1).len(), 512);
    });
}

#[test]
fn errors_per_second_are_limited_by_network() {
    in_namespace(&errors_per_second_are_limited_by_network, NETWORK, || {
        let served = served(&[]);
        let forger = Forger::new(served.daemon.port());
        let (before, began, request) = (sent_away().0, Instant::now(), rrq("nobody has this", "octet", &[]));
        for number in 0..40_000u32 {
            let victim = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, (number % 250) as u8), 2000);
            forger.send(victim, &request);
        }
        let mut client = ask(&served, &request);
        client.expect_error(1);
        let seconds = began.elapsed().as_secs() + 2;
        let sent = sent_away().0 - before;
        assert!((1000..=4096 * seconds).contains(&sent), "{sent} in {seconds} s");
    });
}
