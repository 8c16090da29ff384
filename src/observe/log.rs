//! Facts as log lines.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use slog::{KV, Level, Logger, Record, Serializer, debug, error, info, warn};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::limit_lines::LimitLines;
use super::line_rate::LineRateLimiter;
use super::recent_lines::RecentLines;
use super::severity;
use super::{Fact, Observer, Report};
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::transfer::{Outcome, PeerError};
use crate::wire::Request;

/// Writes facts to a log: a line for each address that the server listens on, for each ended
/// transfer, and for each refused request.
///
/// Senders of forged addresses could cause some lines in great numbers. These are limited to 50
/// ([`limits::LINES_UNANSWERED_PER_S`]) or 5000 ([`limits::LINES_REFUSED_PER_S`]) a second, and one
/// more line counts the others. The counting line is written after the second has ended: with the
/// next fact or by a task of the current runtime, and [`flush`](Observer::flush) writes the last
/// ones. Outages of a store, and repeated faults of an extension, are logged once a minute
/// ([`limits::OUTAGE_LOGGED_EVERY`]) for each name or text. A limit that requests reach is logged
/// at once, and then once a minute with a count ([`limits::LIMIT_LOGGED_EVERY`]). Requests that a
/// limit ended as busy are logged only at debug level.
#[derive(Debug)]
pub(crate) struct LogObserver {
    log: Logger,
    withheld: Arc<Withheld>,
    broadcast_told_at: Mutex<Option<Instant>>,
}

/// Lines that are counted instead of written.
#[derive(Debug)]
struct Withheld {
    log: Logger,
    unanswered: Mutex<LineRateLimiter>,
    refused: Mutex<LineRateLimiter>,
    outages: Mutex<RecentLines>,
    limits: Mutex<LimitLines>,
    is_any: AtomicBool,
    /// Whether a task is going to log their number.
    is_awaited: AtomicBool,
}

impl LogObserver {
    /// Creates an observer that writes to `log`.
    #[must_use]
    pub(crate) fn new(log: Logger) -> Self {
        let withheld = Withheld {
            log: log.clone(),
            unanswered: Mutex::new(LineRateLimiter::new(limits::LINES_UNANSWERED_PER_S)),
            refused: Mutex::new(LineRateLimiter::new(limits::LINES_REFUSED_PER_S)),
            outages: Mutex::default(),
            limits: Mutex::default(),
            is_any: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
        };
        Self { log, withheld: Arc::new(withheld), broadcast_told_at: Mutex::default() }
    }

    fn broadcast_unanswered(&self, peer: SocketAddr) {
        debug!(self.log, "datagram dropped"; "peer" => %peer, "why" => "it was sent to a broadcast or multicast address");
        let now = Instant::now();
        let mut told_at = self.broadcast_told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_none_or(|at| now - at >= limits::BROADCAST_LINE_EVERY) {
            *told_at = Some(now);
            info!(self.log, "a read that was sent to all hosts gets no answer: --answer-broadcast answers those whose file is there";
                "peer" => %peer);
        }
    }

    fn refused(&self, peer: SocketAddr, request: &Request<'_>, fault: &Fault) {
        let asked = request.options.to_string();
        if fault.failure == Failure::Busy && fault.limit().is_some() {
            debug!(self.log, "{} refused", request.direction;
                "peer" => %peer, "name" => %request.filename(), "mode" => %request.mode,
                "asked" => or_dash(&asked), "why" => %fault);
        } else {
            info!(self.log, "{} refused", request.direction;
                "peer" => %peer, "name" => %request.filename(), "mode" => %request.mode,
                "asked" => or_dash(&asked), "why" => %fault);
        }
    }

