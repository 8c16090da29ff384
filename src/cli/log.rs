//! The log: slog-term's lines on stderr or in a file, written by a thread of their own.
//!
//! A record is always one line, whatever text a client or a panic puts into it:
//! `2026-11-22T18:00:00.123Z INFO message, key: value, key: value`.

mod queue;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Drain, Level, LevelFilter, Logger, OwnedKVList, Record, error, o};
use slog_async::AsyncGuard;
use slog_term::{Decorator, FullFormat, PlainDecorator, RecordDecorator, TermDecorator};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::queue::Queue;
use crate::limits;
use crate::supervision::is_told;

/// RFC 3339, in UTC, to the millisecond.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A log that is being written. [`close`](Self::close) writes what is still queued.
pub(super) struct Log {
    logger: Logger,
    file: Option<LogFile>,
    /// Dropped after the logger, so that the number of lost lines is among what it writes.
    guard: AsyncGuard,
}

impl Log {
    /// A log to `file`, which is appended to or made, or else to stderr. `verbose` shows every packet.
    ///
    /// # Errors
    /// That of opening the file.
    pub(super) fn open(file: Option<&Path>, verbose: bool) -> io::Result<Self> {
        let file = file.map(LogFile::open).transpose()?;
        let lines_waiting = Arc::<AtomicUsize>::default();
        let waiting = || Arc::clone(&lines_waiting);
        let (drain, guard) = match &file {
            Some(file) => queue(PlainDecorator::new(Lines::new(file.clone(), waiting())), waiting()),
            None if io::stderr().is_terminal() => queue(TermDecorator::new().stderr().build(), waiting()),
            None => queue(PlainDecorator::new(Lines::new(io::stderr(), waiting())), waiting()),
        };
        let level = if verbose { Level::Trace } else { Level::Info };
        // Not `fuse`, which panics: whoever still logs after `close` is late, not wrong.
        let logger = Logger::root(LevelFilter::new(drain.ignore_res(), level).ignore_res(), o!());
        Ok(Self { logger, file, guard })
    }

    /// What the server logs to.
    pub(super) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Whether lines go to a file, and so not to where the operator may be looking.
    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Opens the file anew, for whoever renames it (logrotate). The old one stays in use if that fails. On stderr there is
    /// nothing to do.
    pub(super) fn reopener(&self) -> Box<dyn Fn() -> io::Result<()> + Send> {
        let file = self.file.clone();
        Box::new(move || file.as_ref().map_or(Ok(()), LogFile::reopen))
    }

    /// Panics become lines of the log, where no supervisor tells of them. They print a backtrace besides when `RUST_BACKTRACE` asks for one.
    pub(super) fn take_panics(&self) {
        let (log, default) = (self.logger.clone(), std::panic::take_hook());
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
                default(info);
            }
        }));
    }

    /// Writes what is queued, and ends.
    pub(super) fn close(self) {
        let Self { logger, file: _, guard } = self;
        drop(logger);
        drop(guard);
    }
}

/// The thread that writes lines of this form, and the queue before it.
fn queue<D: Decorator + Send + 'static>(decorator: D, waiting: Arc<AtomicUsize>) -> (Queue, AsyncGuard) {
    let format = FullFormat::new(OneLine(decorator))
        .use_custom_timestamp(timestamp)
        .use_original_order()
        .build()
        .ignore_res();
    Queue::new(format, waiting)
}

fn timestamp(out: &mut dyn Write) -> io::Result<()> {
    let now = OffsetDateTime::now_utc().format(TIMESTAMP).map_err(io::Error::other)?;
    out.write_all(now.as_bytes())
}

/// A file that can be opened anew while it is written to.
#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        // It must be found again, wherever the process is then.
        let path = std::path::absolute(path)?;
        Ok(Self { file: Arc::new(Mutex::new(append(&path)?)), path })
    }

    fn reopen(&self) -> io::Result<()> {
        *self.lock() = append(&self.path)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        // A panic between two lines leaves a file that is as good as before.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path).map_err(|error| {
        io::Error::new(error.kind(), format!("the log {} can't be opened: {error}", path.display()))
    })
}

impl Write for LogFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.lock().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

