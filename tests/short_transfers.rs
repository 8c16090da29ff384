//! The thread of the listeners serves short files up to a limit. Above the limit the arbiters serve
//! them, as requests would have to wait.

mod common;

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use common::engine::Engine;
use common::raw::{Client, error, rrq};
use stagecoach::daemon::Capacity;
use stagecoach::internals::limits;
use stagecoach::observe::Outcome;
use stagecoach::settings::Timeouts;
use stagecoach::store::{Memory, MemoryOptions, Name};

/// A packet log that records the thread that sent the last packet.
#[derive(Debug, Default, Clone)]
struct SenderThread(Arc<Mutex<Option<ThreadId>>>);

impl slog::Drain for SenderThread {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        if record.msg().to_string() == "sent" {
            *self.0.lock().unwrap() = Some(thread::current().id());
        }
        Ok(())
    }
}

/// A server with one arbiter besides the thread of the listeners.
struct Served {
    engine: Engine,
    sender: SenderThread,
}

impl Served {
    fn new() -> Self {
        let store = Memory::new(MemoryOptions::default());
        let longest = usize::try_from(limits::SHORT_TRANSFER_OCTETS_MAX).unwrap();
        for (name, octets) in [("short", longest), ("long", longest + 1)] {
            store.insert(Name::from_request(name.as_bytes()).unwrap(), vec![b'x'; octets]);
        }
        let (sender, hour) = (SenderThread::default(), Duration::from_secs(3600));
        let mut timeouts = Timeouts::default();
        (timeouts.ack, timeouts.unproven) = (hour, hour);
        (timeouts.idle, timeouts.dally) = (hour, hour);
        let capacity = Capacity { arbiters: 1, ..Capacity::default() };
        let engine = Engine::with_observers(Arc::new(store), sender.clone(), capacity, timeouts, Vec::new());
        Self { engine, sender }
    }

    /// Begins to read a file. Returns the thread that sent the first block.
    fn begin(&self, file: &str) -> (Client, ThreadId) {
        let mut client = self.engine.client();
        client.send(&rrq(file, "octet", &[]));
        assert_eq!(client.expect_data(1).len(), 512);
        let sender = self.sender.0.lock().unwrap().take();
        (client, sender.expect("the thread is noted before the packet is sent"))
    }
}

#[test]
fn short_files_are_served_locally_up_to_a_limit() {
    let served = Served::new();
    let (reader, arbiter) = served.begin("long");
    let mut clients = vec![reader];
    let mut begin = |file| {
        let (client, sender) = served.begin(file);
        clients.push(client);
        sender
    };
    let local = begin("short");
    assert_ne!(local, arbiter);
    for transfer in 2..=limits::LOCAL_TRANSFERS_MAX {
        assert_eq!(begin("short"), local, "short transfer {transfer}");
        // Long transfers do not count.
        assert_eq!(begin("long"), arbiter, "long transfer {transfer}");
    }
    for _ in 0..3 {
        assert_eq!(begin("short"), arbiter, "one too many");
    }
    let begun = clients.len();
    clients.iter().for_each(|client| client.send(&error(0, "enough")));
    let facts = served.engine.settle();
    assert_eq!(facts.finished.len(), begun);
    assert!(facts.finished.iter().all(|report| report.outcome != Outcome::Complete));
    // The number is below the limit again.
    let (client, sender) = served.begin("short");
    assert_eq!(sender, local);
    client.send(&error(0, "enough"));
    served.engine.settle();
}
