use proptest::prelude::*;

use super::Rollover;

const BOTH: [Rollover; 2] = [Rollover::Zero, Rollover::One];

/// The wire number of `position` by tftp-hpa's `rollover` option, for any number after 65535.
fn number_by_the_book(follows_65535: u64, position: u64) -> u64 {
    match position {
        0..=65535 => position,
        _ => follows_65535 + (position - 65536) % (65536 - follows_65535),
    }
}

#[test]
fn lore_01_65535_is_followed_by_0_by_default() {
    assert_eq!(Rollover::default(), Rollover::Zero);
}

#[test]
fn lore_01_numbers_around_each_wrap() {
    // Position, its number if 0 follows 65535, and if 1 does.
    let golden = [
        (0, 0, 0),
        (1, 1, 1),
        (32767, 32767, 32767),
        (32768, 32768, 32768),
        (65534, 65534, 65534),
        (65535, 65535, 65535),
        (65536, 0, 1),
        (65537, 1, 2),
        (131_069, 65533, 65534),
        (131_070, 65534, 65535),
        (131_071, 65535, 1),
        (131_072, 0, 2),
        (131_073, 1, 3),
        (196_605, 65533, 65535),
        (196_606, 65534, 1),
        (u64::MAX, 65535, 65535),
    ];
    for (position, zero, one) in golden {
        assert_eq!(Rollover::Zero.wire_number(position), zero, "position {position}, to 0");
        assert_eq!(Rollover::One.wire_number(position), one, "position {position}, to 1");
    }
}

#[test]
fn lore_02_block_32768_is_no_negative_number() {
    for rollover in BOTH {
        assert_eq!(rollover.position(32768, 32767, 32768), Some(32768));
        assert_eq!(rollover.position(32767, 32767, 32768), Some(32767));
        assert_eq!(rollover.position(32769, 32767, 32768), None);
    }
}

#[test]
fn lore_02_acks_find_each_block_around_a_wrap() {
    // Base 65534, window 4: an ACK names one of 65533..=65537.
    for (number, position) in [(65533, 65533), (65534, 65534), (65535, 65535), (0, 65536), (1, 65537)] {
        assert_eq!(Rollover::Zero.position(number, 65533, 65537), Some(position));
    }
    for (number, position) in [(65533, 65533), (65534, 65534), (65535, 65535), (1, 65536), (2, 65537)] {
        assert_eq!(Rollover::One.position(number, 65533, 65537), Some(position));
    }
    assert_eq!(Rollover::Zero.position(2, 65533, 65537), None);
    assert_eq!(Rollover::Zero.position(65532, 65533, 65537), None);
    assert_eq!(Rollover::One.position(3, 65533, 65537), None);
    assert_eq!(Rollover::One.position(65532, 65533, 65537), None);
}

#[test]
fn lore_02_an_ack_from_before_the_wrap_is_none() {
    for rollover in BOTH {
        // Blocks 65600..=65607 are in flight. These are late ACKs of the last turn.
        for late in [65500, 65527, 65534, 65535] {
            assert_eq!(rollover.position(late, 65599, 65607), None, "{rollover:?}, ACK {late}");
        }
    }
    assert_eq!(Rollover::Zero.position(0, 65599, 65607), None, "ACK 0 of the turn, but 64 blocks late");
}

#[test]
fn lore_05_ack_0_after_the_wrap_is_an_ordinary_ack() {
    assert_eq!(Rollover::Zero.position(0, 65535, 65536), Some(65536));
    assert_eq!(Rollover::Zero.position(0, 65536, 65537), Some(65536));
    assert_eq!(Rollover::Zero.position(0, 131_070, 131_073), Some(131_072));
    assert_eq!(Rollover::Zero.position(0, 65537, 65538), None);
}

#[test]
fn lore_05_ack_0_names_the_request_only_before_ack_1() {
    for rollover in BOTH {
        assert_eq!(rollover.position(0, 0, 0), Some(0));
        assert_eq!(rollover.position(0, 0, 64), Some(0));
        assert_eq!(rollover.position(0, 1, 64), None);
    }
}

