//! How an actor's life ended, and the report to its parent.

use std::fmt;

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
