use std::time::Duration;

use super::{run, run_within};
use crate::error::{Failure, Fault};

#[tokio::test]
async fn a_job_that_hangs_is_given_up_at_its_limit() {
    let (release, hanging) = std::sync::mpsc::channel::<()>();
    let hang = move || hanging.recv().map_err(|error| Fault::new(Failure::Internal, error));
    let limit = Duration::from_millis(20);
    let fault = run_within(limit, hang).await.unwrap_err();
    assert_eq!(fault, Fault::new(Failure::Io, "no answer within 20ms"));
    assert_eq!(run_within(limit * 100, || Ok(7)).await, Ok(7));
    drop(release);
}

#[tokio::test]
async fn a_job_that_panics_fails_alone() {
    let fault = run::<()>(|| panic!("the secret of the job")).await.unwrap_err();
    assert_eq!(fault.failure, Failure::Internal);
    assert_eq!(run(|| Ok(7)).await, Ok(7));
}
