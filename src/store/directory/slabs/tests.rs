use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::*;
use crate::error::Failure;

#[test]
fn what_many_threads_miss_at_once_is_read_once() {
    let (slabs, reads, start) = (Arc::<Slabs>::default(), AtomicUsize::new(0), Barrier::new(16));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                let read = || {
                    reads.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_millis(20));
                    Ok(vec![7; 8])
                };
                let slab = slabs.find_or_read(3, read).unwrap();
                // Held until all threads have theirs.
                start.wait();
                assert_eq!(slab.bytes(2, 4)[..], [7; 4]);
            });
        }
    });
    assert_eq!(reads.into_inner(), 1);
}

#[test]
fn a_failed_read_is_repeated_by_a_waiting_thread() {
    for panics in [false, true] {
        let (slabs, begun) = (Arc::<Slabs>::default(), Barrier::new(2));
        thread::scope(|scope| {
            let failing = scope.spawn(|| {
                slabs.find_or_read(0, || {
                    begun.wait();
                    thread::sleep(Duration::from_millis(20));
                    if panics { panic!("the store is broken") } else { Err(Failure::Changed.into()) }
                })
            });
            begun.wait();
            assert!(matches!(slabs.find(0), Found::Reading));
            let waiting = slabs.find_or_read(0, || Ok(vec![1])).unwrap();
            assert_eq!(waiting.bytes(0, 1)[..], [1]);
            assert!(!matches!(failing.join(), Ok(Ok(_))));
        });
    }
}

#[test]
fn a_slab_that_nobody_needs_is_gone() {
    let slabs = Slabs::default();
    let bytes = slabs.add(0, vec![1, 2, 3]).bytes(1, 2);
    assert!(matches!(slabs.find(0), Found::Here(_)));
    drop(bytes);
    assert!(matches!(slabs.find(0), Found::Missing));
}

#[test]
fn reading_a_huge_file_leaves_no_trail_of_slots() {
    let slabs = Slabs::default();
    let first = slabs.add(0, vec![0]);
    for number in 1..10_000 {
        slabs.add(number, vec![0]);
    }
    assert!(slabs.lock().by_number.len() <= limits::SLAB_SLOTS_PRUNED_AT + 1);
    assert!(matches!(slabs.find(0), Found::Here(_)));
    drop(first);
}

#[test]
fn memory_of_a_dropped_slab_is_reused_once() {
    let gone = SharedSlab::new(vec![7; limits::SLAB_OCTETS]);
    let address = gone.octets.as_ptr();
    drop(gone);
    assert_eq!(memory_for(9), [0; 9]);
    let again = memory_for(limits::SLAB_OCTETS);
    assert_eq!((again.as_ptr(), again.len()), (address, limits::SLAB_OCTETS));
    let new = memory_for(limits::SLAB_OCTETS);
    assert!(new.as_ptr() != address && new.len() == limits::SLAB_OCTETS);
    drop(SharedSlab::new(vec![7; limits::SLAB_OCTETS - 1]));
    assert_eq!(memory_for(limits::SLAB_OCTETS).len(), limits::SLAB_OCTETS);
}
