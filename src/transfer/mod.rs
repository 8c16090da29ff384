//! The protocol as state machines: no I/O, no clock, no logger, no actors.
//!
//! **The contract.** Feed a [`Machine`] one [`Input`] and the time, then drain its [`Action`]s. The
//! machine does nothing until the next input. It has at most one deadline, set by [`Action::Arm`].
//!
//! [`Sender`] and [`Receiver`] are the two directions of RFC 1350 with RFC 2347, 2348, 2349 and
//! 7440. Servers use them as they are, clients behind the request of a [`Client`].
//!
//! ```
//! use std::time::Duration;
//! use stagecoach::internals::transfer::{
//!     Action, Input, Machine, Moment, Opening, Sender, Terms, Timeouts, Transmit,
//! };
//!
//! // A server that sends the three octets "abc" to a client that asked for no options.
//! let mut sender = Sender::new(Terms::default(), Opening::Silent, Timeouts::default());
//! let now = Moment::default();
//! let mut drain = sender.handle(now, Input::Start);
//! assert!(matches!(drain.next(), Some(Action::Want { offset: 0, .. })));
//! drop(drain);
//!
//! let mut drain = sender.handle(now, Input::Slab { bytes: "abc".into(), end: true });
//! let Some(Action::Transmit(Transmit::Blocks(mut blocks))) = drain.next() else { panic!() };
//! assert_eq!(blocks.next().unwrap().header, [0, 3, 0, 1]);
//! ```

mod client;
mod machine;
mod moment;
mod negotiation;
mod peer;
mod receive_buffer;
mod receiver;
mod rollover;
#[cfg(test)]
mod script;
mod send_buffer;
mod sender;
mod tid;
mod timing;
mod transmit;

pub use self::client::Client;
pub(crate) use self::machine::PeerError;
pub use self::machine::{Action, Drain, Input, Machine, OnAbort, Opening, Outcome, Tally};
pub use self::moment::Moment;
pub use self::negotiation::{Agreement, OPTIONS, Offer, Terms, negotiate};
pub use self::receiver::Receiver;
pub use self::rollover::Rollover;
pub use self::sender::Sender;
pub use self::tid::{Tid, stranger_answer};
pub(crate) use self::tid::{error_packet, fault_packet};
pub use self::timing::Timeouts;
pub use self::transmit::{Blocks, DATA_HEADER_OCTETS, DataBlock, Pieces, Transmit};
