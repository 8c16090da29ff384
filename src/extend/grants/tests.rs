//! Negotiators that answer what they may, and those that don't.

use super::Grants;
use crate::extend::Grant;
use crate::limits::OACK_OCTETS_MAX;
use crate::wire::{Options, Packet, Request};

fn request() -> Request<'static> {
    let octets = b"\0\x01f\0octet\0X-Sha256\0\0blksize\x001428\0windowsize\x0016\0tsize\x000\0";
    let Ok(Packet::Request(request)) = Packet::decode(octets) else { panic!("no request") };
    request.into_owned()
}

fn grants(answers: &[(&str, &str)]) -> Grants {
    let grants = answers.iter().map(|(name, value)| Grant::new(*name, *value)).collect();
    Grants::new(&request(), grants)
}

fn accepted(grants: &Grants) -> String {
    let mut accepted = Options::new();
    assert!(grants.answer(&mut accepted));
    accepted.to_string()
}

#[test]
fn a_new_option_is_answered_in_the_clients_spelling() {
    let grants = grants(&[("x-sha256", "abc")]);
    assert_eq!(accepted(&grants), "X-Sha256=abc");
    assert_eq!((grants.lower(&request().options), grants.wrong.len()), (None, 0));
}

#[test]
fn less_of_a_known_option_is_granted_and_the_others_stay_as_they_were_asked_for() {
    let grants = grants(&[("BLKSIZE", "512"), ("windowsize", "16")]);
    let wishes = grants.lower(&request().options).unwrap();
    assert_eq!(wishes.to_string(), "X-Sha256= blksize=512 windowsize=16 tsize=0");
    assert_eq!(accepted(&grants), "");
}

#[test]
fn whatever_else_an_extension_answers_is_left_out() {
    for (name, value, why) in [
        ("y-unasked", "1", "it answered an option that nobody asked for"),
        ("x-sha256", "", "it answered an option with nothing"),
        ("x-sha256", "a\0b", "it answered an option with a NUL"),
        ("tsize", "7", "it answered an option that the server answers itself"),
        ("blksize", "1429", "it granted more of an option than was asked for, or less than there is"),
        ("blksize", "7", "it granted more of an option than was asked for, or less than there is"),
        ("blksize", "many", "it granted more of an option than was asked for, or less than there is"),
        ("windowsize", "0", "it granted more of an option than was asked for, or less than there is"),
    ] {
        let grants = grants(&[(name, value)]);
        assert_eq!(grants.wrong, [why], "{name}={value}");
        assert_eq!((accepted(&grants), grants.lower(&request().options)), (String::new(), None));
    }
}

#[test]
fn of_two_answers_to_one_option_the_first_counts() {
    let grants = grants(&[("x-sha256", "a"), ("X-SHA256", "b"), ("blksize", "512"), ("blksize", "8")]);
    assert_eq!(accepted(&grants), "X-Sha256=a");
    assert_eq!(grants.wrong, ["it answered an option that is answered already"; 2]);
    assert!(grants.lower(&request().options).unwrap().to_string().contains("blksize=512"));
}

#[test]
fn an_answer_that_finds_no_room_in_the_oack_is_left_out() {
    let long = "a".repeat(OACK_OCTETS_MAX);
    let mut accepted = Options::new();
    assert!(!grants(&[("x-sha256", &long)]).answer(&mut accepted));
    assert!(accepted.is_empty());
}
