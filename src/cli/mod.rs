//! The command line: flags, verbs, exit codes. Only this module knows structopt. It needs the
//! feature `program`, which is on by default.

mod bench;
mod client;
mod exchange;
mod get;
mod hints;
mod log;
mod program;
mod put;
mod serve;
mod values;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use structopt::StructOpt;
use structopt::clap::{self, AppSettings, ArgMatches, ErrorKind};

use self::bench::Bench;
use self::get::Get;
pub use self::program::Program;
use self::put::Put;
use self::serve::Serve;
use crate::daemon::Builder;

/// Width of `--help` on every terminal, so that pasted text looks the same everywhere.
const HELP_COLUMNS: usize = 100;

const AFTER_HELP: &str = "\
EXIT CODES:
    0    done: the server was stopped, or the file arrived, or all transfers of bench succeeded
    1    could not start, or something on this machine or on the network failed
    2    the command line is wrong
    3    the server gave up: a part of it failed again and again
    4    get, put, bench: the server refused, or ended the transfer
    5    get, put, bench: the server didn't answer, or stopped answering

Try it from another terminal:
    curl -o /tmp/README.md tftp://127.0.0.1:9069/README.md";

/// A TFTP server. Without flags it serves the current directory for reading and writing, on port
/// 9069 of every address. It never replaces a file, never makes a directory and never leaves the
/// served directory.
#[derive(Debug, StructOpt)]
#[structopt(
    name = "stagecoach",
    after_help = AFTER_HELP,
    set_term_width = HELP_COLUMNS,
    setting = AppSettings::ArgsNegateSubcommands,
    global_settings = &[
        AppSettings::AllArgsOverrideSelf,
        AppSettings::AllowNegativeNumbers,
        AppSettings::ColorNever,
        AppSettings::DeriveDisplayOrder,
        AppSettings::UnifiedHelpMessage,
        AppSettings::VersionlessSubcommands,
    ],
)]
struct Cli {
    #[structopt(flatten)]
    serve: Serve,
    #[structopt(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, StructOpt)]
enum Verb {
    Get(Get),
    Put(Put),
    Bench(Bench),
}

const VERBS: [&str; 3] = ["get", "put", "bench"];

/// Exit codes, as in [`AFTER_HELP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Escalated = 3,
    Refused = 4,
    Unanswered = 5,
}

/// Runs the program. This needs the Cargo feature `program`, which is on by default.
#[must_use]
pub fn main() -> ExitCode {
    main_extended(std::env::args_os(), |builder| builder)
}

/// Runs the program with `args` (the first is its own name) and with what `extend` adds to the
/// server that the flags describe. [`Program`] has an example, and shows its own name, version and
/// flags in `--help`.
///
/// `extend` runs inside the server's actix `System`, on a thread of the server, so it may start
/// actors. The builder has the settings from the flags ([`settings_mut`](Builder::settings_mut))
/// and the program's log ([`logger`](Builder::logger)). Code that needs the running server goes
/// into [`on_start`](Builder::on_start). This needs the Cargo feature `program`, which is on by
/// default.
#[must_use]
pub fn main_extended(
    args: impl IntoIterator<Item = OsString>,
    extend: impl FnOnce(Builder) -> Builder + Send + 'static,
) -> ExitCode {
    Program::stagecoach().main(args, extend)
}

fn run(
    program: &Program,
    args: &[OsString],
    extend: impl FnOnce(Builder) -> Builder + Send + 'static,
) -> Exit {
    let ended = parse(program, args).and_then(|Cli { serve, verb }| match verb {
        Some(Verb::Get(get)) => get.run(),
        Some(Verb::Put(put)) => put.run(),
        Some(Verb::Bench(bench)) => bench.run(),
        None => serve.run(extend),
    });
    ended.unwrap_or_else(|stop| match stop {
        Stop::Shown(text) => {
            // If nobody reads it, nothing is left to do.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            Exit::Done
        }
        Stop::Wrong(sentence) => {
            complain(&format!("{} (see {} --help)", sentence.trim_end_matches('.'), program::name()));
            Exit::Usage
        }
        Stop::Failed(sentence) => {
            complain(&sentence);
            Exit::Failed
        }
    })
}

/// Why the program ends without a result, as a text for the user.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The command line asks for this text.
    Shown(String),
    /// The command line is wrong.
    Wrong(String),
    /// Something on this machine failed.
    Failed(String),
}

