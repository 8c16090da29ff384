//! The actor that reads a file for one session.

use std::sync::Arc;

use actix::fut::ready;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};

use crate::chaos::Part;
use crate::engine::files::{SourceHandle, StoreCaller};
use crate::engine::messages::{Read, SessionAddr, SessionMessage};
use crate::error::Fault;
use crate::limits;
use crate::store::{Name, Source, Store};

/// Reads a file for one session. Reads that may block run in the arbiter's thread pool; cached
/// octets are returned at once. A failure is answered by [`Read::Failed`].
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) caller: StoreCaller,
    pub(crate) session: SessionAddr,
    pub(crate) source: Option<Arc<SourceHandle>>,
    pub(crate) chaos: Part,
}

/// Opens the file. Answered by [`Read::Opened`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Open(pub(crate) Name);

/// Reads up to `octets` of the open file from `offset` on. Answered by [`Read::Fetched`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Fetch {
    pub(crate) offset: u64,
    pub(crate) octets: usize,
}

impl Reader {
    fn answer(&self, answer: Result<Read, Fault>) {
        // The session has one request under way, so its mailbox has room. If the session has ended,
        // nobody waits.
        let _ = self.session.messages.try_send(SessionMessage::Read(answer.unwrap_or_else(Read::Failed)));
    }
}

impl Actor for Reader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.set_mailbox_capacity(limits::MAILBOX_SESSION);
    }
}

impl Handler<Open> for Reader {
    type Result = ();

    fn handle(&mut self, Open(name): Open, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        let caller = self.caller.clone();
        let seam = caller.seam.clone();
        let opening = async move {
            if let Some(later) = caller.call(|store| Ok(store.open_later(&name)))? {
                let opened = caller.wait_within(limits::READ_WITHIN, later).await?;
                return caller.call(|_| Ok(SourceHandle::new(opened)));
            }
            let open = move |store: &Arc<dyn Store>| {
                seam.at("open");
                store.open(&name).map(SourceHandle::new)
            };
            caller.call_within(limits::READ_WITHIN, open).await
        };
        ctx.spawn(opening.into_actor(self).then(|opened, reader, _| {
            let opened = opened.map(|source| {
                reader.source = Some(Arc::clone(&source));
                Read::Opened(source)
            });
            reader.answer(opened);
            ready(())
        }));
    }
}

impl Handler<Fetch> for Reader {
    type Result = ();

    fn handle(&mut self, Fetch { offset, octets }: Fetch, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        let Some(source) = &self.source else { return };
        self.caller.seam.at("fetch_cached");
        match source.fetch_cached(offset, octets) {
            Ok(Some(slab)) => self.answer(Ok(Read::Fetched(slab))),
            Err(fault) => self.answer(Err(fault)),
            Ok(None) => {
                let (caller, source) = (self.caller.clone(), Arc::clone(source));
                let seam = caller.seam.clone();
                let reading = async move {
                    if let Some(later) = caller.call(|_| Ok(source.fetch_later(offset, octets)))? {
                        return caller.wait_within(limits::READ_WITHIN, later).await;
                    }
                    let fetch = move |_: &_| {
                        seam.at("fetch");
                        source.fetch(offset, octets)
                    };
                    caller.call_within(limits::READ_WITHIN, fetch).await
                };
                ctx.spawn(reading.into_actor(self).then(|slab, reader, _| {
                    reader.answer(slab.map(Read::Fetched));
                    ready(())
                }));
            }
        }
    }
}
