use super::*;

/// Passes a file to a buffer in blocks, like a receiver; returns the slabs.
fn slabs(file: &[u8], blksize: usize) -> Vec<Bytes> {
    let mut buffer = ReceiveBuffer::new(false);
    let mut slabs = Vec::new();
    for block in file.chunks(blksize) {
        buffer.push(block);
        if buffer.is_full() {
            slabs.extend(buffer.take_slab());
        }
        buffer.commit();
    }
    slabs.extend(buffer.take());
    assert!(buffer.is_empty());
    slabs
}

#[test]
fn every_octet_is_in_one_slab_for_any_blksize() {
    let file: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    for blksize in [8, 511, 512, 1024, 1428, 1468, 4095, 4096, 4097, 8192, 16384, 33000, 65464] {
        let slabs = slabs(&file, blksize);
        assert!(slabs.concat() == file, "blksize {blksize}");
    }
}

#[test]
fn slabs_of_small_blocks_begin_at_a_page() {
    for blksize in [8, 511, 512, 1024, 1428, 1468, 4096, 8192] {
        let slabs = slabs(&[7; 1_000_000], blksize);
        let (last, whole) = slabs.split_last().unwrap();
        assert!(whole.iter().all(|slab| slab.len() == limits::SLAB_OCTETS), "blksize {blksize}");
        assert!(last.len() <= limits::SLAB_OCTETS + limits::SLAB_REST_OCTETS_MAX);
    }
}

#[test]
fn octets_of_large_blocks_are_not_copied_twice() {
    let slabs = slabs(&[7; 1_000_000], 65464);
    assert!(slabs[0].len() == 2 * 65464, "nothing is kept back");
}

#[test]
fn a_rewind_misses_octets_taken_since_the_commit() {
    let mut buffer = ReceiveBuffer::new(false);
    for _ in 0..65 {
        buffer.push(&[1; 1000]);
    }
    buffer.commit();
    buffer.push(&[2; 1000]);
    assert!(buffer.rewind(), "all that was here is here");
    buffer.push(&[2; 1000]);
    assert_eq!(buffer.take_slab().unwrap().len(), limits::SLAB_OCTETS);
    assert!(!buffer.is_empty());
    assert!(!buffer.rewind(), "what is left is not all that was here");
}
