use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Blocks, DATA_HEADER_OCTETS, DataBlock};
use crate::transfer::Rollover;

fn slabs<const N: usize>(slabs: [&'static [u8]; N]) -> Vec<Bytes> {
    slabs.into_iter().map(Bytes::from_static).collect()
}

fn octets_of(block: DataBlock<'_>) -> Vec<u8> {
    block.payload().collect::<Vec<_>>().concat()
}

fn packets(blocks: Blocks<'_>) -> Vec<Vec<u8>> {
    let mut room = vec![0xEE; 1 << 16];
    let packet = |block: DataBlock<'_>| {
        assert_eq!(block.packet_octets(), DATA_HEADER_OCTETS + octets_of(block).len());
        block.copy_to(&mut room).to_vec()
    };
    blocks.map(packet).collect()
}

#[test]
fn golden_octets_of_a_run() {
    let slabs = slabs([b"abcdefghij"]);
    let blocks = Blocks::new(&slabs, 0, 10, 8, 1, 2, Rollover::Zero);
    assert_eq!(packets(blocks), [&b"\0\x03\0\x01abcdefgh"[..], b"\0\x03\0\x02ij"]);
}

#[test]
fn an_empty_file_is_one_empty_block() {
    // R1350-21: `0003 0001`, with or without an empty slab.
    for slabs in [slabs([]), slabs([b""])] {
        let blocks = Blocks::new(&slabs, 0, 0, 512, 1, 1, Rollover::Zero);
        assert_eq!(packets(blocks), [b"\0\x03\0\x01"]);
    }
}

#[test]
fn a_file_of_full_blocks_ends_with_an_empty_one() {
    let slabs = slabs([b"abcdefgh", b"ijklmnop"]);
    let blocks: Vec<_> = Blocks::new(&slabs, 0, 16, 8, 1, 3, Rollover::Zero).collect();
    assert_eq!(blocks.iter().map(DataBlock::payload_octets).collect::<Vec<_>>(), [8, 8, 0]);
    assert_eq!(blocks[2].header, [0, 3, 0, 3]);
    assert_eq!(blocks[2].payload().count(), 0, "no slice, not an empty one");
}

#[test]
fn an_empty_last_block_may_go_out_alone() {
    // The previous window ended at the end of the last slab.
    let slabs = slabs([b"abcdefgh"]);
    let blocks = Blocks::new(&slabs, 8, 0, 8, 2, 1, Rollover::Zero);
    assert_eq!(packets(blocks), [b"\0\x03\0\x02"]);
}

#[test]
fn the_last_block_of_a_run_may_be_full() {
    let slabs = slabs([b"abcdefghijklmnopqrstuvwxyz"]);
    let blocks = Blocks::new(&slabs, 2, 16, 8, 7, 2, Rollover::Zero);
    assert_eq!(packets(blocks), [b"\0\x03\0\x07cdefghij", b"\0\x03\0\x08klmnopqr"]);
}

#[test]
fn a_block_across_slabs_has_no_empty_piece() {
    let slabs = slabs([b"abcde", b"", b"f", b"", b"", b"ghij"]);
    let mut blocks = Blocks::new(&slabs, 1, 9, 8, 1, 2, Rollover::Zero);
    let first = blocks.next().unwrap();
    assert_eq!(first.payload().collect::<Vec<_>>(), [&b"bcde"[..], b"f", b"ghi"]);
    let last = blocks.next().unwrap();
    assert_eq!(last.payload().collect::<Vec<_>>(), [b"j"]);
    assert!(blocks.next().is_none());
    assert!(blocks.next().is_none(), "an end stays an end");
}

#[test]
fn a_run_may_start_at_the_very_end_of_its_first_slab() {
    let slabs = slabs([b"abcdefgh", b"ij"]);
    let blocks = Blocks::new(&slabs, 8, 2, 8, 2, 1, Rollover::Zero);
    assert_eq!(packets(blocks), [b"\0\x03\0\x02ij"]);
}

#[test]
fn nothing_is_copied() {
    let slabs = slabs([b"abcdefgh"]);
    let block = Blocks::new(&slabs, 2, 4, 8, 1, 1, Rollover::Zero).next().unwrap();
    assert_eq!(block.payload().next().map(<[u8]>::as_ptr), Some(slabs[0][2..].as_ptr()));
}

#[test]
fn a_payload_can_be_read_twice() {
    let slabs = slabs([b"abc", b"def"]);
    let block = Blocks::new(&slabs, 0, 6, 8, 1, 1, Rollover::Zero).next().unwrap();
    assert_eq!(octets_of(block), b"abcdef");
    assert_eq!(octets_of(block), b"abcdef");
}

#[test]
fn lore_01_headers_across_the_wrap() {
    let slabs = slabs([&[7; 32]]);
    let headers = |rollover| {
        let blocks = Blocks::new(&slabs, 0, 32, 8, 65534, 4, rollover);
        blocks.map(|block| block.header).collect::<Vec<_>>()
    };
    let before = [[0, 3, 0xff, 0xfe], [0, 3, 0xff, 0xff]];
    assert_eq!(headers(Rollover::Zero), [before[0], before[1], [0, 3, 0, 0], [0, 3, 0, 1]]);
    assert_eq!(headers(Rollover::One), [before[0], before[1], [0, 3, 0, 1], [0, 3, 0, 2]]);
}

