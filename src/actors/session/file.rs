//! A session's dealings with its reader or writer.

use std::sync::Arc;

use actix::{Addr, AsyncContext, Context, Handler};
use bytes::Bytes;

use super::{Assignment, Session};
use crate::actors::reader::{Fetch, Open, Read, Reader};
use crate::actors::writer::{Append, Create, Publish, Writer, Written};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::observe::Fact;
use crate::store::Source;
use crate::supervision::{ChildExited, Exit, start_temporary};
use crate::transfer::Input;
use crate::wire::{Direction, decimal};

/// The actor that has the file.
#[derive(Debug, Default)]
pub(super) enum File {
    /// None yet.
    #[default]
    None,
    /// A reader.
    Reading(Addr<Reader>),
    /// A writer.
    Writing(Addr<Writer>),
}

impl File {
    // A message that finds no one is followed by the news that its addressee is dead.

    pub(super) fn fetch(&self, offset: u64, octets: usize) {
        if let Self::Reading(reader) = self {
            let _ = reader.try_send(Fetch { offset, octets });
        }
    }

    pub(super) fn append(&self, slab: Bytes) {
        if let Self::Writing(writer) = self {
            let _ = writer.try_send(Append(slab));
        }
    }

    pub(super) fn publish(&self) {
        if let Self::Writing(writer) = self {
            let _ = writer.try_send(Publish);
        }
    }
}

impl Session {
    /// Has the file opened, or goes on with what the session before left. Nothing is answered before the file is open: an
    /// ERROR after an OACK would leave PXELINUX waiting.
    pub(super) fn open(&mut self, ctx: &mut Context<Self>) {
        let (source, has_begun) = {
            let held = self.lease.hold();
            (held.source.0.clone(), held.machine.is_some())
        };
        match self.lease.assignment.request.direction {
            Direction::Read => {
                let is_open = source.is_some();
                self.start_reader(ctx, source);
                if is_open && !has_begun {
                    self.begin(ctx);
                }
            }
            Direction::Write => self.start_writer(ctx),
        }
        if has_begun {
            self.feed(ctx, Input::Resumed);
        }
        self.read_ledger(ctx);
    }

    /// Starts a reader of the file that is open, or else has it opened.
    fn start_reader(&mut self, ctx: &Context<Self>, source: Option<Arc<dyn Source>>) {
        let store = Arc::clone(&self.service.store);
        let (session, parent) = (ctx.address().recipient(), ctx.address().recipient::<ChildExited>());
        let is_open = source.is_some();
        let make = move |_: &mut Context<Reader>| Reader::new(store, session, source);
        let id = self.lease.assignment.id.0;
        let reader = start_temporary(id, limits::MAILBOX_SESSION, parent, make);
        if !is_open {
            let _ = reader.try_send(Open(self.lease.assignment.name.clone()));
        }
        self.file = File::Reading(reader);
    }

    /// Starts the writer, which sessions of one transfer hand on to each other.
    fn start_writer(&mut self, ctx: &Context<Self>) {
        self.lease.ledger.set_session(ctx.address().recipient());
        let mut held = self.lease.hold();
        let writer = held.writer.get_or_insert_with(|| {
            let (store, ledger) = (Arc::clone(&self.service.store), Arc::clone(&self.lease.ledger));
            let make = move |_: &mut Context<Writer>| Writer::new(store, ledger);
            let Assignment { id, request, name, .. } = &self.lease.assignment;
            let parent = self.parent.clone();
            let writer = start_temporary(id.of_writer(), limits::MAILBOX_SESSION, parent, make);
            let announced = request.options.get("tsize").filter(|_| self.service.offer.options);
            let claimed = announced.and_then(|value| decimal(value.as_bytes()));
            let _ = writer.try_send(Create { name: name.clone(), claimed });
            writer
        });
        self.file = File::Writing(writer.clone());
    }

    /// Takes in what the writer has done. All of it stands in the ledger, and each of it is taken in once, however often this
    /// is called and by whom.
    fn read_ledger(&mut self, ctx: &mut Context<Self>) {
        if self.lease.is_over() {
            return;
        }
        let has_begun = self.lease.hold().machine.is_some();
        if !has_begun && let Some(path) = self.lease.ledger.created() {
            self.lease.hold().summary.path = Some(path);
            self.begin(ctx);
        }
        let (stored, published) = self.lease.ledger.done();
        let known = self.lease.hold().machine.as_ref().map_or(stored, |machine| machine.stored());
        (known..stored).for_each(|_| self.feed(ctx, Input::Stored));
        if published {
            self.feed(ctx, Input::Published);
        }
        if let Some(fault) = self.lease.ledger.fault() {
            self.fail(ctx, fault);
        }
    }
}

impl Handler<Read> for Session {
    type Result = ();

    fn handle(&mut self, answer: Read, ctx: &mut Self::Context) {
        match answer {
            Read::Opened(source) => {
                {
                    let mut held = self.lease.hold();
                    held.summary.size = source.size();
                    held.summary.path = Some(source.path().to_owned());
                    held.source.0 = Some(source);
                }
                self.begin(ctx);
            }
            Read::Fetched(slab) => {
                self.wanted = None;
                self.feed(ctx, Input::Slab { bytes: slab.bytes, end: slab.end });
            }
            Read::Failed(fault) => self.fail(ctx, fault),
        }
    }
}

impl Handler<Written> for Session {
    type Result = ();

    fn handle(&mut self, _: Written, ctx: &mut Self::Context) {
        self.read_ledger(ctx);
    }
}

impl Handler<ChildExited> for Session {
    type Result = ();

    /// A reader never stops by itself while its session lives. Another one goes on where it was, in the same open file.
    fn handle(&mut self, ChildExited { exit, .. }: ChildExited, ctx: &mut Self::Context) {
        let Exit::Panicked(panic) = &exit else {
            return self.fail(ctx, Fault::new(Failure::Internal, format_args!("the reader {exit}")));
        };
        let transfer = Some(self.lease.assignment.id);
        self.service.observe(&Fact::Crashed { actor: "reader", transfer, panic });
        let (source, replaced) = {
            let mut held = self.lease.hold();
            held.readers_replaced += 1;
            (held.source.0.clone(), held.readers_replaced)
        };
        if replaced > limits::READERS_REPLACED_MAX {
            return self.fail(ctx, Fault::new(Failure::Internal, format_args!("the reader {exit}")));
        }
        self.start_reader(ctx, source);
        if let Some((offset, octets)) = self.wanted {
            self.file.fetch(offset, octets);
        }
    }
}
