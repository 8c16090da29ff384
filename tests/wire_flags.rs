//! What each flag means to a client. Other files have the rest: `--symlinks` is in `wire_names.rs`;
//! `--strict` and `--no-options` are also in `wire_options.rs`; `--max-upload-size` and
//! `--no-fsync` are in `wire_uploads.rs`; `--ack-timeout` and `--timeout` are in
//! `wire_strangers.rs` and `wire_repeated_requests.rs`.

mod common;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::logged_line::LoggedLine;
use common::raw::{self, Packet, ack, data, rrq, wrq};
use common::served::{GOOD, SLOW, Served};

const QUIET: Duration = Duration::from_millis(400);

/// D1: the defaults.
#[test]
fn by_default_uploads_replace_and_make_nothing() {
    let served = Served::new(&[]);
    served.write("new", "octet", &[], b"content");
    assert_eq!(served.read("new", "octet", &[]), b"content");
    served.ask(&wrq("new", "octet", &[])).expect_error(6);
    served.ask(&wrq("directory/new", "octet", &[])).expect_error(1);
    served.holds_only(&["new"]);
    served.still_serves();
}

#[test]
fn read_only_refuses_every_upload() {
    let served = Served::new(&["--read-only"]);
    for name in ["new", GOOD, "directory/new", "../x"] {
        assert_eq!(served.ask(&wrq(name, "octet", &[("tsize", "3")])).expect_error(2), "Server is read-only");
    }
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn overwrite_replaces_files_and_nothing_else() {
    let served = Served::new(&["--overwrite"]);
    std::fs::create_dir(served.path("directory")).unwrap();
    served.file("file", &[1; 2000]);
    served.write("file", "octet", &[], b"new");
    assert_eq!(served.contents("file").as_deref(), Some(&b"new"[..]));
    served.ask(&wrq("directory", "octet", &[])).expect_error(2);
    served.still_serves();
}

#[test]
fn create_dirs_makes_directories_for_whole_uploads() {
    let served = Served::new(&["--create-dirs"]);
    served.write("a/b/c", "octet", &[], b"content");
    assert_eq!(served.contents("a/b/c").as_deref(), Some(&b"content"[..]));
    let mut client = served.writing("x/y/z", &[]);
    client.send(&data(1, &[1; 512]));
    client.expect_ack(1);
    client.send(&raw::error(0, "changed my mind"));
    served.logged("write peer-aborted", "x/y/z");
    served.holds_only(&["a", "a/b", "a/b/c"]);
    served.ask(&wrq("../up/z", "octet", &[])).expect_error(2);
    served.ask(&wrq("good.img/z", "octet", &[])).expect_error(1);
    served.still_serves();
}

#[test]
fn on_abort_keep_keeps_a_partial_file() {
    let served = Served::new(&["--on-abort", "keep", "--timeout", "0.8", "--ack-timeout", "0.2"]);
    for (name, silently) in [("aborted", false), ("silent", true), ("closed", true)] {
        let mut client = served.ask(&wrq(name, "octet", &[]));
        client.expect_ack(0);
        for block in 1..=2 {
            client.send(&data(block, &[block as u8; 512]));
            client.expect_new_ack(block);
        }
        if !silently {
            client.send(&raw::error(0, "changed my mind"));
        }
        let waiting = (name == "silent").then_some(client);
        served.logged("write ", name);
        drop(waiting);
        let kept = format!("{name}.partial");
        assert_eq!(served.contents(&kept), Some([[1; 512], [2; 512]].concat()), "{name}");
        assert!(served.daemon.log().contains(&kept), "the log names what is kept");
    }
    // The name is free: the same client may upload again, and both files exist.
    served.write("aborted", "octet", &[], b"whole");
    assert_eq!(served.contents("aborted.partial").map(|kept| kept.len()), Some(1024));
    // No octet arrived, so the server keeps nothing.
    let mut client = served.ask(&wrq("nothing", "octet", &[]));
    client.expect_ack(0);
    client.send(&raw::error(0, "changed my mind"));
    served.logged("write peer-aborted", "nothing");
    served.holds_only(&["aborted", "aborted.partial", "closed.partial", "silent.partial"]);
    served.still_serves();
}

/// A partial file never replaces a complete file, neither of the same name nor one that a client
/// has written under the name of a partial file.
#[test]
fn on_abort_keep_replaces_no_complete_file() {
    let served = Served::new(&["--on-abort", "keep", "--overwrite"]);
    served.file("good", b"all of it");
    let abort = || {
        let mut client = served.writing("good", &[]);
        client.send(&data(1, &[9; 512]));
        client.expect_ack(1);
        client.send(&raw::error(0, "changed my mind"));
    };
    abort();
    served.logged("good.partial", "good");
    assert_eq!(served.contents("good").as_deref(), Some(&b"all of it"[..]));
    assert_eq!(served.contents("good.partial"), Some(vec![9; 512]));

    served.write("good.partial", "octet", &[], b"whole too");
    abort();
    let lost = LoggedLine::read(&served.logged("good.partial already exists", "good"));
    assert!(lost.field("why").unwrap().contains("not kept: "), "{lost:?}");
    assert_eq!(["path", "size"].map(|key| lost.field(key).unwrap()), ["-", "-"], "{lost:?}");
    assert_eq!(served.contents("good").as_deref(), Some(&b"all of it"[..]));
    assert_eq!(served.contents("good.partial").as_deref(), Some(&b"whole too"[..]));
    served.holds_only(&["good", "good.partial"]);
    served.still_serves();
}

#[test]
fn blksize_max_and_windowsize_max_bound_the_grant() {
    let served = Served::new(&["--blksize-max", "1000", "--windowsize-max", "4"]);
    for (asked, granted) in [
        (("blksize", "1428"), "1000"),
        (("blksize", "1000"), "1000"),
        (("blksize", "999"), "999"),
        (("blksize2", "1024"), "512"),
        (("windowsize", "16"), "4"),
        (("windowsize", "3"), "3"),
    ] {
        for request in [rrq(GOOD, "octet", &[asked]), wrq("new", "octet", &[asked])] {
            let mut client = served.ask(&request);
            assert_eq!(client.expect_oack(), [(asked.0.into(), granted.into())], "{asked:?}");
            client.send(&raw::error(0, "thank you"));
        }
    }
    assert_eq!(served.read(GOOD, "octet", &[("blksize", "1428")]).len(), 1300);
    served.still_serves();
}

/// R2348-03: a block fits a packet of the MTU, with the headers of the client's address family.
#[test]
fn mtu_bounds_blocks_and_nothing_that_fits() {
    let granted = |served: &Served, asked: &str| {
        let mut client = served.ask(&rrq(GOOD, "octet", &[("blksize", asked)]));
        let oack = client.expect_oack();
        client.send(&raw::error(0, "thank you"));
        oack
    };
    let served = Served::new(&["--mtu", "1400"]);
    for (asked, expected) in [("1428", "1368"), ("1368", "1368"), ("512", "512"), ("65464", "1368")] {
        assert_eq!(granted(&served, asked), [("blksize".to_owned(), expected.to_owned())]);
    }
    assert_eq!(served.read(GOOD, "octet", &[]).len(), 1300, "without options nothing changes");
    // The MTU of the loopback interface is larger than any block.
    let served = Served::new(&["--mtu", "auto"]);
    assert_eq!(granted(&served, "65464"), [("blksize".to_owned(), "65464".to_owned())]);
    served.still_serves();
}

/// RFC 1123 §4.2.3.3 asks for an adaptive interval. Some firmware needs a fixed one.
#[test]
fn fixed_timeout_ignores_the_round_trip_time() {
    let served = Served::new(&["--fixed-timeout", "--ack-timeout", "0.4"]);
    let mut client = served.ask(&rrq(GOOD, "octet", &[("blksize", "100")]));
    client.expect_oack();
    client.send(&ack(0));
    for block in 1..=8 {
        client.expect_data(block);
        client.send(&ack(block));
    }
    client.expect_data(9);
    // An adaptive timer would repeat after some 10 ms, and back off from then on.
    let mut before = std::time::Instant::now();
    for _ in 0..3 {
        client.expect_data(9);
        let interval = before.elapsed();
        assert!(interval > std::time::Duration::from_millis(300), "{interval:?}");
        before = std::time::Instant::now();
    }
    client.send(&raw::error(0, "thank you"));
    served.still_serves();
}

/// LORE-04: the flag is for clients that don't ask for a rollover.
#[test]
fn rollover_flag_sets_the_block_after_65535() {
    let served = Served::new(&["--rollover", "1"]);
    let content: Vec<u8> = (0..65538u32 * 8 + 3).map(|n| (n ^ (n >> 8)) as u8).collect();
    served.file("long", &content);
    for (ask, first_again) in [(None, 1u16), (Some("0"), 0)] {
        let mut options = vec![("blksize", "8"), ("windowsize", "64")];
        options.extend(ask.map(|value| ("rollover", value)));
        let mut client = served.reading("long", &options);
        let (mut octets, mut number) = (Vec::<u8>::new(), 0u16);
        for block in 1..=65539u32 {
            number = if number == 65535 { first_again } else { number + 1 };
            octets.extend(client.expect_data(number));
            if block.is_multiple_of(64) || block == 65539 {
                client.send(&ack(number));
            }
        }
        assert!(octets == content, "{ask:?}");
    }
    served.still_serves();
}

/// R1350-06: firewalls need a range. When no port is left, the client has to repeat.
#[test]
fn port_range_bounds_every_port_and_wraps() {
    // The range is below the kernel's ephemeral ports. Another test program may use some of it.
    let (served, low) = (0..50)
        .find_map(|step| {
            let low = 21_000 + (std::process::id() % 400) as u16 * 20 + step * 3;
            let free = (low..low + 3).all(|port| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok());
            free.then(|| (Served::new(&["--port-range", &format!("{low}:{}", low + 2)]), low))
        })
        .expect("three free ports in a row");
    let within = low..=low + 2;
    let mut clients: Vec<_> = (0..3).map(|_| served.offered(GOOD, &[])).collect();
    let mut ports: Vec<u16> = clients.iter().map(|client| client.tid().port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, within.clone().collect::<Vec<_>>());
    // No port is left: the server is silent, and the client repeats.
    let waiting = served.client();
    for request in [rrq(GOOD, "octet", &[SLOW]), rrq("missing", "octet", &[]), b"\0\x01abc".to_vec()] {
        waiting.send(&request);
    }
    waiting.expect_silence(QUIET);
    let leaving = clients.pop().unwrap();
    leaving.send(&raw::error(0, "done"));
    served.logged("declined", GOOD);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        waiting.send(&rrq(GOOD, "octet", &[SLOW]));
        if waiting.receive(Duration::from_millis(200)).is_some() {
            break;
        }
        assert!(Instant::now() < until, "a port is free, and nobody answers");
    }
    for client in &mut clients {
        client.send(&ack(0));
        client.expect_data(1);
        client.send(&raw::error(0, "thank you"));
    }
    drop(waiting);
    // A port is free a moment after its transfer has ended.
    served.serves_when_there_is_room();
    let mut refused = served.ask_until_answered(&rrq(GOOD, "mail", &[]));
    refused.expect_error(4);
    assert!(within.contains(&refused.tid().port()), "errors too");
    // A limit is no outage of the disk, and no failed transfer.
    let log = served.daemon.stop().log;
    let stopped =
        LoggedLine::read(log.lines().find(|line| line.contains(" stopped, ")).expect("its last line"));
    let count = |counter: &str| stopped.field(counter).unwrap().parse::<u64>().unwrap();
    assert_eq!(count("outages"), 0, "{log}");
    assert!(count("dropped") >= 3 && count("limited") >= 3, "{log}");
    assert!(!log.contains(" ERRO ") && !log.contains("read outage"), "{log}");
}

