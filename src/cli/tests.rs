use super::*;

fn refusal(flags: &str) -> Refusal {
    let args: Vec<OsString> =
        ["stagecoach"].into_iter().chain(flags.split_whitespace()).map(Into::into).collect();
    parse(&args).map(|_| ()).expect_err(flags)
}

#[test]
fn a_misspelt_flag_is_answered_with_the_likely_one() {
    assert_eq!(refusal("--hots ::1"), Refusal::Wrong("there is no --hots: did you mean --host?".into()));
    assert_eq!(refusal("--bogus"), Refusal::Wrong("there is no --bogus among the flags".into()));
}

#[test]
fn a_value_that_a_switch_would_forget_is_refused() {
    let expected = "--read-only takes no value: write it alone, or leave it out";
    assert_eq!(refusal("--read-only=no"), Refusal::Wrong(expected.into()));
}

#[test]
fn a_missing_value_is_not_the_default() {
    for flag in ["--port", "--root", "--timeout", "--file-log"] {
        let Refusal::Wrong(sentence) = refusal(flag) else { panic!("{flag}") };
        assert!(sentence.contains(flag) && sentence.contains("requires a value"), "{sentence}");
    }
}

#[test]
fn negative_numbers_are_values() {
    let Refusal::Wrong(sentence) = refusal("--timeout -1") else { panic!() };
    assert!(sentence.contains("--timeout") && sentence.contains("\"-1\" is not a time"), "{sentence}");
}

#[test]
fn every_switch_of_the_help_is_known_as_one() {
    let Refusal::Shown(help) = refusal("--help") else { panic!() };
    let longs = help.lines().filter_map(|line| {
        line.trim_start().split("--").nth(1).filter(|_| line.trim_start().starts_with('-'))
    });
    let switches: Vec<&str> = longs
        .filter(|rest| !rest.split("  ").next().is_some_and(|flag| flag.contains('<')))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter(|name| !["help", "version"].contains(name))
        .collect();
    assert!(switches.len() > 3, "{help}");
    for name in switches {
        assert!(serve::SWITCHES.contains(&name), "{name}");
    }
}

#[test]
fn flags_of_other_servers_are_answered_with_ours() {
    for (typed, ours) in [
        ("--create", "--read-only"),
        ("-s /srv", "--root"),
        ("--user=nobody", "CAP_NET_BIND_SERVICE"),
        ("-a ::", "--host"),
        ("--foreground", "leave the flag out"),
    ] {
        let Refusal::Wrong(sentence) = refusal(typed) else { panic!("{typed}") };
        let flag = typed.split([' ', '=']).next().unwrap();
        assert!(sentence.starts_with(&format!("there is no {flag}: ")), "{sentence}");
        assert!(sentence.contains(ours) && !sentence.contains("did you mean"), "{sentence}");
    }
}

#[test]
fn a_flag_of_other_servers_is_none_of_ours() {
    let Refusal::Shown(help) = refusal("--help") else { panic!() };
    for flag in FLAGS_OF_OTHERS.iter().flat_map(|(flags, _)| *flags) {
        let is_ours = help.split([' ', ',', '\n']).any(|word| word == *flag);
        assert!(!is_ours, "{flag}");
    }
}

/// Also where it has a long name and a short one.
#[test]
fn of_a_flag_that_is_typed_twice_the_last_counts() {
    for (flags, port) in [("--port 0 -p 1", 1), ("-p 1 --port 0", 0), ("-p=7 -p8 --port=9", 9)] {
        let args: Vec<OsString> =
            ["stagecoach"].into_iter().chain(flags.split_whitespace()).map(Into::into).collect();
        let cli = parse(&args).expect(flags);
        assert_eq!(cli.serve.settings().expect(flags).listen.port, port, "{flags}");
    }
}
