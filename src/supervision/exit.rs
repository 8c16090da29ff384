//! How an actor's life ended, and who hears of it.

use std::fmt;

use actix::Message;

/// How an actor's life ended. Its text goes on from the actor's name: "the listener panicked: ...".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It stopped, by itself or as it was told.
    Normal,
    /// It panicked, with this text.
    Panicked(String),
    /// Its arbiter ended under it, or it did not stop in the time that it was given.
    Killed,
    /// It was a supervisor, and ended because one of its children can't be kept alive: which, and its exit, in one sentence.
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

/// A child's life has ended; its parent hears of it exactly once. (From [`start_temporary`](super::start_temporary).)
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChildExited {
    /// What the parent called it.
    pub id: u64,
    /// How.
    pub exit: Exit,
}