/// Passes lines on, each of them in one write, so that lines of several processes don't mix; together with those that wait behind it. Counts
/// those that were lost to a full disk.
struct Lines<W: Write> {
    text: Vec<u8>,
    /// Octets of it that are whole lines.
    whole: usize,
    lost: usize,
    /// Lines that are to come, and the one that has just ended.
    waiting: Arc<AtomicUsize>,
    out: W,
}

impl<W: Write> Lines<W> {
    fn new(out: W, waiting: Arc<AtomicUsize>) -> Self {
        Self { text: Vec::new(), whole: 0, lost: 0, waiting, out }
    }

    /// Passes on what the first `octets` of the text are.
    fn pass_on(&mut self, octets: usize) -> io::Result<()> {
        if octets == 0 {
            return Ok(());
        }
        let mut passed = 0;
        let written = self
            .report_lost()
            .and_then(|()| write_counting(&mut self.out, &self.text[..octets], &mut passed));
        if written.is_err() {
            self.lost += self.text[passed..octets].iter().filter(|octet| **octet == b'\n').count();
        }
        self.text.drain(..octets);
        self.whole = self.text.len();
        written
    }

    fn report_lost(&mut self) -> io::Result<()> {
        if self.lost > 0 {
            let mut report = Vec::new();
            timestamp(&mut report)?;
            writeln!(report, " ERRO lines of the log were lost, count: {}", self.lost)?;
            self.out.write_all(&report)?;
            self.lost = 0;
        }
        Ok(())
    }
}

/// Writes all of `text`, or as much of it as `written` says then.
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

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(octets);
        Ok(octets.len())
    }

    /// A line has ended.
    fn flush(&mut self) -> io::Result<()> {
        let before = std::mem::replace(&mut self.whole, self.text.len());
        let passed = if self.text.len() > limits::LOG_OCTETS_AT_ONCE { self.pass_on(before) } else { Ok(()) };
        if self.waiting.load(Ordering::Relaxed) > 1 {
            return passed;
        }
        passed.and(self.pass_on(self.whole))
    }
}

impl<W: Write> Drop for Lines<W> {
    /// What was to come may have come too late.
    fn drop(&mut self) {
        let _ = self.pass_on(self.whole);
    }
}

/// Keeps every record on one line: control characters in messages and values are escaped.
struct OneLine<D>(D);

impl<D: Decorator> Decorator for OneLine<D> {
    fn with_record<F>(&self, record: &Record<'_>, values: &OwnedKVList, f: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        self.0.with_record(record, values, |inner| f(&mut OneLineRecord { inner, escape: false }))
    }
}

struct OneLineRecord<'a> {
    inner: &'a mut dyn RecordDecorator,
    escape: bool,
}

impl Write for OneLineRecord<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let is_plain = |octet: &u8| matches!(octet, b' '..=b'~');
        if !self.escape || octets.iter().all(is_plain) {
            return self.inner.write(octets);
        }
        for piece in String::from_utf8_lossy(octets).split_inclusive(char::is_control) {
            let mut chars = piece.chars();
            match chars.next_back() {
                Some(last) if last.is_control() => {
                    write!(self.inner, "{}{}", chars.as_str(), last.escape_default())?;
                }
                _ => self.inner.write_all(piece.as_bytes())?,
            }
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl RecordDecorator for OneLineRecord<'_> {
    fn reset(&mut self) -> io::Result<()> {
        self.escape = false;
        self.inner.reset()
    }

    fn start_whitespace(&mut self) -> io::Result<()> {
        self.escape = false;
        self.inner.start_whitespace()
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.escape = true;
        self.inner.start_msg()
    }

    fn start_timestamp(&mut self) -> io::Result<()> {
        self.inner.start_timestamp()
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.inner.start_level()
    }

    fn start_comma(&mut self) -> io::Result<()> {
        self.escape = false;
        self.inner.start_comma()
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.inner.start_key()
    }

    fn start_value(&mut self) -> io::Result<()> {
        self.escape = true;
        self.inner.start_value()
    }

    fn start_location(&mut self) -> io::Result<()> {
        self.inner.start_location()
    }

    fn start_separator(&mut self) -> io::Result<()> {
        self.inner.start_separator()
    }
}

#[cfg(test)]
mod tests;
