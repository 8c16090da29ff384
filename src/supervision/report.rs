//! What a supervisor tells of its children.

use std::time::Duration;

use super::Exit;

/// One exit of a supervisor's child: of a life that is followed by another, or of its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildReport {
    /// The name in its specification.
    pub child: &'static str,
    /// How that life ended.
    pub exit: Exit,
    /// What comes of it.
    pub follows: Follows,
}

/// What comes of a child's exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The child starts again.
    Restart {
        /// The pause before that.
        after: Duration,
    },
    /// Nothing: it is temporary, or was told to stop.
    End,
    /// Its supervisor gives up.
    GiveUp,
}
