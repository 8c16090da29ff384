//! A session's dealings with its reader or writer.

use std::sync::Arc;

use actix::{Addr, Context};
use bytes::Bytes;

use crate::engine::driver::Driver;
use crate::engine::driver::asking::Question;
use crate::engine::files::opened::Opened;
use crate::engine::files::reader::{Fetch, Open, Reader};
use crate::engine::files::source_handle::SourceHandle;
use crate::engine::files::store_caller::StoreCaller;
use crate::engine::files::upload::{Extent, Upload};
use crate::engine::files::writer::{Dismissed, Work, Writer};
use crate::engine::messages::Read;
use crate::engine::transfers::assignment::Assignment;
use crate::engine::transfers::destination::Destination;
use crate::engine::transfers::shared_transfer::TransferMachine;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::observe::Fact;
use crate::store::{Slab, Source};
use crate::supervision::{Exit, caught, start_temporary};
use crate::transfer::Input;
use crate::wire::{Direction, decimal};

/// Who has the file.
#[derive(Debug, Default)]
pub(crate) enum File {
    /// Nobody yet.
    #[default]
    None,
    /// The session itself: it needs no reader for as long as nothing has to be waited for.
    Open(Arc<SourceHandle>),
    /// A reader.
    Reading(Addr<Reader>),
    /// A writer, and what it works on.
    Writing { writer: Addr<Writer>, upload: Arc<Upload> },
}

impl File {
    // A message that finds no one is followed by the news that its addressee is dead.

    pub(crate) fn fetch(&self, offset: u64, octets: usize) {
        if let Self::Reading(reader) = self {
            let _ = reader.try_send(Fetch { offset, octets });
        }
    }

    pub(crate) fn append(&self, slab: Bytes) {
        if let Self::Writing { writer, upload } = self
            && upload.append(slab)
        {
            let _ = writer.try_send(Work);
        }
    }

    pub(crate) fn publish(&self, extent: Extent) {
        if let Self::Writing { writer, upload } = self
            && upload.publish(extent)
        {
            let _ = writer.try_send(Work);
        }
    }
}

impl Drop for File {
    /// A writer that waits to look after its job would stay for as long, and a thousand uploads would leave a thousand of them.
    fn drop(&mut self) {
        if let Self::Writing { writer, .. } = self {
            writer.do_send(Dismissed);
        }
    }
}

impl Driver {
    /// Has the file opened, or goes on with what the session before left. Nothing is answered before the file is open: an
    /// ERROR after an OACK would leave PXELINUX waiting.
    pub(crate) fn start(&mut self) {
        self.shared.peer_state.set_session(self.session.clone());
        if self.shared.destination().is_some() {
            self.open();
        } else {
            self.question(Question::Routes);
        }
    }

    /// Goes on once it is known which file it is.
    pub(crate) fn open(&mut self) {
        let (source, has_begun) = {
            let state = self.shared.lock();
            (state.source.clone(), state.machine.is_some())
        };
        match self.shared.assignment.request.direction {
            Direction::Read => {
                let is_open = source.is_some();
                match source {
                    Some(source) if !self.chaos.strikes("reader") => self.file = File::Open(source),
                    _ => self.start_reader(source),
                }
                if is_open && !has_begun {
                    self.begin();
                }
            }
            Direction::Write => self.start_writer(),
        }
        if has_begun {
            self.feed(Input::Resumed);
            self.expect_runs();
        }
        self.read_upload();
    }

    /// Starts a reader of the file that is open, or else has it opened.
    fn start_reader(&mut self, source: Option<Arc<SourceHandle>>) {
        let Some(destination) = self.shared.destination() else { return };
        let (store, transfer) = (&destination.store, self.shared.assignment.id);
        let caller = StoreCaller::new(&self.service, store, transfer, self.chaos.seam("store"));
        let (parent, session) = (self.session.exits(), self.session.clone());
        let is_open = source.is_some();
        let chaos = self.chaos.child("reader");
        let make = move |_: &mut Context<Reader>| Reader::new(caller, session, source, chaos);
        let id = self.shared.assignment.id.0;
        let reader = start_temporary(id, limits::MAILBOX_SESSION, parent, make);
        if !is_open {
            let _ = reader.try_send(Open(destination.name.clone()));
        }
        self.file = File::Reading(reader);
    }

    /// Starts a writer. It works on what is there of the upload, by whichever session and on whichever arbiter that was begun.
    fn start_writer(&mut self) {
        let Assignment { id, request, .. } = &self.shared.assignment;
        let Some(Destination { store, name, .. }) = self.shared.destination() else { return };
        let upload = Arc::clone(&self.shared.upload);
        let announced = request.options.get("tsize").filter(|_| self.service.offer.options);
        upload.create(name, announced.and_then(|value| decimal(value.as_bytes())));
        upload.set_session(self.session.clone());
        let caller = StoreCaller::new(&self.service, store, *id, self.chaos.seam("store"));
        let (shared, chaos) = (Arc::clone(&upload), self.chaos.child("writer"));
        let make = move |_: &mut Context<Writer>| Writer::new(caller, shared, chaos);
        let writer = start_temporary(id.0, limits::MAILBOX_SESSION, self.session.exits(), make);
        self.file = File::Writing { writer, upload };
    }

