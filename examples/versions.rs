//! The whole program `stagecoach`, which keeps each file that an upload replaces, as NAME.TIME:
//! `cargo run --example versions -- --root DIRECTORY --overwrite`, with every flag that stagecoach
//! has.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use stagecoach::cli;
use stagecoach::error::Fault;
use stagecoach::store::{Layer, Layered, Name, Sink, Source, Store};

const SLAB_OCTETS: usize = 64 << 10;

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

impl Upload {
    /// Copies what is there under the name, if anything is.
    fn keep(&self, old: &dyn Source) -> Result<(), Fault> {
        let modified = old.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let name = Name::from_request(format!("{}.{seconds}", self.name).as_bytes())?;
        let mut copy = self.store.create(&name, old.size())?;
        let mut offset = 0;
        loop {
            let slab = old.fetch(offset, SLAB_OCTETS)?;
            copy.write(&slab.bytes)?;
            offset += slab.bytes.len() as u64;
            if slab.end {
                return copy.publish();
            }
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
        if let Ok(old) = self.store.open(&self.name) {
            self.keep(&*old)?;
        }
        self.sink.publish()
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
