//! Closures in place of traits.

use std::fmt;

use bytes::Bytes;

use super::{Asked, Datagram, Found, Grant, Negotiator, Opcode, Route, Routing};
use crate::observe::{Fact, Observer};

/// A closure that stands where a trait is wanted.
pub(crate) struct Closure<F>(pub(crate) F);

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a closure")
    }
}

impl<F> Route for Closure<F>
where
    F: Fn(&Asked<'_>) -> Routing + Send + Sync + 'static,
{
    fn route(&self, asked: &Asked<'_>) -> Routing {
        (self.0)(asked)
    }
}

impl<F> Negotiator for Closure<F>
where
    F: Fn(&Asked<'_>, &Found) -> Vec<Grant> + Send + Sync + 'static,
{
    fn negotiate(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant> {
        (self.0)(asked, file)
    }
}

impl<F> Opcode for Closure<F>
where
    F: Fn(&Datagram<'_>) -> Option<Bytes> + Send + Sync + 'static,
{
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        (self.0)(datagram)
    }
}

impl<F> Observer for Closure<F>
where
    F: Fn(&Fact<'_>) + Send + Sync + 'static,
{
    fn observe(&self, fact: &Fact<'_>) {
        (self.0)(fact);
    }
}
