//! Without the feature: the same types, empty.

use std::fmt::Display;

use super::Restarts;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chaos;

#[derive(Debug, Default)]
pub(crate) struct Part;

#[derive(Debug, Clone)]
pub(crate) struct Seam;

impl Chaos {
    #[inline]
    pub(crate) fn part(&self, _: &'static str, _: impl Display) -> Part {
        Part
    }

    #[inline]
    pub(crate) fn seam(&self, _: &'static str) -> Seam {
        Seam
    }

    #[inline]
    pub(crate) fn seam_of(&self, _: &'static str, _: impl Display) -> Seam {
        Seam
    }

    #[inline]
    pub(crate) fn restarts(&self) -> Option<Restarts> {
        None
    }
}

impl Part {
    #[inline]
    pub(crate) fn at<C>(&self, _: &'static str, _: &mut C) {}

    #[inline]
    pub(crate) fn started<C>(&self, _: &mut C) {}

    #[inline]
    pub(crate) fn child(&self, _: &'static str) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn strikes(&self, _: &'static str) -> bool {
        false
    }

    #[inline]
    pub(crate) fn seam(&self, _: &'static str) -> Seam {
        Seam
    }
}

impl Seam {
    #[inline]
    pub(crate) fn at(&self, _: &'static str) {}
}

#[cfg(test)]
mod tests;
