//! Values of log fields, in quotes where they need them.
//!
//! A value of letters, digits and `._/+-` is written without quotes. An address may also contain
//! `:`, `[`, `]` and `%`. Any other value is quoted, with escapes as in Rust and C:
//! `\n \r \t \' \" \\ \xNN` and `\u{N}`. Within quotes, a space after a comma is written `\x20`, so
//! `, ` occurs only before a field. Text from a client therefore looks like a field neither to a
//! parser nor to `grep ', name: x'`.

use std::io::Write;
use std::ops::Range;

/// Fields with text that [`Text`](crate::wire::Text) or [`Name`](crate::store::Name) has already
/// escaped. It is not escaped again.
const ESCAPED: [&[u8]; 7] = [b"name", b"mode", b"asked", b"options", b"path", b"root", b"why"];
const ADDRESSES: [&[u8]; 5] = [b"peer", b"local", b"address", b"from", b"to"];

/// Quotes the value in `text` that begins at `start`, if it needs quotes. `key` is the range of its
/// key. `scratch` is reusable memory.
pub(super) fn quote(text: &mut Vec<u8>, key: Range<usize>, start: usize, scratch: &mut Vec<u8>) {
    let (key, value) = (&text[key], &text[start..]);
    if is_plain(value) || (ADDRESSES.contains(&key) && is_address(value)) {
        return;
    }
    scratch.clear();
    scratch.push(b'"');
    if ESCAPED.contains(&key) && is_escaped(value) {
        push_escaped(scratch, value);
    } else {
        push_raw(scratch, value);
    }
    scratch.push(b'"');
    text.truncate(start);
    text.extend_from_slice(scratch);
}

fn is_plain(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().copied().all(is_plain_octet)
}

fn is_plain_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'/' | b'+' | b'-')
}

fn is_address(value: &[u8]) -> bool {
    let is_octet = |octet: u8| is_plain_octet(octet) || matches!(octet, b':' | b'[' | b']' | b'%');
    !value.is_empty() && value.iter().copied().all(is_octet)
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

fn push_escaped(to: &mut Vec<u8>, value: &[u8]) {
    for (index, octet) in value.iter().enumerate() {
        match octet {
            b' ' if index > 0 && value[index - 1] == b',' => to.extend_from_slice(b"\\x20"),
            octet => to.push(*octet),
        }
    }
}

fn push_raw(to: &mut Vec<u8>, value: &[u8]) {
    let mut before = '\0';
    for c in String::from_utf8_lossy(value).chars() {
        // Writing to memory does not fail.
        let _ = match c {
            ' ' if before == ',' => write!(to, "\\x20"),
            '\'' => write!(to, "'"),
            '\0' => write!(to, "\\x00"),
            c => write!(to, "{}", c.escape_debug()),
        };
        before = c;
    }
}

#[cfg(test)]
mod tests;
