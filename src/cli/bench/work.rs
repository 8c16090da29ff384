//! The kinds of load: read, write, or ask for missing files.

use std::str::FromStr;

use crate::transfer::Outcome;
use crate::wire::ErrorCode;

/// What the transfers of a load do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Get,
    Put,
    Miss,
}

impl Work {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Miss => "miss",
        }
    }

    /// Whether `outcome` is the expected one for this kind of transfer.
    pub(super) fn is_done_by(self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Get | Self::Put, Outcome::Complete) => true,
            (Self::Miss, Outcome::PeerAborted { code, .. } | Outcome::Declined { code, .. }) => {
                *code == ErrorCode::FILE_NOT_FOUND
            }
            _ => false,
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "get" => Ok(Self::Get),
            "put" => Ok(Self::Put),
            "miss" => Ok(Self::Miss),
            _ => Err(format!("{text:?} is none of get, put and miss")),
        }
    }
}
