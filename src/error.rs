//! Why requests are refused and transfers end early, with the TFTP error code of each reason.
//!
//! A peer gets a code and the short text of a [`Failure`], never a path. U-Boot stops on codes 1
//! and 2 and retries for ever on all others, so missing files always have code 1, forbidden ones 2.

mod limit;

use std::borrow::Cow;
use std::fmt;

pub use self::limit::Limit;
use crate::limits::ERROR_TEXT_OCTETS_MAX;
use crate::wire::ErrorCode;

/// A reason that may be sent to a peer. [`Display`](fmt::Display) is the text of the ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// There is no file by that name (`ENOENT`, `ENOTDIR`, `ENAMETOOLONG`).
    #[error("File not found")]
    NotFound,
    /// The file exists, but not for this client (`EACCES`, `EPERM`, `ELOOP`, outside of the root).
    #[error("Access violation")]
    Forbidden,
    /// A directory, a device, a socket, a FIFO: only regular files are served.
    #[error("Not a regular file")]
    NotRegular,
    /// The server takes no uploads.
    #[error("Server is read-only")]
    ReadOnly,
    /// The disk is full (`ENOSPC`, `EDQUOT`), or less than the configured reserve is left.
    #[error("Disk full or allocation exceeded")]
    DiskFull,
    /// The upload is larger than allowed (`EFBIG`, the configured limit).
    #[error("File too large")]
    TooLarge,
    /// The request is malformed: a NUL, the name or the mode is missing.
    #[error("Malformed request")]
    Malformed,
    /// A transfer mode that is not supported (RFC 1350's `mail`).
    #[error("Unsupported transfer mode")]
    UnsupportedMode,
    /// A packet that is invalid in this state of the transfer, such as a block that is too long.
    #[error("Illegal TFTP operation")]
    IllegalOperation,
    /// The packet came from an address and port that don't belong to the transfer.
    #[error("Unknown transfer ID")]
    UnknownTid,
    /// The file exists and overwriting is not allowed.
    #[error("File already exists")]
    Exists,
    /// An option value that `--strict` refuses.
    #[error("Failure to negotiate RFC2347 options")]
    Negotiation,
    /// The file was truncated or rewritten during the transfer.
    #[error("File changed during the transfer")]
    Changed,
    /// The disk or another back end failed (`EIO`, and errors without a better code).
    #[error("Input/output error")]
    Io,
    /// Too many open files or transfers.
    #[error("Server is busy")]
    Busy,
    /// The server is stopping.
    #[error("Server is shutting down")]
    ShuttingDown,
    /// The operator ended the transfer.
    #[error("Transfer cancelled")]
    Cancelled,
    /// An extension refused the request with a code of its own; the [`Fault`] has its text.
    #[error("Request refused")]
    Refused(ErrorCode),
    /// A fault in the server itself.
    #[error("Internal error")]
    Internal,
}

impl Failure {
    /// Whether the failure says nothing about the file, because the store or another part couldn't
    /// tell whether it exists. A client must not take such a failure for a missing file.
    #[must_use]
    pub fn is_outage(self) -> bool {
        match self {
            // A panic is no answer. A file that changed may be complete at the next request.
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

    /// The TFTP error code of this failure (RFC 1350 appendix, RFC 2347).
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

/// A [`Failure`] with its cause, which only the operator's log gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The failure that is reported to the peer.
    pub failure: Failure,
    /// The text for the peer if an extension has set one.
    told: Option<Box<str>>,
    limit: Option<Limit>,
    /// Details for the log, such as the text of an errno or of a panic. Never sent to a peer.
    pub detail: Option<Box<str>>,
}

impl Fault {
    /// A fault with details for the operator.
    pub fn new(failure: Failure, detail: impl fmt::Display) -> Self {
        // Most paths with an errno's text fit: boot loaders request many files that don't exist.
        let mut text = String::with_capacity(128);
        // Writing to a string fails only if `detail` does; the text so far is kept then.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{detail}"));
        Self { failure, told: None, limit: None, detail: Some(text.into_boxed_str()) }
    }

    /// A fault of a request that reached a limit. `detail` is for the operator.
    pub fn limited(failure: Failure, limit: Limit, detail: impl fmt::Display) -> Self {
        Self { limit: Some(limit), ..Self::new(failure, detail) }
    }

    /// The limit that was reached, if any.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// The refusal of an extension. `told` is sent to the peer and logged; characters outside of
    /// printable ASCII are removed. The peer gets at most 128 octets, the log gets the whole text.
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
        // The text is ASCII, so characters are octets.
        let told = detail.chars().take(ERROR_TEXT_OCTETS_MAX).collect();
        Self { failure: Failure::Refused(code), detail: Some(detail), told: Some(told), limit: None }
    }

    /// The text of the ERROR that the peer gets.
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
