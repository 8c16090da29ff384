use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::engine::files::StoreCaller;
use crate::engine::test_support::{Crashes, service};
use crate::error::{Failure, Fault};
use crate::observe::TransferId;
use crate::store::{Memory, MemoryOptions};

fn caller() -> (StoreCaller, Arc<Crashes>) {
    let (service, crashes) = service(Arc::new(Memory::new(MemoryOptions::default())));
    (
        StoreCaller::new(&service, &service.config().store, TransferId(7), service.chaos.seam("store", "")),
        crashes,
    )
}

#[tokio::test]
async fn a_job_that_hangs_is_given_up_at_its_limit() {
    let (caller, _) = caller();
    let (release, hanging) = mpsc::channel::<()>();
    let hang = move |_: &_| hanging.recv().map_err(|error| Fault::new(Failure::Internal, error));
    let limit = Duration::from_millis(20);
    let fault = caller.call_within(limit, hang).await.unwrap_err();
    assert_eq!(fault, Fault::new(Failure::Io, "no answer within 20ms"));
    assert_eq!(caller.call_within(Duration::from_secs(20), |_| Ok(7)).await, Ok(7));
    drop(release);
}

/// While a disk hangs, each repeated request would otherwise leave one more call in the queue.
#[test]
fn a_queued_call_is_cancelled_at_its_limit() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(async {
        let (caller, _) = caller();
        let (release, hanging) = mpsc::channel::<()>();
        let hang = move |_: &_| hanging.recv().map_err(|error| Fault::new(Failure::Internal, error));
        let limit = Duration::from_millis(20);
        caller.call_within(limit, hang).await.unwrap_err();
        let made = Arc::<AtomicBool>::default();
        for _ in 0..3 {
            let made = Arc::clone(&made);
            let call = move |_: &_| Ok(made.swap(true, Ordering::Relaxed));
            assert_eq!(caller.call_within(limit, call).await.unwrap_err().failure, Failure::Io);
        }
        drop(release);
        assert_eq!(caller.call_within(Duration::from_secs(20), |_| Ok(7)).await, Ok(7));
        assert!(!made.load(Ordering::Relaxed));
        assert_eq!(Arc::strong_count(&made), 1, "nothing of them is left");
    });
}

#[tokio::test]
async fn a_panic_fails_one_call_and_is_reported_once() {
    let (caller, crashes) = caller();
    let limit = Duration::from_secs(20);
    let fault = caller.call_within::<()>(limit, |_| panic!("the secret of the store")).await.unwrap_err();
    assert_eq!(fault, Fault::new(Failure::Internal, "the store panicked"));
    assert_eq!(crashes.all(), ["store of 7: the secret of the store"]);
    assert_eq!(caller.call_within(limit, |_| Ok(7)).await, Ok(7));
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_at_its_limit() {
    let (caller, crashes) = caller();
    let limit = Duration::from_millis(20);
    let fault = caller.wait_within::<()>(limit, Box::pin(std::future::pending())).await.unwrap_err();
    assert_eq!((fault.failure, fault.detail.as_deref()), (Failure::Io, Some("no answer within 20ms")));
    let later = Box::pin(async { panic!("the secret of the store") });
    assert_eq!(caller.wait_within::<()>(limit, later).await.unwrap_err().failure, Failure::Internal);
    assert_eq!(crashes.all(), ["store of 7: the secret of the store"]);
    assert_eq!(caller.wait_within(limit, Box::pin(async { Ok(7) })).await, Ok(7));
}
