use std::path::Path;

use super::super::{Program, parse};
use super::*;
use crate::wire::Direction;

fn settings(flags: &[&str]) -> Result<Settings, String> {
    let args: Vec<_> = [&["stagecoach"], flags].concat().into_iter().map(Into::into).collect();
    match parse(&Program::stagecoach(), &args) {
        Ok(cli) => cli.serve.settings(),
        Err(Stop::Wrong(sentence)) => Err(sentence),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn no_flags_are_the_default_settings() {
    let typed = settings(&[]).expect("no flags");
    let usual = Settings {
        // Each `Chaos` has a seed of its own.
        chaos: typed.chaos.clone(),
        ..Settings::default()
    };
    assert_eq!(format!("{typed:?}"), format!("{usual:?}"));
}

#[test]
fn every_flag_reaches_its_setting() {
    let flags = "--port 70 --host 0.0.0.0 --host ::1 --port-range 5000:5009 --root /srv --overwrite \
        --create-dirs --symlinks deny --on-abort keep --max-upload-size 1M --min-free 0 --no-fsync \
        --ack-timeout 0.25 --timeout 7.5 --blksize-max 1468 --windowsize-max 8 --rollover 1 --strict \
        --fixed-timeout --mtu 1400 --wait-for-address --answer-broadcast \
        --allow 10.0.0.0/8:write --deny 10.9.0.0/16 --allow ::1 --refuse-option BlkSize=10.0.0.0/8 \
        --max-transfers-per-client 5 --over-limit error --on-outage error --max-transfers 12 --arbiters 3 --poll-us 75 --drain-timeout 4.5";
    let typed = settings(&flags.split_whitespace().collect::<Vec<_>>()).expect("flags");
    let hosts = ["0.0.0.0:70", "[::1]:70"].map(|host| host.parse().expect("an address"));
    assert_eq!((typed.listen.hosts.as_slice(), typed.listen.port), (&hosts[..], 70));
    assert!(typed.wait_for_address && typed.answer_broadcast);
    assert_eq!(typed.ports, PortRange::new(5000, 5009));
    assert_eq!(typed.root, Path::new("/srv"));
    assert!(typed.directory.overwrite && typed.directory.create_dirs && !typed.directory.durable);
    assert_eq!(typed.directory.symlinks, Symlinks::Deny);
    assert_eq!((typed.directory.upload_octets_max, typed.directory.min_free_octets), (1 << 20, 0));
    assert_eq!(typed.on_abort, OnAbort::Keep);
    assert_eq!(typed.timeouts.ack, Duration::from_millis(250));
    assert!(typed.timeouts.fixed);
    assert_eq!(typed.mtu, Mtu::Octets(1400));
    assert_eq!(typed.timeouts.unproven, Duration::from_millis(7500));
    assert_eq!(typed.timeouts.idle, Duration::from_millis(7500));
    assert_eq!((typed.offer.blksize_max, typed.offer.windowsize_max), (1468, 8));
    assert_eq!(typed.offer.rollover, Rollover::One);
    assert!(typed.strict && typed.offer.strict && typed.offer.options);
    assert_eq!((typed.transfers_max, typed.arbiters), (12, 3));
    assert_eq!((typed.transfers_per_client_max, typed.over_limit), (Some(5), OverLimit::Error));
    assert_eq!(typed.on_outage, OnOutage::Error);
    let rule = |allow, network: &str, direction| AccessRule {
        allow,
        network: network.parse().expect("a network"),
        direction,
    };
    let rules = [
        rule(true, "10.0.0.0/8", Some(Direction::Write)),
        rule(false, "10.9.0.0/16", None),
        rule(true, "::1/128", None),
    ];
    assert_eq!(typed.access, Access::new(rules.to_vec()), "in the order in which they were typed");
    let refused: Vec<_> = typed.refused_options.iter().map(ToString::to_string).collect();
    assert_eq!(refused, ["blksize=10.0.0.0/8"]);
    assert_eq!(typed.drain_timeout, Duration::from_millis(4500));
}

#[test]
fn no_time_to_drain_is_a_time_too() {
    assert_eq!(settings(&["--drain-timeout", "0"]).expect("a flag").drain_timeout, Duration::ZERO);
    for wrong in ["-1", "0.0001", "never", "86401", ""] {
        settings(&["--drain-timeout", wrong]).expect_err("no time");
    }
}

#[test]
fn switches_off_are_off() {
    let typed = settings(&["--read-only", "--no-options"]).expect("flags");
    assert!(typed.read_only && !typed.offer.options);
}

#[test]
fn the_real_spelling_of_the_timeout_is_known() {
    let typed = settings(&["--conn-timeout", "9"]).expect("flags");
    assert_eq!(typed.timeouts.idle, Duration::from_secs(9));
}

#[test]
fn contradictory_flags_are_refused() {
    for flags in [
        &["--read-only", "--overwrite"][..],
        &["--read-only", "--create-dirs"],
        &["--read-only", "--on-abort", "discard"],
        &["--read-only", "--max-upload-size", "4G"],
        &["--read-only", "--min-free", "1"],
        &["--read-only", "--no-fsync"],
        &["--no-options", "--blksize-max", "512"],
        &["--no-options", "--windowsize-max", "4"],
        &["--no-options", "--mtu", "auto"],
        &["--no-options", "--refuse-option", "tsize"],
        &["--timeout", "1", "--ack-timeout", "1"],
        &["--wait-for-address"],
        &["--answer-broadcast", "--host", "127.0.0.1"],
        &["--host", "::1", "--host", "[::1]"],
    ] {
        let error = settings(flags).expect_err("no sense");
        assert!(error.contains(flags[0]), "{error}");
    }
}
