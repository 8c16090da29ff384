//! A packet log that does something terrible to the thread of the session that shows it a packet of the test's choice.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use actix::Arbiter;

/// What happens.
#[derive(Debug, Clone, Default)]
pub(crate) enum Deed {
    #[default]
    Panic,
    /// The arbiter ends, with all that is on it.
    StopArbiter,
    /// The thread hangs until the gate is opened.
    Hang(Gate),
}

/// Holds up whoever comes, until it is opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    is_open: bool,
    holds_someone: bool,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.holds_someone = true;
        changed.notify_all();
        drop(changed.wait_while(state, |state| !state.is_open).unwrap());
    }

    /// Waits until somebody stands before it.
    pub(crate) fn wait_until_reached(&self) {
        let (state, changed) = &*self.0;
        drop(changed.wait_while(state.lock().unwrap(), |state| !state.holds_someone).unwrap());
    }
}

/// A packet log that trips somebody up.
#[derive(Debug, Default)]
pub(crate) struct Tripwire {
    /// The transfer, or all.
    transfer: Option<u64>,
    /// How the line begins that trips it; `None`: none does.
    line: Option<String>,
    /// The first so many such lines pass.
    pass: usize,
    /// So often at most, for each transfer.
    times: usize,
    deed: Deed,
    /// Such lines so far, by transfer.
    count: Mutex<HashMap<String, usize>>,
}

impl Tripwire {
    /// Panics once, when `transfer` logs a line that begins so; after `second `, at the second such line.
    pub(crate) fn once(transfer: u64, line: &str) -> Self {
        Self { transfer: Some(transfer), ..Self::each_once(line) }
    }

    /// Panics once in each transfer.
    pub(crate) fn each_once(line: &str) -> Self {
        let (line, pass) = line.strip_prefix("second ").map_or((line, 0), |line| (line, 1));
        Self { line: Some(line.to_owned()), pass, times: 1, ..Self::default() }
    }

    /// Does something else than to panic.
    pub(crate) fn with(self, deed: Deed) -> Self {
        Self { deed, ..self }
    }

    /// Panics whenever `transfer` logs such a line.
    pub(crate) fn always(transfer: u64, line: &str) -> Self {
        Self { times: usize::MAX, ..Self::once(transfer, line) }
    }
}

impl slog::Drain for Tripwire {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        #[derive(Default)]
        struct Values(HashMap<String, String>);
        impl slog::Serializer for Values {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                self.0.insert(key.to_string(), value.to_string());
                Ok(())
            }
        }
        let mut values = Values::default();
        slog::KV::serialize(&record.kv(), record, &mut values).unwrap();
        // (Requests are logged too, before they are a transfer.)
        let (Some(transfer), Some(packet)) = (values.0.get("transfer"), values.0.get("packet")) else {
            return Ok(());
        };
        // One blank more, so that "ACK 1 " is not the beginning of ACK 10.
        let shown = format!("{} {packet} ", record.msg());
        let Some(line) = &self.line else { return Ok(()) };
        if self.transfer.is_none_or(|wanted| wanted.to_string() == *transfer)
            && shown.starts_with(&format!("{} ", line.trim_end()))
        {
            let count = {
                let mut counts = self.count.lock().unwrap();
                let count = counts.entry(transfer.clone()).or_default();
                *count += 1;
                *count
            };
            if count > self.pass && count - self.pass <= self.times {
                match &self.deed {
                    Deed::Panic => panic!("the secret of the log"),
                    Deed::StopArbiter => assert!(Arbiter::current().stop()),
                    Deed::Hang(gate) => gate.pass(),
                }
            }
        }
        Ok(())
    }
}
