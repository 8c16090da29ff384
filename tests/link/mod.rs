//! A server's machine and a client's, joined by a link that loses, doubles, reorders and delays, in virtual time.
//!
//! Everything follows from the seed of a [`Rng`]: a failure prints it, and `STAGECOACH_SEED` replays it.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

mod agenda;
mod channel;
mod end;
mod rng;
mod world;

pub(crate) use self::agenda::Agenda;
pub(crate) use self::channel::{Channel, Conditions, Fate};
pub(crate) use self::end::{Answer, End, Pace, Report, Wishes, serving};
pub(crate) use self::rng::{Rng, for_each_seed};
pub(crate) use self::world::{Setup, World};
