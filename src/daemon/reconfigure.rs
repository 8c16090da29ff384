//! Applies other settings to a running server.

use std::io;
use std::sync::Arc;
use std::thread;

use actix::fut::WrapFuture;
use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, Message, Supervised};
use slog::{Logger, info};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::current::{Current, Opened};
use super::extensions::{Extensions, interface_mtu};
use super::startup::{log_serving, sweep};
use crate::actors::{PeerTable, Service};
use crate::limits;
use crate::settings::Settings;
use crate::store::RootError;
use crate::supervision::Supervisor;

/// Applies settings, one after the other, without a pause of the service. Everything that can fail
/// happens before the exchange, on a thread that may block.
#[derive(Debug)]
pub(super) struct Configurator {
    pub(super) service: Arc<Service>,
    pub(super) peer_table: Arc<PeerTable>,
    pub(super) supervisor: Supervisor,
    pub(super) extensions: Extensions,
    pub(super) current: Current,
    pub(super) log: Logger,
}

/// The order to apply settings.
#[derive(Debug, Message)]
#[rtype(result = "Result<Applied, ApplyError>")]
pub(super) struct Apply(pub(super) Box<Settings>);

/// What came of new settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The fields of [`Settings`] whose new values need a restart. The old values stay in effect.
    pub pending: Vec<&'static str>,
}

/// Why settings were not applied. All of the old settings stay in effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The new root can't be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The file system did not open the new root in time.
    #[error("the new root could not be opened within {} seconds", limits::ROOT_WITHIN.as_secs())]
    Slow,
    /// The operating system has no thread to give.
    #[error("the operating system refused: {0}")]
    Runtime(io::Error),
    /// The server has ended.
    #[error("the server has ended")]
    Ended,
}

impl Configurator {
    /// Exchanges the configuration. The server's new requests get the new one.
    fn exchange(&mut self, mut settings: Settings, new: Option<Opened>) -> Applied {
        let (old, served) = self.current.read().clone();
        let pending = keep_what_needs_a_restart(&mut settings, &old);
        let is_new = new.is_some();
        let opened = new.unwrap_or(served);
        if self.extensions.needs_actor(&settings) {
            let actor = self.supervisor.starting_apart().start_child(interface_mtu());
            self.extensions.interface_mtu = Some(actor.recipient());
        }
        self.service.set_config(self.extensions.config(&settings, &opened.store));
        self.peer_table.set_limits(settings.transfers_max, settings.transfers_per_client_max);
        log_serving(&settings, opened.directory.as_deref(), &self.log);
        if !pending.is_empty() {
            info!(self.log, "some new settings need a restart"; "settings" => pending.join(", "));
        }
        self.current.set(settings, opened);
        if is_new {
            sweep(&self.current, &self.log);
        }
        Applied { pending }
    }

    /// Whether these settings name another directory, or other rules for it.
    fn needs_root(&self, settings: &Settings) -> bool {
        let (old, opened) = &*self.current.read();
        let is_same = settings.root == old.root && settings.directory == old.directory;
        opened.directory.is_some() && !is_same
    }
}

/// Puts the old values in the place of new ones that need a restart. Returns the names of the
/// fields.
fn keep_what_needs_a_restart(new: &mut Settings, old: &Settings) -> Vec<&'static str> {
    let mut pending = Vec::new();
    let mut keep = |name, differs| {
        if differs {
            pending.push(name);
        }
    };
    keep("listen", new.listen != old.listen);
    keep("wait_for_address", new.wait_for_address != old.wait_for_address);
    keep("single_port", new.single_port != old.single_port);
    keep("arbiters", new.arbiters != old.arbiters);
    new.listen.clone_from(&old.listen);
    new.wait_for_address = old.wait_for_address;
    new.single_port = old.single_port;
    new.arbiters = old.arbiters;
    new.chaos = old.chaos.clone();
    pending
}

/// Opens the root of the settings on a thread of its own: a dead file system never answers.
async fn open(settings: &Settings, log: &Logger) -> Result<Opened, ApplyError> {
    let (settings, log) = (settings.clone(), log.clone());
    let (opened, answer) = oneshot::channel();
    let open = move || drop(opened.send(Opened::root_of(&settings, &log)));
    thread::Builder::new().name("settings".into()).spawn(open).map_err(ApplyError::Runtime)?;
    match timeout(limits::ROOT_WITHIN, answer).await {
        Ok(Ok(opened)) => Ok(opened?),
        _ => Err(ApplyError::Slow),
    }
}

impl Actor for Configurator {
    type Context = Context<Self>;
}

impl Supervised for Configurator {}

impl Handler<Apply> for Configurator {
    type Result = AtomicResponse<Self, Result<Applied, ApplyError>>;

    fn handle(&mut self, Apply(settings): Apply, _: &mut Self::Context) -> Self::Result {
        let (needs_root, log) = (self.needs_root(&settings), self.log.clone());
        let opened = async move {
            let new = if needs_root { Some(open(&settings, &log).await?) } else { None };
            Ok((settings, new))
        };
        let exchanged = opened.into_actor(self).map(|opened, configurator, _| {
            opened.map(|(settings, new)| configurator.exchange(*settings, new))
        });
        AtomicResponse::new(Box::pin(exchanged))
    }
}