    fn finished(&self, report: &Report) {
        let (log, fields) = (&self.log, Fields(report));
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

impl Withheld {
    fn admits(self: &Arc<Self>, fact: &Fact<'_>) -> bool {
        let is_admitted = match fact {
            Fact::LimitReached { limit, .. } => {
                self.limits.lock().unwrap_or_else(PoisonError::into_inner).spend(*limit, Instant::now())
            }
            // The packet log shows them.
            Fact::Refused { fault, .. } if fault.failure == Failure::Busy && fault.limit().is_some() => true,
            Fact::Finished(report) if severity::of_transfer(report) == Level::Debug => true,
            Fact::Refused { .. } => spend(&self.refused),
            Fact::Finished(report) => match report.outcome {
                Outcome::Unanswered => spend(&self.unanswered),
                // The ERROR was the only packet.
                Outcome::Failed(_) if report.tally.blocks == 0 => spend(&self.refused),
                Outcome::Outage(_) => self.spend_of_outages(("", &*report.name)),
                _ => return true,
            },
            Fact::Crashed { actor: who @ ("store" | "route" | "negotiator"), panic: what, .. }
            | Fact::Misbehaved { extension: who @ ("store" | "route" | "negotiator"), why: what, .. } => {
                self.spend_of_outages((who, what))
            }
            _ => return true,
        };
        if !is_admitted {
            self.is_any.store(true, Ordering::SeqCst);
            self.have_told();
        }
        is_admitted
    }

    /// Whether to log a repeated fault of a store or an extension.
    fn spend_of_outages(&self, says: (&str, &str)) -> bool {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner).spend(says, Instant::now())
    }

    /// Starts a task that logs the counts in case no other fact follows.
    fn have_told(self: &Arc<Self>) {
        if self.is_awaited.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut awaited = Awaited { withheld: Arc::downgrade(self), has_ended: false };
        // Without a runtime there is no task: the next fact logs the counts, or the end does.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            while awaited.goes_on() {
                sleep(limits::LINES_COUNTED_AFTER).await;
            }
        });
    }

    /// Logs the number of lines withheld in seconds that have ended; with `of_all`, in the current
    /// second too.
    fn tell(&self, of_all: bool) {
        let now = Instant::now();
        // Cleared first, so that lines withheld during this call are not forgotten.
        self.is_any.store(false, Ordering::SeqCst);
        for (what, budget) in [("unanswered", &self.unanswered), ("refused", &self.refused)] {
            let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
            let withheld = if of_all { budget.take_all_withheld() } else { budget.take_withheld(now) };
            if let Some(count) = withheld {
                info!(self.log, "more requests were {what} than are logged one by one"; "withheld" => count);
            }
            if budget.has_withheld() {
                self.is_any.store(true, Ordering::SeqCst);
            }
        }
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        for (limit, count) in limits.take_withheld(now, of_all) {
            limit_reached(&self.log, limit, count, None);
        }
        if limits.has_withheld() {
            self.is_any.store(true, Ordering::SeqCst);
        }
        drop(limits);
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        let withheld = if of_all { outages.take_all_withheld() } else { outages.take_withheld(now) };
        if let Some(count) = withheld {
            info!(self.log, "more requests met an outage than are logged one by one"; "withheld" => count);
        }
        if outages.has_withheld() {
            self.is_any.store(true, Ordering::SeqCst);
        }
    }
}

/// The task's claim on the withheld lines. If the runtime ends, dropping it lets another task
/// begin.
struct Awaited {
    withheld: Weak<Withheld>,
    has_ended: bool,
}

impl Awaited {
    /// Logs the counts so far. Returns whether there may be more.
    fn goes_on(&mut self) -> bool {
        let Some(withheld) = self.withheld.upgrade() else { return false };
        withheld.tell(false);
        if withheld.is_any.load(Ordering::SeqCst) {
            return true;
        }
        withheld.is_awaited.store(false, Ordering::SeqCst);
        // Another thread may have withheld a line in between, and have relied on this task.
        let goes_on =
            withheld.is_any.load(Ordering::SeqCst) && !withheld.is_awaited.swap(true, Ordering::SeqCst);
        self.has_ended = !goes_on;
        goes_on
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if !self.has_ended
            && let Some(withheld) = self.withheld.upgrade()
        {
            withheld.is_awaited.store(false, Ordering::SeqCst);
        }
    }
}

/// Logs that requests reached a limit, with the count since the last line.
fn limit_reached(log: &Logger, limit: Limit, count: u64, peer: Option<SocketAddr>) {
    let peer = peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
    warn!(log, "limit reached"; "limit" => limit.name(), "count" => count, "peer" => peer, "why" => limit.meaning());
}

/// Whether the budget of this second allows one more line.
fn spend(budget: &Mutex<LineRateLimiter>) -> bool {
    budget.lock().unwrap_or_else(PoisonError::into_inner).spend(Instant::now())
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

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
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
        if self.withheld.is_any.load(Ordering::Relaxed) {
            self.withheld.tell(false);
        }
        if !self.withheld.admits(fact) {
            return;
        }
        match fact {
            Fact::Listening { address } => {
                info!(self.log, "listening"; "address" => %address, "try" => try_it(*address));
            }
            Fact::LimitReached { limit, peer } => limit_reached(&self.log, *limit, 1, Some(*peer)),
            Fact::Refused { peer, request: Some(request), fault } => self.refused(*peer, request, fault),
            Fact::Refused { peer, request: None, fault } => {
                info!(self.log, "request refused"; "peer" => %peer, "why" => %fault);
            }
            Fact::Dropped { peer, why } => {
                debug!(self.log, "datagram dropped"; "peer" => %peer, "why" => why);
            }
            Fact::BroadcastUnanswered { peer } => self.broadcast_unanswered(*peer),
            Fact::Finished(report) => self.finished(report),
            Fact::Crashed { actor, transfer, panic } => {
                let transfer = transfer.map_or_else(|| "-".to_owned(), |id| id.to_string());
                error!(self.log, "{actor} panicked"; "transfer" => transfer, "panic" => panic);
            }
            Fact::Misbehaved { extension, transfer, why } => {
                let transfer = transfer.map_or_else(|| "-".to_owned(), |id| id.to_string());
                warn!(self.log, "{extension} misbehaved"; "transfer" => transfer, "why" => why);
            }
            Fact::ArbiterReplaced { arbiter, why, moved, ended } => {
                error!(self.log, "arbiter replaced";
                    "arbiter" => arbiter, "why" => why, "transfers_moved" => moved, "transfers_ended" => ended);
            }
            Fact::Resumed { transfer, resumption } => {
                warn!(self.log, "session replaced"; "transfer" => transfer.0, "resumption" => resumption);
            }
        }
    }

    fn flush(&self) {
        self.withheld.tell(true);
    }
}

#[cfg(test)]
mod tests;
