//! The whole program `stagecoach`, which keeps each file that an upload replaces, as NAME.TIME:
//! `cargo run --example versions -- --root DIRECTORY --overwrite`, with every flag that stagecoach
//! has.
//!
//! The file is renamed right before the new one takes its name: in between there is none of that
//! name, and the new file has the permissions of one that replaces nothing. (A second, hard link
//! would not do: an upload replaces no file that has several names.)

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use stagecoach::cli;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Directory, Layer, Layered, Name, Sink, Store};

/// In front of this store.
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

/// Renames what is there under the name, if anything is, and returns what it is called now.
fn keep(directory: &Directory, name: &Name) -> Result<Option<Name>, Fault> {
    let old = match directory.open(name) {
        Ok(old) => old,
        Err(fault) if fault.failure == Failure::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let modified = old.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut version = [name.as_bytes(), format!(".{seconds}").as_bytes()].concat();
    loop {
        let kept = Name::from_request(&version)?;
        match directory.rename(name, &kept) {
            // One that was replaced in the same second.
            Err(fault) if fault.failure == Failure::Exists => version.push(b'+'),
            renamed => return renamed.map(|()| Some(kept)),
        }
    }
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
        let directory = store.as_directory().ok_or(Failure::Internal)?;
        let kept = keep(directory, &name)?;
        sink.publish().inspect_err(|_| {
            if let Some(kept) = kept {
                // (Should that fail too, the file is still there as a version.)
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
