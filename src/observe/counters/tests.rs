use super::*;
use crate::error::Limit;
use crate::limits::LABELS_COUNTED_MAX;
use crate::observe::test_support::report;
use crate::transfer::{Outcome, Tally};
use crate::wire::ErrorCode;
use std::borrow::Cow;

fn finish(counters: &Counters, label: Option<&str>, octets: u64, outcome: Outcome) {
    let tally = Tally { octets, ..Tally::default() };
    let report = Report { tally, outcome, label: label.map(Label::new), ..report(1) };
    counters.observe(&Fact::Finished(Cow::Borrowed(&report)));
}

#[test]
fn transfers_are_counted_by_label_and_in_total() {
    let counters = Counters::default();
    let failed = Outcome::Failed(Failure::Io);
    for (label, octets, outcome) in [
        (Some("tenant b"), 10, Outcome::Complete),
        (Some("tenant a"), 5, failed),
        (None, 100, Outcome::Complete),
        (Some("tenant a"), 7, Outcome::Complete),
    ] {
        finish(&counters, label, octets, outcome);
    }
    let tallied = counters.tallied();
    assert_eq!((tallied.complete, tallied.failed, tallied.octets), (3, 1, 122));
    let of = |complete, failed, octets| TalliedLabel { complete, failed, octets };
    let expected = [(Label::new("tenant a"), of(1, 1, 12)), (Label::new("tenant b"), of(1, 0, 10))];
    assert_eq!(counters.by_label(), expected);
}

#[test]
fn labels_that_are_too_many_are_counted_together() {
    let counters = Counters::default();
    for number in 0..LABELS_COUNTED_MAX + 10 {
        finish(&counters, Some(&format!("client {number}")), 1, Outcome::Complete);
    }
    finish(&counters, Some("client 0"), 1, Outcome::Complete);
    let counted = counters.by_label();
    assert_eq!(counted.len(), LABELS_COUNTED_MAX + 1);
    let of = |label: &str| counted.iter().find(|(it, _)| it.as_str() == label).unwrap().1.complete;
    assert_eq!((of("(others)"), of("client 0"), of("client 1")), (10, 2, 1));
}

#[test]
fn what_did_not_go_well_is_counted_by_its_reasons() {
    let (counters, peer) = (Counters::default(), report(1).peer);
    for outcome in [
        Outcome::Complete,
        Outcome::Failed(Failure::NotFound),
        Outcome::Failed(Failure::NotFound),
        Outcome::PeerGone,
        Outcome::Outage(Failure::Io),
    ] {
        finish(&counters, None, 1, outcome);
    }
    let fault = Failure::ReadOnly.into();
    counters.observe(&Fact::Refused { peer, request: None, fault: Cow::Borrowed(&fault) });
    counters.observe(&Fact::Dropped { peer, why: "it is no request" });
    counters.observe(&Fact::LimitReached { limit: Limit::Transfers, peer });
    let reasons: Vec<_> = counters
        .by_reason()
        .into_iter()
        .map(|it| format!("{} {} {}", it.counter, it.why, it.count))
        .collect();
    assert_eq!(
        reasons,
        [
            "dropped it is no request 1",
            "failed File not found 2",
            "failed peer-gone 1",
            "limited --max-transfers 1",
            "outages Input/output error 1",
            "refused Server is read-only 1",
        ]
    );
    assert_eq!(counters.tallied().limited, 1);
    // Reasons that an extension makes up are limited.
    for code in 0..1000 {
        finish(&counters, None, 1, Outcome::Failed(Failure::Refused(ErrorCode(code))));
    }
    assert_eq!(counters.by_reason().len(), limits::REASONS_COUNTED_MAX);
}

/// An operator who reads of outages checks the disk.
#[test]
fn a_request_beyond_a_limit_is_no_outage() {
    let counters = Counters::default();
    let finish = |outcome, limit, blocks| {
        let tally = Tally { blocks, ..Tally::default() };
        let report = Report { outcome, limit: Some(limit), tally, ..report(1) };
        counters.observe(&Fact::Finished(Cow::Borrowed(&report)));
    };
    finish(Outcome::Outage(Failure::Busy), Limit::OpenFiles, 0);
    finish(Outcome::Failed(Failure::Busy), Limit::OpenFiles, 0);
    finish(Outcome::Failed(Failure::DiskFull), Limit::FreeDisk, 0);
    // This one was a transfer.
    finish(Outcome::Failed(Failure::TooLarge), Limit::UploadSize, 9);
    let Tallied { failed, outages, refused, dropped, .. } = counters.tallied();
    assert_eq!((failed, outages, refused, dropped), (1, 0, 2, 1));
    let reasons = counters.by_reason();
    assert!(reasons.iter().all(|reason| reason.counter != "outages"), "{reasons:?}");
}
