//! What the tests of the running daemon share: the daemon, files with a known content, and two TFTP
//! clients. The clients use none of stagecoach's protocol code, so that a mistake in that code
//! can't hide at both ends.
//!
//! * [`daemon`]: starts the real program, knows its port, reads its log, stops it.
//! * [`content`]: files with generated content, sparse files, text that is difficult in netascii.
//! * [`engine`]: a server in this process, for tests in which parts of the server panic.
//! * [`extended`]: a server with extensions of a test.
//! * [`logged_line`]: a line of the log, split into its fields.
//! * [`raw`]: a scripted client, packet by packet, for the clauses of the RFCs.
//! * [`served`]: a daemon with a directory, and a check that the daemon still serves.
//! * [`panicking_store`]: a store that panics, for the engine.
//! * [`packet_trigger`]: a packet log that makes sessions panic, for the engine.
//! * [`faulty_actors`]: actors that have stopped, are slow, or never answer.
//! * [`namespace`]: runs a test in a network or mount namespace of its own.
//! * [`client`]: a blocking client that reads and writes whole files with options and windows.
//! * [`counting`]: a client that counts every packet, for transfers with faults.
//! * [`swarm`]: a thousand clients on one thread.
//! * `table`: a server with fifty live transfers, in which a test can make any actor fail (with the
//!   feature `chaos`).
//! * [`crash_log`]: reads panics, and the transfers with panics, from a daemon's log.

// Every test program compiles the whole module and uses a part of it.
#![allow(dead_code)]

pub(crate) mod client;
pub(crate) mod content;
pub(crate) mod counting;
pub(crate) mod crash_log;
pub(crate) mod daemon;
pub(crate) mod engine;
pub(crate) mod extended;
pub(crate) mod faulty_actors;
#[path = "../../src/cli/log/quoting/tests/logged_line.rs"]
pub(crate) mod logged_line;
pub(crate) mod namespace;
pub(crate) mod packet_trigger;
pub(crate) mod panicking_store;
pub(crate) mod raw;
pub(crate) mod served;
pub(crate) mod swarm;
#[cfg(feature = "chaos")]
pub(crate) mod table;
