use std::time::Duration;

use super::*;
use crate::limits::{OUTAGE_LOGGED_EVERY, OUTAGES_LOGGED_MAX};

#[test]
fn each_line_passes_once_a_minute() {
    let (mut lines, began) = (RecentLines::default(), Instant::now());
    let at = |s| began + Duration::from_secs(s);
    assert!(lines.spend("a", at(0)) && lines.spend("b", at(1)));
    assert!(!lines.spend("a", at(2)) && !lines.spend("a", at(59)) && !lines.spend("b", at(60)));
    assert_eq!((lines.has_withheld(), lines.take_withheld(at(61))), (true, None));
    assert_eq!(lines.take_withheld(at(62)), Some(3));
    assert_eq!((lines.has_withheld(), lines.take_withheld(at(200))), (false, None));
    assert!(lines.spend("a", at(62)) && !lines.spend("a", at(63)));
}

#[test]
fn made_up_names_fill_neither_memory_nor_log() {
    let (mut lines, now) = (RecentLines::default(), Instant::now());
    let written = (0..100_000).filter(|name: &i32| lines.spend(name, now)).count();
    assert_eq!((written, lines.written.len()), (OUTAGES_LOGGED_MAX, OUTAGES_LOGGED_MAX));
    let later = now + OUTAGE_LOGGED_EVERY;
    assert_eq!(lines.take_withheld(later), Some(100_000 - OUTAGES_LOGGED_MAX as u64));
    assert!(lines.spend("another", later), "those of an earlier minute give their places back");
    assert_eq!(lines.written.len(), 1);
}
