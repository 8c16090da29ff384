//! Requests that arrive twice: duplicated by the network, repeated by an impatient client, or sent
//! by a client that restarted (D13).

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::raw::{self, Client, Packet, ack, data, rrq, wrq};
use common::served::{GOOD, SLOW, Served};

const QUIET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(5);

/// All packets, with their senders, until none arrives for a while.
fn all(client: &Client) -> Vec<(Packet, SocketAddr)> {
    std::iter::from_fn(|| client.receive(QUIET)).collect()
}

/// LORE-10: GRUB, syslinux, iPXE and U-Boot all repeat a request from the same port.
#[test]
fn a_request_sent_three_times_at_once_gets_one_transfer() {
    let served = Served::new(&["--ack-timeout", "1"]);
    for options in [&[][..], &[("blksize", "1000")]] {
        for request in [rrq(GOOD, "octet", options), wrq("new", "octet", options)] {
            let mut client = served.client();
            for _ in 0..3 {
                client.send(&request);
            }
            let packets = all(&client);
            let tids: HashSet<SocketAddr> = packets.iter().map(|(_, from)| *from).collect();
            assert_eq!(tids.len(), 1, "{packets:?}");
            let first = &packets[0].0;
            assert!(packets.iter().all(|(packet, _)| packet == first) && packets.len() <= 3, "{packets:?}");
            client.send_to(packets[0].1, &raw::error(0, "thank you"));
            client.restart();
        }
    }
    served.holds_only(&[]);
    served.still_serves();
}

/// LORE-10: the first answer was lost, and the client repeats its request before the server's timer
/// expires.
#[test]
fn a_repeat_before_the_first_answer_joins_its_session() {
    let served = Served::new(&["--ack-timeout", "2"]);
    for request in
        [rrq(GOOD, "octet", &[]), rrq(GOOD, "octet", &[("blksize", "1000")]), wrq("new", "octet", &[])]
    {
        let mut client = served.ask(&request);
        let first = client.next();
        std::thread::sleep(Duration::from_millis(150));
        client.send_to(served.daemon.addr(), &request);
        // The answer is from the same TID.
        assert_eq!(client.next(), first);
        client.send(&raw::error(0, "thank you"));
    }
    served.still_serves();
}

/// LORE-11: Cisco IOS repeats its write request after 4 s, and gave up at "File already exists".
#[test]
fn a_repeated_write_request_never_meets_its_own_file() {
    let served = Served::new(&[]);
    let request = wrq("router.cfg", "octet", &[]);
    let mut client = served.ask(&request);
    client.expect_ack(0);
    std::thread::sleep(Duration::from_secs(4));
    client.drain(Duration::from_millis(50));
    client.restart();
    client.send(&request);
    client.expect_ack(0);
    client.send(&data(1, b"hostname router"));
    client.expect_new_ack(1);
    served.holds_only(&["router.cfg"]);
    assert_eq!(served.contents("router.cfg").as_deref(), Some(&b"hostname router"[..]));
    served.still_serves();
}

/// R1350-10: the client's ERROR 5 closes the first or the second of two sessions. The other session
/// goes on.
#[test]
fn error_5_ends_only_the_transfer_it_is_sent_to() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..5 * 512u32 + 1).map(|at| (at / 5) as u8).collect();
    served.file("file", &content);
    for first_lives in [true, false] {
        let request = rrq("file", "octet", &[SLOW]);
        let mut client = served.ask(&request);
        client.expect_oack();
        client.send(&ack(0));
        let mut octets = client.expect_data(1);
        let first = client.tid();
        // A late duplicate: the client has answered the session already.
        client.send_to(served.daemon.addr(), &request);
        let (packet, second) = client.receive(PATIENCE).expect("a second session");
        assert!(matches!(packet, Packet::Oack(_)), "{}", packet.brief());
        assert_ne!(first, second);
        let (lives, dies) = if first_lives { (first, second) } else { (second, first) };
        client.send_to(dies, &raw::error(5, "Unknown transfer ID"));
        if !first_lives {
            octets.clear();
            client.send_to(lives, &ack(0));
            octets.extend(take(&client, 1, lives));
        }
        for block in 1..=5 {
            client.send_to(lives, &ack(block));
            octets.extend(take(&client, block + 1, lives));
        }
        client.send_to(lives, &ack(6));
        assert!(octets == content);
        client.expect_silence(QUIET);
    }
    served.still_serves();
}

