use std::net::{Ipv4Addr, UdpSocket};

use super::*;
use crate::error::Fault;

fn request(flags: &[&str], tsize: Option<u64>) -> Result<String, String> {
    let flags = ClientFlags::from_iter_safe([&["get"], flags].concat()).map_err(|error| error.message)?;
    let request = flags.request(Direction::Write, b"f", tsize)?;
    Ok(format!("{} {}", request.mode, request.options))
}

#[test]
fn a_request_asks_for_large_blocks_and_windows() {
    assert_eq!(request(&[], Some(7)).as_deref(), Ok("octet tsize=7 blksize=1428 windowsize=16"));
    assert_eq!(
        request(&["--blksize", "8192", "--windowsize", "4", "--interval", "2"], None).as_deref(),
        Ok("octet blksize=8192 windowsize=4 timeout=2")
    );
}

#[test]
fn what_holds_anyway_is_not_asked_for() {
    assert_eq!(request(&["--blksize", "512", "--windowsize", "1"], None).as_deref(), Ok("octet "));
    assert_eq!(request(&["--no-options"], Some(7)).as_deref(), Ok("octet "));
}

#[test]
fn netascii_says_nothing_of_the_size() {
    let asked = request(&["--mode", "netascii"], Some(7));
    assert_eq!(asked.as_deref(), Ok("netascii blksize=1428 windowsize=16"));
}

/// Keeps the octets of the transfer in memory.
#[derive(Default)]
struct Kept(Vec<u8>);

impl Local for Kept {
    fn store(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.0.extend_from_slice(octets);
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

fn exchanged(addresses: &[SocketAddr], flags: &ClientFlags, local: &mut Kept) -> Finished {
    let request = flags.request(Direction::Read, b"f", None).expect("one");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(flags.exchange_patiently(addresses, &request, local)).expect("sent")
}

fn flags(typed: &[&str]) -> ClientFlags {
    ClientFlags::from_iter_safe([&["get", "--no-options"], typed].concat()).expect("flags")
}

/// Two addresses where nobody listens. Each test has an IP address of its own, and the kernel gives
/// these ports to no other socket unless asked.
fn free_addresses(test: u8) -> [SocketAddr; 2] {
    [1, 2].map(|number| {
        let bound = (10_000..20_000)
            .find_map(|port| UdpSocket::bind((Ipv4Addr::new(127, 77, test, number), port)).ok());
        bound.and_then(|socket| socket.local_addr().ok()).expect("a free port")
    })
}

#[test]
#[cfg(target_os = "linux")]
fn addresses_are_tried_until_a_server_listens() {
    for late in [0, 1] {
        let addresses = free_addresses(1);
        let server = std::thread::spawn(move || {
            // Some requests are refused before the server starts.
            std::thread::sleep(Duration::from_millis(500));
            let server = UdpSocket::bind(addresses[late]).expect("still free");
            server.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            let (_, client) = server.recv_from(&mut [0; 512]).expect("a request");
            server.send_to(b"\0\x03\0\x01config", client).expect("sent");
            let (_, acknowledged) = server.recv_from(&mut [0; 512]).expect("an ACK");
            assert_eq!(acknowledged, client);
        });
        let mut kept = Kept::default();
        let finished = exchanged(&addresses, &flags(&["--ack-timeout", "0.2"]), &mut kept);
        server.join().expect("served");
        assert_eq!((finished.outcome, &*kept.0), (Outcome::Complete, &b"config"[..]), "{late}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn silent_addresses_are_retried_until_the_timeout() {
    let (addresses, began) = (free_addresses(2), Instant::now());
    let flags = flags(&["--ack-timeout", "0.4", "--timeout", "2"]);
    let finished = exchanged(&addresses, &flags, &mut Kept::default());
    // Both addresses after 0, 0.4 and 1.2 s; the next attempt would be later than 2 s.
    assert!(finished.is_refused());
    assert_eq!(finished.refusals, 6);
    assert!((Duration::from_millis(1200)..Duration::from_secs(10)).contains(&began.elapsed()));
}
