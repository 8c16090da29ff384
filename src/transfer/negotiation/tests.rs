use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Agreement, Offer, Terms, accept, negotiate};
use crate::error::Failure;
use crate::limits;
use crate::transfer::Rollover;
use crate::wire::{Direction, Mode, Options, Packet, Request, Text, decimal};

fn text(octets: &str) -> Text<'static> {
    Text::new(octets.as_bytes().to_vec()).unwrap()
}

/// Options written as `name=value name=value`; a value may be empty.
fn options(written: &str) -> Options<'static> {
    let mut options = Options::new();
    for pair in written.split(' ').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        assert!(options.push(text(name), text(value)));
    }
    options
}

fn request(direction: Direction, mode: Mode<'static>, written: &str) -> Request<'static> {
    Request::new(direction, text("f"), mode, options(written)).unwrap()
}

fn rrq(written: &str) -> Request<'static> {
    request(Direction::Read, Mode::Octet, written)
}

const SIZE: u64 = 5_368_709_120;

fn answer_with(offer: &Offer, written: &str) -> Agreement {
    negotiate(&rrq(written), offer, Some(SIZE)).unwrap()
}

/// The answer of a server with the default offer to a read request for a file of 5 GiB.
fn answer(written: &str) -> String {
    answer_with(&Offer::default(), written).accepted.to_string()
}

#[test]
fn every_value_that_may_be_asked_for_has_its_answer() {
    let table = [
        ("R2348-01", "blksize=8", "blksize=8"),
        ("R2348-01", "blksize=9", "blksize=9"),
        ("R2348-01", "blksize=511", "blksize=511"),
        ("R2348-01", "blksize=1428", "blksize=1428"),
        ("R2348-01", "blksize=65464", "blksize=65464"),
        ("R2348-02", "blksize=0", ""),
        ("R2348-02", "blksize=1", ""),
        ("R2348-02", "blksize=7", ""),
        ("R2348-02", "blksize=65465", "blksize=65464"),
        ("R2348-02", "blksize=70000", "blksize=65464"),
        ("R2348-02", "blksize=4294967808", "blksize=65464"),
        ("R2348-02", "blksize=18446744073709551615", "blksize=65464"),
        ("R2349-01", "timeout=0", ""),
        ("R2349-01", "timeout=1", "timeout=1"),
        ("R2349-01", "timeout=255", "timeout=255"),
        ("R2349-01", "timeout=256", ""),
        ("R2349-01", "timeout=4294967297", ""),
        ("R2349-10", "tsize=0", "tsize=5368709120"),
        ("R2349-11", "tsize=5", "tsize=5368709120"),
        ("R7440-01", "windowsize=0", ""),
        ("R7440-01", "windowsize=1", "windowsize=1"),
        ("R7440-02", "windowsize=64", "windowsize=64"),
        ("R7440-02", "windowsize=65", "windowsize=64"),
        ("R7440-02", "windowsize=65535", "windowsize=64"),
        ("R7440-02", "windowsize=65536", "windowsize=64"),
        ("R7440-02", "windowsize=18446744073709551615", "windowsize=64"),
        ("R7440-01", "windowsize=-1", ""),
        ("LORE-03", "rollover=0", "rollover=0"),
        ("LORE-03", "rollover=1", "rollover=1"),
        ("LORE-03", "rollover=2", ""),
        ("LORE-03", "rollover=65535", ""),
        ("LORE-07", "utimeout=9999", ""),
        ("LORE-07", "utimeout=10000", "utimeout=10000"),
        ("LORE-07", "utimeout=255000000", "utimeout=255000000"),
        ("LORE-07", "utimeout=255000001", ""),
        ("LORE-08", "blksize2=1000", "blksize2=512"),
        ("LORE-08", "blksize2=1024", "blksize2=1024"),
        ("LORE-08", "blksize2=7", ""),
        ("LORE-08", "blksize2=8", "blksize2=8"),
        ("LORE-08", "blksize2=65464", "blksize2=32768"),
        ("LORE-08", "blksize=1000 blksize2=1000", "blksize=1000"),
        ("LORE-08", "blksize2=1000 blksize=1000", "blksize2=512"),
        ("LORE-08", "blksize=1 blksize2=1000", "blksize2=512"),
        ("LORE-07", "utimeout=20000 timeout=3", "utimeout=20000"),
        ("LORE-07", "timeout=3 utimeout=20000", "timeout=3"),
        ("R2347-02", "foo=bar", ""),
        ("R2347-02", "foo=bar blksize=8 BlkSize3=9", "blksize=8"),
        ("R2347-05", "TSize=0 BLKSIZE=001024", "TSize=5368709120 BLKSIZE=1024"),
        (
            "R2347-01",
            "windowsize=4 timeout=1 blksize=512 tsize=0",
            "windowsize=4 timeout=1 blksize=512 tsize=5368709120",
        ),
        ("R2347-07", "blksize=512 blksize=1024", "blksize=512"),
        ("R2347-07", "BLKSIZE=512 blksize=1024 tsize=0", "BLKSIZE=512 tsize=5368709120"),
        ("R2347-07", "blksize=junk blksize=1024", ""),
        ("R2347-17", "multicast= blksize=1024", "blksize=1024"),
        ("R2090-01", "multicast=", ""),
        (
            "MS-02",
            "tsize=0 blksize=1456 windowsize=4 msftwindow=31416",
            "tsize=5368709120 blksize=1456 windowsize=4",
        ),
        (
            "CL-06",
            "timeout=5 tsize=0 blksize=1468 windowsize=8",
            "timeout=5 tsize=5368709120 blksize=1468 windowsize=8",
        ),
    ];
    for (clause, asked, expected) in table {
        assert_eq!(answer(asked), expected, "{clause}: {asked}");
    }
}

