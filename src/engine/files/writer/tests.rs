//! Uploads that outlive their writers, and uploads that end.

mod partial;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, System};
use bytes::Bytes;

use crate::engine::files::{Extent, StoreCaller, Upload, Writer, WriterOrder};
use crate::engine::messages::{SessionMessage, session_addr};
use crate::engine::test_support::{
    Crashes, Parent, SteppedStore, in_virtual_time, no_faults, pass, service, turn_until, wait_until,
};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::observe::TransferId;
use crate::store::Name;
use crate::supervision::{ChildExited, Exit, start_temporary};

/// Number of requests that a session makes, one after the other.
const ASKED: usize = 4;
/// The content of the complete file.
const CONTENT: &[u8] = b"first second";

/// An upload, and arbiters for its writers.
struct Fixture {
    stepped: Arc<SteppedStore>,
    upload: Arc<Upload>,
    caller: StoreCaller,
    crashes: Arc<Crashes>,
    parent: Addr<Parent>,
    exits: Receiver<Exit>,
    parents_arbiter: Arbiter,
}

/// An arbiter with a pool of one thread, and a writer on it.
struct Place {
    arbiter: Arbiter,
    writer: Addr<Writer>,
}

/// Makes a writer panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for Writer {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("the secret of the writer");
    }
}

impl Fixture {
    fn new() -> Self {
        let (stepped, upload) = (Arc::<SteppedStore>::default(), Arc::<Upload>::default());
        let parents_arbiter = Arbiter::new();
        let (service, crashes) = service(Arc::new(Arc::clone(&stepped)));
        let (store, seam) = (&service.config().store, service.chaos.seam("store", ""));
        let caller = StoreCaller::new(&service, store, TransferId(7), seam);
        let (sender, exits) = mpsc::channel();
        let parent = Parent::start_in_arbiter(&parents_arbiter.handle(), |_| Parent(sender));
        Self { stepped, upload, caller, crashes, parent, exits, parents_arbiter }
    }

    fn place(&self) -> Place {
        let arbiter = Arbiter::with_tokio_rt(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(1)
                .build()
                .unwrap()
        });
        let (caller, upload) = (self.caller.clone(), Arc::clone(&self.upload));
        let (parent, (sender, started)) = (self.parent.clone().recipient(), mpsc::channel());
        arbiter.spawn_fn(move || {
            let make = move |_: &mut Context<Writer>| Writer::new(caller, upload, no_faults());
            sender.send(start_temporary(1, 16, parent, make)).unwrap();
        });
        Place { arbiter, writer: started.recv().unwrap() }
    }

    /// Makes the `asked`-th request of a session.
    fn ask(&self, writer: &Addr<Writer>, asked: usize) {
        let must_notify = match asked {
            0 => {
                self.upload.create(&Name::from_request(b"file").unwrap(), None);
                true
            }
            1 => self.upload.append(Bytes::from_static(b"first ")),
            2 => self.upload.append(Bytes::from_static(b"second")),
            _ => self.upload.publish(Extent::Whole),
        };
        if must_notify {
            writer.do_send(WriterOrder::Work);
        }
    }

    /// Waits until the first `asked` requests are done.
    fn wait_for(&self, asked: usize) {
        let stored = asked.saturating_sub(1).min(2) as u64;
        wait_until("all done", || {
            let is_created = asked == 0 || self.upload.created().as_deref() == Some("file");
            is_created && self.upload.done() == (stored, asked == ASKED)
        });
    }

    fn expect_exit(&self, wanted: &Exit) {
        assert_eq!(&self.exits.recv_timeout(Duration::from_secs(20)).unwrap(), wanted);
    }

    fn end(self) {
        self.parents_arbiter.stop();
        self.parents_arbiter.join().unwrap();
    }
}

impl Place {
    /// Occupies the only thread of the pool until the sender is dropped.
    fn occupy(&self) -> Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (sender, occupied) = mpsc::channel();
        self.arbiter.spawn_fn(move || {
            tokio::task::spawn_blocking(move || {
                sender.send(()).unwrap();
                let _ = released.recv();
            });
        });
        occupied.recv().unwrap();
        release
    }

    fn end(self) {
        drop(self.writer);
        self.arbiter.stop();
        self.arbiter.join().unwrap();
    }
}

