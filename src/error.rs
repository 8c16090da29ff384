//! Why requests are refused and transfers end early. A peer gets the code and the short text of a
//! [`Failure`], never a path.

use std::borrow::Cow;
use std::fmt;

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
    /// tell whether it exists: a client must not take it for a missing file.
    #[must_use]
    pub fn is_outage(self) -> bool {
        // A panic is no answer. A file that changed may be complete at the next request.
        matches!(self, Self::Io | Self::Busy | Self::Internal | Self::Changed | Self::ShuttingDown)
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

/// A [`Failure`] with its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// What the peer is told.
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
        // Fails only if `detail` does; the text so far is kept then.
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

    /// The refusal of an extension. The printable ASCII of `told` is logged, and its first 128
    /// octets are sent to the peer.
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

/// A limit that a request reached, and that an operator may want to raise. A
/// [`Fact`](crate::observe::Fact::LimitReached) reports it each time, the log once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// `--max-transfers`
    Transfers,
    /// `--max-transfers-per-client`
    TransfersPerClient,
    /// `--port-range`: all of its ports are in use.
    PortRange,
    /// `--min-free`
    FreeDisk,
    /// `--max-upload-size`
    UploadSize,
    /// `RLIMIT_NOFILE`, or the limit of the whole system (`fs.file-max`).
    OpenFiles,
    /// 6144, `UNPROVEN_MAX`: the oldest ones give way.
    UnprovenWaiting,
    /// 6656, `UNPROVEN_HELD_MAX`
    Unproven,
    /// 5888, `UNPROVEN_PER_PREFIX_MAX`
    UnprovenPerPrefix,
    /// 4096 a second, `ERRORS_PER_PREFIX_MAX`
    RefusalsPerPrefix,
    /// 4096, `REQUESTS_WAITING_MAX`
    RequestsWaiting,
    /// 64, `OPCODES_ASKED_MAX`
    OpcodesAsked,
    /// 65,536, `ACTOR_FILES_MAX`
    ActorFiles,
    /// 512 MiB, `ALL_WINDOWS_OCTETS_MAX`
    Windows,
}

impl Limit {
    /// The name of the limit: its flag, the system's name, or the constant.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfers => "--max-transfers",
            Self::TransfersPerClient => "--max-transfers-per-client",
            Self::PortRange => "--port-range",
            Self::FreeDisk => "--min-free",
            Self::UploadSize => "--max-upload-size",
            Self::OpenFiles => "RLIMIT_NOFILE",
            Self::UnprovenWaiting => "UNPROVEN_MAX",
            Self::Unproven => "UNPROVEN_HELD_MAX",
            Self::UnprovenPerPrefix => "UNPROVEN_PER_PREFIX_MAX",
            Self::RefusalsPerPrefix => "ERRORS_PER_PREFIX_MAX",
            Self::RequestsWaiting => "REQUESTS_WAITING_MAX",
            Self::OpcodesAsked => "OPCODES_ASKED_MAX",
            Self::ActorFiles => "ACTOR_FILES_MAX",
            Self::Windows => "ALL_WINDOWS_OCTETS_MAX",
        }
    }

    /// What the limit bounds, and what happens beyond it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Transfers => "the number of live transfers is at its maximum",
            Self::TransfersPerClient => "the client's number of live transfers is at its maximum",
            Self::PortRange => "all ports for transfers are in use",
            Self::FreeDisk => "an upload would leave too little free disk space",
            Self::UploadSize => "an upload is larger than allowed",
            Self::OpenFiles => "the maximum of open files is reached",
            Self::UnprovenWaiting => "too many clients have not answered yet, and the oldest give way",
            Self::Unproven => "too many clients have not answered yet",
            Self::UnprovenPerPrefix => "too many clients of one network have not answered yet",
            Self::RefusalsPerPrefix => "one network has had its maximum of refusals a second",
            Self::RequestsWaiting => "too many requests wait for a session",
            Self::OpcodesAsked => "too many datagrams wait for an extension's answer",
            Self::Windows => "windows are smaller than requested, because their total size is at its maximum",
            Self::ActorFiles => "a store that is an actor has its maximum of files open",
        }
    }
}