/// A request that finds no free port is refused from the well-known port, if clients are to hear of
/// limits.
#[test]
fn an_exhausted_port_range_follows_over_limit_error() {
    let (served, low) = (0..50)
        .find_map(|step| {
            let low = 29_100 + (std::process::id() % 400) as u16 * 5 + step;
            std::net::UdpSocket::bind(("127.0.0.1", low)).ok()?;
            Some((Served::new(&["--port-range", &format!("{low}:{low}"), "--over-limit", "error"]), low))
        })
        .expect("a free port");
    let first = served.offered(GOOD, &[]);
    assert_eq!(first.tid().port(), low);
    for request in [rrq(GOOD, "octet", &[SLOW]), wrq("new", "octet", &[SLOW])] {
        let mut refused = served.ask(&request);
        assert_eq!(refused.expect_error(0), "Server is busy");
        assert_eq!(refused.tid().port(), served.daemon.port());
    }
    // The counter follows the packet a moment later.
    let counters =
        |line: &str| line.contains(" counters, ") && line.contains(", failed: 0, outages: 0, refused: 2,");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        served.daemon.signal(Signal::SIGUSR1);
        if served.daemon.wait_for_log(Duration::from_millis(200), counters).is_some() {
            break;
        }
        assert!(Instant::now() < until, "{}", served.daemon.log());
    }
    // A request that would be refused anyway gets its own reason.
    served.ask(&rrq(GOOD, "mail", &[])).expect_error(4);
    let named =
        |line: &str| line.contains(" WARN limit reached, limit: --port-range, count: 1, peer: 127.0.0.1:");
    assert!(served.daemon.wait_for_log(Duration::from_secs(20), named).is_some(), "{}", served.daemon.log());
    let log = served.daemon.log();
    assert!(!log.contains(" ERRO "), "{log}");
    first.send(&raw::error(0, "done"));
    // The port is free a moment after the end of the transfer.
    let until = Instant::now() + Duration::from_secs(20);
    while let Packet::Error { code, .. } = served.ask(&rrq(GOOD, "octet", &[("blksize", "1400")])).next() {
        assert!(code == 0 && Instant::now() < until, "a port is free, and nobody is served");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// LORE-20: after an ERROR the client would give up. After silence it repeats.
#[test]
fn requests_over_max_transfers_get_silence() {
    let served = Served::new(&["--max-transfers", "2"]);
    let mut first = served.reading(GOOD, &[]);
    first.expect_data(1);
    let second = served.writing("new", &[]);
    let third = served.ask(&rrq(GOOD, "octet", &[SLOW]));
    third.expect_silence(QUIET);
    // The two transfers go on, and an invalid request is still refused.
    first.send(&ack(1));
    first.expect_data(2);
    served.ask(&rrq("x", "mail", &[])).expect_error(4);
    second.send(&raw::error(0, "changed my mind"));
    served.logged("write declined", "new");
    let until = Instant::now() + Duration::from_secs(10);
    let packet = loop {
        third.send(&rrq(GOOD, "octet", &[SLOW]));
        if let Some((packet, _)) = third.receive(Duration::from_millis(200)) {
            break packet;
        }
        assert!(Instant::now() < until, "a place is free, and nobody answers");
    };
    assert!(matches!(packet, Packet::Oack(_)), "{}", packet.brief());
    first.send(&raw::error(0, "thank you"));
    served.serves_when_there_is_room();
}

#[test]
fn min_free_keeps_a_reserve_of_disk() {
    let served = Served::new(&["--min-free", "900000G"]);
    served.ask(&wrq("new", "octet", &[])).expect_error(3);
    served.ask(&wrq("new", "octet", &[("tsize", "1")])).expect_error(3);
    served.holds_only(&[]);
    served.still_serves();
    // Without a reserve, a claim beyond the size of all disks still does not fit.
    let served = Served::new(&["--min-free", "0", "--max-upload-size", "9000000T"]);
    served.ask(&wrq("new", "octet", &[("tsize", "9000000000000000000")])).expect_error(3);
    served.write("new", "octet", &[], b"content");
    served.still_serves();
}

#[test]
fn one_arbiter_or_many_serve_alike() {
    for arbiters in ["1", "5"] {
        let served = Served::new(&["--arbiters", arbiters]);
        let mut clients: Vec<_> = (0..20).map(|_| served.reading(GOOD, &[])).collect();
        for block in 1..=3 {
            for client in &mut clients {
                client.expect_data(block);
                client.send(&ack(block));
            }
        }
        served.still_serves();
    }
}

#[test]
fn an_obsolete_flag_is_accepted_with_a_log_line() {
    let served = Served::new(&["--poll-us", "50"]);
    served.still_serves();
    let log = served.daemon.log();
    assert!(log.contains("WARN --poll-us has no effect"), "{log}");
    let log = Served::new(&[]).daemon.stop().log;
    assert!(!log.contains("poll-us"), "{log}");
}