const NAMES: [&str; 7] = ["blksize", "blksize2", "timeout", "utimeout", "tsize", "windowsize", "rollover"];

const JUNK: [&str; 13] = [
    "",
    "+8",
    "-1",
    "8\t",
    "0x200",
    "1e3",
    "\u{ff18}",
    "12abc",
    "abc",
    "8.0",
    "100000000000000000000000",
    "18446744073709551616",
    "99999999999999999999",
];

#[test]
fn opt_01_junk_is_left_out_of_every_option() {
    for (name, value) in NAMES.into_iter().flat_map(|name| JUNK.map(|value| (name, value))) {
        let agreement = answer_with(&Offer::default(), &format!("{name}={value}"));
        assert_eq!(agreement.oack(), None, "{name}={value}: R2347-02, never an empty OACK");
        assert_eq!(agreement.terms, Terms::default(), "R2347-13: {name}={value}");
    }
}

#[test]
fn what_is_answered_is_what_holds() {
    let terms = answer_with(&Offer::default(), "blksize=1428 windowsize=7 timeout=3 rollover=1").terms;
    let expected = Terms {
        blksize: 1428,
        windowsize: 7,
        interval: Some(Duration::from_secs(3)),
        rollover: Rollover::One,
        rollover_agreed: true,
        netascii: false,
    };
    assert_eq!(terms, expected);
    let terms = answer_with(&Offer::default(), "utimeout=250000 blksize2=1500").terms;
    assert_eq!((terms.interval, terms.blksize), (Some(Duration::from_millis(250)), 1024));
}

#[test]
fn golden_octets_of_an_oack() {
    let oack = answer_with(&Offer::default(), "TSIZE=0 blksize=1428").oack();
    assert_eq!(oack.as_deref(), Some(&b"\0\x06TSIZE\x005368709120\0blksize\x001428\0"[..]));
}

#[test]
fn tsize_is_answered_only_for_a_known_meaningful_size() {
    let offer = Offer::default();
    let told = |request: &Request<'_>, size| negotiate(request, &offer, size).unwrap().accepted.to_string();
    for size in [0, 1, 1 << 31, 1 << 32, (1 << 32) + 1, u64::MAX] {
        assert_eq!(told(&rrq("tsize=0"), Some(size)), format!("tsize={size}"), "R2349-10, -15");
    }
    assert_eq!(told(&rrq("tsize=0"), None), "", "R2349-16");
    let netascii = request(Direction::Read, Mode::Netascii, "tsize=0 blksize=8");
    assert_eq!(told(&netascii, Some(7)), "blksize=8", "R2349-14");
    let wrq = request(Direction::Write, Mode::Octet, "tsize=0012345");
    assert_eq!(told(&wrq, None), "tsize=12345", "R2349-12");
}

#[test]
fn r1785_01_a_server_without_options_answers_none() {
    let offer = Offer { options: false, strict: true, rollover: Rollover::One, ..Offer::default() };
    let agreement = answer_with(&offer, "blksize=0 tsize=0 windowsize=4 timeout=1 foo=bar");
    assert_eq!(agreement.oack(), None);
    assert_eq!(agreement.terms, Terms { rollover: Rollover::One, ..Terms::default() });
}

