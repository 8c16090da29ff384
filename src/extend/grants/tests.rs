//! Allowed and disallowed answers of negotiators.

use proptest::collection::vec;
use proptest::prelude::*;

use super::Grants;
use crate::extend::Grant;
use crate::limits::OACK_OCTETS_MAX;
use crate::transfer::{OPTIONS, Offer, negotiate};
use crate::wire::{Options, Packet, Request, Text, decimal};

const WRONG_VALUE: &str = "it granted more of an option than was asked for, or less than there is";

fn request() -> Request<'static> {
    let octets = b"\0\x01f\0octet\0X-Sha256\0\0blksize\x001428\0windowsize\x0016\0tsize\x000\0";
    let Ok(Packet::Request(request)) = Packet::decode(octets) else { panic!("no request") };
    request.into_owned()
}

fn checked(grants: &[Grant]) -> Grants {
    Grants::new(&request(), grants.to_vec())
}

fn grants(answers: &[(&str, &str)]) -> Grants {
    checked(&answers.iter().map(|(name, value)| Grant::new(*name, *value)).collect::<Vec<_>>())
}

/// The options in the OACK.
fn agreed(grants: &Grants) -> String {
    let mut offer = Offer::default();
    grants.bound(&mut offer);
    let mut accepted = negotiate(&grants.heed(&request()), &offer, Some(7)).unwrap().accepted;
    assert!(grants.answer(&mut accepted));
    accepted.to_string()
}

#[test]
fn a_new_option_is_answered_in_the_clients_spelling() {
    let grants = grants(&[("x-sha256", "abc")]);
    assert_eq!(agreed(&grants), "blksize=1428 windowsize=16 tsize=7 X-Sha256=abc");
    assert_eq!(grants.wrong, [""; 0]);
}

#[test]
fn the_smallest_grant_of_a_known_option_counts() {
    for answers in [&[("BLKSIZE", "512")][..], &[("blksize", "512"), ("blksize", "600")]] {
        let grants = grants(answers);
        assert_eq!(agreed(&grants), "blksize=512 windowsize=16 tsize=7");
        assert_eq!(grants.wrong, [""; 0]);
    }
    assert_eq!(agreed(&grants(&[("windowsize", "1")])), "blksize=1428 windowsize=1 tsize=7");
}

#[test]
fn a_left_out_option_counts_as_never_asked_for() {
    assert_eq!(agreed(&checked(&[Grant::leave_out("TSIZE")])), "blksize=1428 windowsize=16");
    // Even if another negotiator answers it.
    let both = [Grant::new("x-sha256", "abc"), Grant::leave_out("x-sha256"), Grant::leave_out("blksize")];
    assert_eq!(agreed(&checked(&both)), "windowsize=16 tsize=7");
    let unasked = checked(&[Grant::leave_out("y-unasked")]);
    assert_eq!(unasked.wrong, ["it answered an option that nobody asked for"]);
}

#[test]
fn whatever_else_an_extension_answers_is_left_out() {
    for (name, value, why) in [
        ("y-unasked", "1", "it answered an option that nobody asked for"),
        ("x-sha256", "", "it answered an option with nothing"),
        ("x-sha256", "a\0b", "it answered an option with a NUL"),
        ("tsize", "7", "it answered an option that the server answers itself"),
        ("blksize", "1429", WRONG_VALUE),
        ("blksize", "7", WRONG_VALUE),
        ("blksize", "many", WRONG_VALUE),
        ("windowsize", "0", WRONG_VALUE),
    ] {
        let grants = grants(&[(name, value)]);
        assert_eq!(grants.wrong, [why], "{name}={value}");
        assert_eq!(agreed(&grants), "blksize=1428 windowsize=16 tsize=7");
    }
}

#[test]
fn of_two_answers_to_one_option_the_first_counts() {
    let grants = grants(&[("x-sha256", "a"), ("X-SHA256", "b")]);
    assert!(agreed(&grants).ends_with("X-Sha256=a"));
    assert_eq!(grants.wrong, ["it answered an option that is answered already"]);
}

#[test]
fn an_answer_too_long_for_the_oack_is_left_out() {
    let long = "a".repeat(OACK_OCTETS_MAX);
    let mut accepted = Options::new();
    assert!(!grants(&[("x-sha256", &long)]).answer(&mut accepted));
    assert!(accepted.is_empty());
}

/// Names of options, known and unknown, in any case.
fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(OPTIONS.to_vec()).prop_map(str::to_owned);
    let other = prop::sample::select(vec!["x-board", "X-Board", "x-sha256", "multicast"]);
    prop_oneof![
        known.clone(),
        known.prop_map(|name| name.to_uppercase()),
        other.prop_map(str::to_owned),
        "\\PC{0,3}"
    ]
}

/// Valid and invalid numbers, words, empty values, NULs, and values too long for any OACK.
fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![0..100_u64, 0..70_000_u64, any::<u64>()].prop_map(|number| number.to_string());
    prop_oneof![number, "\\PC{0,9}", Just("a\0b".to_owned()), Just("a".repeat(OACK_OCTETS_MAX))]
}

fn grant() -> impl Strategy<Value = Grant> {
    (name(), prop::option::of(value())).prop_map(|(name, value)| match value {
        Some(value) => Grant::new(name, value),
        None => Grant::leave_out(name),
    })
}

proptest! {
    /// RFC 2347: whatever negotiators answer, a client gets at most one answer to each option that
    /// it asked for, and no higher value than it asked for.
    #[test]
    fn no_client_gets_what_it_did_not_ask_for(
        asked in vec((name(), value()), 0..6),
        grants in vec(grant(), 0..8),
        size in prop::option::of(any::<u64>()),
    ) {
        let mut asking = request();
        asking.options = Options::new();
        for (name, value) in &asked {
            if let (Some(name), Some(value)) = (Text::new(name.clone().into_bytes()), Text::new(value.clone().into_bytes())) {
                asking.options.push(name, value);
            }
        }
        let checked = Grants::new(&asking, grants.clone());
        let mut offer = Offer::default();
        checked.bound(&mut offer);
        let mut accepted = negotiate(&checked.heed(&asking), &offer, size).unwrap().accepted;
        checked.answer(&mut accepted);
        prop_assert!(2 + accepted.wire_octets() <= OACK_OCTETS_MAX);
        for (index, (name, value)) in accepted.iter().enumerate() {
            let is_same = |other: &Text<'_>| other.as_bytes().eq_ignore_ascii_case(name.as_bytes());
            let (spelled, asked) = asking.options.iter().find(|(other, _)| is_same(other)).expect("it was asked for");
            prop_assert_eq!(spelled, name);
            prop_assert!(accepted.iter().take(index).all(|(other, _)| !is_same(other)));
            prop_assert!(!grants.iter().any(|it| it.value.is_none() && is_same(&Text::until_nul(it.name.as_bytes()))));
            let least = match &*name.to_string().to_ascii_lowercase() {
                "blksize" | "blksize2" => 8,
                "windowsize" => 1,
                _ => continue,
            };
            let granted = decimal(value.as_bytes()).unwrap();
            prop_assert!((least..=decimal(asked.as_bytes()).unwrap()).contains(&granted), "{name}={granted}");
        }
    }
}
