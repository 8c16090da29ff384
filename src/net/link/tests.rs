use super::*;

fn datagrams(octets: usize, segment: usize, buffer: &[u8]) -> Vec<&[u8]> {
    Arrived { octets, segment, from: "192.0.2.1:69".parse().unwrap() }.datagrams(buffer).collect()
}

#[test]
fn a_run_is_cut_into_the_datagrams_that_were_sent() {
    let buffer = b"abcdefgh";
    assert_eq!(datagrams(8, 8, buffer), [b"abcdefgh"]);
    assert_eq!(datagrams(6, 3, buffer), [b"abc", b"def"]);
    assert_eq!(datagrams(8, 3, buffer), [&b"abc"[..], b"def", b"gh"]);
    assert_eq!(datagrams(0, 0, buffer), [b""], "an empty datagram is one too");
}

#[test]
fn what_the_buffer_has_no_room_for_is_cut_off() {
    assert_eq!(datagrams(9, 9, b"abcdef"), [b"abcdef"]);
    assert_eq!(datagrams(12, 4, b"abcdef"), [&b"abcd"[..], b"ef"]);
}
