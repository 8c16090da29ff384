//! The whole program `stagecoach` with all of its flags, which keeps each replaced file as NAME.1,
//! NAME.2 and so on: `cargo run --example versions -- --root DIRECTORY --overwrite`. If the old
//! file can't be kept, the upload is refused.
//!
//! The old file is renamed right before the new one gets its name. Between the two steps no file
//! has that name, and the new file gets the permissions of a newly created one.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use stagecoach::cli;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Directory, Layer, Layered, Name, Sink, Store};

const VERSIONS_MAX: u32 = 1000;

/// Uploads are published one at a time, so that each keeps the file of the one before.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Debug)]
struct Versions(Arc<dyn Store>);

impl Layer for Versions {
    fn created(&self, name: &Name, sink: Box<dyn Sink>) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Upload { name: name.clone(), store: Arc::clone(&self.0), sink }))
    }
}

#[derive(Debug)]
struct Upload {
    name: Name,
    store: Arc<dyn Store>,
    sink: Box<dyn Sink>,
}

/// Renames an existing file to the first free name of NAME.1, NAME.2 ..., and returns that name. A
/// rename never replaces a file.
fn keep(directory: &Directory, name: &Name) -> Result<Option<Name>, Fault> {
    for number in 1..=VERSIONS_MAX {
        let version = name.with_suffix(&format!(".{number}"))?;
        match directory.rename(name, &version) {
            Ok(()) => return Ok(Some(version)),
            Err(fault) if fault.failure == Failure::NotFound => return Ok(None),
            Err(fault) if fault.failure == Failure::Exists => {}
            Err(fault) => return Err(fault),
        }
    }
    Err(Failure::Exists.into())
}

impl Sink for Upload {
    fn path(&self) -> &str {
        self.sink.path()
    }
    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.sink.write(octets)
    }
    fn publish(self: Box<Self>) -> Result<(), Fault> {
        let Self { name, store, sink } = *self;
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = store.as_directory().ok_or(Failure::Internal)?;
        let kept = keep(directory, &name)?;
        sink.publish().inspect_err(|_| {
            if let Some(kept) = kept {
                // If this fails too, the file still exists as a version.
                let _ = directory.rename(&kept, &name);
            }
        })
    }
    fn publish_partial(self: Box<Self>) -> Result<String, Fault> {
        self.sink.publish_partial()
    }
}

fn main() -> ExitCode {
    cli::main_extended(std::env::args_os(), |builder| {
        builder.wrap_store(|_, store| Layered::new(Versions(Arc::clone(&store)), store))
    })
}
