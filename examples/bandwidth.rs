//! Limits the octets a second of each client:
//! `cargo run --example bandwidth -- 127.0.0.1:9069 DIRECTORY 1000000`.

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stagecoach::Stagecoach;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Later, Layer, Layered, Name, Slab, Source};
use tokio::time::{Instant, sleep_until};

/// When the next octets of each waiting client are due.
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

/// Limits one client, as a layer in front of the directory.
#[derive(Debug, Clone)]
struct Paced(IpAddr, Arc<Pace>);

impl Layer for Paced {
    fn opened(&self, _: &Name, source: Arc<dyn Source>) -> Result<Arc<dyn Source>, Fault> {
        Ok(Arc::new(PacedSource(source, self.clone())))
    }
}

/// `fetch_cached` keeps its default, so that nothing is read before it is due.
#[derive(Debug)]
struct PacedSource(Arc<dyn Source>, Paced);

impl Source for PacedSource {
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
        let Paced(client, pace) = &self.1;
        let (source, due) = (Arc::clone(&self.0), pace.due_after(*client, length));
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
    let pace = Arc::new(Pace { octets_per_s: octets_per_s.parse()?, due: Mutex::default() });
    actix::System::new().block_on(async {
        let builder = Stagecoach::builder().listen(listen.parse()?).root(root);
        let mut server = builder
            .wrap_store(move |asked, store| Layered::new(Paced(asked.peer.ip(), pace.clone()), store))
            .start()?;
        println!("listening on {}", server.addresses()[0]);
        Ok(server.serve(|| Ok(())).await?)
    })
}
