//! The `stagecoach` program: parse, call the library, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    stagecoach::cli::main()
}
