//! Peers that have not answered yet, whose requests may be forged.

use super::*;
use crate::transfer::{Offer, negotiate};

#[test]
fn a_restrained_peer_gets_one_datagram_a_request() {
    let mut script = plain(&octets(2000));
    script.start();
    assert_eq!(script.feed(Input::Restrained), NOTHING);
    script.now_ms += 1500;
    assert_eq!(script.feed(Input::Repeated), ["DATA 1"]);
    script.now_ms += 500;
    assert_eq!(script.feed(Input::Repeated), ["DATA 1"]);
    script.now_ms += 500;
    assert_eq!(script.feed(Input::Repeated), ["DATA 1"]);
    assert_eq!(script.wait_timed(60_000), [(22_500, "unanswered".into()), (22_500, "close".into())]);
}

#[test]
fn one_that_has_answered_is_not_concerned() {
    let mut script = plain(&octets(2000));
    script.start();
    script.ack(1);
    assert_eq!(script.feed(Input::Restrained), NOTHING);
    assert_eq!(script.feed(Input::GivenUp), NOTHING);
    assert_eq!(script.wait(600)[0], "DATA 2");
    assert_eq!(script.ack(2), ["DATA 3"]);
}

#[test]
fn one_for_whom_there_is_no_room_is_told_nothing() {
    let mut script = plain(&octets(2000));
    script.start();
    assert_eq!(script.feed(Input::GivenUp), ["unanswered", "close"]);
    let mut script = agreed(terms(8, 4), 10);
    assert_eq!(script.feed(Input::GivenUp), ["unanswered", "close"]);
}

#[test]
fn a_forged_request_buys_three_times_its_octets() {
    for (request, datagrams) in [
        (&b"\0\x01a-usual-name.img\0octet\0blksize\x001428\0tsize\x000\0"[..], 3),
        (b"\0\x01f\0octet\0tsize\x000\0", 1),
        (b"\0\x01f\0octet\0", 3),
    ] {
        let Ok(Packet::Request(decoded)) = Packet::decode(request) else { panic!() };
        assert_eq!(decoded.wire_octets(), request.len());
        let agreement = negotiate(&decoded, &Offer::default(), Some(u64::MAX)).unwrap();
        assert_eq!(agreement.allowance(&decoded), datagrams);
        let Some(oack) = agreement.oack() else { continue };
        assert!(oack.len() * datagrams as usize <= request.len() * 3);
        let sender = Sender::new(agreement.terms, Opening::Oack(oack), Timeouts::default());
        let mut script = Script::new(sender.allowing(datagrams));
        script.start();
        let said = script.wait(60_000);
        assert_eq!(said.len(), datagrams as usize - 1 + 2, "{said:?}");
    }
}
