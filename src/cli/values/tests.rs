use super::*;

#[test]
fn sizes_are_octets_or_have_a_unit() {
    for (text, octets) in [
        ("0", 0),
        ("1500", 1500),
        ("1K", 1024),
        ("256m", 256 << 20),
        ("4G", 4 << 30),
        ("4GiB", 4 << 30),
        ("2T", 2 << 40),
    ] {
        assert_eq!(size(text), Ok(octets), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_an_example() {
    for text in
        ["", "G", "-1", "+1", "1.5G", "1 G", "4GB", "0x10", "1KK", "iB", "16777216T", "18446744073709551616"]
    {
        let error = size(text).expect_err(text);
        assert!(error.contains(&format!("{text:?}")) && error.contains("256M"), "{error}");
    }
    assert!(size_above_zero("0").expect_err("no upload").contains("--read-only"));
}

#[test]
fn a_size_is_shown_as_it_can_be_typed() {
    for octets in [0, 1, 1023, 1024, 1 << 20, 3 << 30, (4 << 30) + 1, u64::MAX] {
        assert_eq!(size(&show_size(octets)), Ok(octets));
    }
    assert_eq!(show_size(4 << 30), "4G");
}

#[test]
fn times_are_seconds_with_fractions() {
    assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
    assert_eq!(seconds("15"), Ok(Duration::from_secs(15)));
    for text in ["", ".", "0", "0.0", "-1", "1e3", "inf", "nan", "1s", "86400.1", "0.0001"] {
        let error = seconds(text).expect_err(text);
        assert!(error.contains("seconds") && error.contains("0.5"), "{error}");
    }
}

#[test]
fn numbers_stay_within_what_the_rfcs_allow() {
    assert_eq!((blksize("8"), blksize("65464")), (Ok(8), Ok(65464)));
    assert_eq!((windowsize("1"), windowsize("65535")), (Ok(1), Ok(65535)));
    assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
    for wrong in
        [blksize("7"), blksize("65465"), windowsize("0"), windowsize("65536"), port("65536"), port("+1")]
    {
        let error = wrong.expect_err("out of range");
        assert!(error.contains("write a number from"), "{error}");
    }
    assert!(transfers("0").is_err() && arbiters("0").is_err());
    assert_eq!(poll_us("0"), Ok(0));
    assert!(poll_us("1000").is_ok() && poll_us("1001").is_err() && poll_us("50us").is_err());
}

#[test]
fn addresses_of_both_families_are_hosts() {
    let shown = |text: &str| host(text).map(|it| it.to_string());
    assert_eq!(shown("192.0.2.1").as_deref(), Ok("192.0.2.1:0"));
    assert_eq!(shown("::").as_deref(), Ok("[::]:0"));
    assert_eq!(shown("[2001:db8::1]").as_deref(), Ok("[2001:db8::1]:0"));
}

#[test]
fn a_link_local_address_needs_an_interface() {
    let Ok(SocketAddr::V6(address)) = host("fe80::1%lo") else { panic!("every machine has lo") };
    assert_eq!(address.scope_id(), nix::net::if_::if_nametoindex("lo").expect("lo"));
    assert_eq!(host("fe80::1%7").map(|it| it.to_string()).as_deref(), Ok("[fe80::1%7]:0"));
    assert!(host("fe80::1%no-such").expect_err("no interface").contains("\"no-such\""));
}

#[test]
fn what_is_no_address_to_listen_on_is_refused() {
    for text in [
        "",
        "localhost",
        "192.0.2",
        "192.0.2.1:69",
        "fe80::1",
        "fe80::1%",
        "::1%lo",
        "192.0.2.1%lo",
        "224.0.0.1",
        "ff02::1",
    ] {
        let error = host(text).expect_err(text);
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn words_are_read_as_they_are_shown() {
    for text in ["discard", "keep"] {
        assert_eq!(word::<OnAbort>(text).as_ref().map(show_word), Ok(text));
    }
    for text in ["inside", "deny", "follow"] {
        assert_eq!(word::<Symlinks>(text).as_ref().map(show_word), Ok(text));
    }
    for text in ["0", "1"] {
        assert_eq!(word::<Rollover>(text).as_ref().map(show_word), Ok(text));
    }
    assert!(word::<OnAbort>("Keep").is_err() && word::<Symlinks>("").is_err());
    assert_eq!(word::<Rollover>("2"), Err("\"2\" is unknown: write 0 or 1".into()));
}

#[test]
fn a_server_has_port_69_unless_another_is_typed() {
    let first = |text: &str| {
        text.parse::<Server>().and_then(|server| server.addresses()).map(|them| them[0].to_string())
    };
    assert_eq!(first("192.0.2.1").as_deref(), Ok("192.0.2.1:69"));
    assert_eq!(first("192.0.2.1:6969").as_deref(), Ok("192.0.2.1:6969"));
    assert_eq!(first("2001:db8::1").as_deref(), Ok("[2001:db8::1]:69"));
    assert_eq!(first("[2001:db8::1]").as_deref(), Ok("[2001:db8::1]:69"));
    assert_eq!(first("[2001:db8::1]:6969").as_deref(), Ok("[2001:db8::1]:6969"));
}

#[test]
fn what_is_no_server_is_refused() {
    for text in ["", ":69", "[]:69", "[::1", "::1]", "[::1]69", "host:", "host:0", "host:65536", "[::1]:tftp"]
    {
        assert!(text.parse::<Server>().is_err(), "{text}");
    }
}

#[test]
fn octets_are_shown_in_powers_of_ten() {
    for (octets, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5 << 30, "5.4 GB"),
    ] {
        assert_eq!(show_octets(octets), text);
    }
}
