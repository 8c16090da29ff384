//! The `stagecoach` program: parse, call the library, exit code.

use std::process::ExitCode;

/// A thousand concurrent sessions need a better allocator than the system's
/// (docs/decisions/18-speed.md).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stagecoach::cli::main()
}
