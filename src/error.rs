//! Why a request is refused or a transfer ends early, and the one TFTP error code for each.
//!
//! A peer sees a code and the short text of a [`Failure`], never a path: U-Boot stops on codes 1 and 2 and
//! restarts for ever on every other, so "missing" is always 1 and "forbidden" always 2.

mod limit;

use std::borrow::Cow;
use std::fmt;

pub use self::limit::Limit;
use crate::limits::ERROR_TEXT_OCTETS_MAX;
use crate::wire::ErrorCode;

/// A reason that a peer may be told. Its [`Display`](fmt::Display) text is what the peer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing by that name (`ENOENT`, `ENOTDIR`, `ENAMETOOLONG`).
    #[error("File not found")]
    NotFound,
    /// The file is there, but not for this client (`EACCES`, `EPERM`, `ELOOP`, out of the root).
    #[error("Access violation")]
    Forbidden,
    /// A directory, a device, a socket, a FIFO: only regular files are served.
    #[error("Not a regular file")]
    NotRegular,
    /// The server takes no uploads.
    #[error("Server is read-only")]
    ReadOnly,
    /// No room (`ENOSPC`, `EDQUOT`), or less left than the configured reserve.
    #[error("Disk full or allocation exceeded")]
    DiskFull,
    /// The upload is larger than allowed (`EFBIG`, the configured limit).
    #[error("File too large")]
    TooLarge,
    /// The request can't be read: no NUL, no name, no mode.
    #[error("Malformed request")]
    Malformed,
    /// A transfer mode that is not offered (RFC 1350's `mail`).
    #[error("Unsupported transfer mode")]
    UnsupportedMode,
    /// A packet that this state of the transfer can't have: too long a block, a wrong opcode.
    #[error("Illegal TFTP operation")]
    IllegalOperation,
    /// The packet came from an address and port that this transfer doesn't know.
    #[error("Unknown transfer ID")]
    UnknownTid,
    /// The name is taken and overwriting is not allowed.
    #[error("File already exists")]
    Exists,
    /// An option value that `--strict` does not let pass.
    #[error("Failure to negotiate RFC2347 options")]
    Negotiation,
    /// The file changed under the transfer (shrunk, rewritten).
    #[error("File changed during the transfer")]
    Changed,
    /// The disk or another back end failed (`EIO` and all that has no better word).
    #[error("Input/output error")]
    Io,
    /// Too many open files, too many transfers.
    #[error("Server is busy")]
    Busy,
    /// The server is stopping.
    #[error("Server is shutting down")]
    ShuttingDown,
    /// The operator ended the transfer.
    #[error("Transfer cancelled")]
    Cancelled,
    /// An extension refused the request, with a code of its choice; its words are in the [`Fault`].
    #[error("Request refused")]
    Refused(ErrorCode),
    /// A fault of the server itself.
    #[error("Internal error")]
    Internal,
}

impl Failure {
    /// Whether this says nothing about the file: the store, or whoever else had to be asked for it,
    /// couldn't say whether it is there. What a client must not take for absence.
    #[must_use]
    pub fn is_outage(self) -> bool {
        match self {
            // A panic is no answer; a file that changed may be whole when it is asked for again.
            Self::Io | Self::Busy | Self::Internal | Self::Changed | Self::ShuttingDown => true,
            Self::NotFound
            | Self::Forbidden
            | Self::NotRegular
            | Self::ReadOnly
            | Self::DiskFull
            | Self::TooLarge
            | Self::Malformed
            | Self::UnsupportedMode
            | Self::IllegalOperation
            | Self::UnknownTid
            | Self::Exists
            | Self::Negotiation
            | Self::Cancelled
            | Self::Refused(_) => false,
        }
    }

    /// The TFTP error code (RFC 1350 appendix, RFC 2347) that tells a peer of this failure.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::FILE_NOT_FOUND,
            Self::Forbidden | Self::NotRegular | Self::ReadOnly => ErrorCode::ACCESS_VIOLATION,
            Self::DiskFull | Self::TooLarge => ErrorCode::DISK_FULL,
            Self::Malformed | Self::UnsupportedMode | Self::IllegalOperation => ErrorCode::ILLEGAL_OPERATION,
            Self::UnknownTid => ErrorCode::UNKNOWN_TID,
            Self::Exists => ErrorCode::FILE_EXISTS,
            Self::Negotiation => ErrorCode::OPTION_NEGOTIATION,
            Self::Refused(code) => code,
            Self::Changed | Self::Io | Self::Busy | Self::ShuttingDown | Self::Cancelled | Self::Internal => {
                ErrorCode::NOT_DEFINED
            }
        }
    }
}

/// A [`Failure`] and, for the operator's log only, what stood behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What the peer is told.
    pub failure: Failure,
    /// Words for the peer in place of the failure's own, where an extension has some.
    told: Option<Box<str>>,
    limit: Option<Limit>,
    /// What the log says besides: an errno's text, a panic's. Never sent to a peer.
    pub detail: Option<Box<str>>,
}

impl Fault {
    /// A fault with a word for the operator.
    pub fn new(failure: Failure, detail: impl fmt::Display) -> Self {
        // A path and an errno's text: room for most of them at once, for boot loaders ask for many files that aren't there.
        let mut text = String::with_capacity(128);
        // Writing to a string doesn't fail, unless what is written says so; then what came until there has to do.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{detail}"));
        Self { failure, told: None, limit: None, detail: Some(text.into_boxed_str()) }
    }

    /// A request met this limit. `detail` is for the operator.
    pub fn limited(failure: Failure, limit: Limit, detail: impl fmt::Display) -> Self {
        Self { limit: Some(limit), ..Self::new(failure, detail) }
    }

    /// The limit that was met, if it was one.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// An extension's refusal. `told` goes to the peer, and to the log: what of it isn't printable ASCII is left out. The peer gets so many octets of it as an
    /// ERROR has, 128 ([`limits::ERROR_TEXT_OCTETS_MAX`](crate::limits::ERROR_TEXT_OCTETS_MAX)); the log gets all.
    ///
    /// ```
    /// use stagecoach::error::Fault;
    /// use stagecoach::wire::ErrorCode;
    ///
    /// let fault = Fault::refusal(ErrorCode::ACCESS_VIOLATION, "not for\nthis board");
    /// assert_eq!(fault.text_for_peer(), "not forthis board");
    /// ```
    #[must_use]
    pub fn refusal(code: ErrorCode, told: &str) -> Self {
        let is_plain = |c: &char| matches!(c, ' '..='~');
        let detail: Box<str> = told.chars().filter(is_plain).collect();
        // (All of it is ASCII: a character is an octet.)
        let told = detail.chars().take(ERROR_TEXT_OCTETS_MAX).collect();
        Self { failure: Failure::Refused(code), detail: Some(detail), told: Some(told), limit: None }
    }

    /// What the peer reads: as much as an ERROR has.
    #[must_use]
    pub fn text_for_peer(&self) -> Cow<'_, str> {
        self.told.as_deref().map_or_else(|| self.failure.to_string().into(), Cow::Borrowed)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure, told: None, limit: None, detail: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.failure),
            None => self.failure.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}
