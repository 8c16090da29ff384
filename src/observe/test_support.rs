//! Helpers for tests of several modules.

use std::time::Duration;

use super::{Report, TransferId};
use crate::transfer::{Outcome, Tally};
use crate::wire::Direction;

/// The report of a complete transfer, with defaults for everything else.
pub(crate) fn report(id: u64) -> Report {
    Report {
        id: TransferId(id),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 2).into(),
        direction: Direction::Read,
        name: "file".to_owned(),
        mode: "octet".to_owned(),
        path: None,
        size: None,
        asked: String::new(),
        options: String::new(),
        announced: None,
        duration: Duration::ZERO,
        tally: Tally::default(),
        outcome: Outcome::Complete,
        detail: None,
        limit: None,
        label: None,
    }
}
