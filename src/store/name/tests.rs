use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<String, Failure> {
    let name = Name::from_request(bytes).map_err(|fault| fault.failure)?;
    Ok(String::from_utf8_lossy(name.as_bytes()).into_owned())
}

#[test]
fn the_operator_reads_what_is_wrong_with_a_name() {
    for (name, failure, detail) in [
        (&b""[..], Failure::Malformed, "the name is empty"),
        (b"../dl/k1", Failure::Forbidden, "the name leads out of the root"),
        (b"a/..", Failure::Forbidden, "the name is that of the root itself"),
        (b"a\x1bb", Failure::Forbidden, "a control character in the name"),
        (b"pxelinux.0/", Failure::NotFound, "the name ends in a slash"),
        (b"boot/.", Failure::NotFound, "the name ends in a dot component"),
        (&[b'a'; 300], Failure::NotFound, "a component of 300 octets: the maximum is 255"),
        (&b"a/".repeat(3000), Failure::NotFound, "a name of 6000 octets: the maximum is 4095"),
    ] {
        assert_eq!(Name::from_request(name).unwrap_err(), Fault::new(failure, detail));
    }
}

#[test]
fn different_spellings_of_a_path_name_one_file() {
    // SAFE-02, -03, -06, CL-08: iPXE sends a leading slash, Windows backslashes, others both.
    for spelled in [
        "boot/x",
        "/boot/x",
        "//boot/x",
        "///boot//x",
        "./boot/x",
        "/./boot/./x",
        "\\boot\\x",
        "\\\\boot\\x",
        "boot/\\x",
        "a/../boot/x",
        "boot/a/../x",
        "/a/b/../../boot/x",
        "a\\..\\boot\\x",
    ] {
        assert_eq!(read(spelled.as_bytes()), Ok("boot/x".to_owned()), "{spelled}");
    }
}

#[test]
fn names_above_the_root_are_forbidden() {
    // SAFE-01, -06.
    for spelled in [
        "..",
        "../x",
        "/..",
        "/../x",
        "a/../../x",
        "a/b/../../../x",
        "..\\x",
        "..\\..\\x",
        "a\\..\\..\\x",
        "./../x",
        "//../x",
        "../",
        "/../../../../etc/passwd",
        "..\\..\\..\\windows\\win.ini",
        "..//x",
    ] {
        assert_eq!(read(spelled.as_bytes()), Err(Failure::Forbidden), "{spelled}");
    }
}

#[test]
fn the_root_is_forbidden_and_no_name_is_malformed() {
    // SAFE-03, MAL-02.
    for spelled in ["/", ".", "//", "./", "\\", "/./", "a/..", "a/../", "a/b/../.."] {
        assert_eq!(read(spelled.as_bytes()), Err(Failure::Forbidden), "{spelled}");
    }
    assert_eq!(read(b""), Err(Failure::Malformed));
}

#[test]
fn a_name_that_ends_like_a_directory_is_not_found() {
    // SAFE-14.
    for spelled in ["file/", "a/file/", "file//", "file\\", "file/.", "file/x/.."] {
        assert_eq!(read(spelled.as_bytes()), Err(Failure::NotFound), "{spelled}");
    }
}

#[test]
fn control_octets_are_forbidden() {
    // MAL-09; SAFE-05: a NUL can come neither from the wire nor from an extension.
    for octet in (0..0x20).chain([0x7f]) {
        assert_eq!(read(&[b'a', octet, b'b']), Err(Failure::Forbidden), "{octet:#x}");
    }
}

#[test]
fn names_too_long_for_a_file_system_are_not_found() {
    // MAL-07.
    assert!(read(&[b'a'; 255]).is_ok());
    assert_eq!(read(&[b'a'; 256]), Err(Failure::NotFound));
    let whole = [b"/".as_slice(), [b'a'; 255].as_slice()].concat().repeat(16);
    assert!(read(&whole[1..]).is_ok(), "4095 octets");
    assert_eq!(read(&whole), Err(Failure::NotFound), "4096 octets");
}

