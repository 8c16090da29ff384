//! The log: lines on stderr or in a file, written by their own thread.
//!
//! A record is always one line, whatever a client's text or a panic message contains:
//! `2026-11-22T18:00:00.123Z INFO message, key: value, key: "another value"`.

mod line;
mod queue;
mod quoting;

use std::backtrace::Backtrace;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Drain, Level, LevelFilter, Logger, error, info, o};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::line::{Formatter, wants_colours};
use self::queue::Queue;
use super::complain;
use crate::limits;
use crate::supervision::is_reported;

/// RFC 3339, in UTC, to the millisecond.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// An open log. [`close`](Self::close) writes the lines that are still queued.
pub(super) struct Log {
    logger: Logger,
    queue: Arc<Queue>,
    file: Option<LogFile>,
}

impl Log {
    /// Opens a log that appends to `file`, creating it if necessary, or else writes to stderr.
    /// `verbose` logs every packet.
    pub(super) fn open(file: Option<&Path>, verbose: bool) -> io::Result<Self> {
        let file = file.map(LogFile::open).transpose()?;
        let queue = match &file {
            Some(file) => Queue::start(Lines::new(file.clone(), file.octets_at_once()?))?,
            None => Queue::start(Lines::new(io::stderr(), limits::LOG_OCTETS_AT_ONCE))?,
        };
        let colours = file.is_none() && io::stderr().is_terminal() && wants_colours();
        let level = if verbose { Level::Trace } else { Level::Info };
        let drain = LevelFilter::new(Formatter { queue: Arc::clone(&queue), colours }, level).ignore_res();
        Ok(Self { logger: Logger::root(drain, o!()), queue, file })
    }

    pub(super) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Whether the log is a file, which the operator may not be watching.
    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Opens the file again, after logrotate has renamed it, and logs that. If that fails, the old
    /// file stays in use, and stderr gets the reason, since the operator does not look at the old
    /// file. A log on stderr needs no action.
    ///
    /// It may block, for example on a network file system. Do not call it on a thread that serves
    /// clients.
    pub(super) fn reopener(&self) -> impl Fn() -> io::Result<()> + Send + use<> {
        let (file, log) = (self.file.clone(), self.logger.clone());
        move || {
            let Some(file) = &file else { return Ok(()) };
            file.reopen().inspect_err(|error| {
                complain(&format!("--file-log: {error}; the log goes on in the file that was opened before"));
            })?;
            info!(log, "log reopened");
            Ok(())
        }
    }

    /// Logs panics that no supervisor reports. If `RUST_BACKTRACE` asks for a backtrace, the log
    /// gets that too: the panicking thread serves clients, and must not block on stderr.
    pub(super) fn take_panics(&self) {
        let (log, queue) = (self.logger.clone(), Arc::clone(&self.queue));
        std::panic::set_hook(Box::new(move |info| {
            if !is_reported(info) {
                let payload = info.payload();
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                error!(log, "panic";
                    "message" => text.unwrap_or("(not a text)"),
                    "at" => info.location().map(ToString::to_string),
                    "thread" => std::thread::current().name().map(str::to_owned),
                );
            }
            if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
                queue.push(backtrace_lines(info).as_bytes());
            }
        }));
    }

    /// Writes the queued lines, and ends. Later lines are discarded.
    pub(super) fn close(self) {
        self.queue.close();
    }
}

/// The backtrace after the line of a panic. The panic's message is only in that line: it may quote
/// a client, and would be several lines here.
fn backtrace_lines(info: &PanicHookInfo<'_>) -> String {
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::force_capture().to_string();
    let indented: String = backtrace.lines().flat_map(|line| ["  ", line, "\n"]).collect();
    format!("  backtrace of the panic at {at}:\n{indented}")
}

fn timestamp(out: &mut dyn Write) -> io::Result<()> {
    OffsetDateTime::now_utc().format_into(out, TIMESTAMP).map(drop).map_err(io::Error::other)
}

/// A file that can be reopened while it is written to.
#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        // Absolute, so that the path still works if the process changes its directory.
        let path = std::path::absolute(path)?;
        Ok(Self { file: Arc::new(Mutex::new(append(&path)?)), path })
    }

    fn reopen(&self) -> io::Result<()> {
        // The file is opened before the lock is taken, so the log goes on meanwhile.
        let file = append(&self.path)?;
        *self.lock() = file;
        Ok(())
    }

    /// A write to a regular file stays together whatever its length. A pipe may split writes above
    /// `PIPE_BUF`.
    fn octets_at_once(&self) -> io::Result<usize> {
        let is_file = self.lock().metadata()?.is_file();
        Ok(if is_file { limits::LOG_OCTETS_KEPT } else { limits::LOG_OCTETS_AT_ONCE })
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        // A panic between two lines leaves the file in a valid state.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for LogFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.lock().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

/// Opens a file to append to. A FIFO is opened for reading too, which waits for no reader
/// (fifo(7)).
fn append(path: &Path) -> io::Result<File> {
    let is_fifo = path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    File::options().append(true).create(true).read(is_fifo).open(path).map_err(|error| {
        io::Error::new(error.kind(), format!("the log {} can't be opened: {error}", path.display()))
    })
}

/// Writes lines. No write has a part of a line, so that lines of several processes don't mix. Lines
/// that a full disk refuses wait in the buffer; lines that find no room there are lost and counted.
struct Lines<W: Write> {
    out: BufWriter<W>,
    lost: usize,
}

impl<W: Write> Lines<W> {
    /// Writes to `out`, at most `octets_at_once` in one write unless a single line is longer.
    fn new(out: W, octets_at_once: usize) -> Self {
        Self { out: BufWriter::with_capacity(octets_at_once, out), lost: 0 }
    }

    /// Writes `text`, which is made of whole lines, and reports `lost` lines after them.
    fn pass_on(&mut self, mut text: &[u8], lost: usize) {
        while !text.is_empty() {
            let (together, rest) = text.split_at(lines_within(text, self.out.capacity()));
            if self.report_lost().and_then(|()| self.out.write_all(together)).is_err() {
                self.lost += together.iter().filter(|octet| **octet == b'\n').count();
            }
            text = rest;
        }
        self.lost += lost;
        // The buffer keeps what is not written now.
        let _ = self.report_lost().and_then(|()| self.out.flush());
    }

    fn report_lost(&mut self) -> io::Result<()> {
        if self.lost > 0 {
            let mut line = Vec::new();
            timestamp(&mut line)?;
            writeln!(line, " ERRO lines of the log were lost, count: {}", self.lost)?;
            self.out.write_all(&line)?;
            self.lost = 0;
        }
        Ok(())
    }
}

/// The number of octets of the whole lines in `text` that fit in `octets_max`; at least the first
/// line.
fn lines_within(text: &[u8], octets_max: usize) -> usize {
    let is_end = |octet: &u8| *octet == b'\n';
    let last = text[..text.len().min(octets_max)].iter().rposition(is_end);
    last.or_else(|| text.iter().position(is_end)).map_or(text.len(), |end| end + 1)
}

#[cfg(test)]
mod tests;