#[test]
fn an_upload_survives_the_arbiter_of_its_writer() {
    let _system = System::new();
    for held in ["nothing", "pool", "create", "write", "publish"] {
        for asked_before in 0..=ASKED {
            for released_first in [false, true] {
                println!("{held} held, {asked_before} asked for, released first: {released_first}");
                move_upload(held, asked_before, released_first);
            }
        }
    }
}

/// The arbiter of the first writer ends during the call `held`, after `asked_before` requests.
/// Another writer continues.
fn move_upload(held: &'static str, asked_before: usize, released_first: bool) {
    let fixture = Fixture::new();
    let first = fixture.place();
    let pool = (held == "pool").then(|| first.occupy());
    fixture.stepped.hold(held);
    for asked in 0..asked_before {
        fixture.ask(&first.writer, asked);
    }
    match (held, asked_before) {
        ("nothing", _) => fixture.wait_for(asked_before),
        ("create", 1..) | ("write", 2..) | ("publish", 4..) => {
            wait_until("held", || fixture.stepped.calls(held) == 1);
        }
        _ => {}
    }
    first.arbiter.stop();
    fixture.expect_exit(&Exit::Killed);
    let first = if released_first {
        fixture.stepped.release();
        drop(pool);
        first.end();
        None
    } else {
        Some((first, pool))
    };
    let second = fixture.place();
    for asked in asked_before..ASKED {
        fixture.ask(&second.writer, asked);
    }
    // Requests that a later session repeats are done only once, and need no notification.
    fixture.upload.create(&Name::from_request(b"file").unwrap(), None);
    fixture.upload.publish(Extent::Whole);
    fixture.stepped.release();
    // This holds while the pool of the first writer never runs its job. A job that runs late finds
    // nothing to do.
    fixture.wait_for(ASKED);
    if let Some((first, pool)) = first {
        drop(pool);
        first.end();
    }
    second.end();
    assert_eq!(fixture.stepped.published(), [CONTENT]);
    assert_eq!((fixture.stepped.calls("create"), fixture.stepped.calls("write")), (1, 2));
    assert_eq!(fixture.upload.fault(), None);
    wait_until("dropped", || fixture.stepped.dropped() == 1);
    fixture.end();
}

#[test]
fn a_late_job_leaves_the_running_job_alone() {
    let _system = System::new();
    let fixture = Fixture::new();
    let first = fixture.place();
    let pool = first.occupy();
    fixture.ask(&first.writer, 0);
    wait_until("begun", || fixture.upload.due().is_some());
    first.arbiter.stop();
    fixture.expect_exit(&Exit::Killed);
    fixture.stepped.hold("write");
    let second = fixture.place();
    wait_until("created", || fixture.upload.created().is_some());
    fixture.ask(&second.writer, 1);
    wait_until("held", || fixture.stepped.calls("write") == 1);
    fixture.ask(&second.writer, 2);
    // The thread ends once the late job has run.
    drop(pool);
    first.end();
    fixture.ask(&second.writer, 3);
    fixture.stepped.release();
    fixture.wait_for(ASKED);
    second.end();
    assert_eq!((fixture.stepped.published(), fixture.upload.fault()), (vec![CONTENT.to_vec()], None));
    fixture.end();
}

#[test]
fn nothing_of_a_closed_upload_appears() {
    let _system = System::new();
    for (held, asked) in [("create", 1), ("write", 2), ("write", ASKED), ("publish", ASKED)] {
        let fixture = Fixture::new();
        let place = fixture.place();
        fixture.stepped.hold(held);
        (0..asked).for_each(|asked| fixture.ask(&place.writer, asked));
        wait_until("held", || fixture.stepped.calls(held) == 1);
        fixture.upload.close(Failure::ShuttingDown.into());
        fixture.upload.close(Failure::Internal.into());
        (asked..ASKED).for_each(|asked| fixture.ask(&place.writer, asked));
        fixture.stepped.release();
        wait_until("dropped", || fixture.stepped.dropped() == 1);
        place.end();
        assert_eq!(fixture.upload.fault(), Some(Failure::ShuttingDown.into()), "the first fault counts");
        assert!(!fixture.upload.done().1);
        // A publication that the store has begun can't be stopped.
        assert_eq!(fixture.stepped.published().len(), usize::from(held == "publish"), "{held}");
        assert!(fixture.stepped.calls("write") <= if held == "publish" { 2 } else { 1 });
        fixture.end();
    }
}