/// The same for an upload: the name is free until one of the sessions has published.
#[test]
fn a_later_repeat_of_a_write_does_not_hurt_the_upload() {
    let served = Served::new(&[]);
    let mut client = served.writing("new", &[]);
    client.send(&data(1, &[1; 512]));
    client.expect_ack(1);
    client.send_to(served.daemon.addr(), &wrq("new", "octet", &[SLOW]));
    let (packet, second) = client.receive(PATIENCE).expect("a second session");
    assert!(matches!(packet, Packet::Oack(_)), "{}", packet.brief());
    client.send_to(second, &raw::error(5, "Unknown transfer ID"));
    client.send(&data(2, b"end"));
    client.expect_ack(2);
    assert_eq!(served.contents("new"), Some([&[1; 512][..], b"end"].concat()));
    served.still_serves();
}

/// LORE-12: a boot loader that restarted, on the same port.
#[test]
fn another_request_from_the_same_port_is_served_at_once() {
    let served = Served::new(&[]);
    served.file("a", &[1; 2000]);
    served.file("b", &[2; 2000]);
    for answered in [true, false] {
        let mut client = served.offered("a", &[]);
        if answered {
            client.send(&ack(0));
            client.expect_data(1);
            client.send(&ack(1));
            client.expect_data(2);
        }
        let old = client.tid();
        client.restart();
        client.send(&rrq("b", "octet", &[SLOW]));
        client.expect_oack();
        assert_ne!(client.tid(), old, "a new transfer has a new TID");
        client.send(&ack(0));
        for block in 1..=4 {
            assert!(client.expect_data(block).iter().all(|octet| *octet == 2));
            client.send(&ack(block));
        }
        client.expect_silence(Duration::from_millis(50));
        client.send_to(old, &raw::error(0, "closed"));
    }
    served.still_serves();
}

/// LORE-12: the last transfer is over, so its port may be used again.
#[test]
fn a_client_may_read_file_after_file_from_one_port() {
    let served = Served::new(&[]);
    let mut client = served.client();
    for _ in 0..20 {
        client.restart();
        client.send(&rrq(GOOD, "octet", &[SLOW]));
        client.expect_oack();
        client.send(&ack(0));
        for block in 1..=3 {
            client.expect_data(block);
            client.send(&ack(block));
        }
    }
    served.still_serves();
}

/// LORE-12: the last ACK and the next request are on their way together, to two ports.
#[test]
fn a_client_may_ask_for_the_same_file_again_at_once() {
    let served = Served::new(&[]);
    served.file("one", &[1; 400]);
    let mut client = served.client();
    for _ in 0..2000 {
        client.restart();
        client.send(&rrq("one", "octet", &[]));
        client.expect_data(1);
        client.send(&ack(1));
    }
    served.still_serves();
}

/// LORE-16, D8: the request may be forged.
#[test]
fn an_unanswered_request_gets_three_datagrams() {
    let served = Served::new(&["--ack-timeout", "0.1", "--timeout", "1.5"]);
    served.file("big", &vec![1; 5_000_000]);
    let requests = [
        rrq("big", "octet", &[]),
        rrq("big", "octet", &[("blksize", "65464"), ("windowsize", "64")]),
        wrq("new", "octet", &[]),
        wrq("new", "octet", &[("blksize", "65464"), ("windowsize", "64")]),
    ];
    let clients: Vec<Client> = requests.iter().map(|request| served.ask(request)).collect();
    let until = Instant::now() + Duration::from_secs(20);
    while served.daemon.log().matches("unanswered").count() < clients.len() {
        assert!(Instant::now() < until, "they don't end:\n{}", served.daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in &clients {
        let packets = client.drain(Duration::from_millis(50));
        assert!((1..=3).contains(&packets.len()), "{} datagrams", packets.len());
        assert!(packets.iter().all(|packet| *packet == packets[0]), "{packets:?}");
        assert!(!matches!(packets[0], Packet::Data { block, .. } if block != 1));
    }
    served.still_serves();
}

/// LORE-16: a client that has received nothing yet gets one answer to each of its requests.
#[test]
fn each_repeated_request_gets_one_datagram() {
    let served = Served::new(&["--ack-timeout", "0.1"]);
    served.file("big", &vec![1; 5_000_000]);
    for request in
        [rrq("big", "octet", &[]), rrq("big", "octet", &[("blksize", "1000"), ("windowsize", "64")])]
    {
        let mut client = served.ask(&request);
        let first = client.next();
        // The server's own timer sends two.
        std::thread::sleep(Duration::from_millis(600));
        assert!(client.drain(QUIET).len() <= 2);
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(110));
            client.send_to(served.daemon.addr(), &request);
            assert_eq!(client.next(), first, "from the same TID");
            client.expect_silence(Duration::from_millis(50));
        }
        client.send(&raw::error(0, "thank you"));
    }
    served.still_serves();
}

fn take(client: &Client, number: u16, tid: SocketAddr) -> Vec<u8> {
    match client.receive(PATIENCE) {
        Some((Packet::Data { block, payload }, from)) if block == number && from == tid => payload,
        other => panic!("DATA {number} of {tid} expected, {other:?} came"),
    }
}
