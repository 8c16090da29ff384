use std::io::Write;
use std::os::unix::net::UnixStream;

use rustix::fs::{fstat, makedev};

use super::*;

const NOW: Duration = Duration::from_millis(1_800_000_000_777);

/// A file whose last change was `age` before [`NOW`], in steps of `step_ns`.
fn changed_before(age: Duration, step_ns: u64) -> Stat {
    let mut stat = fstat(tempfile::tempfile().unwrap()).unwrap();
    let at = NOW - age;
    (stat.st_ctime, stat.st_mtime) = (at.as_secs().cast_signed(), 0);
    (stat.st_ctime_nsec, stat.st_mtime_nsec) = (u64::from(at.subsec_nanos()) / step_ns * step_ns, 0);
    stat
}

#[test]
fn a_file_that_may_change_unseen_is_not_shared() {
    for age in [Duration::ZERO, limits::FILE_TIME_STEP_MAX / 2] {
        assert!(!is_settled(&changed_before(age, 1_000_000), NOW));
    }
    assert!(!is_settled(&changed_before(limits::FILE_TIME_STEP_COARSE_MAX / 2, 1_000_000_000), NOW));
    assert!(is_settled(&changed_before(3 * limits::FILE_TIME_STEP_COARSE_MAX, 1_000_000_000), NOW));
    assert!(is_settled(&changed_before(3 * limits::FILE_TIME_STEP_COARSE_MAX, 1_000_000), NOW));
}

#[test]
fn a_file_from_the_future_is_not_shared() {
    let mut stat = changed_before(Duration::from_secs(60), 1_000_000);
    stat.st_mtime = stat.st_ctime + 600;
    assert!(!is_settled(&stat, NOW));
}

#[test]
fn a_file_and_its_slabs_go_with_its_last_reader() {
    let files = OpenFiles::default();
    let stat = changed_before(NOW / 2, 1_000_000);
    let name = Name::from_request(b"file").unwrap();
    let add = || files.add(&name, tempfile::tempfile().unwrap().into(), stat);
    let (first, second) = (add(), add());
    assert!(Arc::ptr_eq(&first, &second));
    let slab = first.slabs.add(0, vec![1; 8]);
    first.keep(&slab);
    let held = Arc::downgrade(&slab);
    drop((slab, first));
    assert!(held.upgrade().is_some());
    drop(second);
    assert!(held.upgrade().is_none());
    assert!(files.find(&stat).is_none());
    assert!(files.find_named(&name, |_| Some(stat)).is_none());
    assert!(lock(&files.0).files.is_empty() && lock(&files.0).names.is_empty());
}

#[test]
fn what_is_kept_is_bounded_and_the_oldest_goes() {
    let (files, name) = (OpenFiles::default(), Name::from_request(b"file").unwrap());
    let kept = || lock(&files.0).kept.len();
    let files_twice = [(); 2].map(|()| {
        let stat = changed_before(NOW / 2, 1_000_000);
        [(); 2].map(|()| files.add(&name, tempfile::tempfile().unwrap().into(), stat))
    });
    let [[first, _], [second, _]] = &files_twice;
    let slabs: Vec<_> = (0..=limits::SLABS_KEPT_MAX).map(|_| SharedSlab::new(vec![0; 8])).collect();
    for slab in &slabs[..limits::SLABS_KEPT_MAX] {
        first.keep(slab);
        // Once is enough.
        first.keep(slab);
    }
    assert_eq!((kept(), Arc::strong_count(&slabs[0])), (limits::SLABS_KEPT_MAX, 2));
    second.keep(&slabs[limits::SLABS_KEPT_MAX]);
    assert_eq!((kept(), Arc::strong_count(&slabs[0])), (limits::SLABS_KEPT_MAX, 1));
    assert!(!slabs[0].is_kept.load(Relaxed));
    let [of_first, of_second] = files_twice;
    drop(of_first);
    assert_eq!(kept(), 1);
    drop(of_second);
    assert_eq!(kept(), 0);
}

#[test]
fn a_name_of_another_file_by_now_is_looked_up_again() {
    let files = OpenFiles::default();
    let name = Name::from_request(b"file").unwrap();
    let stat = changed_before(NOW / 2, 1_000_000);
    let first = files.add(&name, tempfile::tempfile().unwrap().into(), stat);
    let found = |stat| files.find_named(&name, |_| stat);
    assert!(found(Some(stat)).is_some_and(|file| Arc::ptr_eq(&file, &first)));
    let replaced = changed_before(NOW / 2, 1_000_000);
    assert!(found(Some(replaced)).is_none());
    assert!(found(None).is_none());
    let second = files.add(&name, tempfile::tempfile().unwrap().into(), replaced);
    drop(first);
    assert!(found(Some(replaced)).is_some_and(|file| Arc::ptr_eq(&file, &second)));
}

#[test]
fn a_remote_file_is_closed_on_another_thread() {
    let pool = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let mut stat = fstat(tempfile::tempfile().unwrap()).unwrap();
    for (device, closes_at_once) in [(makedev(0, 50), false), (makedev(8, 1), true)] {
        stat.st_dev = device;
        let (end, other_end) = UnixStream::pair().unwrap();
        let (begin, hang) = std::sync::mpsc::channel::<()>();
        pool.block_on(async {
            let busy = tokio::task::spawn_blocking(move || hang.recv());
            drop(Descriptor::new(end.into(), &stat));
            // A write to a pair whose other end is closed fails. The only thread that may block has
            // not closed it yet.
            let is_closed = || (&other_end).write(b"x").is_err();
            assert_eq!(is_closed(), closes_at_once);
            drop(begin);
            assert!(busy.await.unwrap().is_err());
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert!(is_closed());
        });
    }
}
