use super::*;

#[test]
fn each_second_has_its_lines() {
    let (mut budget, began) = (Budget::new(2, Duration::from_secs(1)), Instant::now());
    let at = |ms| began + Duration::from_millis(ms);
    assert_eq!([0, 1, 2, 999].map(|ms| budget.spend(at(ms))), [true, true, false, false]);
    assert_eq!(budget.take_withheld(Some(at(999))), None);
    assert_eq!(budget.take_withheld(Some(at(1000))), Some(2));
    assert_eq!(budget.take_withheld(Some(at(1000))), None);
    // The line with the count was the first of that second.
    assert_eq!([1000, 1001, 1002].map(|ms| budget.spend(at(ms))), [true, false, false]);
    assert_eq!(budget.take_withheld(Some(at(5000))), Some(2));
}

#[test]
fn a_limit_is_logged_at_once_and_then_each_minute() {
    let (mut withheld, began) = (Withheld::default(), Instant::now());
    let at = |s| began + Duration::from_secs(s);
    assert!(withheld.of_limit(Limit::OpenFiles).spend(at(30)), "each has its own line");
    let lines = withheld.of_limit(Limit::Transfers);
    assert!(lines.spend(at(0)), "at once");
    assert_eq!([1, 2, 59, 61].map(|s| lines.spend(at(s))), [false; 4]);
    assert_eq!(lines.take_withheld(Some(at(59))), None);
    assert_eq!(lines.take_withheld(Some(at(61))), Some(4));
    // The next minute begins with that line.
    assert!(!lines.spend(at(120)));
    assert_eq!(lines.take_withheld(Some(at(120))), None);
    assert_eq!(lines.take_withheld(Some(at(121))), Some(1));
    // After a quiet minute the limit is logged at once again, and the end loses no count.
    assert!(lines.spend(at(200)) && !lines.spend(at(201)));
    assert!(withheld.is_any());
    assert_eq!(withheld.of_limit(Limit::Transfers).take_withheld(None), Some(1));
    assert!(!withheld.is_any());
}

#[test]
fn each_line_passes_once_a_minute() {
    let (mut lines, began) = (Withheld::default(), Instant::now());
    let at = |s| began + Duration::from_secs(s);
    assert!(lines.spend_of_outages("a", at(0)) && lines.spend_of_outages("b", at(1)));
    assert!(
        !lines.spend_of_outages("a", at(2))
            && !lines.spend_of_outages("a", at(59))
            && !lines.spend_of_outages("b", at(60))
    );
    assert_eq!((lines.is_any(), lines.outages.take_withheld(Some(at(61)))), (true, None));
    assert_eq!(lines.outages.take_withheld(Some(at(62))), Some(3));
    assert_eq!((lines.is_any(), lines.outages.take_withheld(Some(at(200)))), (false, None));
    assert!(lines.spend_of_outages("a", at(62)) && !lines.spend_of_outages("a", at(63)));
}

#[test]
fn made_up_names_fill_neither_memory_nor_log() {
    let (mut lines, now) = (Withheld::default(), Instant::now());
    let written = (0..100_000).filter(|name: &i32| lines.spend_of_outages(name, now)).count();
    assert_eq!((written, lines.outage_lines.len()), (OUTAGES_LOGGED_MAX, OUTAGES_LOGGED_MAX));
    let later = now + LINE_REPEATED_EVERY;
    assert_eq!(lines.outages.take_withheld(Some(later)), Some(100_000 - OUTAGES_LOGGED_MAX as u64));
    assert!(lines.spend_of_outages("another", later), "those of an earlier minute give their places back");
    assert_eq!(lines.outage_lines.len(), 1);
}