#[test]
fn asking_what_is_left_uses_nothing_up() {
    let slabs = slabs([b"abcdefghij"]);
    let mut run = Blocks::new(&slabs, 0, 10, 8, 65536, 2, Rollover::Zero);
    // Through a reference, like a sender that continues a run.
    let blocks = &mut run;
    assert_eq!((blocks.remaining(), blocks.next_position(), blocks.blksize()), (2, 65536, 8));
    assert_eq!(blocks.ack(), [0, 4, 0, 1], "the second of them is 65537, which wraps");
    assert_eq!(blocks.size_hint(), (2, Some(2)));
    assert_eq!(blocks.next().map(octets_of).as_deref(), Some(&b"abcdefgh"[..]));
    assert_eq!((blocks.remaining(), blocks.next_position(), blocks.blksize()), (1, 65537, 8));
    assert_eq!(blocks.next().map(octets_of).as_deref(), Some(&b"ij"[..]));
    assert_eq!((blocks.remaining(), blocks.next_position()), (0, 65538));
    assert!(blocks.next().is_none());
    assert_eq!((blocks.remaining(), blocks.next_position()), (0, 65538));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "assertion failed")]
fn a_run_that_its_slabs_do_not_hold_is_a_bug() {
    let slabs = slabs([b"abcdefgh"]);
    let _ = Blocks::new(&slabs, 1, 8, 8, 1, 1, Rollover::Zero);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "assertion failed")]
fn a_run_of_more_octets_than_its_blocks_take_is_a_bug() {
    let slabs = slabs([b"abcdefghi"]);
    let _ = Blocks::new(&slabs, 0, 9, 8, 1, 1, Rollover::Zero);
}

/// A run: slabs of a counting stream, its start in the first slab, and its division into blocks.
#[derive(Debug)]
struct Run {
    slabs: Vec<Bytes>,
    offset: usize,
    octets: usize,
    blksize: usize,
    first: u64,
    count: u64,
    rollover: Rollover,
}

impl Run {
    fn blocks(&self) -> Blocks<'_> {
        let Self { slabs, offset, octets, blksize, first, count, rollover } = self;
        Blocks::new(slabs, *offset, *octets, *blksize, *first, *count, *rollover)
    }

    fn stream(&self) -> Vec<u8> {
        self.slabs.iter().flatten().copied().skip(self.offset).take(self.octets).collect()
    }
}

/// Slabs of a counting stream with a prime period, so that no block size hides a shift.
fn counting_slabs(lengths: &[usize]) -> Vec<Bytes> {
    let mut stream = (0..251_u8).cycle();
    lengths.iter().map(|&length| stream.by_ref().take(length).collect()).collect()
}

fn run() -> impl Strategy<Value = Run> {
    let slab = prop_oneof![Just(0_usize), Just(1), 0..20_usize, 0..700_usize];
    let first = prop_oneof![1..100_u64, 65500..65560_u64, 131_030..131_090_u64, 1..1_u64 << 40];
    let rollover = prop_oneof![Just(Rollover::Zero), Just(Rollover::One)];
    (vec(slab, 0..12), prop_oneof![8..32_usize, 8..600_usize], first, rollover, any::<[u16; 2]>()).prop_map(
        |(lengths, blksize, first, rollover, [offset, blocks])| {
            let slabs = counting_slabs(&lengths);
            let offset = usize::from(offset) % (lengths.first().copied().unwrap_or(0) + 1);
            let available = lengths.iter().sum::<usize>() - offset;
            // In half of the cases, to the end of the stream with the short or empty block that
            // ends the transfer; in the others, only full blocks, fewer than there are.
            let full = available / blksize;
            let (octets, count) = match blocks % 2 {
                0 => (available, full + 1),
                _ => {
                    let count = usize::from(blocks / 2) % (full + 1);
                    (count * blksize, count)
                }
            };
            Run { slabs, offset, octets, blksize, first, count: count as u64, rollover }
        },
    )
}

proptest! {
    #[test]
    fn the_payloads_are_the_stream(run in run()) {
        let sent: Vec<u8> = run.blocks().flat_map(octets_of).collect();
        prop_assert_eq!(sent, run.stream());
    }

    #[test]
    fn every_block_is_full_but_the_last(run in run()) {
        let lengths: Vec<_> = run.blocks().map(|block| block.payload_octets()).collect();
        prop_assert_eq!(lengths.len() as u64, run.count);
        for (index, length) in lengths.iter().enumerate() {
            let full = (index + 1) * run.blksize <= run.octets;
            prop_assert_eq!(*length, if full { run.blksize } else { run.octets % run.blksize });
            prop_assert!(full || index + 1 == lengths.len());
        }
    }

    #[test]
    fn a_payload_has_its_length_and_no_empty_piece(run in run()) {
        for block in run.blocks() {
            let pieces: Vec<_> = block.payload().map(<[u8]>::len).collect();
            prop_assert_eq!(pieces.iter().sum::<usize>(), block.payload_octets());
            prop_assert!(pieces.iter().all(|&octets| octets > 0));
        }
    }

    #[test]
    fn headers_count_from_the_first_block_on(run in run()) {
        for (position, block) in (run.first..).zip(run.blocks()) {
            let [high, low] = run.rollover.wire_number(position).to_be_bytes();
            prop_assert_eq!(block.header, [0, 3, high, low]);
        }
    }

    #[test]
    fn a_run_that_was_left_half_way_goes_on_from_a_copy(run in run(), sent in 0..40_usize) {
        let whole = packets(run.blocks());
        let mut blocks = run.blocks();
        let mut begun = packets_of_first(&mut blocks, sent);
        let rest = blocks;
        blocks.for_each(drop);
        prop_assert_eq!(rest.remaining(), (whole.len() - begun.len()) as u64);
        prop_assert_eq!(rest.next_position(), run.first + begun.len() as u64);
        begun.extend(packets(rest));
        prop_assert_eq!(begun, whole);
    }
}

fn packets_of_first(blocks: &mut Blocks<'_>, count: usize) -> Vec<Vec<u8>> {
    blocks.take(count).map(|block| [&block.header[..], &octets_of(block)].concat()).collect()
}
