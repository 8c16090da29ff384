//! Negotiators that answer what they may, and those that don't.

use super::Grants;
use crate::extend::Grant;
use crate::limits::OACK_OCTETS_MAX;
use crate::transfer::{Offer, negotiate};
use crate::wire::{Options, Packet, Request};

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

/// What the client is told.
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
fn less_of_a_known_option_is_granted_and_the_least_if_several_do() {
    for answers in [&[("BLKSIZE", "512")][..], &[("blksize", "512"), ("blksize", "600")]] {
        let grants = grants(answers);
        assert_eq!(agreed(&grants), "blksize=512 windowsize=16 tsize=7");
        assert_eq!(grants.wrong, [""; 0]);
    }
    assert_eq!(agreed(&grants(&[("windowsize", "1")])), "blksize=1428 windowsize=1 tsize=7");
}

#[test]
fn an_option_that_is_left_out_is_as_if_nobody_had_asked_for_it() {
    assert_eq!(agreed(&checked(&[Grant::leave_out("TSIZE")])), "blksize=1428 windowsize=16");
    // Whoever answers it.
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
fn an_answer_that_finds_no_room_in_the_oack_is_left_out() {
    let long = "a".repeat(OACK_OCTETS_MAX);
    let mut accepted = Options::new();
    assert!(!grants(&[("x-sha256", &long)]).answer(&mut accepted));
    assert!(accepted.is_empty());
}
