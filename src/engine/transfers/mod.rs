//! What a transfer needs to outlive its session, and the tables of transfers.

mod assignment;
mod session_table;
mod shared_transfer;

pub(crate) use self::assignment::{Assignment, Destination, Routed};
pub(crate) use self::session_table::{Child, PendingRequest, SessionTable};
pub use self::shared_transfer::LiveTransfer;
pub(crate) use self::shared_transfer::{SharedTransfer, Summary, TransferMachine, TransferState};
