//! The files of transfers: the actors that read and write them, and calls to stores that may wait.

mod reader;
mod source_handle;
mod store_caller;
mod upload;
mod writer;

pub(crate) use self::reader::{Fetch, Open, Reader};
pub(crate) use self::source_handle::SourceHandle;
pub(crate) use self::store_caller::StoreCaller;
pub(crate) use self::upload::{Extent, Upload};
pub(crate) use self::writer::{Writer, WriterOrder};
