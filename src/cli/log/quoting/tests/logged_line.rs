//! A line of the log, read back.

/// What a line says: its level, its message, and its fields in their order, without their quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LoggedLine {
    pub(crate) level: String,
    pub(crate) message: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

impl LoggedLine {
    /// Reads a line, with or without its end.
    ///
    /// # Panics
    /// If it is none.
    pub(crate) fn read(line: &str) -> Self {
        let line = line.strip_suffix('\n').unwrap_or(line);
        assert!(!line.contains(char::is_control), "one line, and nothing for a terminal: {line:?}");
        let mut words = line.splitn(3, ' ');
        let (_, level, rest) = (words.next(), words.next().expect("a level"), words.next().expect("a text"));
        // The one rule that is needed: between two fields there is `, `, and nowhere else.
        let mut parts = rest.split(", ");
        let mut message = parts.next().expect("a message").to_owned();
        let mut fields = Vec::new();
        for part in parts {
            match part.split_once(": ") {
                Some((key, value)) if key.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
                    fields.push((key.to_owned(), unquoted(value)));
                }
                _ if fields.is_empty() => message = format!("{message}, {part}"),
                _ => panic!("{part:?} is no field: {line}"),
            }
        }
        Self { level: level.to_owned(), message, fields }
    }

    /// The value of a field, as text.
    pub(crate) fn field(&self, key: &str) -> Option<String> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == key)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// What a value says, as `docs/log.md` has it.
fn unquoted(value: &str) -> Vec<u8> {
    let Some(inner) = value.strip_prefix('"') else {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/+-:[]%".contains(c);
        assert!(!value.is_empty() && value.chars().all(is_plain), "{value:?} needs quotes");
        return value.as_bytes().to_vec();
    };
    let mut octets = Vec::new();
    let mut rest = inner.strip_suffix('"').expect("what is begun with a quote ends with one");
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => panic!("a quote within a value is escaped: {value}"),
            '\\' => rest = unescaped(rest, &mut octets),
            c => octets.extend_from_slice(c.to_string().as_bytes()),
        }
    }
    octets
}

/// What an escape says goes to `octets`; the rest is returned.
fn unescaped<'a>(rest: &'a str, octets: &mut Vec<u8>) -> &'a str {
    let (kind, rest) = rest.split_at(1);
    match kind {
        "n" => octets.push(b'\n'),
        "r" => octets.push(b'\r'),
        "t" => octets.push(b'\t'),
        "x" => {
            octets.push(u8::from_str_radix(&rest[..2], 16).expect("two digits"));
            return &rest[2..];
        }
        "u" => {
            let (digits, rest) =
                rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).expect("braces");
            let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).expect("a character");
            octets.extend_from_slice(c.to_string().as_bytes());
            return rest;
        }
        "\\" | "\"" | "'" => octets.extend_from_slice(kind.as_bytes()),
        other => panic!("{other:?} is no escape"),
    }
    rest
}
