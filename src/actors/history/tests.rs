use std::time::Duration;

use super::History;
use crate::limits::HISTORY_MAX;
use crate::observe::{Report, TransferId};
use crate::transfer::{Outcome, Tally};
use crate::wire::Direction;

fn report(id: u64) -> Report {
    Report {
        id: TransferId(id),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 2).into(),
        direction: Direction::Read,
        name: "file".to_owned(),
        mode: "octet".to_owned(),
        path: None,
        size: None,
        options: String::new(),
        duration: Duration::ZERO,
        tally: Tally::default(),
        outcome: Outcome::Complete,
        detail: None,
        label: None,
    }
}

#[test]
fn an_operator_sees_the_last_transfers_in_the_order_of_their_ends_and_memory_is_bounded() {
    let history = History::default();
    let last = HISTORY_MAX as u64 + 3;
    (1..=last).for_each(|id| history.push(report(id)));
    let ids: Vec<u64> = history.all().iter().map(|report| report.id.0).collect();
    assert_eq!(ids, (4..=last).collect::<Vec<_>>());
}
