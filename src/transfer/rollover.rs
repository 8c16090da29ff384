//! Block numbers on the wire have 16 bits, positions in a file have 64.

/// Block number that follows 65535 (no RFC says; 0 is what most do, the `rollover` option of tftp-hpa lets a client ask).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rollover {
    /// 65535 is followed by 0.
    #[default]
    Zero,
    /// 65535 is followed by 1.
    One,
}

impl Rollover {
    /// The number that the block at `position` (from 1; 0 is what an ACK of the request names) has on the wire.
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
    /// The range may be one turn of the numbers long: 65536 positions with [`Rollover::Zero`], 65535 with
    /// [`Rollover::One`]. In a longer one the first match is taken: so a window of 65535 blocks, whose ACKs name
    /// one of 65536 positions, can't be told from its own repeat where 1 follows 65535.
    #[must_use]
    pub fn position(self, number: u16, from: u64, to: u64) -> Option<u64> {
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
