use super::*;
use crate::wire::{Mode, Options, Text};

#[test]
fn a_window_cut_for_lack_of_memory_is_recognised() {
    let asking = |windowsize: Option<u64>| {
        let mut options = Options::new();
        if let Some(blocks) = windowsize {
            assert!(options.push(Text::new(&b"windowsize"[..]).unwrap(), blocks.into()));
        }
        Request::new(Direction::Read, Text::new(&b"file"[..]).unwrap(), Mode::Octet, options).unwrap()
    };
    let terms = |windowsize| Terms { blksize: 1000, windowsize, ..Terms::default() };
    assert!(asked_for_more(&asking(Some(16)), &terms(4), 4999));
    assert!(!asked_for_more(&asking(Some(4)), &terms(4), 4999), "it has what it asked for");
    assert!(!asked_for_more(&asking(Some(16)), &terms(4), 5000), "something else bounds it");
    assert!(!asked_for_more(&asking(None), &terms(1), 0), "it asked for no window");
}
