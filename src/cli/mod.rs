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

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use structopt::StructOpt;
use structopt::clap::{self, AppSettings, ErrorKind};

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

/// Exit codes, which `--help` and the README document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Exit {
    Done = 0,
    /// The program could not start, or a transfer failed on this machine.
    Failed = 1,
    Usage = 2,
    /// The server gave up after repeated failures.
    Escalated = 3,
    /// The server of `get`, `put` or `bench` sent an ERROR.
    Refused = 4,
    /// That server didn't answer, or stopped answering.
    Unanswered = 5,
}

/// Runs the program. This needs the Cargo feature `program`, which is on by default.
#[must_use]
pub fn main() -> ExitCode {
    main_extended(std::env::args_os(), |builder| builder)
}

/// Runs the program with `args` (the first is its own name) and with additions: it keeps all of its
/// flags, verbs, log, signals and exit codes. `extend` adds to the server that the flags describe.
/// A program with flags of its own removes them from `args` first; [`Program`] shows them in
/// `--help`, with the program's own name and version.
///
/// `extend` runs inside the server's actix `System`, on a thread of the server, so it may start
/// actors. The builder has the settings from the flags ([`settings_mut`](Builder::settings_mut))
/// and the program's log ([`logger`](Builder::logger)). Code that needs the running server goes
/// into [`on_start`](Builder::on_start).
///
/// This needs the Cargo feature `program`, which is on by default.
///
/// ```no_run
/// use std::process::ExitCode;
/// use stagecoach::extend::{Asked, Routing};
///
/// fn main() -> ExitCode {
///     stagecoach::cli::main_extended(std::env::args_os(), |builder| {
///         builder.route(|asked: &Asked<'_>| match &*asked.name() {
///             "whoami" => Routing::octets(asked.peer.ip().to_string()),
///             _ => Routing::Pass,
///         })
///     })
/// }
/// ```
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
    match parse(program, args) {
        Ok(Cli { verb: Some(Verb::Get(get)), .. }) => get.run(),
        Ok(Cli { verb: Some(Verb::Put(put)), .. }) => put.run(),
        Ok(Cli { verb: Some(Verb::Bench(bench)), .. }) => bench.run(),
        Ok(Cli { serve, verb: None }) => serve.run(extend),
        Err(Refusal::Shown(text)) => {
            // If nobody reads it, nothing is left to do.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            Exit::Done
        }
        Err(Refusal::Wrong(sentence)) => usage_error(&sentence),
    }
}

/// Why a command line leads to no work.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Shown(String),
    Wrong(String),
}

fn parse(program: &Program, args: &[OsString]) -> Result<Cli, Refusal> {
    let verb = args.get(1).and_then(|arg| arg.to_str()).filter(|arg| VERBS.contains(arg));
    let matches = program.matches(args).map_err(|error| match error.kind {
        // clap prints the version itself.
        ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => Refusal::Shown(error.message),
        _ => Refusal::Wrong(sentence(&error, verb)),
    })?;
    let mut cli = Cli::from_clap(&matches);
    cli.serve.note_order(&matches);
    match args.iter().find_map(|arg| switch_with_value(arg)) {
        Some(switch) => {
            Err(Refusal::Wrong(format!("--{switch} takes no value: write it alone, or leave it out")))
        }
        None => Ok(cli),
    }
}

/// The name of the switch in `--switch=value`. clap 2 ignores the value, and `--read-only=no` must
/// not mean yes.
fn switch_with_value(arg: &OsStr) -> Option<&str> {
    let (name, _) = arg.to_str()?.strip_prefix("--")?.split_once('=')?;
    [&serve::SWITCHES[..], &client::SWITCHES].concat().contains(&name).then_some(name)
}

/// The one sentence in clap's message, without the usage that follows it. The most common mistakes
/// get better sentences.
fn sentence(error: &clap::Error, verb: Option<&str>) -> String {
    let wrong = error.info.iter().flatten().next().map_or("", String::as_str);
    match error.kind {
        ErrorKind::UnknownArgument if VERBS.contains(&wrong) => {
            return format!("{wrong} comes first, followed only by its own flags");
        }
        ErrorKind::UnknownArgument if !wrong.starts_with('-') => {
            return match verb {
                Some(_) => format!("{wrong:?} is one argument too many"),
                None => hints::stray(wrong),
            };
        }
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            let flag = wrong.split_once('=').map_or(wrong, |(flag, _)| flag);
            if let Some(instead) = hints::instead_of(flag).filter(|_| verb.is_none()) {
                return format!("there is no {flag}: {instead}");
            }
            let likely = error.message.split_once("Did you mean ").and_then(|(_, rest)| rest.split_once('?'));
            return match likely {
                Some((likely, _)) => {
                    format!("there is no {wrong}: did you mean {}?", likely.trim_matches('\''))
                }
                None => format!("there is no {wrong} among the flags"),
            };
        }
        _ => {}
    }
    let message = error.message.trim_start_matches("error:").trim_start();
    let end = ["USAGE:", "For more information"].into_iter().filter_map(|word| message.find(word)).min();
    let words: Vec<&str> = message[..end.unwrap_or(message.len())].split_whitespace().collect();
    let mut sentence = words.join(" ");
    if error.kind == ErrorKind::EmptyValue
        && let Some(example) = sentence.split('\'').nth(1).and_then(hints::example)
    {
        sentence = format!("{}: write {example}", sentence.trim_end_matches('.'));
    }
    match sentence.split_at_checked(1) {
        Some((first, rest)) => format!("{}{rest}", first.to_lowercase()),
        None => sentence,
    }
}

/// A flag's help with its default. clap 2 needs `&'static str`, and this is called only once for
/// each flag.
fn with_default(help: &str, default: impl Display) -> &'static str {
    format!("{help} [default: {default}]").leak()
}

/// An error if one of `others` was typed although `clause` makes it meaningless.
fn refuse_pointless(holds: bool, clause: &str, others: &[(&str, bool)]) -> Result<(), String> {
    match others.iter().find(|(_, typed)| holds && *typed) {
        Some((other, _)) => Err(format!("{clause}, so {other} has nothing to act on: leave one of them out")),
        None => Ok(()),
    }
}

fn usage_error(sentence: &str) -> Exit {
    complain(&format!("{} (see {} --help)", sentence.trim_end_matches('.'), program::name()));
    Exit::Usage
}

/// Reports on stderr why the program ends. If nobody reads it, the exit code still tells.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "{}: {sentence}", program::name());
}

#[cfg(test)]
mod tests;
