use std::time::Duration;

use super::*;

#[test]
fn a_limit_is_logged_at_once_and_then_each_minute() {
    let (mut lines, began) = (LimitLines::default(), Instant::now());
    let at = |s| began + Duration::from_secs(s);
    assert!(lines.spend(Limit::Transfers, at(0)), "at once");
    let more = [1, 2, 59, 61].map(|s| lines.spend(Limit::Transfers, at(s)));
    assert_eq!(more, [false; 4]);
    assert!(lines.spend(Limit::OpenFiles, at(30)), "another has its own line");
    assert_eq!(lines.take_withheld(at(59), false), []);
    assert_eq!(lines.take_withheld(at(61), false), [(Limit::Transfers, 4)]);
    assert!(!lines.has_withheld());
    // The next minute begins with that line.
    assert!(!lines.spend(Limit::Transfers, at(120)));
    assert_eq!(lines.take_withheld(at(120), false), []);
    assert_eq!(lines.take_withheld(at(121), false), [(Limit::Transfers, 1)]);
    // After a quiet minute the limit is logged at once again, and the end loses no count.
    assert!(lines.spend(Limit::Transfers, at(200)) && !lines.spend(Limit::Transfers, at(201)));
    assert_eq!(lines.take_withheld(at(202), true), [(Limit::Transfers, 1)]);
}
