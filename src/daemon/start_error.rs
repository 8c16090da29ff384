//! Errors of a server's start.

use std::io;

use crate::net::BindError;
use crate::store::RootError;

/// Why a server can't start. Each error is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory can't be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The server can't listen on an address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server can't listen on a socket from the service manager.
    #[error(
        "socket {number} of those that were passed to this program can't take requests ({why}): pass bound UDP sockets only, \
         ListenDatagram= in a .socket unit"
    )]
    Passed {
        /// The socket's number, counted from 1.
        number: usize,
        /// What is wrong with the socket.
        why: String,
    },
    /// The operating system has no thread or no signal handler to give.
    #[error("the operating system refused: {0}")]
    Runtime(io::Error),
}
