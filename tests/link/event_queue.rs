//! Events in virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Events in order of time; those of one moment in the order in which they were pushed.
pub(crate) struct EventQueue<E> {
    entries: BinaryHeap<Reverse<Entry<E>>>,
    pushed: u64,
}

struct Entry<E> {
    at: Duration,
    order: u64,
    event: E,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self { entries: BinaryHeap::new(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, at: Duration, event: E) {
        self.pushed += 1;
        self.entries.push(Reverse(Entry { at, order: self.pushed, event }));
    }

    /// The next event, and when.
    pub(crate) fn peek(&self) -> Option<(Duration, &E)> {
        self.entries.peek().map(|Reverse(entry)| (entry.at, &entry.event))
    }

    pub(crate) fn pop(&mut self) -> Option<E> {
        self.entries.pop().map(|Reverse(entry)| entry.event)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
