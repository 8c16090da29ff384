//! What is reported to the registry about transfers.

use std::sync::{OnceLock, Weak};

use actix::{Message, Recipient};

use crate::engine::messages::SessionAddr;
use crate::engine::transfers::shared_transfer::SharedTransfer;
use crate::observe::Report;

/// An event of a transfer, for the registry.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum TransferEvent {
    /// A session serves the transfer: the first one, or one that replaces another.
    Began { shared: Weak<SharedTransfer>, session: SessionAddr },
    /// The outcome is known. A request that needed no session ends without `Began`.
    Ended(Box<Report>),
}

/// The address of the registry, once there is one.
#[derive(Debug, Default)]
pub struct RegistryLink(OnceLock<Recipient<TransferEvent>>);

impl RegistryLink {
    /// Events go to `registry` from now on. A registry that starts again keeps its address.
    pub(crate) fn set(&self, registry: Recipient<TransferEvent>) {
        let _ = self.0.set(registry);
    }

    pub(crate) fn send(&self, event: TransferEvent) {
        if let Some(registry) = self.0.get() {
            // Not `try_send`: an end that is lost would leave a transfer live. The registry shares
            // the thread of the listeners, which admit nothing while it can't handle its mail: so
            // the limit of transfers bounds these messages.
            registry.do_send(event);
        }
    }
}
