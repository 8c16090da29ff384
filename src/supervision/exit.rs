//! How an actor's life ended.

use std::any::Any;
use std::fmt;

use actix::Message;

/// How an actor's life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It stopped by itself.
    Normal,
    /// It panicked, with this text.
    Panicked(String),
    /// Its arbiter ended under it.
    Killed,
}

impl Exit {
    /// The exit that a caught panic means.
    pub(super) fn from_panic(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked(panic_text(payload).to_owned())
    }
}

/// The text of a caught panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let fixed = payload.downcast_ref::<&'static str>().copied();
    fixed.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Killed => f.write_str("its arbiter ended"),
        }
    }
}

/// A child's life has ended; its parent hears of it exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChildExited {
    /// What the parent called it.
    pub id: u64,
    /// How.
    pub exit: Exit,
}
