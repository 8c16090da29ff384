//! What children do with waiting messages when they are told to stop.

use actix::MailboxError;
use tokio::time::{Instant, pause};

use super::{LIMIT, LONG, Reports, end_of, is_alive, permanent, stopped};
use crate::supervision::tests::{Order, Script};
use crate::supervision::{Exit, RestartLimit};

#[actix::test]
async fn a_child_handles_its_mail_before_it_stops() {
    pause();
    for leaves in [false, true] {
        let (root, reports) = Reports::root();
        let script = Script::default();
        let spec = permanent("child", &script).stop_within(LONG);
        let child = root.start_child(if leaves { spec.leaving_mail() } else { spec });
        assert!(is_alive(&child).await);
        child.do_send(Order::Wait(LONG / 2));
        child.do_send(Order::Step("mail"));
        root.stop();
        assert_eq!(end_of(&root).await, Exit::Normal);
        assert_eq!(reports.ends(), [stopped("child")]);
        let steps = if leaves { &["stopping"][..] } else { &["mail", "stopping"] };
        assert_eq!(script.steps()[3..], [steps, &["stopped", "dropped"]].concat());
    }
}

#[actix::test]
async fn a_child_whose_mail_takes_too_long_is_terminated() {
    pause();
    let (root, reports) = Reports::root();
    let script = Script::default();
    let child = root.start_child(permanent("child", &script).stop_within(LONG));
    assert!(is_alive(&child).await);
    child.do_send(Order::Wait(LONG * 2));
    child.do_send(Order::Step("mail"));
    let told = Instant::now();
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
    assert!(told.elapsed() >= LONG, "{:?}", told.elapsed());
    assert_eq!(reports.ends(), [("child", Exit::Killed, false)]);
    assert_eq!(script.steps()[3..], ["dropped"]);
}

#[actix::test]
async fn a_child_stopped_in_its_pause_still_handles_mail() {
    pause();
    let (root, reports) = Reports::root();
    let script = Script::panicking([("message", 1)]);
    let limit = RestartLimit { pause: LONG * 60, pause_max: LONG * 60, ..LIMIT };
    let child = root.start_child(permanent("child", &script).limit(limit).stop_within(LONG));
    assert_eq!(child.send(Order::Step("message")).await, Err(MailboxError::Closed));
    child.do_send(Order::Step("mail"));
    let told = Instant::now();
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
    assert!(told.elapsed() < LONG, "{:?}", told.elapsed());
    assert_eq!(reports.ends(), [stopped("child")]);
    assert_eq!(script.steps()[3..], ["restarting", "started", "mail", "stopping", "stopped", "dropped"]);
}