#[test]
fn the_largest_window_may_wait_for_the_writer() {
    let upload = Upload::default();
    let window = (limits::WINDOW_OCTETS_MAX / limits::SLAB_OCTETS) as u64;
    for _ in 0..limits::SLABS_UNSTORED_MAX as u64 + window {
        upload.append(Bytes::from_static(b"slab"));
    }
    assert_eq!(upload.fault(), None);
    // A session that acknowledges only written slabs never gets here.
    for _ in 0..2 {
        upload.append(Bytes::from_static(b"slab"));
    }
    assert_eq!(upload.fault(), Some(Failure::Internal.into()));
}

/// Counts how often a session is woken.
struct Woken(Sender<()>);

impl Actor for Woken {
    type Context = Context<Self>;
}

impl Handler<ChildExited> for Woken {
    type Result = ();

    fn handle(&mut self, _: ChildExited, _: &mut Self::Context) {}
}

impl Handler<SessionMessage> for Woken {
    type Result = ();

    fn handle(&mut self, _: SessionMessage, _: &mut Self::Context) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_session_is_woken_only_if_it_may_hold_an_ack() {
    let system = System::new();
    let (sender, woken) = mpsc::channel();
    let upload = Upload::default();
    let session = system.block_on(async { Woken(sender).start() });
    upload.set_session(session_addr(session.clone()));
    let wakes = |upload: &Upload| {
        upload.note_stored(1);
        // Messages that are already in the mailbox are handled first.
        system.block_on(session.send(SessionMessage::Written)).unwrap();
        woken.try_iter().count() - 1
    };
    for _ in 1..limits::SLABS_UNSTORED_MAX {
        upload.append(Bytes::from_static(b"slab"));
    }
    assert_eq!(wakes(&upload), 0);
    assert!(upload.has_stored());
    upload.append(Bytes::from_static(b"slab"));
    assert_eq!(wakes(&upload), 1, "the session has not called done: it knows of nothing written");
    assert_eq!(upload.done(), (2, false));
    assert!(!upload.has_stored());
    assert_eq!(wakes(&upload), 0);
}

#[test]
fn an_upload_closed_between_jobs_leaves_nothing() {
    let _system = System::new();
    let fixture = Fixture::new();
    let place = fixture.place();
    (0..3).for_each(|asked| fixture.ask(&place.writer, asked));
    fixture.wait_for(3);
    fixture.upload.close(Failure::Cancelled.into());
    fixture.ask(&place.writer, 3);
    wait_until("dropped", || fixture.stepped.dropped() == 1);
    place.end();
    assert!(fixture.stepped.published().is_empty());
    fixture.end();
}

#[test]
fn an_upload_that_is_there_can_not_be_closed() {
    let _system = System::new();
    let fixture = Fixture::new();
    let place = fixture.place();
    (0..ASKED).for_each(|asked| fixture.ask(&place.writer, asked));
    fixture.wait_for(ASKED);
    fixture.upload.close(Failure::Internal.into());
    assert_eq!((fixture.upload.fault(), fixture.upload.done()), (None, (2, true)));
    place.end();
    fixture.end();
}

#[test]
fn a_panic_of_the_writer_leaves_the_upload_open() {
    let _system = System::new();
    let fixture = Fixture::new();
    let place = fixture.place();
    fixture.stepped.hold("write");
    (0..2).for_each(|asked| fixture.ask(&place.writer, asked));
    wait_until("held", || fixture.stepped.calls("write") == 1);
    place.writer.do_send(Panic);
    fixture.expect_exit(&Exit::Panicked("the secret of the writer".into()));
    fixture.upload.close(Fault::new(Failure::Internal, "the writer panicked"));
    fixture.stepped.release();
    wait_until("dropped", || fixture.stepped.dropped() == 1);
    place.end();
    assert!(fixture.stepped.published().is_empty());
    fixture.end();
}

#[test]
fn a_store_panic_ends_the_upload_and_is_reported_once() {
    let _system = System::new();
    for (call, asked) in [("create", 1), ("path", 1), ("write", 2), ("publish", ASKED), ("drop", 1)] {
        let fixture = Fixture::new();
        let place = fixture.place();
        fixture.stepped.panic_at(call);
        if call == "drop" {
            fixture.stepped.hold("create");
        }
        (0..asked).for_each(|asked| fixture.ask(&place.writer, asked));
        if call == "drop" {
            wait_until("held", || fixture.stepped.calls("create") == 1);
            fixture.upload.close(Failure::Cancelled.into());
            fixture.stepped.release();
        }
        wait_until("reported", || !fixture.crashes.all().is_empty());
        wait_until("closed", || fixture.upload.fault().is_some());
        let dropped = usize::from(call != "create");
        wait_until("dropped", || fixture.stepped.dropped() == dropped);
        place.end();
        assert_eq!(fixture.crashes.all(), [format!("store of 7: the secret of {call}")]);
        if call != "drop" {
            let fault = Fault::new(Failure::Internal, "the store panicked");
            assert_eq!(fixture.upload.fault(), Some(fault));
        }
        assert!(fixture.stepped.published().is_empty());
        fixture.end();
    }
}

#[test]
fn a_hanging_store_ends_the_upload_at_its_limit() {
    let cases = [
        ("create", 1, limits::WRITE_WITHIN),
        ("write", ASKED, limits::WRITE_WITHIN),
        ("publish", ASKED, limits::PUBLISH_WITHIN),
    ];
    for (call, asked, limit) in cases {
        in_virtual_time(async move {
            let fixture = Fixture::new();
            fixture.stepped.hold(call);
            let (caller, upload) = (fixture.caller.clone(), Arc::clone(&fixture.upload));
            let parent = fixture.parent.clone().recipient();
            let writer = start_temporary(1, 16, parent, move |_| Writer::new(caller, upload, no_faults()));
            (0..asked).for_each(|asked| fixture.ask(&writer, asked));
            turn_until(|| fixture.stepped.calls(call) == 1).await;
            let margin = Duration::from_secs(1);
            pass(limit.checked_sub(margin).unwrap()).await;
            assert_eq!(fixture.upload.fault(), None, "{call}");
            pass(margin * 2).await;
            let fault = Fault::new(Failure::Io, format_args!("no answer within {limit:?}"));
            assert_eq!(fixture.upload.fault(), Some(fault));
            fixture.stepped.release();
            turn_until(|| fixture.stepped.dropped() == 1).await;
            assert_eq!(fixture.stepped.published().len(), usize::from(call == "publish"));
            assert!(!fixture.upload.done().1);
            fixture.end();
        });
    }
}

#[test]
fn a_store_that_is_slow_but_gets_on_is_waited_for() {
    in_virtual_time(async {
        let fixture = Fixture::new();
        let (caller, upload) = (fixture.caller.clone(), Arc::clone(&fixture.upload));
        let parent = fixture.parent.clone().recipient();
        let writer = start_temporary(1, 16, parent, move |_| Writer::new(caller, upload, no_faults()));
        for (asked, call) in ["create", "write", "write", "publish"].into_iter().enumerate() {
            fixture.stepped.hold(call);
            let calls = fixture.stepped.calls(call);
            fixture.ask(&writer, asked);
            turn_until(|| fixture.stepped.calls(call) == calls + 1).await;
            pass(limits::WRITE_WITHIN.mul_f32(0.9)).await;
            fixture.stepped.release();
            turn_until(|| fixture.stepped.is_idle() && fixture.upload.due().is_none()).await;
        }
        assert_eq!(fixture.stepped.published(), [CONTENT]);
        assert_eq!(fixture.upload.fault(), None);
        fixture.end();
    });
}
