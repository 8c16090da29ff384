//! `stagecoach` is a TFTP server made of actors.
//!
//! The crate has layers. Imports point down this list only, and a test checks that:
//!
//! | module | contents |
//! |---|---|
//! | `cli` | flags, verbs, exit codes |
//! | [`daemon`] | puts a server together, starts and ends it |
//! | [`settings`] | values that were checked |
//! | `testkit` | a server without a network, for tests of extensions |
//! | `actors` | listener, session, registry, the supervisors of sessions and arbiters |
//! | `engine` | what the actors drive: admission, transfers, the poll loop, files |
//! | [`extend`] | the seams for extensions |
//! | [`supervision`] | nets that catch an actor's panic, supervisors that start it again |
//! | [`observe`] | facts that happened, and their observers |
//! | `policy` | which client may do what |
//! | [`store`] | files: a directory, memory |
//! | `net` | UDP: reply address, error queue, a window in one system call |
//! | `chaos` | faults that tests plan; empty without the feature `chaos` |
//! | `transfer` | the protocol as state machines: no I/O, no clock, no logger, no actors |
//! | [`wire`] | octets to packets and back, netascii |
//!
//! `limits` and [`error`] may be used by all of them. A module without a link is private: users
//! find those of its types that they need in a public one.
//!
//! # Features
//!
//! | feature | by default | what needs it |
//! |---|---|---|
//! | `program` | on | `cli`; of [`daemon`] `run`, `run_extended` and `passed_sockets` |
//! | `mimalloc` | on | the program's allocator, and nothing of the library |
//! | `testkit` | off | `testkit` and `daemon::Builder::kit`: a server without a network, for tests of extensions |
//! | `internals` | off | what the crate's own tests reach of its private modules: nothing of it is promised |
//! | `chaos` | off | `chaos`, and `Settings::set_chaos`: faults that tests plan |

// Some things of the private modules are for tests, which have the feature `internals`.
#[cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
mod actors;
#[cfg(not(feature = "chaos"))]
mod chaos;
#[cfg(feature = "chaos")]
pub mod chaos;
#[cfg(feature = "program")]
pub mod cli;
pub mod daemon;
#[cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
mod engine;
pub mod error;
pub mod extend;
#[cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
mod limits;
#[cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
mod net;
pub mod observe;
#[cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
mod policy;
pub mod settings;
pub mod store;
pub mod supervision;
/// A server without a network, for tests of extensions. It needs the feature `testkit`, which is
/// off by default: `cargo add --dev stagecoach --features testkit`.
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Asked, Routing};
/// use stagecoach::store::Memory;
/// use stagecoach::testkit::Kit;
///
/// Kit::in_virtual_time(async {
///     let builder = Stagecoach::builder().store(Memory::default());
///     let upper = |asked: &Asked<'_>| Routing::octets(asked.name().to_uppercase());
///     let kit = builder.route(upper).kit().unwrap();
///     assert_eq!(kit.client().get("board").await.unwrap(), b"BOARD");
/// });
/// ```
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]
mod transfer;
pub mod wire;

pub use self::daemon::Stagecoach;

/// What the crate's own tests, benchmarks and fuzz targets reach of its private modules.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub mod actors {
        pub use crate::actors::*;
    }
    pub mod limits {
        pub use crate::limits::*;
    }
    pub mod net {
        pub use crate::net::*;
    }
    pub mod transfer {
        pub use crate::transfer::*;
    }
}
