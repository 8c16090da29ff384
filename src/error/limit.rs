//! Limits that name themselves when a request meets them.

/// A limit that a request met: what an operator may want to raise, or to know of. A
/// [`Fact`](crate::observe::Fact::LimitReached) says so each time, and the log once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// `--max-transfers`
    Transfers,
    /// `--max-transfers-per-client`
    TransfersPerClient,
    /// `--port-range`: each of its ports is taken.
    PortRange,
    /// `--min-free`
    FreeDisk,
    /// `--max-upload-size`
    UploadSize,
    /// `RLIMIT_NOFILE`, or the same of the whole system (`fs.file-max`).
    OpenFiles,
    /// 6144, [`UNPROVEN_MAX`](crate::limits::UNPROVEN_MAX): the oldest of their transfers give way.
    UnprovenWaiting,
    /// 6656, [`UNPROVEN_HELD_MAX`](crate::limits::UNPROVEN_HELD_MAX)
    Unproven,
    /// 5888, [`UNPROVEN_PER_PREFIX_MAX`](crate::limits::UNPROVEN_PER_PREFIX_MAX)
    UnprovenPerPrefix,
    /// 4096 in a second, [`ERRORS_PER_PREFIX_MAX`](crate::limits::ERRORS_PER_PREFIX_MAX)
    RefusalsPerPrefix,
    /// 4096, [`REQUESTS_WAITING_MAX`](crate::limits::REQUESTS_WAITING_MAX)
    RequestsWaiting,
    /// 64, [`OPCODES_ASKED_MAX`](crate::limits::OPCODES_ASKED_MAX)
    OpcodesAsked,
    /// 65,536, [`ACTOR_FILES_MAX`](crate::limits::ACTOR_FILES_MAX)
    ActorFiles,
    /// 512 MiB, [`ALL_WINDOWS_OCTETS_MAX`](crate::limits::ALL_WINDOWS_OCTETS_MAX)
    Windows,
}

impl Limit {
    /// Its name: the flag that sets it, the system's word, or the constant.
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

    /// What it bounds, and what becomes of what is beyond it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Transfers => "as many transfers are live as may be",
            Self::TransfersPerClient => "as many transfers of one client are live as may be",
            Self::PortRange => "each port that transfers may use is taken",
            Self::FreeDisk => "an upload would leave less of the disk than is to stay free",
            Self::UploadSize => "an upload is larger than it may be",
            Self::OpenFiles => "the process has as many files open as it may have",
            Self::UnprovenWaiting => "too many clients have not answered yet, and the oldest give way",
            Self::Unproven => "too many clients have not answered yet",
            Self::UnprovenPerPrefix => "too many clients of one network have not answered yet",
            Self::RefusalsPerPrefix => "one network has had as many refusals as it gets in a second",
            Self::RequestsWaiting => "too many requests wait for a session",
            Self::OpcodesAsked => "too many datagrams wait for an extension's answer",
            Self::Windows => "windows are smaller than they were asked for because all together are large",
            Self::ActorFiles => "a store that is an actor has as many files open as it may have",
        }
    }
}
