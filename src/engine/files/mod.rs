//! The files of transfers: the actors that read and write them, and calls to stores that may wait.

mod job;
pub(crate) mod opened;
pub(crate) mod reader;
pub(crate) mod source_handle;
pub(crate) mod store_caller;
pub(crate) mod upload;
pub(crate) mod writer;
