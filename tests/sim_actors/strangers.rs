//! Packets of hosts that have no part in a transfer.

use crate::link::Rng;

/// A packet of any kind that would do harm if the peer sent it, or octets that are no packet.
pub(crate) fn stranger_packet(rng: &mut Rng, blocks: u64) -> Vec<u8> {
    let [high, low] = (rng.within(0..=blocks) as u16).to_be_bytes();
    match rng.within(0..=6) {
        0 => vec![0, 4, high, low],
        1 => [&[0, 3, high, low], &vec![b'!'; rng.length(0..=600)][..]].concat(),
        2 => b"\0\x05\0\0go away\0".to_vec(),
        3 => b"\0\x06blksize\x008\0windowsize\x0065535\0".to_vec(),
        4 => b"\0\x01f0\0octet\0".to_vec(),
        5 => b"\0\x02f0\0octet\0".to_vec(),
        _ => (0..rng.length(0..=9)).map(|_| rng.next() as u8).collect(),
    }
}

/// Checks the server's answers: ERROR 5, once for each packet at most, and none to an ERROR (two
/// hosts that answer each other's ERRORs would never stop).
pub(crate) fn check_stranger_answers(packets: &[Vec<u8>], answers: &[Vec<u8>]) {
    let may_be_answered = packets.iter().filter(|packet| !packet.starts_with(&[0, 5])).count();
    assert!(answers.len() <= may_be_answered, "{answers:?} for {packets:?}");
    assert!(answers.iter().all(|answer| answer.starts_with(&[0, 5, 0, 5])), "{answers:?}");
}
