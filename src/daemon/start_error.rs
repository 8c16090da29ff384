//! Why a server can't start.

use std::io;

use crate::net::BindError;
use crate::store::RootError;

/// Why a server can't start. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory can't be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What the service manager passed can't be listened on.
    #[error(
        "socket {number} of those that were passed to this program can't take requests ({why}): pass bound UDP sockets only, \
         ListenDatagram= in a .socket unit"
    )]
    Passed {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system has no thread, or no signal, to give.
    #[error("the operating system refused: {0}")]
    Runtime(io::Error),
}
