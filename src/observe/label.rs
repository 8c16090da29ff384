//! Labels that extensions attach to transfers.

use std::fmt;

use crate::limits;

/// A short text of an extension about a transfer (a board's serial number, a tenant). The log, the
/// registry and the [`Counters`](super::Counters) show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

impl Label {
    /// Creates a label from the printable ASCII of `text`, cut after 64 octets.
    ///
    /// ```
    /// use stagecoach::observe::Label;
    ///
    /// assert_eq!(Label::new("board\t0815").as_str(), "board0815");
    /// ```
    #[must_use]
    pub fn new(text: &str) -> Self {
        let is_plain = |c: &char| matches!(c, ' '..='~');
        Self(text.chars().filter(is_plain).take(limits::LABEL_OCTETS_MAX).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
