//! A session's dealings with its reader or writer.

use std::sync::Arc;

use actix::{Addr, AsyncContext, Context, Handler};
use bytes::Bytes;

use super::Session;
use crate::actors::reader::{Fetch, Open, Read, Reader};
use crate::actors::supervision::{ChildExited, Exit, start_temporary};
use crate::actors::writer::{Append, Create, Publish, Writer, Written};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::observe::Fact;
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
    /// The name that its death is reported under.
    fn actor(&self) -> &'static str {
        if matches!(self, Self::Writing(_)) { "writer" } else { "reader" }
    }

    // A message that finds no one is followed by the news that its addressee is dead, which ends the transfer.

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
    /// Starts the reader or the writer, and has the file opened. Nothing is answered before that has succeeded: an
    /// ERROR after an OACK would leave PXELINUX waiting.
    pub(super) fn open(&mut self, ctx: &mut Context<Self>) {
        let store = Arc::clone(&self.service.store);
        let name = self.assignment.name.clone();
        let id = self.assignment.id.0;
        let parent = ctx.address().recipient::<ChildExited>();
        match self.assignment.request.direction {
            Direction::Read => {
                let session = ctx.address().recipient();
                let make = move |_: &mut Context<Reader>| Reader::new(store, session);
                let reader = start_temporary(id, limits::MAILBOX_SESSION, parent, make);
                let _ = reader.try_send(Open(name));
                self.file = File::Reading(reader);
            }
            Direction::Write => {
                let session = ctx.address().recipient();
                let make = move |_: &mut Context<Writer>| Writer::new(store, session);
                let writer = start_temporary(id, limits::MAILBOX_SESSION, parent, make);
                let announced =
                    self.assignment.request.options.get("tsize").filter(|_| self.service.offer.options);
                let claimed = announced.and_then(|value| decimal(value.as_bytes()));
                let _ = writer.try_send(Create { name, claimed });
                self.file = File::Writing(writer);
            }
        }
    }
}

impl Handler<Read> for Session {
    type Result = ();

    fn handle(&mut self, answer: Read, ctx: &mut Self::Context) {
        match answer {
            Read::Opened { size, path } => {
                (self.summary.size, self.summary.path) = (size, Some(path));
                self.begin(ctx);
            }
            Read::Fetched(slab) => self.feed(ctx, Input::Slab { bytes: slab.bytes, end: slab.end }),
            Read::Failed(fault) => self.fail(ctx, fault),
        }
    }
}

impl Handler<Written> for Session {
    type Result = ();

    fn handle(&mut self, answer: Written, ctx: &mut Self::Context) {
        match answer {
            Written::Created { path } => {
                self.summary.path = Some(path);
                self.begin(ctx);
            }
            Written::Stored(slabs) => (0..slabs).for_each(|_| self.feed(ctx, Input::Stored)),
            Written::Published => self.feed(ctx, Input::Published),
            Written::Failed(fault) => self.fail(ctx, fault),
        }
    }
}

impl Handler<ChildExited> for Session {
    type Result = ();

    /// A reader or writer never stops by itself while its session lives.
    fn handle(&mut self, ChildExited { exit, .. }: ChildExited, ctx: &mut Self::Context) {
        if let Exit::Panicked(panic) = &exit {
            let transfer = Some(self.assignment.id);
            self.service.observe(&Fact::Crashed { actor: self.file.actor(), transfer, panic });
        }
        self.fail(ctx, Fault::new(Failure::Internal, format_args!("the {} {exit}", self.file.actor())));
    }
}