#[test]
fn octets_are_kept_as_they_are() {
    // SAFE-04, -15, MAL-08, R3617-03.
    for kept in [
        "a%2fb",
        "%2e%2e",
        "%00",
        "x;mode=netascii",
        "~",
        "~root",
        "$HOME",
        "...",
        "..x",
        "x..",
        ".hidden",
        "x.",
        "x ",
        "C:x",
        "CON",
        "\u{ff0e}\u{ff0e}\u{ff0f}x",
        "\u{2215}",
        "tftp:x",
    ] {
        assert_eq!(read(kept.as_bytes()), Ok(kept.to_owned()), "{kept}");
    }
    for kept in [b"caf\xe9".as_slice(), b"\xc0\xae\xc0\xae", b"\xff\xfe"] {
        assert_eq!(Name::from_request(kept).unwrap().as_bytes(), kept);
    }
}

#[test]
fn our_own_temporaries_can_not_be_asked_for() {
    let temporary = temporary_name(0x1234_5678_9abc_def0);
    assert_eq!(read(temporary.as_bytes()), Err(Failure::NotFound));
    assert_eq!(read(format!("a/{temporary}").as_bytes()), Err(Failure::NotFound));
    assert!(read(b".stagecoach-notes.part").is_ok(), "an operator's own file is served");
    assert!(read(b".stagecoach-0000000000000000.part2").is_ok());
}

#[test]
fn a_log_line_can_not_be_forged_by_a_name() {
    let name = Name::from_request(b"a\xffb\xe2\x80\xaec").unwrap();
    assert_eq!(name.to_string(), "a\\xffb\\xe2\\x80\\xaec");
}

#[test]
fn the_parts_of_a_name_are_told_apart() {
    let name = Name::from_request(b"/a/b/c").unwrap();
    assert_eq!(name.components().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    assert_eq!(name.parents().collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(name.file_name(), b"c");
    assert_eq!(name.as_path(), Path::new("a/b/c"));
    assert_eq!(Name::from_request(b"c").unwrap().parents().count(), 0);
}

#[test]
fn a_derived_name_keeps_what_is_not_utf_8() {
    let name = Name::from_request(b"caf\xe9/menu").unwrap();
    assert_eq!(name.with_suffix(".1").unwrap().as_bytes(), b"caf\xe9/menu.1");
    let home = Name::from_request(b"\xff/7").unwrap();
    assert_eq!(name.below(&home).unwrap().as_bytes(), b"\xff/7/caf\xe9/menu");
}

#[test]
fn a_derived_name_that_is_too_long_is_explained() {
    let long = Name::from_request(&[b'a'; NAME_COMPONENT_OCTETS_MAX - 1]).unwrap();
    assert!(long.with_suffix("1").is_ok());
    let fault = long.with_suffix(".1").unwrap_err();
    assert_eq!(fault.failure, Failure::NotFound);
    assert_eq!(fault.detail.as_deref(), Some("a component of 256 octets: the maximum is 255"));
    let deep = Name::from_request(&b"ab/".repeat(1365)[..4094]).unwrap();
    let fault = long.below(&deep).unwrap_err();
    assert_eq!(fault.failure, Failure::NotFound);
    assert!(fault.detail.unwrap().contains("4349 octets: the maximum is 4095"));
    for hostile in ["/..", "/../../x", "\\..", "/1"] {
        assert_eq!(long.with_suffix(hostile).unwrap_err().failure, Failure::Forbidden, "{hostile}");
    }
    assert_eq!(long.with_suffix("\n").unwrap_err().failure, Failure::Forbidden);
}

/// Octets that hostile names are made of, mixed with any others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"..".to_vec()),
        Just(b".".to_vec()),
        Just(b"/".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"a".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_input_yields_a_component_that_leads_elsewhere(bytes in hostile()) {
        if let Ok(name) = Name::from_request(&bytes) {
            prop_assert!(name.components().count() >= 1);
            for component in name.components() {
                prop_assert!(!component.is_empty() && component != b"." && component != b"..");
                prop_assert!(!component.iter().any(|octet| matches!(octet, 0 | b'/' | b'\\')));
                prop_assert!(component.len() <= NAME_COMPONENT_OCTETS_MAX);
            }
            prop_assert!(name.as_path().is_relative());
            prop_assert_eq!(Name::from_request(name.as_bytes()), Ok(name.clone()));
        }
    }
}
