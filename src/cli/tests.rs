use super::*;

fn refusal(flags: &str) -> Stop {
    let args: Vec<OsString> =
        ["stagecoach"].into_iter().chain(flags.split_whitespace()).map(Into::into).collect();
    parse(&Program::stagecoach(), &args).map(|_| ()).expect_err(flags)
}

#[test]
fn a_misspelt_flag_is_answered_with_the_likely_one() {
    assert_eq!(refusal("--hots ::1"), Stop::Wrong("there is no --hots: did you mean --host?".into()));
    assert_eq!(refusal("--bogus"), Stop::Wrong("there is no --bogus among the flags".into()));
}

#[test]
fn a_value_that_a_switch_would_forget_is_refused() {
    let expected = "--read-only takes no value: write it alone, or leave it out";
    assert_eq!(refusal("--read-only=no"), Stop::Wrong(expected.into()));
}

#[test]
fn a_missing_value_is_not_the_default() {
    for flag in ["--port", "--root", "--timeout", "--file-log"] {
        let Stop::Wrong(sentence) = refusal(flag) else { panic!("{flag}") };
        assert!(sentence.contains(flag) && sentence.contains("requires a value"), "{sentence}");
        assert!(sentence.contains(&format!(": write {flag} ")), "{sentence}");
    }
    let Stop::Wrong(sentence) = refusal("--over-limit") else { panic!() };
    assert!(sentence.ends_with(": write --over-limit error"), "{sentence}");
}

#[test]
fn every_flag_that_takes_a_value_has_an_example() {
    for verb in ["", "get ", "put ", "bench "] {
        let Stop::Shown(help) = refusal(&format!("{verb}--help")) else { panic!() };
        let flags = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        for usage in flags.filter_map(|line| Some(&line[line.find("--")?..])).filter(|it| it.contains(" <")) {
            let flag = usage.split(' ').next().unwrap();
            // `--name <NAME>` of bench needs no example.
            assert!(hints::example(usage).is_some() || flag == "--name", "{usage}");
        }
    }
}

#[test]
fn a_stray_word_gets_a_hint() {
    for (typed, meant) in [
        ("/srv/tftp", "write --root /srv/tftp"),
        ("fetch x", "get, put and bench"),
        ("server", "get, put and bench"),
    ] {
        let Stop::Wrong(sentence) = refusal(typed) else { panic!("{typed}") };
        assert!(sentence.contains("one argument too many") && sentence.contains(meant), "{sentence}");
    }
    let Stop::Wrong(sentence) = refusal("get 192.0.2.1 one two") else { panic!() };
    assert_eq!(sentence, "\"two\" is one argument too many");
}

#[test]
fn asking_for_nothing_and_something_is_refused() {
    let Stop::Wrong(sentence) = refusal("get ::1 f --no-options --interval 2") else { panic!() };
    assert!(sentence.contains("--no-options") && sentence.contains("--interval"), "{sentence}");
}

#[test]
fn negative_numbers_are_values() {
    let Stop::Wrong(sentence) = refusal("--timeout -1") else { panic!() };
    assert!(sentence.contains("--timeout") && sentence.contains("\"-1\" is not a time"), "{sentence}");
}

#[test]
fn no_switch_of_the_help_takes_a_value() {
    for (verb, args) in [("", ""), ("get", "::1 f"), ("bench", "get --to ::1")] {
        let Stop::Shown(help) = refusal(&format!("{verb} --help")) else { panic!() };
        let longs = help.lines().filter_map(|line| {
            line.trim_start().split("--").nth(1).filter(|_| line.trim_start().starts_with('-'))
        });
        let switches: Vec<&str> = longs
            .filter(|rest| !rest.split("  ").next().is_some_and(|flag| flag.contains('<')))
            .filter_map(|rest| rest.split_whitespace().next())
            .filter(|name| !["help", "version"].contains(name))
            .collect();
        assert!(switches.len() > 1, "{help}");
        for name in switches {
            let typed = format!("{verb} {args} --{name}=no");
            let Stop::Wrong(sentence) = refusal(&typed) else { panic!("{typed}") };
            assert!(sentence.contains(&format!("--{name} takes no value")), "{sentence}");
        }
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
        ("-R 50000:50999", "--port-range LO:HI"),
        ("-r blksize", "--refuse-option NAME"),
        ("--blocksize 1468", "--blksize-max OCTETS"),
        ("-B 1468", "--blksize-max OCTETS"),
        ("-4", "--host 0.0.0.0"),
        ("-6", "--host ::"),
        ("-t 900", "--timeout SECONDS"),
        ("-U 022", "umask of the process"),
        ("-P /run/tftpd.pid", "service manager"),
        ("--enable-tftp", "leave the flag out"),
        ("--tftp-root=/srv", "--root DIR"),
        ("--tftp-unique-root", "--root DIR"),
        ("--config x", "flags"),
        ("--syslog", "--file-log FILE"),
        ("--pidfile x", "service manager"),
        ("--map-file x", "symbolic link"),
        ("-m x", "symbolic link"),
    ] {
        let Stop::Wrong(sentence) = refusal(typed) else { panic!("{typed}") };
        let flag = typed.split([' ', '=']).next().unwrap();
        assert!(sentence.starts_with(&format!("there is no {flag}: ")), "{sentence}");
        assert!(sentence.contains(ours) && !sentence.contains("did you mean"), "{sentence}");
    }
}

#[test]
fn a_flag_of_other_servers_is_none_of_ours() {
    let Stop::Shown(help) = refusal("--help") else { panic!() };
    for flag in hints::FLAGS_OF_OTHERS.iter().flat_map(|(flags, _)| flags.split(' ')) {
        let is_ours = help.split([' ', ',', '\n']).any(|word| word == flag);
        assert!(!is_ours, "{flag}");
    }
}

/// Also if one of the two is the long name and the other the short one.
#[test]
fn of_a_flag_that_is_typed_twice_the_last_counts() {
    for (flags, port) in [("--port 0 -p 1", 1), ("-p 1 --port 0", 0), ("-p=7 -p8 --port=9", 9)] {
        let args: Vec<OsString> =
            ["stagecoach"].into_iter().chain(flags.split_whitespace()).map(Into::into).collect();
        let cli = parse(&Program::stagecoach(), &args).expect(flags);
        assert_eq!(cli.serve.settings().expect(flags).listen.port, port, "{flags}");
    }
}

#[test]
fn an_extended_program_shows_its_own_name_and_flags() {
    let program =
        Program::new("boards", "7.1").about("Serves boards.").help("OF BOARDS:\n    --polite    Say please");
    let Err(Stop::Shown(help)) = parse(&program, &["boards".into(), "--help".into()]).map(drop) else {
        panic!()
    };
    assert!(help.starts_with("boards 7.1\nServes boards.\n"), "{help}");
    assert!(help.contains("boards [OPTIONS]") && help.contains("--single-port"), "{help}");
    let (polite, codes) = (help.find("    --polite    Say please"), help.find("EXIT CODES:"));
    assert!(polite.is_some() && polite < codes, "{help}");
}
