//! Files that come from an HTTP server, and are kept: `cargo run --example http_origin -- 127.0.0.1:9069 http://127.0.0.1:8000/boot/`.

use std::error::Error;
use std::sync::Arc;

use stagecoach::Stagecoach;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Memory, MemoryOptions, Name, Sink, Source, Store};

/// Largest file that is fetched.
const FILE_OCTETS_MAX: u64 = 256 << 20;

#[derive(Debug)]
struct Origin {
    base: String,
    cache: Memory,
}

impl Store for Origin {
    /// Called on a thread that may wait.
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        if let Ok(cached) = self.cache.open(name) {
            return Ok(cached);
        }
        let url = format!("{}{name}", self.base);
        let fetch = || ureq::get(&url).call()?.body_mut().with_config().limit(FILE_OCTETS_MAX).read_to_vec();
        let octets = fetch().map_err(|error| match error {
            ureq::Error::StatusCode(404) => Failure::NotFound.into(),
            other => Fault::new(Failure::Io, format_args!("{url}: {other}")),
        })?;
        self.cache.insert(name.clone(), octets);
        self.cache.open(name)
    }

    /// Called by the listener: what is here already needs no thread.
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        self.cache.open(name).ok().map(Ok)
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::ReadOnly.into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().ok_or("where to listen?")?.parse()?;
    let base = args.next().ok_or("which URL do names follow?")?;
    let origin = Origin { base, cache: Memory::new(MemoryOptions::default()) };
    actix::System::new().block_on(async {
        let mut server = Stagecoach::builder().listen(listen).store(origin).start()?;
        println!("listening on {}", server.addresses()[0]);
        server.serve(&|| Ok(())).await?;
        Ok(())
    })
}
