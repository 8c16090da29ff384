//! A store whose calls fail as a test plans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::error::{Failure, Fault};
use crate::store::{Later, Name, Sink, Slab, Source, Store};

/// A [`Store`] in front of another, of which single calls go wrong as a test plans.
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::error::Failure;
/// use stagecoach::store::{Memory, Name};
/// use stagecoach::testkit::{Call, StoreFault, FaultyStore, Kit};
///
/// Kit::in_virtual_time(async {
///     let files = Memory::default();
///     files.insert(Name::from_request(b"file").unwrap(), vec![7; 1_000_000]);
///     let faulty = FaultyStore::new(files).on(Call::Fetch, 2, StoreFault::Fails(Failure::Io));
///     let kit = Stagecoach::builder().store(faulty).kit().unwrap();
///     let told = kit.client().get("file").await.unwrap_err();
///     assert_eq!(told.to_string(), "ERROR 0: Input/output error");
///     assert_eq!(kit.client().get("file").await.unwrap().len(), 1_000_000);
/// });
/// ```
#[derive(Debug)]
pub struct FaultyStore<S>(Arc<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    store: S,
    /// The call, which one of its kind, and what happens then.
    faults: Vec<(Call, u32, StoreFault)>,
    calls: [AtomicU32; 5],
}

/// What a store is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Store::open`].
    Open,
    /// [`Source::fetch`].
    Fetch,
    /// [`Store::create`].
    Create,
    /// [`Sink::write`].
    Write,
    /// [`Sink::publish`] or [`Sink::publish_partial`].
    Publish,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It fails.
    Fails(Failure),
    /// It panics.
    Panics,
    /// It takes this much virtual time, then succeeds. Only calls that read can.
    Takes(Duration),
}

impl<S: Store> FaultyStore<S> {
    /// A store in front of `store`, without faults so far.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self(Arc::new(Inner { store, faults: Vec::new(), calls: Default::default() }))
    }

    /// Plans a fault for one call, by its number among the calls of its kind: from 1, over all
    /// files.
    ///
    /// # Panics
    /// If a call that [isn't for reading](StoreFault::Takes) is to take time, or if the store is in
    /// use.
    #[must_use]
    pub fn on(mut self, call: Call, number: u32, fault: StoreFault) -> Self {
        let is_reading = matches!(call, Call::Open | Call::Fetch);
        assert!(is_reading || !matches!(fault, StoreFault::Takes(_)), "only what reads takes virtual time");
        let inner = Arc::get_mut(&mut self.0).expect("a store that isn't used yet");
        inner.faults.push((call, number, fault));
        self
    }
}

impl<S> Inner<S> {
    /// Counts a call that is made now, and carries out its fault. Returns how long the call takes.
    fn pass(&self, call: Call) -> Result<Duration, Fault> {
        let number = self.calls[call as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let planned = self.faults.iter().find(|it| (it.0, it.1) == (call, number));
        match planned.map(|it| it.2) {
            Some(StoreFault::Fails(failure)) => Err(Fault::new(failure, "as planned")),
            Some(StoreFault::Panics) => panic!("the store panics as planned"),
            Some(StoreFault::Takes(time)) => Ok(time),
            None => Ok(Duration::ZERO),
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        self.0.pass(Call::Open)?;
        Ok(Arc::new(FaultySource(self.0.store.open(name)?, Arc::clone(&self.0))))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let (inner, name) = (Arc::clone(&self.0), name.clone());
        Some(Box::pin(async move {
            sleep(inner.pass(Call::Open)?).await;
            let opened = match inner.store.open_later(&name) {
                Some(later) => later.await?,
                None => {
                    let inner = Arc::clone(&inner);
                    on_another_thread(move || inner.store.open(&name)).await?
                }
            };
            Ok(Arc::new(FaultySource(opened, inner)) as Arc<dyn Source>)
        }))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        self.0.pass(Call::Create)?;
        Ok(Box::new(FaultySink(self.0.store.create(name, claimed)?, Arc::clone(&self.0))))
    }
}

#[derive(Debug)]
struct FaultySource<S>(Arc<dyn Source>, Arc<Inner<S>>);

impl<S: Store> Source for FaultySource<S> {
    fn size(&self) -> Option<u64> {
        self.0.size()
    }

    fn modified(&self) -> Option<SystemTime> {
        self.0.modified()
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.1.pass(Call::Fetch)?;
        self.0.fetch(offset, length)
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let (source, inner) = (Arc::clone(&self.0), Arc::clone(&self.1));
        Some(Box::pin(async move {
            sleep(inner.pass(Call::Fetch)?).await;
            match source.fetch_later(offset, length) {
                Some(later) => later.await,
                None => on_another_thread(move || source.fetch(offset, length)).await,
            }
        }))
    }

    fn drops_at_once(&self) -> bool {
        self.0.drops_at_once()
    }
}

#[derive(Debug)]
struct FaultySink<S>(Box<dyn Sink>, Arc<Inner<S>>);

impl<S: Store> Sink for FaultySink<S> {
    fn path(&self) -> &str {
        self.0.path()
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.1.pass(Call::Write)?;
        self.0.write(octets)
    }

    fn publish(self: Box<Self>) -> Result<(), Fault> {
        self.1.pass(Call::Publish)?;
        self.0.publish()
    }

    fn publish_partial(self: Box<Self>) -> Result<String, Fault> {
        self.1.pass(Call::Publish)?;
        self.0.publish_partial()
    }
}

async fn on_another_thread<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(call).await.map_err(|error| Fault::new(Failure::Internal, error))?
}
