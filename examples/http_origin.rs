//! Caches files of an HTTP server: `cargo run --example http_origin -- 127.0.0.1:9069 http://127.0.0.1:8000/boot/`.
//!
//! A thousand boards that ask for one file at once cause one request to the origin.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};
use stagecoach::Stagecoach;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Fixed, Name, Sink, Source, Store};

/// The size limit of the cache, for one file or for all together.
const KEPT_OCTETS_MAX: u64 = 1 << 30;

#[derive(Debug, Clone)]
struct Octets;

impl Weighter<Name, Bytes> for Octets {
    fn weight(&self, _: &Name, file: &Bytes) -> u64 {
        file.len() as u64
    }
}

#[derive(Debug)]
struct Origin {
    base: String,
    agent: ureq::Agent,
    kept: Cache<Name, Bytes, Octets>,
}

impl Origin {
    fn new(base: String) -> Self {
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(25))).build().into();
        // A small cache has only one shard, so that a file may be as large as the whole cache.
        let kept = Cache::with_weighter(32, KEPT_OCTETS_MAX, Octets);
        Self { base, agent, kept }
    }

    fn fetch(&self, name: &Name) -> Result<Bytes, Fault> {
        let url = format!("{}{name}", self.base);
        let fetch =
            || self.agent.get(&url).call()?.body_mut().with_config().limit(KEPT_OCTETS_MAX).read_to_vec();
        fetch().map(Bytes::from).map_err(|error| match error {
            ureq::Error::StatusCode(404) => Failure::NotFound.into(),
            other => Fault::new(Failure::Io, format_args!("{url}: {other}")),
        })
    }
}

impl Store for Origin {
    /// Runs on a thread that may block.
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        Fixed::new(self.kept.get_or_insert_with(name, || self.fetch(name))?).open(name)
    }

    /// Runs on the listener's thread: files in memory need no other thread.
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        Some(Fixed::new(self.kept.get(name)?).open(name))
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::ReadOnly.into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, base] = &args[..] else { return Err("where, and which URL do names follow?".into()) };
    actix::System::new().block_on(async {
        let origin = Origin::new(base.clone());
        let mut server = Stagecoach::builder().listen(listen.parse()?).store(origin).start()?;
        println!("listening on {}", server.addresses()[0]);
        Ok(server.serve(|| Ok(())).await?)
    })
}
