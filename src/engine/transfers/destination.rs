//! The file that a request leads to.

use std::sync::Arc;

use crate::observe::Label;
use crate::store::{Name, Store};

/// The file that answers a request.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) name: Name,
    pub(crate) label: Option<Label>,
}

/// The routing result, as far as it is known without waiting.
#[derive(Debug)]
pub(crate) enum Routed {
    To(Destination),
    /// The route of this step is an actor, which answers later.
    Ask(usize),
}
