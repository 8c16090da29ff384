//! What the tests of the running daemon share: the daemon itself, files with a known content, and two TFTP clients
//! that know nothing of stagecoach's own protocol code, so that a mistake in it can't hide on both ends.
//!
//! * [`daemon`]: starts the real program, knows its port, reads its log, stops it.
//! * [`content`]: files whose every octet is known from its offset, sparse files, text that is hard on netascii.
//! * [`engine`]: a server without the program around it, for tests in which parts of it panic.
//! * [`extended`]: a server that a test has extended.
//! * [`logged_line`]: a line of the log, split back into its fields.
//! * [`raw`]: a scripted client, packet by packet, for the clauses of the RFCs.
//! * [`served`]: a daemon with a directory, and the good request that must still work after whatever a test has done to it.
//! * [`shelf`]: a store that panics, for the engine.
//! * [`tripwire`]: a packet log at which sessions panic, for the engine.
//! * [`trouble`]: actors that have stopped, or are full.
//! * [`namespace`]: a test of its own network or disks.
//! * [`client`]: a plain blocking client that reads and writes whole files with options and windows.
//! * [`counting`]: a client that counts every packet, for transfers that are disturbed.
//! * [`swarm`]: a thousand clients on one thread.
//! * `table`: a server with fifty transfers under way, in which any actor can be made to fail (with the feature `chaos`).
//! * [`casualties`]: what the log tells of panics, and of the transfers that they hit.

// Every test program compiles all of this and uses a part of it.
#![allow(dead_code)]

pub(crate) mod casualties;
pub(crate) mod client;
pub(crate) mod content;
pub(crate) mod counting;
pub(crate) mod daemon;
pub(crate) mod engine;
pub(crate) mod extended;
#[path = "../../src/cli/log/quoting/tests/logged_line.rs"]
pub(crate) mod logged_line;
pub(crate) mod namespace;
pub(crate) mod raw;
pub(crate) mod served;
pub(crate) mod shelf;
pub(crate) mod swarm;
#[cfg(feature = "chaos")]
pub(crate) mod table;
pub(crate) mod tripwire;
pub(crate) mod trouble;
