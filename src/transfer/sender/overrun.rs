//! Peers whose receive buffer is smaller than a window.

use super::{Moment, Sender};
use crate::limits;

/// Detects blocks that were lost behind the last ACK, and splits windows into pieces for a peer
/// whose receive buffer seems to be smaller than the window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Overruns {
    /// When the blocks behind the last ACK count as lost; before, they may still be on their way.
    pub(super) gap_at: Option<Moment>,
    /// Consecutive signs that windows are too large, see [`limits::OVERRUN_SIGNS_MAX`].
    signs: u32,
    /// Most blocks of a window that arrived when there was a sign.
    kept: u64,
    /// Blocks sent at a time; 0: the whole window.
    piece: u64,
    /// The same while the window is repeated.
    repeat_piece: u64,
    /// A block beyond the window was sent with it.
    pub(super) asked_beyond: bool,
    /// How often the pause was doubled because even single blocks were lost.
    doublings: u32,
    /// When the next piece of the window is due. Until then the peer reads its buffer.
    pub(super) resumes_at: Option<Moment>,
}

impl Overruns {
    pub(super) fn begin_window(&mut self) {
        (self.gap_at, self.resumes_at, self.repeat_piece) = (None, None, 0);
        self.asked_beyond = false;
    }

    /// Begins the window again, for the `repeats`th time in a row. From the second time on it is
    /// sent in pieces, because the peer may have no room for all of it.
    pub(super) fn begin_window_again(&mut self, windowsize: u16, repeats: u32) {
        self.begin_window();
        if repeats > 1 {
            self.repeat_piece = u64::from(windowsize.checked_shr((repeats - 1) * 2).unwrap_or(0).max(1));
        }
    }

    /// The last block to send now, of those from `first` to `last`.
    pub(super) fn piece(&mut self, now: Moment, first: u64, last: u64) -> u64 {
        let piece = match (self.piece, self.repeat_piece) {
            (0, 0) => return last,
            (0, piece) | (piece, 0) => piece,
            (piece, repeat_piece) => piece.min(repeat_piece),
        };
        let last_of_piece = last.min(first + piece - 1);
        let pause = (limits::PACING_PAUSE * (1 << self.doublings.min(16))).min(limits::PACING_PAUSE_MAX);
        self.resumes_at = (last_of_piece < last).then(|| now + pause);
        last_of_piece
    }

    /// Adds a sign that only `kept` blocks of a window fit the peer's buffer.
    fn add_sign(&mut self, kept: u64) {
        self.signs += 1;
        self.kept = self.kept.max(kept);
        if self.signs < limits::OVERRUN_SIGNS_MAX {
            return;
        }
        if self.piece == 1 {
            self.doublings += 1;
        } else {
            let half = if self.piece == 0 { u64::MAX } else { self.piece.div_ceil(2) };
            self.piece = self.kept.min(half).max(1);
        }
        self.clear_signs();
    }

    fn clear_signs(&mut self) {
        (self.signs, self.kept) = (0, 0);
    }
}

impl Sender {
    /// Checks with an ACK of `position` whether the peer could receive the window. There are two
    /// signs that it could not. The window was answered only when it was sent in pieces, and then
    /// at once. Or the first blocks arrived and the last ones didn't, and the ACK was late: a peer
    /// that gets a block behind a gap reports the gap at once (RFC 7440 §4).
    pub(super) fn note_window(&mut self, now: Moment, position: u64) {
        if self.terms.windowsize == 1 {
            return;
        }
        let arrived = position - self.at.acked;
        let is_whole = position >= self.window_end().min(self.at.highest);
        let sent_at = self.at.peer.last_sent_at;
        let is_late = self.timing.is_late(now, sent_at);
        let is_repeated = self.duplicates.resends > 0;
        match self.overruns.repeat_piece {
            0 if is_whole && !is_repeated => self.overruns.clear_signs(),
            0 if !is_whole && (is_repeated || is_late) => self.overruns.add_sign(arrived),
            0 => {}
            // After a block beyond the window, the answer may be to that block.
            piece if self.timing.answers(now, sent_at) && !self.overruns.asked_beyond => {
                self.timing.loss_proved();
                self.overruns.add_sign(if is_whole { piece } else { arrived });
            }
            _ => {}
        }
        self.overruns.begin_window();
    }

    /// The blocks behind the last ACK are lost: the window starts there (RFC 7440 §4).
    pub(super) fn go_on_behind_gap(&mut self) {
        self.timing.loss_proved();
        self.timing.sent_again();
        self.overruns.begin_window();
        self.duplicates.restarted = true;
        self.sent = self.at.acked;
    }
}
