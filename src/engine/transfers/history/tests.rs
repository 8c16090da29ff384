use crate::engine::transfers::history::History;
use crate::limits::HISTORY_MAX;
use crate::observe::test_support::report;

#[test]
fn an_operator_sees_the_last_transfers_in_the_order_of_their_ends_and_memory_is_bounded() {
    let history = History::default();
    let last = HISTORY_MAX as u64 + 3;
    (1..=last).for_each(|id| history.push(report(id)));
    let ids: Vec<u64> = history.all().iter().map(|report| report.id.0).collect();
    assert_eq!(ids, (4..=last).collect::<Vec<_>>());
}
