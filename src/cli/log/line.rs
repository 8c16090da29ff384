//! Formats a record as a line of text on the calling thread, so that its values need not outlive
//! the call.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use slog::{Drain, KV, Key, Level, Never, OwnedKVList, Record, Serializer};
use slog_term::{RecordDecorator, TermDecorator, print_msg_header};

use super::queue::Queue;
use super::quoting::quote;
use super::timestamp;
use crate::limits;

/// SGR codes of terminals (ECMA-48 §8.3.117).
const RESET: u16 = 0;
const BOLD: u16 = 1;
const FOREGROUND: u16 = 30;

const SEPARATOR: &str = ", ";

/// Formats records and appends them to `queue`, with `colours` for a terminal.
pub(super) struct Formatter {
    pub(super) queue: Arc<Queue>,
    pub(super) colours: bool,
}

/// Whether stderr is a terminal with colours, and the operator has not disabled them
/// (<https://no-color.org/>).
pub(super) fn wants_colours() -> bool {
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    value("TERM").is_some_and(|term| term != "dumb") && value("NO_COLOR").is_none()
}

thread_local! {
    /// Taken out while a line is formatted: a value that logs or panics meanwhile finds another
    /// line, and leaves one.
    static LINE: Cell<Line> = Cell::default();
}

impl Drain for Formatter {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        // A value that can't be formatted loses its line.
        if line.write_record(record, values, self.colours).is_ok() {
            self.queue.push(&line.text);
        }
        if line.text.capacity() <= limits::LOG_OCTETS_AT_ONCE {
            // A thread that is ending has no thread-local storage any more.
            let _ = LINE.try_with(|kept| kept.set(line));
        }
        Ok(())
    }
}

/// The line of a record: control characters in its message are escaped, and values are
/// [quoted](super::quoting) where necessary.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    /// Ranges of the fields, which slog passes in reverse order.
    fields: Vec<Range<usize>>,
    /// Scratch memory: the fields in order, or a quoted value.
    scratch: Vec<u8>,
    message_at: usize,
    /// The record's level, if the line gets colours.
    colours: Option<Level>,
    is_styled: bool,
}

impl Line {
    fn write_record(&mut self, record: &Record<'_>, values: &OwnedKVList, colours: bool) -> slog::Result {
        self.text.clear();
        self.fields.clear();
        self.colours = colours.then(|| record.level());
        let has_message = print_msg_header(&timestamp, self, record, false)?;
        let message_at = self.message_at;
        escape_controls(&mut self.text, message_at);
        self.reset()?;

        let fields_at = self.text.len();
        record.kv().serialize(record, self)?;
        values.serialize(record, self)?;
        self.scratch.clear();
        for field in self.fields.iter().rev() {
            self.scratch.extend_from_slice(&self.text[field.clone()]);
        }
        self.text.truncate(fields_at);
        // Without a message, no comma separates it from the fields.
        let begin = if has_message { 0 } else { SEPARATOR.len().min(self.scratch.len()) };
        self.text.extend_from_slice(&self.scratch[begin..]);
        self.text.push(b'\n');
        Ok(())
    }

    fn style(&mut self, code: u16) -> io::Result<()> {
        self.is_styled = self.colours.is_some() && code != RESET;
        if self.colours.is_some() { write!(self.text, "\x1b[{code}m") } else { Ok(()) }
    }
}

impl Write for Line {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.text.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Line {
    fn reset(&mut self) -> io::Result<()> {
        if self.is_styled { self.style(RESET) } else { Ok(()) }
    }

    fn start_level(&mut self) -> io::Result<()> {
        let colour = self.colours.map_or(0, TermDecorator::level_to_color);
        self.style(FOREGROUND + colour)
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.start_key()?;
        self.message_at = self.text.len();
        Ok(())
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.style(BOLD)
    }
}

impl Serializer for Line {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        let field_at = self.text.len();
        self.text.extend_from_slice(SEPARATOR.as_bytes());
        self.start_key()?;
        self.text.extend_from_slice(key.as_bytes());
        self.reset()?;
        self.text.extend_from_slice(b": ");
        let value_at = self.text.len();
        self.write_fmt(*value)?;
        quote(&mut self.text, key, value_at, &mut self.scratch);
        self.fields.push(field_at..self.text.len());
        Ok(())
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.emit_arguments(key, &format_args!("None"))
    }
}

/// Escapes the control characters in the part of `text` that begins at `start`.
fn escape_controls(text: &mut Vec<u8>, start: usize) {
    if text[start..].iter().all(|octet| matches!(octet, b' '..=b'~')) {
        return;
    }
    let part = text.split_off(start);
    for c in String::from_utf8_lossy(&part).chars() {
        let escaped = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        text.extend_from_slice(escaped.as_bytes());
    }
}

#[cfg(test)]
mod tests;
