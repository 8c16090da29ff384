//! A server's machine and a client's, joined by a link that loses, duplicates, reorders and delays
//! packets, in virtual time.
//!
//! Everything follows from the seed of a [`Rng`]: a failure prints it, and `STAGECOACH_SEED`
//! replays it.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

mod channel;
mod endpoint;
mod event_queue;
mod rng;
mod simulation;

pub(crate) use self::channel::{Channel, Conditions, Delivery};
pub(crate) use self::endpoint::{Completion, Effects, Endpoint, Pace, Report, server_machine};
pub(crate) use self::event_queue::EventQueue;
pub(crate) use self::rng::{Rng, for_each_seed};
pub(crate) use self::simulation::{Setup, Simulation};
