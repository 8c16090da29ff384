//! Limits that requests can reach.

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
