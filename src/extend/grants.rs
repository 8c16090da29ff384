//! Checks the answers of negotiators.

use std::borrow::Cow;

use super::Grant;
use crate::limits;
use crate::transfer::{OPTIONS, Offer};
use crate::wire::{Options, Request, Text, decimal};

/// Checked answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grants {
    /// The smallest grant of each known option.
    blksize_max: Option<u16>,
    windowsize_max: Option<u16>,
    /// Options that are treated as if the client had not asked for them.
    left_out: Vec<Text<'static>>,
    /// Other options: the name as the client spelled it, and the answer.
    answers: Vec<(Text<'static>, Text<'static>)>,
    /// What was wrong with the discarded answers.
    pub(crate) wrong: Vec<&'static str>,
}

impl Grants {
    /// Checks the answers to `request`.
    pub(crate) fn new(request: &Request<'_>, grants: Vec<Grant>) -> Self {
        let mut checked = Self::default();
        for grant in grants {
            if let Err(why) = checked.add(&request.options, grant) {
                checked.wrong.push(why);
            }
        }
        let Self { left_out, answers, .. } = &mut checked;
        answers.retain(|(name, _)| !is_among(left_out, name));
        checked
    }

    fn add(&mut self, options: &Options<'_>, Grant { name, value }: Grant) -> Result<(), &'static str> {
        let is_named = |other: &Text<'_>| other.as_bytes().eq_ignore_ascii_case(name.as_bytes());
        let Some((asked_name, asked)) = options.iter().find(|(name, _)| is_named(name)) else {
            return Err("it answered an option that nobody asked for");
        };
        let Some(value) = value else {
            self.left_out.push(asked_name.clone().into_owned());
            return Ok(());
        };
        if OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            return self.lower(&name, asked, &value);
        }
        if self.answers.iter().any(|(name, _)| is_named(name)) {
            return Err("it answered an option that is answered already");
        }
        if value.is_empty() {
            return Err("it answered an option with nothing");
        }
        let value = Text::new(value.into_bytes()).ok_or("it answered an option with a NUL")?;
        self.answers.push((asked_name.clone().into_owned(), value));
        Ok(())
    }

    fn lower(&mut self, name: &str, asked: &Text<'_>, value: &str) -> Result<(), &'static str> {
        let (most, least) = match &*name.to_ascii_lowercase() {
            "blksize" | "blksize2" => (&mut self.blksize_max, limits::BLKSIZE_MIN),
            "windowsize" => (&mut self.windowsize_max, 1),
            _ => return Err("it answered an option that the server answers itself"),
        };
        let asked = decimal(asked.as_bytes()).ok_or("it answered an option whose value makes no sense")?;
        let value = decimal(value.as_bytes()).filter(|value| *value <= asked);
        let value = value.and_then(|value| u16::try_from(value).ok()).filter(|value| *value >= least);
        let value = value.ok_or("it granted more of an option than was asked for, or less than there is")?;
        *most = Some(most.map_or(value, |most| most.min(value)));
        Ok(())
    }

    /// Limits the server's offer to what is granted.
    pub(crate) fn bound(&self, offer: &mut Offer) {
        offer.blksize_max = offer.blksize_max.min(self.blksize_max.unwrap_or(u16::MAX));
        offer.windowsize_max = offer.windowsize_max.min(self.windowsize_max.unwrap_or(u16::MAX));
    }

    /// The request to negotiate: without the options that are left out.
    pub(crate) fn heed<'r>(&self, request: &'r Request<'static>) -> Cow<'r, Request<'static>> {
        if self.left_out.is_empty() {
            return Cow::Borrowed(request);
        }
        let mut heeded = request.clone();
        heeded.options = Options::new();
        for (name, value) in request.options.iter().filter(|(name, _)| !is_among(&self.left_out, name)) {
            heeded.options.push(name.clone(), value.clone());
        }
        Cow::Owned(heeded)
    }

    /// Appends the answers to the options that the server `accepted`. Returns `false` if not all of
    /// them fit.
    pub(crate) fn answer(&self, accepted: &mut Options<'static>) -> bool {
        let mut fits = true;
        for (name, value) in &self.answers {
            let octets = 2 + accepted.wire_octets() + name.as_bytes().len() + value.as_bytes().len() + 2;
            fits &= octets <= limits::OACK_OCTETS_MAX && accepted.push(name.clone(), value.clone());
        }
        fits
    }
}

fn is_among(names: &[Text<'_>], name: &Text<'_>) -> bool {
    names.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests;
