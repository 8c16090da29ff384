//! Values of log fields, in quotes where they need them.
//!
//! A value of letters, digits and `._/+-` is written without quotes. An address may also contain
//! `:`, `[`, `]` and `%`. Any other value is quoted, with escapes as in Rust and C:
//! `\n \r \t \' \" \\ \xNN` and `\u{N}`. Within quotes, a space after a comma is written `\x20`, so
//! `, ` occurs only before a field. Text from a client therefore looks like a field neither to a
//! parser nor to `grep ', name: x'`.

use std::io::Write;

/// Fields with text that [`Text`](crate::wire::Text) or [`Name`](crate::store::Name) has already
/// escaped. It is not escaped again.
const ESCAPED: [&str; 7] = ["name", "mode", "asked", "options", "path", "root", "why"];
const ADDRESSES: [&str; 5] = ["peer", "local", "address", "from", "to"];

/// Quotes the value of `key` in `text`, which begins at `start`, if it needs quotes. `scratch` is
/// reusable memory.
pub(super) fn quote(text: &mut Vec<u8>, key: &str, start: usize, scratch: &mut Vec<u8>) {
    let value = &text[start..];
    let is_address = ADDRESSES.contains(&key);
    let is_plain = |octet: &u8| {
        octet.is_ascii_alphanumeric()
            || matches!(octet, b'.' | b'_' | b'/' | b'+' | b'-')
            || (is_address && matches!(octet, b':' | b'[' | b']' | b'%'))
    };
    if !value.is_empty() && value.iter().all(is_plain) {
        return;
    }
    let keeps = ESCAPED.contains(&key) && is_escaped(value);
    scratch.clear();
    scratch.push(b'"');
    let mut before = '\0';
    for c in String::from_utf8_lossy(value).chars() {
        // Writing to memory does not fail.
        let _ = match c {
            ' ' if before == ',' => write!(scratch, "\\x20"),
            // What is escaped is ASCII.
            c if keeps => scratch.write_all(&[c as u8]),
            '\'' => write!(scratch, "'"),
            '\0' => write!(scratch, "\\x00"),
            c => write!(scratch, "{}", c.escape_debug()),
        };
        before = c;
    }
    scratch.push(b'"');
    text.truncate(start);
    text.extend_from_slice(scratch);
}

/// Whether `value` is correctly escaped, so that quotes can be put around it unchanged.
fn is_escaped(value: &[u8]) -> bool {
    let mut rest = value;
    loop {
        rest = match rest {
            [] => return true,
            [b'\\', b'n' | b'r' | b't' | b'\'' | b'"' | b'\\', rest @ ..] => rest,
            [b'\\', b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [b'\\' | b'"', ..] => return false,
            [b' '..=b'~', rest @ ..] => rest,
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests;
