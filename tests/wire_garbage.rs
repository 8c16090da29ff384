//! Invalid input does not make a server panic, hang or grow.

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::raw::{self, Client, Packet, ack, data, receive_on, rrq, wrq};
use common::served::{GOOD, Served};

/// Memory that the allocator may hold besides the clients' memory.
const SLACK_KIB: u64 = 8 << 10;

/// A generator whose numbers depend on its seed alone.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }

    /// A packet that was valid before some octets changed.
    fn damaged(&mut self) -> Vec<u8> {
        let options = [("blksize", "1024"), ("windowsize", "4"), ("tsize", "0"), ("timeout", "1")];
        let mut packet = match self.below(8) {
            0 | 1 => rrq(GOOD, "octet", &options),
            2 | 3 => wrq("new", "netascii", &options),
            4 => data(self.next() as u16, &self.octets(600)),
            5 => ack(self.next() as u16),
            6 => raw::error(self.next() as u16, "text"),
            _ => raw::oack(&options),
        };
        for _ in 0..=self.below(4) {
            let at = self.below(packet.len());
            match self.below(5) {
                0 => packet.truncate(at),
                1 => packet[at] = self.next() as u8,
                2 => packet[at] = 0,
                3 => packet.insert(at, self.next() as u8),
                _ => packet.extend(self.octets(40)),
            }
            if packet.is_empty() {
                break;
            }
        }
        packet
    }
}

/// MAL-12 at the well-known port. The property tests of the parser run through millions of
/// datagrams.
#[test]
fn thousands_of_random_datagrams_change_nothing() {
    let served = Served::new(&["--timeout", "1", "--ack-timeout", "0.3", "--max-transfers", "200"]);
    served.still_serves();
    let descriptors = served.descriptors_at_rest();
    let mut rng = Rng(0x5747_4147_4543_4f41);
    let mut memory = 0;
    for round in 0..6 {
        let socket = Client::stranger();
        for number in 0..1500 {
            let packet = if number % 2 == 0 { rng.damaged() } else { rng.octets(1600) };
            socket.send_to(&packet, served.daemon.addr()).unwrap();
            if number % 50 == 0 {
                // Leaves the rest of the machine some time, and the buffers some room.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        // A datagram that happens to be a request gets its ERROR or its file. No other datagram
        // gets an answer.
        while let Some((packet, _)) = receive_on(&socket, Duration::from_millis(20)) {
            assert!(!matches!(packet, Packet::Other(_)), "{}", packet.brief());
        }
        drop(socket);
        served.descriptors_fall_to(descriptors);
        let now = served.daemon.vm_rss_kib();
        // The first round fills the caches.
        if round == 0 {
            memory = now;
        }
        assert!(now <= memory + SLACK_KIB, "{now} KiB after round {round}, {memory} KiB after the first");
    }
    let log = served.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    served.still_serves();
}

/// MAL-12 inside of transfers: the same datagrams from a client with a transfer.
#[test]
fn random_datagrams_of_a_client_break_nothing() {
    let served = Served::new(&["--timeout", "1", "--ack-timeout", "0.3"]);
    served.still_serves();
    let descriptors = served.descriptors_at_rest();
    let mut rng = Rng(0x4a8e_11fa_57c0_ac85);
    for round in 0..60 {
        let request = if round % 2 == 0 { rrq(GOOD, "octet", &[]) } else { wrq("never", "netascii", &[]) };
        let mut client = served.ask(&request);
        client.next();
        for _ in 0..40 {
            let packet = if rng.below(2) == 0 { rng.damaged() } else { rng.octets(700) };
            // An upload must not complete by chance.
            if packet.len() < 4 || packet[..2] != [0, 3] {
                client.send(&packet);
            }
        }
        client.send(&raw::error(0, "that is all"));
    }
    served.descriptors_fall_to(descriptors);
    served.holds_only(&[]);
    served.still_serves();
}

/// SAFE-20, R1350-53: requests of all kinds that the client aborts at once.
#[test]
fn aborted_requests_leak_no_descriptors_or_memory() {
    let served = Served::new(&[]);
    let requests = [
        rrq(GOOD, "octet", &[("tsize", "0")]),
        rrq(GOOD, "netascii", &[]),
        wrq("new", "octet", &[]),
        wrq("new", "octet", &[("blksize", "65464"), ("windowsize", "64"), ("tsize", "1000000")]),
        rrq("missing", "octet", &[]),
        wrq("../up", "octet", &[]),
    ];
    served.still_serves();
    let descriptors = served.descriptors_at_rest();
    let mut memory = 0;
    for round in 0..5 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..150 {
            for request in &requests {
                socket.send_to(request, served.daemon.addr()).unwrap();
                let (packet, tid) = receive_on(&socket, Duration::from_secs(5)).expect("an answer");
                if !matches!(packet, Packet::Error { .. }) {
                    socket.send_to(&raw::error(0, "no"), tid).unwrap();
                }
            }
        }
        served.descriptors_fall_to(descriptors);
        let now = served.daemon.vm_rss_kib();
        if round == 0 {
            memory = now;
        }
        assert!(now <= memory + SLACK_KIB, "{now} KiB after round {round}, {memory} KiB after the first");
    }
    served.holds_only(&[]);
    served.still_serves();
}
