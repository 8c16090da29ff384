//! What systemd is told, in the words of sd_notify(3): that the server is ready, what it does, that it is alive.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use futures_util::future::join_all;
use slog::{Logger, warn};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::handle::Stage;
use crate::actors::{Ping, Workers};
use crate::limits;

/// Tells the service manager, if there is one, how far the server's life is, until it has ended; and feeds its watchdog while every arbiter
/// of `workers` answers. `status` is what people read while it serves, with the reason why the last
/// reload failed.
pub(super) async fn keep_informed(
    mut stages: watch::Receiver<Stage>,
    mut reload_failure: watch::Receiver<Option<String>>,
    workers: Arc<Workers>,
    status: String,
    log: Logger,
) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    tell(format!("READY=1\nSTATUS={}", one_line(&status)), &log).await;
    if let Some(limit) = sd_notify::watchdog_enabled() {
        actix::spawn(feed_watchdog(limit / 2, stages.clone(), workers, log.clone()));
    }
    let mut stopping = false;
    loop {
        let stage = stages.borrow_and_update().clone();
        if let Some(words) = words_for(&stage) {
            let first = if stopping { "" } else { "STOPPING=1\n" };
            stopping = true;
            tell(format!("{first}{words}"), &log).await;
        }
        if matches!(stage, Stage::Ended(_)) {
            return;
        }
        tokio::select! {
            changed = stages.changed() => if changed.is_err() { return },
            Ok(()) = reload_failure.changed(), if stage == Stage::Serving => {
                let failure = reload_failure.borrow_and_update().clone();
                let failure = failure.map_or_else(String::new, |why| format!("; reload failed: {why}"));
                tell(format!("STATUS={}", one_line(&format!("{status}{failure}"))), &log).await;
            }
        }
    }
}

fn words_for(stage: &Stage) -> Option<String> {
    match stage {
        Stage::Serving => None,
        Stage::Draining { transfers, within, guests } => {
            let (allowed, seconds) = (allowed_us(within.saturating_add(*guests)), within.as_secs_f64());
            Some(format!("{allowed}\nSTATUS=draining: {transfers} transfers have {seconds} s to end"))
        }
        Stage::Stopping { guests } => Some(format!("{}\nSTATUS=stopping", allowed_us(*guests))),
        Stage::Ended(Ok(())) => Some("STATUS=stopped".into()),
        Stage::Ended(Err(why)) => Some(format!("STATUS=gave up: {}", one_line(why))),
    }
}

/// Asks for time to end: the manager's own limit may be shorter than what the operator allows the
/// transfers, and extensions their actors, and what the end takes beside these.
fn allowed_us(others: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", others.saturating_add(limits::END_WITHIN).as_micros())
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Sends one message. The manager's socket may be full: the wait for it is no arbiter's.
async fn tell(words: String, log: &Logger) {
    let told =
        actix_rt::task::spawn_blocking(move || sd_notify::notify(&[sd_notify::NotifyState::Custom(&words)]));
    let told = told.await.map_err(std::io::Error::other).and_then(|told| told);
    if let Err(error) = told {
        warn!(log, "can't tell the service manager"; "why" => %error);
    }
}

/// Says `every` so often that the server is alive, unless an arbiter doesn't answer; until the server stops.
async fn feed_watchdog(
    every: Duration,
    mut stages: watch::Receiver<Stage>,
    workers: Arc<Workers>,
    log: Logger,
) {
    let feed = async {
        let mut ticks = interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // What takes longer than this could come too late for the manager.
            let arbiters = workers.alive();
            let silent = silent(&arbiters, every / 2).await;
            if silent == 0 {
                tell("WATCHDOG=1".into(), &log).await;
            } else {
                warn!(log, "arbiters do not answer: the watchdog is not fed"; "silent" => silent, "of" => arbiters.len());
            }
        }
    };
    tokio::select! {
        () = feed => {}
        _ = stages.wait_for(|stage| matches!(stage, Stage::Stopping { .. } | Stage::Ended(_))) => {}
    }
}

/// How many of `arbiters` do not answer within `patience`.
async fn silent(arbiters: &[Recipient<Ping>], patience: Duration) -> usize {
    let answers = arbiters.iter().map(|arbiter| timeout(patience, arbiter.send(Ping)));
    join_all(answers).await.iter().filter(|answer| !matches!(answer, Ok(Ok(())))).count()
}

#[cfg(test)]
mod tests;