fn parse(program: &Program, args: &[OsString]) -> Result<Cli, Stop> {
    let verb = args.get(1).and_then(|arg| arg.to_str()).filter(|arg| VERBS.contains(arg));
    let matches = program.matches(args).map_err(|error| match error.kind {
        // clap prints the version itself.
        ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => Stop::Shown(error.message),
        _ => Stop::Wrong(sentence(&error, verb)),
    })?;
    let typed = matches.subcommand().1.unwrap_or(&matches);
    if let Some(switch) = switch_with_value(args, typed) {
        return Err(Stop::Wrong(format!("--{switch} takes no value: write it alone, or leave it out")));
    }
    refuse_pointless(typed).map_err(Stop::Wrong)?;
    let mut cli = Cli::from_clap(&matches);
    cli.serve.note_order(&matches);
    Ok(cli)
}

/// The name of the switch in `--switch=value`. clap 2 ignores the value, and `--read-only=no` must
/// not mean yes.
fn switch_with_value<'a>(args: &'a [OsString], matches: &ArgMatches<'_>) -> Option<&'a str> {
    let mut names = args.iter().filter_map(|arg| Some(arg.to_str()?.strip_prefix("--")?.split_once('=')?.0));
    names.find(|name| matches.is_present(name) && matches.value_of_os(name).is_none())
}

/// Switches, what each means, and the flags that have no meaning beside it.
const POINTLESS: [(&str, &str, &[&str]); 3] = [
    ("single-port", "has no other ports", &["port-range"]),
    (
        "read-only",
        "takes no uploads",
        &["overwrite", "create-dirs", "on-abort", "max-upload-size", "min-free", "no-fsync"],
    ),
    (
        "no-options",
        "negotiates nothing",
        &["blksize-max", "mtu", "refuse-option", "windowsize-max", "blksize", "windowsize", "interval"],
    ),
];

fn refuse_pointless(typed: &ArgMatches<'_>) -> Result<(), String> {
    for (switch, meaning, others) in POINTLESS {
        if let Some(other) = others.iter().find(|other| typed.is_present(switch) && typed.is_present(other)) {
            return Err(format!(
                "--{switch} {meaning}, so --{other} has nothing to act on: leave one of them out"
            ));
        }
    }
    Ok(())
}

/// The one sentence in clap's message, without the usage that follows it. The most common mistakes
/// get better sentences.
fn sentence(error: &clap::Error, verb: Option<&str>) -> String {
    let wrong = error.info.iter().flatten().next().map_or("", String::as_str);
    match error.kind {
        ErrorKind::UnknownArgument if VERBS.contains(&wrong) => {
            format!("{wrong} comes first, followed only by its own flags")
        }
        ErrorKind::UnknownArgument if !wrong.starts_with('-') => match verb {
            Some(_) => format!("{wrong:?} is one argument too many"),
            None => hints::stray(wrong),
        },
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            let flag = wrong.split_once('=').map_or(wrong, |(flag, _)| flag);
            if let Some(instead) = hints::instead_of(flag).filter(|_| verb.is_none()) {
                return format!("there is no {flag}: {instead}");
            }
            let likely = error.message.split_once("Did you mean ").and_then(|(_, rest)| rest.split_once('?'));
            match likely {
                Some((likely, _)) => {
                    format!("there is no {wrong}: did you mean {}?", likely.trim_matches('\''))
                }
                None => format!("there is no {wrong} among the flags"),
            }
        }
        _ => clap_sentence(error),
    }
}

fn clap_sentence(error: &clap::Error) -> String {
    let message = error.message.trim_start_matches("error:").trim_start();
    let end = ["USAGE:", "For more information"].into_iter().filter_map(|word| message.find(word)).min();
    let words: Vec<&str> = message[..end.unwrap_or(message.len())].split_whitespace().collect();
    let mut sentence = words.join(" ");
    if error.kind == ErrorKind::EmptyValue
        && let Some(example) = sentence.split('\'').nth(1).and_then(hints::example)
    {
        sentence = format!("{}: write {example}", sentence.trim_end_matches('.'));
    }
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    sentence
}

/// A flag's help with its default. clap 2 needs `&'static str`, and this is called only once for
/// each flag.
fn with_default(help: &str, default: impl Display) -> &'static str {
    format!("{help} [default: {default}]").leak()
}

/// Reports on stderr why the program ends. If nobody reads it, the exit code still tells.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "{}: {sentence}", program::name());
}

#[cfg(test)]
mod tests;
