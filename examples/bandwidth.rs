//! So many octets a second for each client: `cargo run --example bandwidth -- 127.0.0.1:9069 DIRECTORY 1000000`.

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stagecoach::Stagecoach;
use stagecoach::error::{Failure, Fault};
use stagecoach::extend::{Asked, Served};
use stagecoach::store::{Directory, DirectoryOptions, Later, Name, Sink, Slab, Source, Store};
use tokio::time::{Instant, sleep_until};

/// When the next octets of each client are due: of those that wait for some.
#[derive(Debug)]
struct Pace {
    octets_per_s: f64,
    due: Mutex<HashMap<IpAddr, Instant>>,
}

impl Pace {
    fn due_after(&self, client: IpAddr, octets: usize) -> Instant {
        let (mut clients, now) = (self.due.lock().unwrap(), Instant::now());
        clients.retain(|_, due| *due > now);
        let due = clients.entry(client).or_insert(now);
        *due += Duration::from_secs_f64(octets as f64 / self.octets_per_s);
        *due
    }
}

/// A store, or a file of it, as one client has it.
#[derive(Debug)]
struct Paced<T>(T, IpAddr, Arc<Pace>);

impl Store for Paced<Arc<dyn Store>> {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        Ok(Arc::new(Paced(self.0.open(name)?, self.1, Arc::clone(&self.2))))
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::ReadOnly.into())
    }
}

impl Source for Paced<Arc<dyn Source>> {
    fn size(&self) -> Option<u64> {
        self.0.size()
    }
    fn path(&self) -> &str {
        self.0.path()
    }
    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.0.fetch(offset, length)
    }
    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let (source, due) = (Arc::clone(&self.0), self.2.due_after(self.1, length));
        Some(Box::pin(async move {
            sleep_until(due).await;
            let reading = tokio::task::spawn_blocking(move || source.fetch(offset, length));
            reading.await.map_err(|error| Fault::new(Failure::Io, error))?
        }))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, root, octets_per_s] = &args[..] else { return Err("where, what, how fast?".into()) };
    let store: Arc<dyn Store> = Arc::new(Directory::open(root.as_ref(), DirectoryOptions::default())?);
    let pace = Arc::new(Pace { octets_per_s: octets_per_s.parse()?, due: Mutex::default() });
    let route = move |asked: &Asked<'_>| {
        Served::from_store(Arc::new(Paced(store.clone(), asked.peer.ip(), pace.clone()))).into()
    };
    actix::System::new().block_on(async {
        let mut server = Stagecoach::builder().listen(listen.parse()?).route(route).start()?;
        println!("listening on {}", server.addresses()[0]);
        Ok(server.serve(&|| Ok(())).await?)
    })
}
