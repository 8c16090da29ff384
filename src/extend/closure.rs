//! Closures in place of traits.

use std::fmt;

use crate::observe::{Fact, Observer};

/// A closure used as an implementation of a trait.
pub(crate) struct Closure<F>(pub(crate) F);

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a closure")
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
