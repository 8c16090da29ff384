use super::Text;

#[test]
fn a_text_never_holds_a_nul() {
    assert_eq!(Text::new(&b"a\0b"[..]), None);
    assert_eq!(Text::until_nul(b"a\0b").as_bytes(), b"a");
    assert_eq!(Text::until_nul(b"ab").as_bytes(), b"ab");
    assert_eq!(Text::until_nul(b"\0").as_bytes(), b"");
}

#[test]
fn splitting_needs_a_nul() {
    let (first, rest) = Text::split(b"a\0b\0").unwrap();
    assert_eq!((first.as_bytes(), rest), (&b"a"[..], &b"b\0"[..]));
    let (empty, rest) = Text::split(b"\0").unwrap();
    assert_eq!((empty.is_empty(), rest), (true, &b""[..]));
    assert!(Text::split(b"ab").is_none());
    assert!(Text::split(b"").is_none());
}

#[test]
fn r2347_06_numbers_are_written_in_canonical_decimal() {
    for (number, written) in [(0, "0"), (512, "512"), (5_368_709_120, "5368709120")] {
        assert_eq!(Text::from(number).as_bytes(), written.as_bytes());
    }
    assert_eq!(Text::from(u64::MAX).as_bytes(), b"18446744073709551615");
}

#[test]
fn what_people_read_is_printable_ascii() {
    let all: Vec<u8> = (1..=255).collect();
    let shown = Text::new(all).unwrap().to_string();
    assert!(shown.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic()), "{shown}");
}
