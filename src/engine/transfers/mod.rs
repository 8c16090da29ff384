//! What a transfer needs to outlive its session, and the tables of transfers.

pub(crate) mod assignment;
pub(crate) mod bury;
pub(crate) mod destination;
pub(crate) mod event;
pub(crate) mod progress;
pub(crate) mod session_table;
pub(crate) mod shared_transfer;