#[test]
fn a_lower_offer_is_answered_lower() {
    let offer = Offer { blksize_max: 1468, windowsize_max: 4, ..Offer::default() };
    let agreement = answer_with(&offer, "blksize=65464 windowsize=64");
    assert_eq!(agreement.accepted.to_string(), "blksize=1468 windowsize=4");
    assert_eq!(answer_with(&offer, "blksize2=65464").accepted.to_string(), "blksize2=1024");
    assert_eq!(
        answer_with(&offer, "blksize=512 windowsize=2").accepted.to_string(),
        "blksize=512 windowsize=2"
    );
}

#[test]
fn r2348_05_a_window_is_no_larger_than_memory_allows() {
    let offer = Offer { windowsize_max: 65535, ..Offer::default() };
    for asked in ["blksize=65464 windowsize=65535", "windowsize=65535 blksize=65464"] {
        let agreement = answer_with(&offer, asked);
        let Terms { blksize, windowsize, .. } = agreement.terms;
        assert!(usize::from(blksize) * usize::from(windowsize) <= limits::WINDOW_OCTETS_MAX);
        assert_eq!((blksize, windowsize), (65464, 64));
        assert_eq!(agreement.accepted.get("windowsize").map(Text::to_string).as_deref(), Some("64"));
        assert_eq!(agreement.accepted.len(), 2);
    }
    assert_eq!(answer_with(&offer, "blksize=8 windowsize=65535").terms.windowsize, 65535);
    assert_eq!(answer_with(&offer, "windowsize=65535").terms.windowsize, 8192, "of 512 octets each");
}

#[test]
fn a_window_is_shorter_than_a_turn_of_numbers() {
    let offer = Offer { windowsize_max: 65535, ..Offer::default() };
    let agreement = answer_with(&offer, "blksize=8 windowsize=65535 rollover=1");
    assert_eq!(agreement.accepted.to_string(), "blksize=8 windowsize=65534 rollover=1");
    assert_eq!(agreement.terms.windowsize, 65534);
}

#[test]
fn rollover_is_answered_only_if_requested() {
    let offer = Offer { rollover: Rollover::One, ..Offer::default() };
    let agreement = answer_with(&offer, "tsize=0");
    assert_eq!((agreement.terms.rollover, agreement.terms.rollover_agreed), (Rollover::One, false));
    let agreement = answer_with(&offer, "rollover=0");
    assert_eq!((agreement.terms.rollover, agreement.terms.rollover_agreed), (Rollover::Zero, true));
}

#[test]
fn strict_servers_refuse_what_an_rfc_does_not_allow() {
    let offer = Offer { strict: true, ..Offer::default() };
    let refused = |written: &str| negotiate(&rrq(written), &offer, Some(SIZE)).err();
    for written in
        ["blksize=7", "blksize=65465", "timeout=0", "timeout=256", "windowsize=0", "windowsize=65536"]
    {
        assert_eq!(refused(written), Some(Failure::Negotiation), "{written}");
    }
    for (name, value) in NAMES.into_iter().flat_map(|name| JUNK.map(|value| (name, value))) {
        assert_eq!(refused(&format!("{name}={value}")), Some(Failure::Negotiation), "{name}={value}");
    }
    for written in ["foo=bar", "multicast=", "blksize=8 timeout=255 windowsize=65535 tsize=1 rollover=1"] {
        assert_eq!(refused(written), None, "{written}");
    }
    // Not the client's fault.
    assert!(negotiate(&rrq("tsize=0"), &offer, None).is_ok());
    let netascii = request(Direction::Read, Mode::Netascii, "tsize=0");
    assert!(negotiate(&netascii, &offer, Some(1)).is_ok());
}

#[test]
fn mal_11_an_oack_never_gets_longer_than_512_octets() {
    let mut padded = Options::new();
    // Unknown options don't count, only answered ones do.
    for number in 0..20 {
        assert!(padded.push(text(&format!("{number}{}", "x".repeat(100))), text("1")));
    }
    assert!(padded.push(text("blksize"), text("1024")));
    let asked = Request::new(Direction::Read, text("f"), Mode::Octet, padded).unwrap();
    let agreement = negotiate(&asked, &Offer::default(), Some(1)).unwrap();
    assert_eq!(agreement.accepted.to_string(), "blksize=1024");
}

#[test]
fn a_client_takes_what_it_asked_for() {
    let asked = "blksize=1428 windowsize=8 timeout=3 tsize=0 rollover=1";
    let took = |answer: &str| accept(&rrq(asked), &options(answer));
    let terms = took("blksize=1000 WINDOWSIZE=4 timeout=3 tsize=99 rollover=1").unwrap();
    assert_eq!((terms.blksize, terms.windowsize), (1000, 4));
    assert_eq!(terms.interval, Some(Duration::from_secs(3)));
    assert_eq!((terms.rollover, terms.rollover_agreed), (Rollover::One, true));
    assert_eq!(took("tsize=0"), Ok(Terms::default()), "R2347-13: what isn't answered doesn't hold");
    assert_eq!(took(""), Ok(Terms::default()));
}

