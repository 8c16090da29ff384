//! `stagecoach` is a TFTP server made of actors.
//!
//! The crate is layered; imports point down this list only, and a test keeps it so:
//!
//! | module | what lives there |
//! |---|---|
//! | `cli` | what was typed: flags, verbs, exit codes |
//! | [`daemon`] | assembly: the one room that knows everybody |
//! | [`settings`] | values that have been checked |
//! | [`actors`] | the shell: listener, session, reader, writer, registry |
//! | [`extend`] | the seams at which developers add what we did not think of |
//! | [`supervision`] | actors that may fail: nets that catch them, supervisors that start them again |
//! | [`observe`] | facts that happened, and who hears them |
//! | [`policy`] | who may do what: no sockets, no files |
//! | [`store`] | where bytes live: a directory, memory |
//! | [`net`] | UDP mechanics: reply address, error queue, batches |
//! | `chaos` | faults that tests plan; empty unless the feature of that name is on |
//! | [`transfer`] | the protocol as state machines: no I/O, no clock, no logger, no actors |
//! | [`wire`] | octets to packets and back, netascii |
//!
//! [`limits`] and [`error`] serve all of them.
//!
//! # Features
//!
//! | feature | by default | what needs it |
//! |---|---|---|
//! | `program` | on | `cli`; of [`daemon`] `run`, `run_extended` and `passed_sockets` |
//! | `mimalloc` | on | the program's allocator, and nothing of the library |
//! | `testkit` | off | `testkit` and `daemon::Builder::kit`: a server without a network, for tests of extensions |
//! | `chaos` | off | `chaos`, and the settings' field of that name: faults that tests plan |

pub mod actors;
#[cfg(not(feature = "chaos"))]
mod chaos;
#[cfg(feature = "chaos")]
pub mod chaos;
#[cfg(feature = "program")]
pub mod cli;
pub mod daemon;
mod engine;
pub mod error;
pub mod extend;
pub mod limits;
pub mod net;
pub mod observe;
pub mod policy;
pub mod settings;
pub mod store;
pub mod supervision;
/// A server without a network, for tests of extensions. It needs the feature `testkit`, which is
/// off by default: `cargo add --dev stagecoach --features testkit`.
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::Routing;
/// use stagecoach::store::Memory;
/// use stagecoach::testkit::Kit;
///
/// Kit::in_virtual_time(async {
///     let builder = Stagecoach::builder().store(Memory::default());
///     let kit = builder.route(|asked| Routing::octets(asked.name().to_uppercase())).kit().unwrap();
///     assert_eq!(kit.client().get("board").await.unwrap(), b"BOARD");
/// });
/// ```
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod transfer;
pub mod wire;

pub use self::daemon::Stagecoach;
