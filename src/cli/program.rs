//! The program as its command line shows it: `stagecoach`, or one that was made of it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::OnceLock;

use structopt::StructOpt;
use structopt::clap::{App, ArgMatches, Error};

use super::{AFTER_HELP, Cli, run};
use crate::daemon::Builder;

/// What this process is called on stderr.
static NAME: OnceLock<String> = OnceLock::new();

/// What this process is called on stderr: `stagecoach`, unless it is a [`Program`] of another name.
pub(super) fn name() -> &'static str {
    NAME.get().map_or("stagecoach", String::as_str)
}

/// A program that is `stagecoach` with something added, under a name of its own: its help, its
/// version and its errors show that name. It has all of stagecoach's flags, verbs and exit codes.
///
/// ```no_run
/// use std::process::ExitCode;
/// use stagecoach::cli::Program;
/// use stagecoach::extend::Routing;
///
/// fn main() -> ExitCode {
///     // A flag of its own is taken out of the arguments before stagecoach reads them.
///     let mut args: Vec<_> = std::env::args_os().collect();
///     let is_polite = args.iter().position(|arg| arg == "--polite").map(|at| args.remove(at)).is_some();
///     let program = Program::new("greeter", env!("CARGO_PKG_VERSION"))
///         .about("A TFTP server that greets its clients.")
///         .help("FLAGS OF GREETER:\n    --polite    Say please");
///     program.main(args, move |builder| {
///         slog::info!(builder.logger(), "greeting"; "polite" => is_polite);
///         builder.route(move |asked| match &*asked.name() {
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
    /// A program of this name and version.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), about: None, help: None }
    }

    /// `stagecoach` itself.
    pub(super) fn stagecoach() -> Self {
        Self::new("stagecoach", env!("CARGO_PKG_VERSION"))
    }

    /// What the program is, which `--help` begins with.
    #[must_use]
    pub fn about(self, text: impl Into<String>) -> Self {
        Self { about: Some(text.into()), ..self }
    }

    /// What `--help` says behind stagecoach's flags, such as the program's own. The program itself
    /// reads these: it takes them out of the arguments.
    #[must_use]
    pub fn help(self, text: impl Into<String>) -> Self {
        Self { help: Some(text.into()), ..self }
    }

    /// Runs the program, as [`main_extended`](super::main_extended). The first program of a process
    /// has its name in all errors.
    #[must_use]
    pub fn main(
        &self,
        args: impl IntoIterator<Item = OsString>,
        extend: impl FnOnce(Builder) -> Builder + Send + 'static,
    ) -> ExitCode {
        // (There is one already.)
        let _ = NAME.set(self.name.clone());
        ExitCode::from(run(self, &args.into_iter().collect::<Vec<_>>(), extend) as u8)
    }

    /// Reads the arguments.
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
