//! Requests and senders that are let through, and those that aren't.

use super::{Rules, unanswerable};
use crate::error::Failure;
use crate::wire::{Packet, Request};

fn request(octets: &[u8]) -> Request<'_> {
    match Packet::decode(octets) {
        Ok(Packet::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn r1350_13_mail_is_refused_r1350_14_unknown_if_strict() {
    let strict = Rules { strict: true, ..Rules::default() };
    for (mode, kind, strictly) in [
        ("octet", None, None),
        ("OcTeT", None, None),
        ("NETASCII", None, None),
        ("mail", Some(Failure::UnsupportedMode), Some(Failure::UnsupportedMode)),
        ("MAIL", Some(Failure::UnsupportedMode), Some(Failure::UnsupportedMode)),
        ("binary", None, Some(Failure::UnsupportedMode)),
        ("image", None, Some(Failure::UnsupportedMode)),
    ] {
        for opcode in [1, 2] {
            let octets = [&[0, opcode], b"f\0".as_slice(), mode.as_bytes(), b"\0"].concat();
            let failure = |rules: Rules| rules.admit(&request(&octets)).err();
            assert_eq!(failure(Rules::default()), kind, "{mode}");
            assert_eq!(failure(strict), strictly, "{mode}, strict");
        }
    }
}

#[test]
fn a_read_only_server_refuses_writes_and_nothing_else() {
    let rules = Rules { read_only: true, ..Rules::default() };
    assert!(rules.admit(&request(b"\0\x01f\0octet\0")).is_ok());
    let refused = rules.admit(&request(b"\0\x02f\0octet\0")).unwrap_err();
    assert_eq!(refused, Failure::ReadOnly);
}

#[test]
fn lore_17_unanswerable_senders_get_silence() {
    let to = "192.0.2.1:69".parse().unwrap();
    for from in [
        "0.0.0.0:1000",
        "255.255.255.255:1000",
        "224.0.0.1:1000",
        "192.0.2.9:0",
        "192.0.2.1:69",
        "127.0.0.1:69",
    ] {
        assert!(unanswerable(from.parse().unwrap(), to).is_some(), "{from}");
    }
    // A boot ROM may use port 69 itself, and the server's host may be a client.
    for from in ["192.0.2.9:69", "192.0.2.1:1069", "127.0.0.1:1069"] {
        assert_eq!(unanswerable(from.parse().unwrap(), to), None, "{from}");
    }
    let to = "[2001:db8::1]:69".parse().unwrap();
    for from in ["[ff02::1]:1000", "[::]:1000", "[2001:db8::1]:69", "[::1]:69"] {
        assert!(unanswerable(from.parse().unwrap(), to).is_some(), "{from}");
    }
}
