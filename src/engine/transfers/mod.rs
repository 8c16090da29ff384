//! A transfer as it outlives its session, and the tables of transfers.

pub(crate) mod assignment;
pub(crate) mod history;
pub(crate) mod progress;
pub(crate) mod session_table;
pub(crate) mod shared_transfer;