#[test]
fn a_client_refuses_unrequested_or_invalid_options() {
    let asked = "blksize=1428 windowsize=8 timeout=3 utimeout=20000 tsize=0 rollover=1";
    for answer in [
        "foo=1",
        "blksize2=512",
        "multicast=",
        "blksize=1429",
        "blksize=7",
        "blksize=0",
        "blksize=junk",
        "blksize=",
        "windowsize=9",
        "windowsize=0",
        "timeout=4",
        "timeout=2",
        "utimeout=19999",
        "tsize=-1",
        "rollover=0",
        "rollover=2",
        "blksize=512 BLKSIZE=512",
        "tsize=5 foo=1",
    ] {
        assert_eq!(accept(&rrq(asked), &options(answer)), Err(Failure::Negotiation), "{answer}");
    }
    // Invalid requests of the client itself: it would wait for no time or for ever.
    for option in [
        "timeout=0",
        "timeout=256",
        "timeout=18446744073709551615",
        "utimeout=0",
        "blksize=65500",
        "rollover=7",
    ] {
        assert_eq!(accept(&rrq(option), &options(option)), Err(Failure::Negotiation), "{option}");
    }
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        (0..70_000_u64).prop_map(|number| number.to_string()),
        (0..300_u64).prop_map(|number| format!("00{number}")),
        prop::sample::select(&JUNK[..]).prop_map(str::to_owned),
    ]
}

fn any_pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        prop::sample::select(&NAMES[..]).prop_map(str::to_uppercase),
        "[a-z]{1,80}",
    ];
    vec((name, any_value()), 0..32)
}

fn any_offer() -> impl Strategy<Value = Offer> {
    (any::<bool>(), 8..=65464_u16, 1..=65535_u16, any::<bool>()).prop_map(
        |(options, blksize_max, windowsize_max, one)| Offer {
            options,
            strict: false,
            blksize_max,
            windowsize_max,
            rollover: if one { Rollover::One } else { Rollover::Zero },
            ..Offer::default()
        },
    )
}

/// Whether a client that asked for `asked` may get `answered` (R2348-01, R2349-01, R7440-01).
fn is_fair(name: &str, asked: u64, answered: u64) -> bool {
    match name {
        "blksize" | "blksize2" | "windowsize" => (1..=asked).contains(&answered),
        "tsize" => true,
        _ => answered == asked,
    }
}

proptest! {
    /// R2347-03, -04, -05, -06: for all requests and offers.
    #[test]
    fn an_oack_holds_only_what_was_asked_for(pairs in any_pairs(), offer in any_offer(), size: Option<u64>, write: bool) {
        let mut asked = Options::new();
        for (name, value) in &pairs {
            asked.push(text(name), text(value));
        }
        let direction = if write { Direction::Write } else { Direction::Read };
        let request = Request::new(direction, text("f"), Mode::Octet, asked.clone()).unwrap();
        let agreement = negotiate(&request, &offer, size).unwrap();
        prop_assert_eq!(agreement.oack().is_none(), agreement.accepted.is_empty());
        let mut names_left = pairs.iter().map(|(name, _)| name.as_bytes());
        for (name, value) in agreement.accepted.iter() {
            prop_assert!(names_left.any(|asked| asked == name.as_bytes()), "{name}: spelling and order");
            let spelled = name.to_string().to_ascii_lowercase();
            let asked = asked.get(&spelled).and_then(|asked| decimal(asked.as_bytes())).unwrap();
            let answered = decimal(value.as_bytes()).unwrap();
            prop_assert_eq!(value, &Text::from(answered), "canonical");
            prop_assert!(is_fair(&spelled, asked, answered), "{spelled}: asked {asked}, answered {answered}");
        }
        if let Some(oack) = agreement.oack() {
            prop_assert!(oack.len() <= limits::OACK_OCTETS_MAX && oack.ends_with(b"\0"));
            prop_assert_eq!(Packet::decode(&oack), Ok(Packet::Oack(agreement.accepted.clone())));
        }
        // Our own client accepts it with the same meaning.
        let understood = accept(&request, &agreement.accepted).unwrap();
        prop_assert_eq!(understood.blksize, agreement.terms.blksize);
        prop_assert_eq!(understood.windowsize, agreement.terms.windowsize);
        prop_assert_eq!(understood.interval, agreement.terms.interval);
        prop_assert_eq!(understood.rollover_agreed, agreement.terms.rollover_agreed);
    }
}
