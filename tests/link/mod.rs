//! A server's machine and a client's, joined by a link that loses, doubles, reorders and delays, in virtual time.
//!
//! Everything follows from the seed of a [`Rng`]: a failure prints it, and `STAGECOACH_SEED` replays it.

mod channel;
mod end;
mod rng;
mod world;

pub(crate) use self::channel::{Channel, Conditions, Fate};
pub(crate) use self::end::{Pace, Report};
pub(crate) use self::rng::{Rng, for_each_seed};
pub(crate) use self::world::{Setup, World};
