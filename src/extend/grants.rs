//! What of negotiators' answers a client may get.

use super::Grant;
use crate::limits;
use crate::transfer::OPTIONS;
use crate::wire::{Options, Request, Text, decimal};

/// Known options of which less than was asked for may be granted, and the least that there is of each.
const LOWERED: [(&str, u64); 2] = [("blksize", limits::BLKSIZE_MIN as u64), ("windowsize", 1)];

/// Answers that have been checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grants {
    /// Known options, and what their client may be taken to have asked for.
    lowered: Vec<(&'static str, u64)>,
    /// Others: the name as the client spelled it, and the answer.
    answers: Vec<(Text<'static>, Text<'static>)>,
    /// What was wrong with those that are left out.
    pub(crate) wrong: Vec<&'static str>,
}

impl Grants {
    /// Checks the answers to `request`.
    pub(crate) fn new(request: &Request<'_>, grants: Vec<Grant>) -> Self {
        let mut checked = Self::default();
        for grant in grants {
            if let Err(why) = checked.add(&request.options, &grant) {
                checked.wrong.push(why);
            }
        }
        checked
    }

    fn add(&mut self, options: &Options<'_>, grant: &Grant) -> Result<(), &'static str> {
        let is_named = |name: &Text<'_>| name.as_bytes().eq_ignore_ascii_case(grant.name.as_bytes());
        let Some((name, asked)) = options.iter().find(|(name, _)| is_named(name)) else {
            return Err("it answered an option that nobody asked for");
        };
        if self.answers.iter().any(|(name, _)| is_named(name))
            || self.lowered.iter().any(|(name, _)| name.eq_ignore_ascii_case(&grant.name))
        {
            return Err("it answered an option that is answered already");
        }
        if OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(&grant.name)) {
            self.lowered.push(lowered(grant, asked)?);
            return Ok(());
        }
        if grant.value.is_empty() {
            return Err("it answered an option with nothing");
        }
        let value = Text::new(grant.value.clone().into_bytes()).ok_or("it answered an option with a NUL")?;
        self.answers.push((name.clone().into_owned(), value));
        Ok(())
    }

    /// The request as it is to be negotiated by the rules: with lower wishes, where less is granted.
    pub(crate) fn lower(&self, options: &Options<'_>) -> Option<Options<'static>> {
        (!self.lowered.is_empty()).then(|| {
            let mut wishes = Options::new();
            for (name, asked) in options.iter() {
                let is_named = |word: &str| name.as_bytes().eq_ignore_ascii_case(word.as_bytes());
                let lowered = self.lowered.iter().find(|(known, _)| is_named(known));
                let wish =
                    lowered.map_or_else(|| asked.clone().into_owned(), |(_, value)| Text::from(*value));
                wishes.push(name.clone().into_owned(), wish);
            }
            wishes
        })
    }

    /// Appends the answers to what is `accepted` by the rules. `false` if not all of them found room.
    pub(crate) fn answer(&self, accepted: &mut Options<'static>) -> bool {
        let mut fits = true;
        for (name, value) in &self.answers {
            let octets = 2 + accepted.wire_octets() + name.as_bytes().len() + value.as_bytes().len() + 2;
            fits &= octets <= limits::OACK_OCTETS_MAX && accepted.push(name.clone(), value.clone());
        }
        fits
    }
}

fn lowered(grant: &Grant, asked: &Text<'_>) -> Result<(&'static str, u64), &'static str> {
    let known = LOWERED.iter().find(|(name, _)| name.eq_ignore_ascii_case(&grant.name));
    let (name, least) = known.ok_or("it answered an option that the server answers itself")?;
    let asked = decimal(asked.as_bytes()).ok_or("it answered an option whose value makes no sense")?;
    let value = decimal(grant.value.as_bytes()).filter(|value| (*least..=asked).contains(value));
    Ok((name, value.ok_or("it granted more of an option than was asked for, or less than there is")?))
}

#[cfg(test)]
mod tests;
