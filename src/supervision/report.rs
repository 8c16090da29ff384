//! Reports of a supervisor about its children.

use std::time::Duration;

use super::Exit;

/// One exit of a supervisor's child, before a restart or at its final end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildReport {
    /// The name in its specification.
    pub child: &'static str,
    /// How that life ended.
    pub exit: Exit,
    /// What follows.
    pub follows: Follows,
}

/// What follows a child's exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Follows {
    /// The child is restarted.
    Restart {
        /// The pause before the restart.
        after: Duration,
    },
    /// Nothing: the child is temporary, or was told to stop.
    End,
    /// The child's supervisor gives up.
    GiveUp,
}
