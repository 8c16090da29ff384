//! Block numbers have 16 bits on the wire, positions in a file have 64.

/// Block number after 65535. No RFC defines it; most implementations use 0, and a client can ask
/// with the `rollover` option of tftp-hpa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rollover {
    /// 65535 is followed by 0.
    #[default]
    Zero,
    /// 65535 is followed by 1.
    One,
}

impl Rollover {
    /// The number on the wire of the block at `position` (from 1; 0 is the request, for ACKs).
    #[must_use]
    pub fn wire_number(self, position: u64) -> u16 {
        let number = match self {
            Self::Zero => position & 0xffff,
            Self::One if position == 0 => 0,
            Self::One => (position - 1) % 65535 + 1,
        };
        u16::try_from(number).unwrap_or_default()
    }

    /// The one position in `from..=to` that has `number` on the wire, if there is one.
    ///
    /// In a range longer than one turn of the numbers (65536 positions, 65535 with
    /// [`Rollover::One`]), that is the first. So with [`Rollover::One`] a window of 65535 blocks
    /// can't be told from its own repeat.
    #[must_use]
    pub(crate) fn position(self, number: u16, from: u64, to: u64) -> Option<u64> {
        let ahead = match self {
            Self::Zero => u64::from(number.wrapping_sub(self.wire_number(from))),
            Self::One if number == 0 => return (from == 0).then_some(0),
            Self::One if from == 0 => u64::from(number),
            Self::One => (u64::from(number) + 65535 - u64::from(self.wire_number(from))) % 65535,
        };
        let position = from.checked_add(ahead)?;
        (position <= to).then_some(position)
    }
}

#[cfg(test)]
mod tests;
