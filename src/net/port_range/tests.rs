use super::*;

#[test]
fn a_range_is_read_as_it_is_written() {
    for text in ["1:1", "1:65535", "50000:50999"] {
        assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
    }
}

#[test]
fn a_wrong_range_is_refused_with_a_remedy() {
    for (text, sentence) in [
        ("", "\"\" is not a port range: write the lowest and the highest port as LO:HI, such as 50000:50999"),
        (
            "69",
            "\"69\" is not a port range: write the lowest and the highest port as LO:HI, such as 50000:50999",
        ),
        ("0:9", "\"0\" is not a port: a port is a number from 1 to 65535"),
        ("1:", "\"\" is not a port: a port is a number from 1 to 65535"),
        ("1:65536", "\"65536\" is not a port: a port is a number from 1 to 65535"),
        ("1:2:3", "\"2:3\" is not a port: a port is a number from 1 to 65535"),
        ("9:8", "the port range 9:8 is empty: write the lower port first, 8:9"),
    ] {
        assert_eq!(text.parse::<PortRange>().unwrap_err().to_string(), sentence);
    }
}

#[test]
fn every_port_comes_up_once_from_a_changing_start() {
    let range = PortRange::new(100, 163).unwrap();
    let mut starts = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut ports: Vec<u16> = range.shuffled().collect();
        starts.insert(ports[0]);
        ports.sort_unstable();
        assert_eq!(ports, (100..=163).collect::<Vec<_>>());
    }
    assert!(starts.len() > 10, "{starts:?}");
    assert_eq!(PortRange::new(1, 65535).unwrap().shuffled().count(), 65535);
}
