//! Facts as log lines.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use slog::{KV, Level, Logger, Record, Serializer, debug, error, info, warn};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::withheld::{Withheld, limit_reached};
use super::{Fact, Observer, Report, TransferId, severity};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::transfer::{Outcome, PeerError};
use crate::wire::Request;

/// Writes facts to a log. Lines that forged requests or an outage could cause in great numbers are
/// withheld, and one line counts them: the next fact writes it, or a task of the current runtime,
/// or [`flush`](Observer::flush).
#[derive(Debug)]
pub(crate) struct LogObserver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Logger,
    state: Mutex<State>,
    /// Whether any lines are withheld.
    is_any: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    withheld: Withheld,
    /// Whether a task is going to log the number of withheld lines.
    is_awaited: bool,
    broadcast_told_at: Option<Instant>,
}

impl LogObserver {
    pub(crate) fn new(log: Logger) -> Self {
        Self(Arc::new(Shared { log, state: Mutex::default(), is_any: AtomicBool::new(false) }))
    }

    /// Whether to log a line about this fact now; otherwise it is counted.
    fn admits(&self, fact: &Fact<'_>) -> bool {
        match fact {
            Fact::LimitReached { limit, .. } => {
                self.spend(|withheld, now| withheld.of_limit(*limit).spend(now))
            }
            // The packet log shows them.
            Fact::Refused { fault, .. } if is_busy(fault) => true,
            Fact::Finished(report) if severity::of_transfer(report) == Level::Debug => true,
            Fact::Refused { .. } => self.spend(|withheld, now| withheld.refused.spend(now)),
            Fact::Finished(report) => match report.outcome {
                Outcome::Unanswered => self.spend(|withheld, now| withheld.unanswered.spend(now)),
                // The ERROR was the only packet.
                Outcome::Failed(_) if report.tally.blocks == 0 => {
                    self.spend(|withheld, now| withheld.refused.spend(now))
                }
                Outcome::Outage(_) => {
                    self.spend(|withheld, now| withheld.spend_of_outages(("", &*report.name), now))
                }
                _ => true,
            },
            Fact::Crashed { actor: who @ ("store" | "route" | "negotiator"), panic: what, .. }
            | Fact::Misbehaved { extension: who @ ("store" | "route" | "negotiator"), why: what, .. } => {
                self.spend(|withheld, now| withheld.spend_of_outages((who, what), now))
            }
            _ => true,
        }
    }

    fn spend(&self, spend: impl FnOnce(&mut Withheld, Instant) -> bool) -> bool {
        let mut state = self.0.state();
        if spend(&mut state.withheld, Instant::now()) {
            return true;
        }
        self.0.is_any.store(true, Relaxed);
        let is_awaited = std::mem::replace(&mut state.is_awaited, true);
        drop(state);
        if !is_awaited {
            self.log_counts_later();
        }
        false
    }

    /// Starts a task that logs the counts in case no other fact follows.
    fn log_counts_later(&self) {
        let mut awaited = Awaited(Arc::downgrade(&self.0));
        // Without a runtime there is no task: the next fact logs the counts, or the end does.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            while awaited.goes_on() {
                sleep(limits::LINES_COUNTED_AFTER).await;
            }
        });
    }

    fn broadcast_unanswered(&self, peer: SocketAddr) {
        let log = &self.0.log;
        debug!(log, "datagram dropped"; "peer" => %peer, "why" => "it was sent to a broadcast or multicast address");
        let (mut state, now) = (self.0.state(), Instant::now());
        if state.broadcast_told_at.is_none_or(|at| now - at >= limits::LINE_REPEATED_EVERY) {
            state.broadcast_told_at = Some(now);
            info!(log, "a read that was sent to all hosts gets no answer: --answer-broadcast answers those whose file is there";
                "peer" => %peer);
        }
    }

    fn refused(&self, peer: SocketAddr, request: &Request<'_>, fault: &Fault) {
        let asked = request.options.to_string();
        if is_busy(fault) {
            debug!(self.0.log, "{} refused", request.direction;
                "peer" => %peer, "name" => %request.filename(), "mode" => %request.mode,
                "asked" => or_dash(&asked), "why" => %fault);
        } else {
            info!(self.0.log, "{} refused", request.direction;
                "peer" => %peer, "name" => %request.filename(), "mode" => %request.mode,
                "asked" => or_dash(&asked), "why" => %fault);
        }
    }

    fn finished(&self, report: &Report) {
        let (log, fields) = (&self.0.log, Fields(report));
        let (direction, outcome) = match (&report.outcome, report.limit) {
            (Outcome::Outage(_), Some(_)) => (report.direction, "dropped"),
            (outcome, _) => (report.direction, outcome.as_str()),
        };
        match severity::of_transfer(report) {
            Level::Error => error!(log, "{direction} {outcome}"; fields),
            Level::Warning => warn!(log, "{direction} {outcome}"; fields),
            Level::Debug => debug!(log, "{direction} {outcome}"; fields),
            _ => info!(log, "{direction} {outcome}"; fields),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the numbers of withheld lines that are due, or all if `now` is `None`.
    fn log_counts(&self, state: &mut State, now: Option<Instant>) {
        state.withheld.log_counts(&self.log, now);
        self.is_any.store(state.withheld.is_any(), Relaxed);
    }
}

/// A task's claim on the withheld lines. If the runtime ends, dropping it lets another task begin.
struct Awaited(Weak<Shared>);

impl Awaited {
    /// Logs the counts so far. Returns whether there are more.
    fn goes_on(&mut self) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        let mut state = shared.state();
        shared.log_counts(&mut state, Some(Instant::now()));
        if !state.withheld.is_any() {
            state.is_awaited = false;
            self.0 = Weak::new();
        }
        state.is_awaited
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.state().is_awaited = false;
        }
    }
}

