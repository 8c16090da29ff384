//! Without the feature: the same types, empty.

use std::fmt::Display;
use std::time::Duration;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chaos;

#[derive(Debug)]
pub(crate) struct Part;

#[derive(Debug, Clone)]
pub(crate) struct Seam;

impl Chaos {
    pub(crate) fn part(&self, _: &'static str, _: impl Display) -> Part {
        Part
    }
    pub(crate) fn seam(&self, _: &'static str, _: impl Display) -> Seam {
        Seam
    }
    pub(crate) fn restarts(&self) -> Option<(usize, Option<Duration>)> {
        None
    }
}

impl Part {
    pub(crate) fn at<C>(&self, _: &'static str, _: &mut C) {}
    pub(crate) fn started<C>(&self, _: &mut C) {}
    pub(crate) fn child(&self, _: &'static str) -> Self {
        Self
    }
    pub(crate) fn strikes(&self, _: &'static str) -> bool {
        false
    }
    pub(crate) fn seam(&self, _: &'static str) -> Seam {
        Seam
    }
}

impl Seam {
    pub(crate) fn at(&self, _: &'static str) {}
}

#[cfg(test)]
mod tests;
