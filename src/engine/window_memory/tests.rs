use super::WindowMemory;
use crate::transfer::Terms;

#[test]
fn windows_give_their_memory_back() {
    let budget = WindowMemory::new(10_000);
    let terms = Terms { blksize: 1000, windowsize: 5, ..Terms::default() };
    assert_eq!(budget.left(), 10_000);
    let first = budget.take(&terms);
    assert_eq!(budget.left(), 6_000, "the first block of a window is free");
    let more = [budget.take(&terms), budget.take(&terms)];
    assert_eq!(budget.left(), 0, "taken beyond the limit, there is nothing left, and no overflow");
    drop((first, more));
    assert_eq!(budget.left(), 10_000);
}
