//! What all sessions of a server share. Nothing in it changes while it serves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slog::Logger;

use super::window_budget::WindowBudget;
use crate::net::PortRange;
use crate::observe::{Fact, Observer, TransferId};
use crate::policy::Rules;
use crate::store::Store;
use crate::supervision::panic_text;
use crate::transfer::{Offer, OnAbort, Timeouts};

/// What all sessions of a server share.
#[derive(Debug)]
pub struct Service {
    /// Where files are.
    pub store: Arc<dyn Store>,
    /// Who hears of what happens.
    pub observers: Vec<Arc<dyn Observer>>,
    /// What requests are let through.
    pub rules: Rules,
    /// What is granted of the options that are asked for.
    pub offer: Offer,
    /// Memory for windows.
    pub windows: Arc<WindowBudget>,
    /// How patient transfers are.
    pub timeouts: Timeouts,
    /// What becomes of an upload whose sender stopped.
    pub on_abort: OnAbort,
    /// Ports that transfers use.
    pub ports: Option<PortRange>,
    /// Where every packet is logged, if they are to be.
    pub packet_log: Option<Logger>,
    /// Number of the last transfer.
    pub last_transfer: AtomicU64,
}

impl Service {
    /// A number for a new transfer.
    pub(super) fn next_transfer(&self) -> TransferId {
        TransferId(self.last_transfer.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells the observers. One that panics loses this fact; the others hear that it did.
    pub(crate) fn observe(&self, fact: &Fact<'_>) {
        for (index, observer) in self.observers.iter().enumerate() {
            let told = catch_unwind(AssertUnwindSafe(|| observer.observe(fact)));
            if let Err(panic) = told {
                let panic = panic_text(&*panic);
                let crashed = Fact::Crashed { actor: "observer", transfer: None, panic };
                for (_, other) in self.observers.iter().enumerate().filter(|(other, _)| *other != index) {
                    // Whoever panics at that too can't be told about.
                    let _ = catch_unwind(AssertUnwindSafe(|| other.observe(&crashed)));
                }
            }
        }
    }
}