struct Fields<'a>(&'a Report);

impl KV for Fields<'_> {
    /// In reverse order, as with `o!`.
    fn serialize(&self, _: &Record<'_>, to: &mut dyn Serializer) -> slog::Result {
        let Self(report) = self;
        to.emit_arguments("why", &format_args!("{}", Why(report)))?;
        to.emit_u64("repeats", report.tally.repeats)?;
        to.emit_u64("blocks", report.tally.blocks)?;
        to.emit_arguments("mb_per_s", &format_args!("{:.1}", report.rate() / 1e6))?;
        to.emit_arguments("seconds", &format_args!("{:.3}", report.duration.as_secs_f64()))?;
        to.emit_str("options", or_dash(&report.options))?;
        to.emit_str("asked", or_dash(&report.asked))?;
        to.emit_str("mode", &report.mode)?;
        if severity::has_announced(report)
            && let Some(octets) = report.announced
        {
            to.emit_u64("announced", octets)?;
        }
        to.emit_u64("octets", report.tally.octets)?;
        match report.size {
            Some(size) => to.emit_arguments("size", &format_args!("{size}"))?,
            None => to.emit_str("size", "-")?,
        }
        if let Some(label) = &report.label {
            to.emit_str("label", label.as_str())?;
        }
        to.emit_str("path", report.path.as_deref().unwrap_or("-"))?;
        to.emit_str("name", &report.name)?;
        to.emit_arguments("peer", &format_args!("{}", report.peer))?;
        to.emit_u64("transfer", report.id.0)
    }
}

/// The outcome as text, with details that only the operator gets.
struct Why<'a>(&'a Report);

impl std::fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(report) = self;
        match (&report.outcome, report.announced) {
            (Outcome::Complete, Some(announced)) if severity::is_truncated(report) => {
                return write!(f, "{} octets came but {announced} were announced", report.tally.octets);
            }
            (Outcome::Declined { code, message }, _) if grants_more_than_size(&report.options) => write!(
                f,
                "the client ended it after the options: {} \
                 (a probe or a client that can't do with one of them: --refuse-option)",
                PeerError(*code, message)
            ),
            (outcome, _) => outcome.fmt(f),
        }?;
        match &report.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

/// Whether an option may be the reason why the client ended the transfer. A client that only wants
/// to know the size of a file asks for nothing else.
fn grants_more_than_size(options: &str) -> bool {
    let mut names = options.split(' ').filter_map(|option| option.split_once('='));
    names.any(|(name, _)| !name.eq_ignore_ascii_case("tsize"))
}

/// Whether a limit left no room for the request.
fn is_busy(fault: &Fault) -> bool {
    fault.failure == Failure::Busy && fault.limit().is_some()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn id_or_dash(id: Option<TransferId>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

/// A command to copy, which reads a file from this server.
fn try_it(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => SocketAddr::new(ip, address.port()).to_string(),
        IpAddr::V4(_) => format!("127.0.0.1:{}", address.port()),
        IpAddr::V6(_) => format!("[::1]:{}", address.port()),
    };
    format!("curl -o /tmp/FILE tftp://{host}/FILE")
}

impl Observer for LogObserver {
    fn observe(&self, fact: &Fact<'_>) {
        let log = &self.0.log;
        if self.0.is_any.load(Relaxed) {
            self.0.log_counts(&mut self.0.state(), Some(Instant::now()));
        }
        if !self.admits(fact) {
            return;
        }
        match fact {
            Fact::Listening { address } => {
                info!(log, "listening"; "address" => %address, "try" => try_it(*address));
            }
            Fact::LimitReached { limit, peer } => limit_reached(log, *limit, 1, Some(*peer)),
            Fact::Refused { peer, request: Some(request), fault } => self.refused(*peer, request, fault),
            Fact::Refused { peer, request: None, fault } => {
                info!(log, "request refused"; "peer" => %peer, "why" => %fault);
            }
            Fact::Dropped { peer, why } => {
                debug!(log, "datagram dropped"; "peer" => %peer, "why" => why);
            }
            Fact::BroadcastUnanswered { peer } => self.broadcast_unanswered(*peer),
            Fact::Finished(report) => self.finished(report),
            Fact::Crashed { actor, transfer, panic } => {
                error!(log, "{actor} panicked"; "transfer" => id_or_dash(*transfer), "panic" => panic);
            }
            Fact::Misbehaved { extension, transfer, why } => {
                warn!(log, "{extension} misbehaved"; "transfer" => id_or_dash(*transfer), "why" => why);
            }
            Fact::ArbiterReplaced { arbiter, why, moved, ended } => {
                error!(log, "arbiter replaced";
                    "arbiter" => arbiter, "why" => why, "transfers_moved" => moved, "transfers_ended" => ended);
            }
            Fact::Resumed { transfer, resumption } => {
                warn!(log, "session replaced"; "transfer" => transfer.0, "resumption" => resumption);
            }
        }
    }

    fn flush(&self) {
        self.0.log_counts(&mut self.0.state(), None);
    }
}

#[cfg(test)]
mod tests;
