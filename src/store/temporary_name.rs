//! Names of our temporary files, which are never served, and swept after a crash.

const PREFIX: &[u8] = b".stagecoach-";
const SUFFIX: &[u8] = b".part";
/// Hexadecimal digits: 64 random bits.
const DIGITS: usize = 16;

pub(super) fn temporary_name(random: u64) -> String {
    format!(".stagecoach-{random:016x}.part")
}

/// Whether `component` is a name of [`temporary_name`]. The whole form counts: the sweep deletes by
/// it, and an operator's own `.stagecoach-notes.part` must stay.
pub(super) fn is_temporary_name(component: &[u8]) -> bool {
    component.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)).is_some_and(|digits| {
        digits.len() == DIGITS && digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'))
    })
}
