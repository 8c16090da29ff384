//! The program as the command line shows it: `stagecoach`, or a program built on it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::OnceLock;

use structopt::StructOpt;
use structopt::clap::{App, ArgMatches, Error};

use super::{AFTER_HELP, Cli, run};
use crate::daemon::Builder;

static NAME: OnceLock<String> = OnceLock::new();

/// The name of this process in its messages: `stagecoach`, or that of another [`Program`].
pub(super) fn name() -> &'static str {
    NAME.get().map_or("stagecoach", String::as_str)
}

/// `stagecoach` with additions, under its own name and version. It has all of stagecoach's flags,
/// verbs and exit codes.
///
/// ```no_run
/// use std::process::ExitCode;
/// use stagecoach::cli::Program;
/// use stagecoach::extend::{Asked, Routing};
///
/// fn main() -> ExitCode {
///     // The program removes its own flags before stagecoach reads the arguments.
///     let mut args: Vec<_> = std::env::args_os().collect();
///     let is_polite = args.iter().position(|arg| arg == "--polite").map(|at| args.remove(at)).is_some();
///     let program = Program::new("greeter", env!("CARGO_PKG_VERSION"))
///         .about("A TFTP server that greets its clients.")
///         .help("FLAGS OF GREETER:\n    --polite    Say please");
///     program.main(args, move |builder| {
///         builder.route(move |asked: &Asked<'_>| match &*asked.name() {
///             "hello" if is_polite => Routing::octets("hello, please\n"),
///             "hello" => Routing::octets("hello\n"),
///             _ => Routing::Pass,
///         })
///     })
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    version: String,
    about: Option<String>,
    help: Option<String>,
}

impl Program {
    /// Creates a program with this name and version.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), about: None, help: None }
    }

    pub(super) fn stagecoach() -> Self {
        Self::new("stagecoach", env!("CARGO_PKG_VERSION"))
    }

    /// Sets the description at the beginning of `--help`.
    #[must_use]
    pub fn about(self, text: impl Into<String>) -> Self {
        Self { about: Some(text.into()), ..self }
    }

    /// Adds text to `--help` after stagecoach's flags, for example on the program's own flags.
    #[must_use]
    pub fn help(self, text: impl Into<String>) -> Self {
        Self { help: Some(text.into()), ..self }
    }

    /// Runs the program, as [`main_extended`](super::main_extended) does. The first program that a
    /// process runs gives its name to all errors.
    #[must_use]
    pub fn main(
        &self,
        args: impl IntoIterator<Item = OsString>,
        extend: impl FnOnce(Builder) -> Builder + Send + 'static,
    ) -> ExitCode {
        // The name is already set if the process has run a program before.
        let _ = NAME.set(self.name.clone());
        ExitCode::from(run(self, &args.into_iter().collect::<Vec<_>>(), extend) as u8)
    }

    pub(super) fn matches(&self, args: &[OsString]) -> Result<ArgMatches<'_>, Error> {
        let after = self.help.as_ref().map(|help| format!("{}\n\n{AFTER_HELP}", help.trim_end()));
        let mut app: App<'_, '_> = Cli::clap().name(&self.name).version(&*self.version);
        if let Some(about) = &self.about {
            app = app.about(&**about).long_about(&**about);
        }
        app = app.after_help(after.as_deref().unwrap_or(AFTER_HELP));
        app.get_matches_from_safe(args)
    }
}
