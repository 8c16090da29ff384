use super::{Options, decimal};
use crate::limits;
use crate::wire::Text;

fn text(octets: &str) -> Text<'_> {
    Text::new(octets.as_bytes()).unwrap()
}

fn read(octets: &[u8]) -> String {
    Options::decode(octets).to_string()
}

#[test]
fn r2347_01_names_are_found_in_any_spelling() {
    let options = Options::decode(b"BlKsIzE\x001428\0");
    for spelling in ["blksize", "BLKSIZE", "BlKsIzE"] {
        assert_eq!(options.get(spelling).map(Text::as_bytes), Some(&b"1428"[..]));
    }
    assert_eq!(options.get("blksize2"), None);
    assert_eq!(options.to_string(), "BlKsIzE=1428", "and keep the spelling that they came with (R2347-05)");
}

#[test]
fn r2347_17_a_value_may_be_empty_a_name_may_not() {
    let options = Options::decode(b"multicast\0\0blksize\x001024\0");
    assert_eq!(options.get("multicast").map(Text::as_bytes), Some(&b""[..]));
    assert_eq!(options.get("blksize").map(Text::as_bytes), Some(&b"1024"[..]));
    assert_eq!(options.len(), 2);
    assert!(!Options::new().push(text(""), text("1")));
}

#[test]
fn mal_05_06_what_cannot_be_read_ends_the_list() {
    let table: [(&str, &[u8], &str); 9] = [
        ("nothing", b"", ""),
        ("MAL-05: a name without an end", b"tsize\x000\0blksi", "tsize=0"),
        ("MAL-05: a name without a value", b"tsize\x000\0blksize\0", "tsize=0"),
        ("MAL-05: a value without an end", b"tsize\x000\0blksize\x001024", "tsize=0"),
        ("MAL-06: one NUL more", b"tsize\x000\0\0", "tsize=0"),
        ("MAL-06: many NULs more", b"tsize\x000\0\0\0\0\0\0", "tsize=0"),
        ("MAL-06: an odd octet", b"tsize\x000\0\xff", "tsize=0"),
        ("nothing but padding", b"\0\0\0\0", ""),
        ("an option after the padding", b"\0\0blksize\x001024\0", ""),
    ];
    for (what, octets, expected) in table {
        assert_eq!(read(octets), expected, "{what}");
    }
}

#[test]
fn r2347_07_of_options_given_twice_the_first_counts() {
    let options = Options::decode(b"blksize\x00512\0BLKSIZE\x001024\0");
    assert_eq!(options.get("blksize").map(Text::as_bytes), Some(&b"512"[..]));
}

#[test]
fn mal_11_options_beyond_the_limit_are_not_looked_at() {
    let octets: Vec<u8> = (0..100).flat_map(|number| format!("o{number}\0{number}\0").into_bytes()).collect();
    let mut options = Options::decode(&octets);
    assert_eq!(options.len(), limits::REQUEST_OPTIONS_MAX);
    assert_eq!(options.get("o31").map(Text::as_bytes), Some(&b"31"[..]));
    assert_eq!(options.get("o32"), None);
    assert!(!options.push(text("one"), text("more")));
    assert_eq!(options.len(), limits::REQUEST_OPTIONS_MAX);
}

#[test]
fn the_length_on_the_wire_is_what_is_written() {
    for octets in [&b""[..], b"a\0\0", b"blksize\x001024\0tsize\x000\0"] {
        let mut out = Vec::new();
        let options = Options::decode(octets);
        options.encode(&mut out);
        assert_eq!((&out[..], options.wire_octets()), (octets, octets.len()));
        assert_eq!(options.is_empty(), octets.is_empty());
    }
}

#[test]
fn a_clients_text_cannot_forge_a_log_line() {
    assert_eq!(read(b"a\nb\0\x1b[2J\xff\0"), r"a\nb=\x1b[2J\xff");
}

#[test]
fn opt_01_values_are_digits_and_nothing_else() {
    let table: [(&[u8], Option<u64>); 28] = [
        (b"0", Some(0)),
        (b"8", Some(8)),
        (b"65464", Some(65464)),
        (b"18446744073709551615", Some(u64::MAX)),
        // Leading zeros are decimal here; GRUB reads 0512 as octal.
        (b"0512", Some(512)),
        (b"00000000000000000008", Some(8)),
        (b"", None),
        (b"+8", None),
        (b"-1", None),
        (b"-0", None),
        (b" 8", None),
        (b"8 ", None),
        (b"\t8", None),
        (b"8\n", None),
        (b"0x200", None),
        (b"0b1", None),
        (b"0o17", None),
        (b"1e3", None),
        (b"1.0", None),
        (b"1,024", None),
        (b"1_024", None),
        ("\u{ff18}".as_bytes(), None),
        ("\u{661}".as_bytes(), None),
        (b"12abc", None),
        (b"abc", None),
        (b"18446744073709551616", None),
        (b"99999999999999999999", None),
        (b"000000000000000000008", None),
    ];
    for (value, expected) in table {
        assert_eq!(decimal(value), expected, "{:?}", String::from_utf8_lossy(value));
    }
    assert_eq!(decimal(&[b'9'; 60_000]), None);
}
