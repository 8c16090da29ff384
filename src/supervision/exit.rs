//! How an actor's life ended, and the reports of that.

use std::fmt;
use std::time::Duration;

use actix::Message;

/// How an actor's life ended. The text continues a sentence that begins with the actor's name: "the
/// listener panicked: ...".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The actor stopped, by itself or by order.
    Normal,
    /// The actor panicked, with this message.
    Panicked(String),
    /// Its arbiter ended, or the actor did not stop in time.
    Killed,
    /// A supervisor gave up because of a child: which child and its exit, in one sentence.
    GaveUp(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Killed => f.write_str("was killed"),
            Self::GaveUp(why) => write!(f, "gave up: {why}"),
        }
    }
}

/// A child has ended. Its parent gets this exactly once, from
/// [`start_temporary`](super::start_temporary).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ChildExited {
    /// The number that the parent gave the child.
    pub id: u64,
    /// How the child ended.
    pub exit: Exit,
}

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
