//! The log: slog-term's lines on stderr or in a file, written by their own thread.
//!
//! A record is always one line, whatever a client's text or a panic message contains:
//! `2026-11-22T18:00:00.123Z INFO message, key: value, key: "another value"`.

mod line;
mod queue;
mod quoting;

use std::backtrace::Backtrace;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use slog::{Drain, Level, LevelFilter, Logger, error, o};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::line::{formatter, wants_colours};
use self::queue::{Closing, Queue};
use crate::limits;
use crate::supervision::is_told;

/// RFC 3339, in UTC, to the millisecond.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// An open log. [`close`](Self::close) writes the lines that are still queued.
pub(super) struct Log {
    logger: Logger,
    queue: Arc<Queue>,
    file: Option<LogFile>,
    closing: Closing,
}

impl Log {
    /// Opens a log that appends to `file`, creating it if necessary, or else writes to stderr.
    /// `verbose` logs every packet.
    ///
    /// # Errors
    /// The file can't be opened, or the thread can't be started.
    pub(super) fn open(file: Option<&Path>, verbose: bool) -> io::Result<Self> {
        let file = file.map(LogFile::open).transpose()?;
        let (queue, closing) = match &file {
            Some(file) => Queue::start(Lines::new(file.clone(), file.octets_at_once()?))?,
            None => Queue::start(Lines::new(io::stderr(), limits::LOG_OCTETS_AT_ONCE))?,
        };
        let colours = file.is_none() && io::stderr().is_terminal() && wants_colours();
        let level = if verbose { Level::Trace } else { Level::Info };
        let drain = LevelFilter::new(formatter(Arc::clone(&queue), colours), level).ignore_res();
        Ok(Self { logger: Logger::root(drain, o!()), queue, file, closing })
    }

    pub(super) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Whether the log is a file, which the operator may not be watching.
    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Opens the file again, after logrotate has renamed it. If that fails, the old file stays in
    /// use. A log on stderr needs no action.
    ///
    /// It may block, for example on a FIFO without a reader. Do not call it on a thread that serves
    /// clients.
    pub(super) fn reopener(&self) -> Box<dyn Fn() -> io::Result<()> + Send> {
        let file = self.file.clone();
        Box::new(move || file.as_ref().map_or(Ok(()), LogFile::reopen))
    }

    /// Logs panics that no supervisor reports. If `RUST_BACKTRACE` asks for a backtrace, the log
    /// gets that too: the panicking thread serves clients, and must not block on stderr.
    pub(super) fn take_panics(&self) {
        let (log, queue) = (self.logger.clone(), Arc::clone(&self.queue));
        std::panic::set_hook(Box::new(move |info| {
            if !is_told(info) {
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
        drop(self.closing);
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
    /// `None` for a FIFO that has had no reader yet.
    file: Arc<Mutex<Option<File>>>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        // Absolute, so that the path still works if the process changes its directory.
        let path = std::path::absolute(path)?;
        Ok(Self { file: Arc::new(Mutex::new(append_at_once(&path)?)), path })
    }

    fn reopen(&self) -> io::Result<()> {
        // The file is opened before the lock is taken, so the log goes on meanwhile.
        let file = append(&self.path)?;
        *self.lock() = Some(file);
        Ok(())
    }

    /// Opens a FIFO that had no reader at the start. The log's thread waits here for its reader.
    fn open_late(&self) -> io::Result<()> {
        if self.lock().is_none() {
            let file = append(&self.path)?;
            self.lock().get_or_insert(file);
        }
        Ok(())
    }

    /// A write to a regular file stays together whatever its length. A pipe may split writes above
    /// `PIPE_BUF`.
    fn octets_at_once(&self) -> io::Result<usize> {
        let metadata = self.lock().as_ref().map(File::metadata).transpose()?;
        let is_file = metadata.is_some_and(|metadata| metadata.is_file());
        Ok(if is_file { usize::MAX } else { limits::LOG_OCTETS_AT_ONCE })
    }

    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        // A panic between two lines leaves the file in a valid state.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path).map_err(|error| not_opened(path, &error))
}

/// Opens the file without blocking; `None` for a FIFO without a reader.
fn append_at_once(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    options.append(true).create(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    match options.open(path) {
        Ok(file) => {
            // From now on, only the log's own thread blocks, and no line is lost.
            let flags = fcntl_getfl(&file)?;
            fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK))?;
            Ok(Some(file))
        }
        // ENXIO is the error for a FIFO without a reader, and also for a socket.
        Err(error)
            if error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
                && path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) =>
        {
            Ok(None)
        }
        Err(error) => Err(not_opened(path, &error)),
    }
}

fn not_opened(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the log {} can't be opened: {error}", path.display()))
}

impl Write for LogFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.open_late()?;
        self.lock().as_mut().map_or(Ok(0), |file| file.write(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().as_mut().map_or(Ok(()), File::flush)
    }
}

/// Writes lines. No write has a part of a line, so that lines of several processes don't mix. Lines
/// that a full disk refused are counted.
struct Lines<W: Write> {
    out: W,
    /// The most octets of several lines that go in one write.
    at_once: usize,
    lost: usize,
    torn: bool,
}

impl<W: Write> Lines<W> {
    fn new(out: W, at_once: usize) -> Self {
        Self { out, at_once, lost: 0, torn: false }
    }

    /// Writes `text`, which is made of whole lines.
    fn pass_on(&mut self, mut text: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        while !text.is_empty() {
            let (together, rest) = text.split_at(lines_within(text, self.at_once));
            let mut passed = 0;
            let written =
                self.report_lost().and_then(|()| write_counting(&mut self.out, together, &mut passed));
            if passed > 0 {
                self.torn = together[passed - 1] != b'\n';
            }
            if written.is_err() {
                self.lost += together[passed..].iter().filter(|octet| **octet == b'\n').count();
                result = written;
            }
            text = rest;
        }
        result
    }

    fn report_lost(&mut self) -> io::Result<()> {
        if self.lost > 0 {
            let (torn, count) = (self.torn, self.lost);
            self.out.write_all(&loss("were lost", count, torn)?)?;
            (self.lost, self.torn) = (0, false);
        }
        Ok(())
    }

    fn tell_of(&mut self, what: &str, count: usize) -> io::Result<()> {
        self.pass_on(&loss(what, count, false)?)
    }
}

/// The line that reports lost lines. It first ends a torn line.
fn loss(what: &str, count: usize, torn: bool) -> io::Result<Vec<u8>> {
    let mut line = if torn { b"\n".to_vec() } else { Vec::new() };
    timestamp(&mut line)?;
    writeln!(line, " ERRO lines of the log {what}, count: {count}")?;
    Ok(line)
}

/// The number of octets of the whole lines in `text` that fit in `octets_max`; at least the first
/// line.
fn lines_within(text: &[u8], octets_max: usize) -> usize {
    if text.len() <= octets_max {
        return text.len();
    }
    let is_end = |octet: &u8| *octet == b'\n';
    let last = text[..octets_max].iter().rposition(is_end).or_else(|| text.iter().position(is_end));
    last.map_or(text.len(), |end| end + 1)
}

/// Writes all of `text`. After an error, `written` has the number of octets that were written.
fn write_counting(out: &mut impl Write, text: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < text.len() {
        match out.write(&text[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(octets) => *written += octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
