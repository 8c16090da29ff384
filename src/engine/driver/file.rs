//! How a session uses its reader or writer.

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

/// What the session reads or writes its file with.
#[derive(Debug, Default)]
pub(crate) enum File {
    /// The file is not open yet.
    #[default]
    None,
    /// The session reads the file itself, as long as no read has to wait.
    Open(Arc<SourceHandle>),
    Reading(Addr<Reader>),
    /// The writer of the file, and the upload that it writes.
    Writing {
        writer: Addr<Writer>,
        upload: Arc<Upload>,
    },
}

impl File {
    // A message to a reader or writer that has ended may be lost: the exit of that actor is
    // reported next.

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
    /// Stops the writer. A writer with a pending [`Watch`](crate::engine::files::writer) would
    /// otherwise live until its timer fires, and a thousand uploads would leave a thousand writers.
    fn drop(&mut self) {
        if let Self::Writing { writer, .. } = self {
            writer.do_send(Dismissed);
        }
    }
}

impl Driver {
    /// Opens the file, or continues where the previous session stopped. Nothing is sent before the
    /// file is open: an ERROR after an OACK leaves PXELINUX waiting.
    pub(crate) fn start(&mut self) {
        self.shared.peer_state.set_session(self.session.clone());
        if self.shared.destination().is_some() {
            self.open();
        } else {
            self.question(Question::Routes);
        }
    }

    /// Continues once the destination is known.
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

    /// Starts a reader of the open file. Without an open file, the reader opens the destination.
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

    /// Starts a writer. The writer continues the upload, whichever session and arbiter began it.
    fn start_writer(&mut self) {
        let Assignment { id, request, config, .. } = &self.shared.assignment;
        let Some(Destination { store, name, .. }) = self.shared.destination() else { return };
        let upload = Arc::clone(&self.shared.upload);
        let announced = request.options.get("tsize").filter(|_| config.offer.options);
        upload.create(name, announced.and_then(|value| decimal(value.as_bytes())));
        upload.set_session(self.session.clone());
        let caller = StoreCaller::new(&self.service, store, *id, self.chaos.seam("store"));
        let (shared, chaos) = (Arc::clone(&upload), self.chaos.child("writer"));
        let make = move |_: &mut Context<Writer>| Writer::new(caller, shared, chaos);
        let writer = start_temporary(id.0, limits::MAILBOX_SESSION, self.session.exits(), make);
        self.file = File::Writing { writer, upload };
    }

    /// Feeds the progress of the upload to the machine. Each piece of progress is fed once, however
    /// often this is called.
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

    /// Reads from the page cache, if the machine wants octets. A read that may block goes to a
    /// reader, which serves all later reads too. A store that panics here is handled as a reader
    /// that panicked.
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

    /// A reader or writer ended. Neither ends on its own while its session lives.
    pub(crate) fn on_child_exited(&mut self, exit: &Exit) {
        match (&self.file, exit) {
            // The arbiter ended, and this session with it. A session on another arbiter continues.
            (_, Exit::Killed) | (File::None | File::Open(_), _) => {}
            (File::Reading(_), _) => self.on_reader_exited(exit),
            (File::Writing { upload, .. }, _) => {
                self.report_crash("writer", exit);
                upload.close(Fault::new(Failure::Internal, "the writer died"));
            }
        }
    }

    /// Starts another reader, which continues at the same offset of the same open file.
    fn on_reader_exited(&mut self, exit: &Exit) {
        self.report_crash("reader", exit);
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

    fn report_crash(&self, actor: &'static str, exit: &Exit) {
        if let Exit::Panicked(panic) = exit {
            let transfer = Some(self.shared.assignment.id);
            self.service.observe(&Fact::Crashed { actor, transfer, panic });
        }
    }
}

/// Checks that a slab is no longer than requested, and agrees with the announced `size` of the
/// file: a client that knows the size would take a shorter file for the complete one.
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
