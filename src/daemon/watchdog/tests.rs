use std::sync::mpsc::channel;

use super::*;

#[test]
fn a_server_whose_own_thread_is_blocked_is_given_up() {
    let (watchdog, (release, released)) = (Watchdog::default(), channel::<()>());
    let beating = watchdog.clone();
    let given_up = watchdog.watch(move || {
        actix::System::new().block_on(async {
            actix::spawn(beating.beat());
            sleep(limits::ARBITER_ASKED_EVERY).await;
            // Blocks until the sender is dropped.
            assert!(released.recv().is_err());
        });
        (Ok(()), ())
    });
    assert!(matches!(&given_up, Err(RunError::Escalated(why)) if why.contains("blocked")), "{given_up:?}");
    drop(release);
}

#[test]
fn a_server_that_panics_is_told_from_one_that_ends() {
    assert!(matches!(Watchdog::default().watch::<()>(|| panic!("a test")), Err(RunError::Escalated(_))));
    Watchdog::default().watch(|| (Ok(()), ())).unwrap();
}
