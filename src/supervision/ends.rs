//! What the end of a supervisor waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// The children of a supervisor, with their times to end. The tree updates it; handles read it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    children: BTreeMap<u64, Ending>,
    /// The child that the supervisor waits for, and since when.
    awaited: Option<(u64, Instant)>,
}

#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
}

#[derive(Debug, Clone)]
pub(super) enum Takes {
    /// A guest: as long as its specification says.
    Guest(Duration),
    /// A child of the supervisor's owner, who limits the time for all of these together.
    Own,
    /// A supervisor: as long as its own children take.
    Supervisor(Ends),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) name: &'static str,
    pub(crate) since: Instant,
}

impl Ends {
    pub(super) fn enter(&self, id: u64, ending: Ending) {
        self.table().children.insert(id, ending);
    }

    pub(super) fn leave(&self, id: u64) {
        self.table().children.remove(&id);
    }

    pub(super) fn wait_for(&self, id: u64) {
        self.table().awaited = Some((id, Instant::now()));
    }

    /// How long the guests may take to end, with at most `each_max` for each. They end one after
    /// the other, and a guest with a blocked arbiter takes a little longer.
    pub(super) fn allowed(&self, each_max: Duration) -> Duration {
        // A supervisor is never its own child, so no table is locked twice.
        let takes = |child: &Ending| match &child.takes {
            Takes::Guest(within) => each_max.min(*within).saturating_add(limits::TERMINATED_WITHIN),
            Takes::Own => Duration::ZERO,
            Takes::Supervisor(ends) => ends.allowed(each_max),
        };
        self.table().children.values().map(takes).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The child that is waited for. If that is a supervisor, the child that it waits for.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        let table = self.table();
        let (id, since) = table.awaited?;
        let Ending { name, takes } = table.children.get(&id)?;
        match takes {
            Takes::Supervisor(ends) => ends.awaited(),
            Takes::Guest(_) | Takes::Own => Some(Awaited { name, since }),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
