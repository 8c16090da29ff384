//! `stagecoach` is a TFTP server made of actors.
//!
//! The crate is layered; imports point down this list only, and a test keeps it so:
//!
//! | module | what lives there |
//! |---|---|
//! | [`store`] | where bytes live: a directory, memory |
//! | [`net`] | UDP mechanics: reply address, error queue, batches |
//! | [`transfer`] | the protocol as state machines: no I/O, no clock, no logger, no actors |
//! | [`wire`] | octets to packets and back, netascii |
//!
//! [`limits`] and [`error`] serve all of them.

pub mod error;
pub mod limits;
pub mod net;
pub mod store;
pub mod transfer;
pub mod wire;
