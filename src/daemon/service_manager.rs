//! Messages to systemd (sd_notify(3)): ready, status, watchdog.

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

/// Reports the server's stages to the service manager, if there is one, until the server has ended.
/// Feeds its watchdog while every arbiter of `workers` answers. `status` is a text for people while
/// the server serves; the reason of a failed reload is appended to it.
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
        Stage::Draining { transfers, within, extensions_within } => {
            let (allowed, seconds) =
                (allowed_us(within.saturating_add(*extensions_within)), within.as_secs_f64());
            Some(format!("{allowed}\nSTATUS=draining: {transfers} transfers have {seconds} s to end"))
        }
        Stage::Stopping { extensions_within } => {
            Some(format!("{}\nSTATUS=stopping", allowed_us(*extensions_within)))
        }
        Stage::Ended(Ok(())) => Some("STATUS=stopped".into()),
        Stage::Ended(Err(why)) => Some(format!("STATUS=gave up: {}", one_line(why))),
    }
}

/// Asks for time to end. The manager's own limit may be shorter than the drain timeout, the time of
/// extensions' actors and the rest of the end together.
fn allowed_us(others: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", others.saturating_add(limits::END_WITHIN).as_micros())
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Sends one message. The manager's socket may be full, so this blocks a pool thread and no
/// arbiter.
async fn tell(words: String, log: &Logger) {
    let told =
        actix_rt::task::spawn_blocking(move || sd_notify::notify(&[sd_notify::NotifyState::Custom(&words)]));
    let told = told.await.map_err(std::io::Error::other).and_then(|told| told);
    if let Err(error) = told {
        warn!(log, "can't tell the service manager"; "why" => %error);
    }
}

/// Feeds the watchdog every `every` unless an arbiter doesn't answer, until the server stops.
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
            // A longer wait could exceed the manager's limit.
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

/// The number of `arbiters` that do not answer within `patience`.
async fn silent(arbiters: &[Recipient<Ping>], patience: Duration) -> usize {
    let answers = arbiters.iter().map(|arbiter| timeout(patience, arbiter.send(Ping)));
    join_all(answers).await.iter().filter(|answer| !matches!(answer, Ok(Ok(())))).count()
}

#[cfg(test)]
mod tests;
