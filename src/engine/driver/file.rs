//! How a session uses its reader or writer.

use std::sync::Arc;

use actix::{Addr, Context};

use crate::engine::driver::Driver;
use crate::engine::driver::asking::Question;
use crate::engine::files::{Fetch, Open, Reader, SourceHandle, StoreCaller, Writer, WriterOrder};
use crate::engine::messages::Read;
use crate::engine::transfers::{Assignment, Destination, TransferMachine};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::{Slab, Source};
use crate::supervision::{Exit, caught, start_temporary};
use crate::transfer::Input;

/// What the session reads or writes its file with.
#[derive(Debug, Default)]
pub(crate) enum File {
    /// The file is not open yet.
    #[default]
    None,
    /// The session reads the file itself, as long as no read has to wait.
    Open(Arc<SourceHandle>),
    Reading(Addr<Reader>),
    Writing(Addr<Writer>),
}

impl File {
    // A message to a reader or writer that has ended may be lost: the exit of that actor is
    // reported next.

    pub(crate) fn fetch(&self, offset: u64, octets: usize) {
        if let Self::Reading(reader) = self {
            let _ = reader.try_send(Fetch { offset, octets });
        }
    }

    /// The upload has work for the writer.
    pub(crate) fn write(&self) {
        if let Self::Writing(writer) = self {
            let _ = writer.try_send(WriterOrder::Work);
        }
    }
}

impl Drop for File {
    /// Stops the writer. A writer that watches a job would otherwise live until its timer fires,
    /// and a thousand uploads would leave a thousand writers.
    fn drop(&mut self) {
        if let Self::Writing(writer) = self {
            writer.do_send(WriterOrder::Stop);
        }
    }
}

impl Driver {
    /// Opens the file, or continues where the previous session stopped. Nothing is sent before the
    /// file is open: an ERROR after an OACK leaves PXELINUX waiting.
    pub(crate) fn start(&mut self) {
        self.shared.peer_state.set_session(self.session.clone());
        if self.shared.destination.get().is_some() {
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
        if self.is_receiver {
            self.start_writer();
        } else {
            let is_open = source.is_some();
            match source {
                Some(source) if !self.chaos.strikes("reader") => self.file = File::Open(source),
                _ => self.start_reader(source),
            }
            if is_open && !has_begun {
                self.begin();
            }
        }
        if has_begun {
            self.feed(Input::Resumed);
            self.expect_runs();
        }
        self.read_upload();
    }

    /// Starts a reader of the open file. Without an open file, the reader opens the destination.
    fn start_reader(&mut self, source: Option<Arc<SourceHandle>>) {
        let Some(Destination { store, name, .. }) = self.shared.destination.get() else { return };
        let id = self.shared.assignment.id;
        let caller = StoreCaller::new(&self.service, store, id, self.chaos.seam("store"));
        let to_open = source.is_none().then(|| Open(name.clone()));
        let (session, chaos) = (self.session.clone(), self.chaos.child("reader"));
        let make = move |_: &mut Context<Reader>| Reader { caller, session, source, chaos };
        let reader = start_temporary(id.0, limits::MAILBOX_SESSION, self.session.exits.clone(), make);
        if let Some(open) = to_open {
            let _ = reader.try_send(open);
        }
        self.file = File::Reading(reader);
    }

    /// Starts a writer, which continues the upload, whichever session began it.
    fn start_writer(&mut self) {
        let Some(Destination { store, name, .. }) = self.shared.destination.get() else { return };
        let assignment @ Assignment { id, config, .. } = &self.shared.assignment;
        let upload = Arc::clone(&self.shared.upload);
        upload.create(name, assignment.announced().filter(|_| config.offer.options));
        upload.set_session(self.session.clone());
        let caller = StoreCaller::new(&self.service, store, *id, self.chaos.seam("store"));
        let chaos = self.chaos.child("writer");
        let make = move |_: &mut Context<Writer>| Writer::new(caller, upload, chaos);
        let writer = start_temporary(id.0, limits::MAILBOX_SESSION, self.session.exits.clone(), make);
        self.file = File::Writing(writer);
    }

    /// Feeds the progress of the upload to the machine, once each, however often this is called.
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
    /// reader, as do all later ones. A store that panics here counts as a reader that panicked.
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
            let why = fault.detail.as_deref().unwrap_or_default();
            self.service.misbehaved("store", Some(self.shared.assignment.id), why);
            return self.fail(fault);
        }
        self.feed(Input::Slab { bytes: slab.bytes, end: slab.end });
    }

    pub(crate) fn on_read(&mut self, answer: Read) {
        match answer {
            Read::Opened(source) => {
                self.shared.lock().set_opened(source);
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
            (File::Writing(_), _) => {
                self.report_crash("writer", exit);
                self.shared.upload.close(Fault::new(Failure::Internal, "the writer died"));
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
            self.service.crashed(actor, Some(self.shared.assignment.id), panic);
        }
    }
}

/// Checks that a slab is no longer than requested, and agrees with the announced `size`: a client
/// that knows the size would take a shorter file for the complete one.
fn check((offset, octets): (u64, usize), slab: &Slab, size: Option<u64>) -> Result<(), Fault> {
    let until = offset + slab.bytes.len() as u64;
    let (failure, why) = if slab.bytes.len() > octets {
        (Failure::Internal, "it gave more octets than it was asked for")
    } else if slab.bytes.is_empty() && !slab.end {
        (Failure::Internal, "it gave no octets before the end")
    } else if size.is_some_and(|size| until > size) {
        (Failure::Changed, "it gave more octets than it had said")
    } else if slab.end && size.is_some_and(|size| until < size) {
        (Failure::Changed, "it gave fewer octets than it had said")
    } else {
        return Ok(());
    };
    Err(Fault::new(failure, why))
}
