//! The text form of plans, for the environment variable of the program.

use std::str::FromStr;
use std::time::Duration;

use super::plan::{Fault, Plan, PlanError, Storm};
use super::state::Chaos;

/// Statements separated by `;`: `POINT[SUBJECT]=FAULT skip NUMBER times NUMBER`, `POINT|POINT=FAULT
/// every TIME`, `seed=NUMBER` and `restarts=NUMBER within TIME`. A fault is `panic`, `stop` or
/// `delay TIME`; a time is a number and `us`, `ms` or `s`. Subject, `skip`, `times`, `within` are
/// optional.
impl FromStr for Chaos {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let chaos = Self::default();
        for statement in text.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            obey(&chaos, statement).unwrap_or_else(|| Err(PlanError::Syntax(statement.to_owned())))?;
        }
        Ok(chaos)
    }
}

/// `None` for a syntax error.
fn obey(chaos: &Chaos, statement: &str) -> Option<Result<(), PlanError>> {
    // A file name may contain `=`.
    let (subject, what) = statement.rsplit_once('=')?;
    let words: Vec<&str> = what.split_whitespace().collect();
    match (subject.trim(), &words[..]) {
        ("seed", [seed]) => chaos.set_seed(seed.parse().ok()?),
        ("restarts", [max]) => chaos.raise_restarts(max.parse().ok()?, None),
        ("restarts", [max, "within", period]) => {
            chaos.raise_restarts(max.parse().ok()?, Some(time(period)?));
        }
        ("seed" | "restarts", _) => return None,
        (points, [fault @ .., "every", every]) if !points.contains('[') => {
            let points = points.split('|').map(|point| point.trim().to_owned()).collect();
            let (fault, []) = take_fault(fault)? else { return None };
            return Some(chaos.storm(Storm { points, fault, every: time(every)? }));
        }
        (point, words) => {
            let (fault, when) = take_fault(words)?;
            let (skip, times) = match when {
                [] => ("0", "1"),
                ["skip", skip] => (*skip, "1"),
                ["times", times] => ("0", *times),
                ["skip", skip, "times", times] => (*skip, *times),
                _ => return None,
            };
            let (point, subject) = match point.split_once('[') {
                Some((point, subject)) => (point.to_owned(), Some(subject.strip_suffix(']')?.to_owned())),
                // Only storms have several points.
                None if point.contains('|') => return None,
                None => (point.to_owned(), None),
            };
            let (skip, times) = (skip.parse().ok()?, times.parse().ok()?);
            return Some(chaos.plan(Plan { point, subject, skip, times, fault }));
        }
    }
    Some(Ok(()))
}

/// A fault, and the words after it.
fn take_fault<'w>(words: &'w [&'w str]) -> Option<(Fault, &'w [&'w str])> {
    match words {
        ["panic", rest @ ..] => Some((Fault::Panic, rest)),
        ["stop", rest @ ..] => Some((Fault::Stop, rest)),
        ["delay", delay, rest @ ..] => Some((Fault::Delay(time(delay)?), rest)),
        _ => None,
    }
}

fn time(word: &str) -> Option<Duration> {
    let (number, unit) = word.split_at(word.find(|it: char| !it.is_ascii_digit())?);
    let number = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}
