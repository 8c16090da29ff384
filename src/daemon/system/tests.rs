use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::*;
use crate::actors::arbiter_runtime;
use crate::daemon::watchdog::Watchdog;
use crate::limits;

#[test]
fn a_thread_that_hangs_in_the_pool_is_left_behind() {
    let (release, released) = channel::<()>();
    let (tell, hangs) = channel();
    let begun = Instant::now();
    let how = Watchdog::default().watch(move || {
        let system = ProgramSystem::new(arbiter_runtime().unwrap());
        system.runner.block_on(async {
            // Blocks until the sender is dropped.
            actix_rt::task::spawn_blocking(move || {
                tell.send(()).unwrap();
                assert!(released.recv().is_err());
            });
            hangs.recv().unwrap();
        });
        (Ok(()), system)
    });
    how.unwrap();
    // This once took ten seconds and ended in an error of the watchdog.
    assert!(begun.elapsed() < limits::DROP_WITHIN + Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(release);
}

#[test]
fn what_hangs_while_it_is_dropped_is_left_behind() {
    struct Hangs(std::sync::mpsc::Receiver<()>);
    impl Drop for Hangs {
        fn drop(&mut self) {
            assert!(self.0.recv().is_err());
        }
    }
    let (release, released) = channel();
    let begun = Instant::now();
    Watchdog::default().watch(move || (Ok(()), Hangs(released))).unwrap();
    assert!(begun.elapsed() < limits::DROP_WITHIN + Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(release);
}
