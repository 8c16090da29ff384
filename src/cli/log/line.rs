//! Formats a record as a line of text on the calling thread, so that its values need not outlive
//! the call.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use slog::{Drain, Level, Never, OwnedKVList, Record};
use slog_term::{Decorator, FullFormat, RecordDecorator, TermDecorator};

use super::queue::Queue;
use super::quoting::quote;
use super::timestamp;
use crate::limits;

/// Formats records and appends them to `queue`, with `colours` for a terminal.
pub(super) fn formatter(
    queue: Arc<Queue>,
    colours: bool,
) -> impl Drain<Ok = (), Err = Never> + Send + Sync + std::panic::RefUnwindSafe {
    // slog passes fields in reverse order. slog-term reverses them by making two strings of each,
    // which [`Line`] avoids.
    let format = FullFormat::new(Queued { queue, colours }).use_custom_timestamp(timestamp);
    format.build().ignore_res()
}

/// Whether stderr is a terminal with colours, and the operator has not disabled them
/// (<https://no-color.org/>).
pub(super) fn wants_colours() -> bool {
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    value("TERM").is_some_and(|term| term != "dumb") && value("NO_COLOR").is_none()
}

struct Queued {
    queue: Arc<Queue>,
    colours: bool,
}

thread_local! {
    /// Taken out while a line is formatted: a value that logs or panics meanwhile finds another
    /// line, and leaves one.
    static LINE: Cell<Line> = const { Cell::new(Line::new()) };
}

impl Decorator for Queued {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, format: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.begin(self.colours.then(|| record.level()));
        format(&mut line)?;
        self.queue.push(line.in_order());
        if line.text.capacity() <= limits::LOG_OCTETS_AT_ONCE {
            // A thread that is ending has no thread-local storage any more.
            let _ = LINE.try_with(|kept| kept.set(line));
        }
        Ok(())
    }
}

/// A record while it is formatted on one line: control characters in messages are escaped, and
/// values are [quoted](super::quoting) where necessary.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    /// Ranges of the fields, in slog's reverse order.
    fields: Vec<Range<usize>>,
    /// Scratch memory: the fields in order, or a quoted value.
    ordered: Vec<u8>,
    escape: bool,
    key_at: usize,
    value_at: Option<usize>,
    /// The record's level, if the line gets colours.
    colours: Option<Level>,
    coloured: bool,
}

impl Line {
    const fn new() -> Self {
        Self {
            text: Vec::new(),
            fields: Vec::new(),
            ordered: Vec::new(),
            escape: false,
            key_at: 0,
            value_at: None,
            colours: None,
            coloured: false,
        }
    }

    fn begin(&mut self, colours: Option<Level>) {
        self.text.clear();
        self.fields.clear();
        (self.escape, self.value_at, self.colours, self.coloured) = (false, None, colours, false);
    }

    /// The finished line, with its fields in the order of the source code.
    fn in_order(&mut self) -> &[u8] {
        if let [first, .., last] = &*self.fields {
            let all = first.start..last.end;
            self.ordered.clear();
            for (place, field) in self.fields.iter().rev().enumerate() {
                self.ordered.extend_from_slice(&self.text[field.clone()]);
                if let Some(next) = self.fields.get(place + 1) {
                    self.ordered.extend_from_slice(&self.text[self.fields[place].end..next.start]);
                }
            }
            self.text[all].copy_from_slice(&self.ordered);
        }
        &self.text
    }

    fn style(&mut self, code: std::fmt::Arguments<'_>) -> io::Result<()> {
        if self.colours.is_some() {
            self.coloured = true;
            write!(self.text, "\x1b[{code}m")?;
        }
        Ok(())
    }

    fn end_value(&mut self) {
        let Some(start) = self.value_at.take() else { return };
        let is_of_key = |octet: &&u8| octet.is_ascii_alphanumeric() || **octet == b'_';
        let key_octets = self.text[self.key_at..].iter().take_while(is_of_key).count();
        let key = self.key_at..self.key_at + key_octets;
        quote(&mut self.text, key, start, &mut self.ordered);
    }

    fn end_field(&mut self) {
        if let Some(field) = self.fields.last_mut() {
            field.end = self.text.len();
        }
    }
}

/// Overrides every method that slog-term calls: a line is made of about a hundred pieces, and the
/// trait's default methods are slower.
impl Write for Line {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if !self.escape || is_plain(octets) {
            self.text.extend_from_slice(octets);
            return Ok(octets.len());
        }
        for piece in String::from_utf8_lossy(octets).split_inclusive(char::is_control) {
            let mut chars = piece.chars();
            match chars.next_back() {
                Some(last) if last.is_control() => {
                    write!(self.text, "{}{}", chars.as_str(), last.escape_default())?;
                }
                _ => self.text.extend_from_slice(piece.as_bytes()),
            }
        }
        Ok(octets.len())
    }

    fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        self.write(octets).map(drop)
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        match arguments.as_str() {
            Some(text) => self.write_all(text.as_bytes()),
            None => fmt::Write::write_fmt(&mut Pieces(self), arguments).map_err(io::Error::other),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether there is nothing to escape. It has no early return, so the compiler can vectorise the
/// loop.
fn is_plain(octets: &[u8]) -> bool {
    octets.iter().fold(true, |plain, octet| plain & matches!(octet, b' '..=b'~'))
}

struct Pieces<'a>(&'a mut Line);

impl fmt::Write for Pieces<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl RecordDecorator for Line {
    fn reset(&mut self) -> io::Result<()> {
        self.escape = false;
        self.end_value();
        if std::mem::take(&mut self.coloured) {
            self.text.extend_from_slice(b"\x1b[0m");
        }
        Ok(())
    }

    /// slog-term also calls this after a colon, before the value, and before the end of the line.
    fn start_whitespace(&mut self) -> io::Result<()> {
        self.reset()?;
        self.end_field();
        Ok(())
    }

    fn start_level(&mut self) -> io::Result<()> {
        match self.colours {
            Some(level) => self.style(format_args!("3{}", TermDecorator::level_to_color(level))),
            None => Ok(()),
        }
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.escape = true;
        self.style(format_args!("1"))
    }

    fn start_comma(&mut self) -> io::Result<()> {
        self.reset()?;
        self.end_field();
        Ok(())
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.fields.push(self.text.len()..self.text.len());
        self.style(format_args!("1"))?;
        self.key_at = self.text.len();
        Ok(())
    }

    fn start_value(&mut self) -> io::Result<()> {
        self.reset()?;
        self.value_at = Some(self.text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