    /// Takes in what has been done for the upload. Each of it is taken in once, however often this is called and by whom.
    pub(crate) fn read_upload(&mut self) {
        if self.shared.is_over() {
            return;
        }
        let has_begun = self.shared.lock().machine.is_some();
        if !has_begun && let Some(path) = self.shared.upload.created() {
            self.shared.lock().summary.path = Some(path);
            self.begin();
        }
        let (stored, published) = self.shared.upload.done();
        let known = self.shared.lock().machine.as_ref().map_or(stored, TransferMachine::stored);
        for _ in known..stored {
            self.feed(Input::Stored);
        }
        if published {
            if let Some(kept) = self.shared.upload.kept() {
                self.shared.lock().summary.path = Some(kept);
            }
            self.feed(Input::Published);
        }
        if let Some(fault) = self.shared.upload.fault() {
            self.fail(fault);
        }
    }

    /// Reads what the page cache has, if the machine wants something. For whatever may mean to wait there is a reader from now on; and also if the
    /// store panics, which counts as if it had done so in one.
    pub(crate) fn read_cached(&mut self) {
        if !std::mem::take(&mut self.deferred.read) {
            return;
        }
        let (Some((offset, octets)), File::Open(source)) = (self.wanted, &self.file) else { return };
        let seam = self.chaos.seam("store");
        let read = caught(|| {
            seam.at("fetch_cached");
            source.fetch_cached(offset, octets)
        });
        match read {
            Ok(Ok(Some(slab))) => self.on_slab(slab),
            Ok(Ok(None)) => {
                let source = Arc::clone(source);
                self.start_reader(Some(source));
                self.file.fetch(offset, octets);
            }
            Ok(Err(fault)) => self.fail(fault),
            Err(panic) => self.on_reader_exited(&Exit::Panicked(panic)),
        }
    }

    fn on_slab(&mut self, slab: Slab) {
        let size = self.shared.lock().summary.size;
        if let Some(wanted) = self.wanted.take()
            && let Err(fault) = check(wanted, &slab, size)
        {
            self.misbehaved("store", fault.detail.as_deref().unwrap_or_default());
            return self.fail(fault);
        }
        let Slab { bytes, end } = slab;
        self.feed(Input::Slab { bytes, end });
    }

    pub(crate) fn on_read(&mut self, answer: Read) {
        match answer {
            Read::Opened(source) => {
                let opened = Opened::new(source);
                self.shared.lock().set_opened(opened);
                self.begin();
            }
            Read::Fetched(slab) => self.on_slab(slab),
            Read::Failed(fault) => self.fail(fault),
        }
    }

    /// Neither a reader nor a writer stops by itself while its session lives.
    pub(crate) fn on_child_exited(&mut self, exit: &Exit) {
        match (&self.file, exit) {
            // With the arbiter, as this session does: another goes on elsewhere.
            (_, Exit::Killed) | (File::None | File::Open(_), _) => {}
            (File::Reading(_), _) => self.on_reader_exited(exit),
            (File::Writing { upload, .. }, _) => {
                self.tell_crash("writer", exit);
                upload.close(Fault::new(Failure::Internal, "the writer died"));
            }
        }
    }

    /// Another one goes on where it was, in the same open file.
    fn on_reader_exited(&mut self, exit: &Exit) {
        self.tell_crash("reader", exit);
        let (source, replaced) = {
            let mut state = self.shared.lock();
            state.readers_replaced += 1;
            (state.source.clone(), state.readers_replaced)
        };
        if replaced > limits::READERS_REPLACED_MAX {
            return self.fail(Fault::new(Failure::Internal, "the reader died too often"));
        }
        self.start_reader(source);
        if let Some((offset, octets)) = self.wanted {
            self.file.fetch(offset, octets);
        }
    }

    fn tell_crash(&self, actor: &'static str, exit: &Exit) {
        if let Exit::Panicked(panic) = exit {
            let transfer = Some(self.shared.assignment.id);
            self.service.observe(&Fact::Crashed { actor, transfer, panic });
        }
    }
}

/// Whether a slab is what was asked for, of a file of this size: whoever was told the size would take less for all of it.
fn check((offset, octets): (u64, usize), slab: &Slab, size: Option<u64>) -> Result<(), Fault> {
    let until = offset + slab.bytes.len() as u64;
    let wrong = |failure, why| Err(Fault::new(failure, why));
    match size {
        _ if slab.bytes.len() > octets => {
            wrong(Failure::Internal, "it gave more octets than it was asked for")
        }
        _ if slab.bytes.is_empty() && !slab.end => {
            wrong(Failure::Internal, "it gave no octets before the end")
        }
        Some(size) if until > size => wrong(Failure::Changed, "it gave more octets than it had said"),
        Some(size) if slab.end && until < size => {
            wrong(Failure::Changed, "it gave fewer octets than it had said")
        }
        _ => Ok(()),
    }
}
