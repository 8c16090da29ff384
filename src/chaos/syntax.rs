//! The text form of plans, for the environment variable of the program.

use std::str::{FromStr, SplitWhitespace};
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
            take(&chaos, statement)?;
        }
        Ok(chaos)
    }
}

fn take(chaos: &Chaos, statement: &str) -> Result<(), PlanError> {
    let wrong = || PlanError::Syntax(statement.to_owned());
    // A file name may contain `=`.
    let (subject, what) = statement.rsplit_once('=').ok_or_else(wrong)?;
    let (subject, mut words) = (subject.trim(), what.split_whitespace());
    match subject {
        "seed" => chaos.set_seed(number(&mut words).ok_or_else(wrong)?),
        "restarts" => {
            let max = number(&mut words).ok_or_else(wrong)?;
            chaos.raise_restarts(max, within(&mut words).ok_or_else(wrong)?);
        }
        points => {
            let fault = fault(&mut words).ok_or_else(wrong)?;
            let when = When::read(&mut words).ok_or_else(wrong)?;
            return plan(chaos, points, fault, &when).unwrap_or_else(|| Err(wrong()));
        }
    }
    if words.next().is_some() { Err(wrong()) } else { Ok(()) }
}

/// `None` for a syntax error.
fn plan(chaos: &Chaos, points: &str, fault: Fault, when: &When) -> Option<Result<(), PlanError>> {
    if let Some(every) = when.every {
        if when.skip.or(when.times).is_some() || points.contains('[') {
            return None;
        }
        let points = points.split('|').map(|point| point.trim().to_owned()).collect();
        return Some(chaos.storm(&Storm { points, fault, every }));
    }
    let (point, subject) = match points.split_once('[') {
        Some((point, subject)) => (point, Some(subject.strip_suffix(']')?.to_owned())),
        // Only storms have several points.
        None if points.contains('|') => return None,
        None => (points, None),
    };
    let (skip, times) = (when.skip.unwrap_or(0), when.times.unwrap_or(1));
    Some(chaos.plan(Plan { point: point.to_owned(), subject, skip, times, fault }))
}

#[derive(Debug, Default)]
struct When {
    skip: Option<u32>,
    times: Option<u32>,
    every: Option<Duration>,
}

impl When {
    fn read(words: &mut SplitWhitespace<'_>) -> Option<Self> {
        let mut when = Self::default();
        while let Some(word) = words.next() {
            match word {
                "skip" if when.skip.is_none() => when.skip = Some(number(words)?),
                "times" if when.times.is_none() => when.times = Some(number(words)?),
                "every" if when.every.is_none() => when.every = Some(time(words)?),
                _ => return None,
            }
        }
        Some(when)
    }
}

fn fault(words: &mut SplitWhitespace<'_>) -> Option<Fault> {
    Some(match words.next()? {
        "panic" => Fault::Panic,
        "stop" => Fault::Stop,
        "delay" => Fault::Delay(time(words)?),
        _ => return None,
    })
}

/// `within TIME`, or nothing.
fn within(words: &mut SplitWhitespace<'_>) -> Option<Option<Duration>> {
    match words.next() {
        None => Some(None),
        Some("within") => time(words).map(Some),
        Some(_) => None,
    }
}

fn number<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

fn time(words: &mut SplitWhitespace<'_>) -> Option<Duration> {
    let word = words.next()?;
    let unit = word.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = word.split_at(unit);
    let number = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}
