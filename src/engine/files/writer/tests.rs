//! Uploads that outlive their writers, and such as end.

mod partial;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, System};
use bytes::Bytes;

use crate::engine::files::store_caller::StoreCaller;
use crate::engine::files::upload::{Extent, Upload};
use crate::engine::files::writer::{Work, Writer};
use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::engine::test_support::{
    Crashes, Parent, SteppedStore, in_virtual_time, pass, service, turn_until, wait_until,
};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::observe::TransferId;
use crate::store::Name;

use crate::supervision::{ChildExited, Exit, start_temporary};

/// What a session asks for, one after the other.
const ASKED: usize = 4;
/// What the file has in the end.
const CONTENT: &[u8] = b"first second";

/// An upload, and arbiters that its writers live on.
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
        let (stepped, upload, parents_arbiter) =
            (Arc::<SteppedStore>::default(), Arc::<Upload>::default(), Arbiter::new());
        let (service, crashes) = service(Arc::new(Arc::clone(&stepped)));
        let caller = StoreCaller::new(&service, &service.store, TransferId(7), service.chaos().seam("store"));
        let (tell, exits) = mpsc::channel();
        let parent = Parent::start_in_arbiter(&parents_arbiter.handle(), |_| Parent(tell));
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
        let (parent, (tell, started)) = (self.parent.clone().recipient(), mpsc::channel());
        arbiter.spawn_fn(move || {
            let make = move |_: &mut Context<Writer>| Writer::new(caller, upload, Default::default());
            tell.send(start_temporary(1, 16, parent, make)).unwrap();
        });
        Place { arbiter, writer: started.recv().unwrap() }
    }

    /// A session's dealings with a writer.
    fn ask(&self, writer: &Addr<Writer>, asked: usize) {
        let has_to_hear = match asked {
            0 => {
                self.upload.create(&Name::from_request(b"file").unwrap(), None);
                true
            }
            1 => self.upload.append(Bytes::from_static(b"first ")),
            2 => self.upload.append(Bytes::from_static(b"second")),
            _ => self.upload.publish(Extent::Whole),
        };
        if has_to_hear {
            writer.do_send(Work);
        }
    }

    /// Waits until all is done that was asked for so far.
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
    /// Keeps the only thread of the pool busy, until the sender is dropped.
    fn occupy(&self) -> Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (tell, occupied) = mpsc::channel();
        self.arbiter.spawn_fn(move || {
            tokio::task::spawn_blocking(move || {
                tell.send(()).unwrap();
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
fn an_upload_goes_on_wherever_its_writers_arbiter_ends() {
    let _system = System::new();
    for state in ["nothing", "pool", "create", "write", "publish"] {
        for asked_before in 0..=ASKED {
            for released_first in [false, true] {
                println!("{state} state, {asked_before} asked for, released first: {released_first}");
                move_upload(state, asked_before, released_first);
            }
        }
    }
}

/// The first writer's arbiter ends while it is `state`, after so much was asked for, and another goes on.
fn move_upload(state: &'static str, asked_before: usize, released_first: bool) {
    let fixture = Fixture::new();
    let first = fixture.place();
    let pool = (state == "pool").then(|| first.occupy());
    fixture.stepped.hold(state);
    for asked in 0..asked_before {
        fixture.ask(&first.writer, asked);
    }
    match (state, asked_before) {
        ("nothing", _) => fixture.wait_for(asked_before),
        ("create", 1..) | ("write", 2..) | ("publish", 4..) => {
            wait_until("state", || fixture.stepped.calls(state) == 1);
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
    // Asked for again by a session that took another's place, it is done but once. (Nobody has to tell the writer.)
    fixture.upload.create(&Name::from_request(b"file").unwrap(), None);
    fixture.upload.publish(Extent::Whole);
    fixture.stepped.release();
    // (Also while the first one's pool never gets round to its job; and when that runs late, it finds nothing to do.)
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
fn a_job_that_comes_late_stays_out_of_the_way_of_the_one_at_work() {
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
    wait_until("state", || fixture.stepped.calls("write") == 1);
    fixture.ask(&second.writer, 2);
    // Its thread ends once the late job has run.
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
fn of_an_upload_that_is_closed_nothing_appears_whatever_its_job_was_at() {
    let _system = System::new();
    for (state, asked) in [("create", 1), ("write", 2), ("write", ASKED), ("publish", ASKED)] {
        let fixture = Fixture::new();
        let place = fixture.place();
        fixture.stepped.hold(state);
        (0..asked).for_each(|asked| fixture.ask(&place.writer, asked));
        wait_until("state", || fixture.stepped.calls(state) == 1);
        fixture.upload.close(Failure::ShuttingDown.into());
        fixture.upload.close(Failure::Internal.into());
        (asked..ASKED).for_each(|asked| fixture.ask(&place.writer, asked));
        fixture.stepped.release();
        wait_until("dropped", || fixture.stepped.dropped() == 1);
        place.end();
        assert_eq!(fixture.upload.fault(), Some(Failure::ShuttingDown.into()), "the first word counts");
        assert!(!fixture.upload.done().1);
        // What the store was about to publish can't be called back.
        assert_eq!(fixture.stepped.published().len(), usize::from(state == "publish"), "{state}");
        assert!(fixture.stepped.calls("write") <= if state == "publish" { 2 } else { 1 });
        fixture.end();
    }
}

#[test]
fn a_window_of_the_largest_blocks_may_wait_for_the_writer() {
    let upload = Upload::default();
    let window = (limits::WINDOW_OCTETS_MAX / limits::SLAB_OCTETS) as u64;
    for _ in 0..limits::SLABS_UNSTORED_MAX as u64 + window {
        upload.append(Bytes::from_static(b"slab"));
    }
    assert_eq!(upload.fault(), None);
    // Nobody who acknowledges no more than is written gets here.
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
fn a_session_is_woken_by_what_is_written_only_if_it_may_keep_its_peer_waiting() {
    let system = System::new();
    let (tell, woken) = mpsc::channel();
    let upload = Upload::default();
    let session = system.block_on(async { Woken(tell).start() });
    upload.set_session(SessionAddr::new(session.clone()));
    let wakes = |upload: &Upload| {
        upload.note_stored(1);
        // Whatever is in the mailbox before this is handled before it.
        system.block_on(session.send(SessionMessage::Written)).unwrap();
        woken.try_iter().count() - 1
    };
    for _ in 1..limits::SLABS_UNSTORED_MAX {
        upload.append(Bytes::from_static(b"slab"));
    }
    assert_eq!(wakes(&upload), 0);
    assert!(upload.has_stored());
    upload.append(Bytes::from_static(b"slab"));
    assert_eq!(wakes(&upload), 1, "it hasn't asked: for all it knows, nothing is written");
    assert_eq!(upload.done(), (2, false));
    assert!(!upload.has_stored());
    assert_eq!(wakes(&upload), 0);
}

#[test]
fn an_upload_that_is_closed_between_two_jobs_leaves_nothing() {
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
fn a_writer_that_panics_leaves_its_upload_to_its_parent_to_close() {
    let _system = System::new();
    let fixture = Fixture::new();
    let place = fixture.place();
    fixture.stepped.hold("write");
    (0..2).for_each(|asked| fixture.ask(&place.writer, asked));
    wait_until("state", || fixture.stepped.calls("write") == 1);
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
fn a_store_that_panics_in_a_job_is_told_of_once_and_ends_the_upload() {
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
            wait_until("state", || fixture.stepped.calls("create") == 1);
            fixture.upload.close(Failure::Cancelled.into());
            fixture.stepped.release();
        }
        wait_until("told of", || !fixture.crashes.all().is_empty());
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
fn a_store_that_hangs_ends_the_upload_at_its_limit_and_nothing_appears_when_it_wakes() {
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
            let writer =
                start_temporary(1, 16, parent, move |_| Writer::new(caller, upload, Default::default()));
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
        let writer = start_temporary(1, 16, parent, move |_| Writer::new(caller, upload, Default::default()));
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