#[test]
fn lore_02_number_65535_is_found_from_the_request() {
    // Only block 65535 has this number, and the 0 of the request doesn't belong to an earlier turn.
    for rollover in BOTH {
        assert_eq!(rollover.position(65535, 0, 65535), Some(65535));
        assert_eq!(rollover.position(65535, 0, 65534), None);
    }
}

#[test]
fn lore_05_ack_0_never_recurs_where_1_follows_65535() {
    for from in [1, 65533, 65534, 65535, 65536, 131_069, 131_070, 131_071] {
        assert_eq!(Rollover::One.position(0, from, from + 65534), None, "from {from}");
    }
}

#[test]
fn one_turn_is_the_longest_unambiguous_range() {
    // The widest window, 65535 blocks, from both of its ends: base-1 and the highest sent.
    assert_eq!(Rollover::Zero.position(100, 100, 65635), Some(100));
    assert_eq!(Rollover::Zero.position(99, 100, 65635), Some(65635));
    // If 1 follows 65535, these two ends have the same number, so 65534 blocks are the maximum.
    assert_eq!(Rollover::One.wire_number(100), Rollover::One.wire_number(65635));
    assert_eq!(Rollover::One.position(99, 100, 65634), Some(65634));
}

#[test]
fn nothing_is_found_in_an_empty_range() {
    for rollover in BOTH {
        assert_eq!(rollover.position(7, 7, 6), None);
        assert_eq!(rollover.position(u16::MAX, u64::MAX, u64::MAX - 1), None);
    }
}

#[test]
fn the_end_of_all_positions_does_not_overflow() {
    for rollover in BOTH {
        let last = rollover.wire_number(u64::MAX);
        assert_eq!(rollover.position(last, u64::MAX - 7, u64::MAX), Some(u64::MAX));
        assert_eq!(rollover.position(last.wrapping_add(9), u64::MAX - 7, u64::MAX), None);
    }
}

fn rollover() -> impl Strategy<Value = Rollover> {
    prop_oneof![Just(Rollover::Zero), Just(Rollover::One)]
}

/// Positions, most of them close to a wrap.
fn position() -> impl Strategy<Value = u64> {
    let near = |turn: u64| (turn - 8)..(turn + 8);
    prop_oneof![
        0..16_u64,
        near(32768),
        near(65536),
        near(131_070),
        near(131_072),
        near(65535 << 20),
        near(65536 << 20),
        0..1_u64 << 48,
    ]
}

proptest! {
    #[test]
    fn lore_03_numbers_are_those_of_the_rollover_option(position in position()) {
        prop_assert_eq!(u64::from(Rollover::Zero.wire_number(position)), number_by_the_book(0, position));
        prop_assert_eq!(u64::from(Rollover::One.wire_number(position)), number_by_the_book(1, position));
    }

    #[test]
    fn lore_02_each_position_is_found_by_its_number(
        rollover in rollover(), from in position(), (ahead, beyond) in (0..=65534_u64)
            .prop_flat_map(|width| (0..=width, Just(width))).prop_map(|(ahead, width)| (ahead, width - ahead)),
    ) {
        let position = from + ahead;
        let number = rollover.wire_number(position);
        prop_assert_eq!(rollover.position(number, from, position + beyond), Some(position));
    }

    #[test]
    fn lore_02_a_number_is_found_where_a_search_finds_it(
        rollover in rollover(), from in position(), width in 0..200_u64, number in any::<u16>(), near in 0..400_u16,
    ) {
        // One number from anywhere, one from nearby: before, within or after the window.
        let close = rollover.wire_number(from).wrapping_add(near).wrapping_sub(100);
        for number in [number, close] {
            let searched = (from..=from + width).find(|&position| rollover.wire_number(position) == number);
            prop_assert_eq!(rollover.position(number, from, from + width), searched);
        }
    }
}
