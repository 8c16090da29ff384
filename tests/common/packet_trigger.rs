//! A packet log that makes the thread of a session panic, hang or stop at a packet of the test's
//! choice.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use actix::Arbiter;

/// What the log does at the packet.
#[derive(Debug, Clone, Default)]
pub(crate) enum TriggerAction {
    #[default]
    Panic,
    /// Stops the arbiter with all its actors.
    StopArbiter,
    /// Blocks the thread until the gate opens.
    Hang(Gate),
}

/// Blocks every thread that reaches it, until a test opens it.
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

    /// Waits until a thread is blocked.
    pub(crate) fn wait_until_reached(&self) {
        let (state, changed) = &*self.0;
        drop(changed.wait_while(state.lock().unwrap(), |state| !state.holds_someone).unwrap());
    }
}

/// A packet log that acts at certain lines.
#[derive(Debug, Default)]
pub(crate) struct PacketTrigger {
    /// The transfer, or `None` for all transfers.
    transfer: Option<u64>,
    /// The beginning of the line that triggers the action; `None` triggers nothing.
    line: Option<String>,
    /// Number of such lines to skip.
    pass: usize,
    /// Maximum number of actions in each transfer.
    times: usize,
    action: TriggerAction,
    /// Number of such lines so far, by transfer.
    count: Mutex<HashMap<String, usize>>,
}

impl PacketTrigger {
    /// Panics once, when `transfer` logs a line with this beginning. After `second `, at the second
    /// such line.
    pub(crate) fn once(transfer: u64, line: &str) -> Self {
        Self { transfer: Some(transfer), ..Self::each_once(line) }
    }

    /// Panics once in each transfer.
    pub(crate) fn each_once(line: &str) -> Self {
        let (line, pass) = line.strip_prefix("second ").map_or((line, 0), |line| (line, 1));
        Self { line: Some(line.to_owned()), pass, times: 1, ..Self::default() }
    }

    /// Does something else instead of the panic.
    pub(crate) fn with(self, action: TriggerAction) -> Self {
        Self { action, ..self }
    }

    /// Panics whenever `transfer` logs such a line.
    pub(crate) fn always(transfer: u64, line: &str) -> Self {
        Self { times: usize::MAX, ..Self::once(transfer, line) }
    }
}

impl slog::Drain for PacketTrigger {
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
        // Requests are logged too, but belong to no transfer yet.
        let (Some(transfer), Some(packet)) = (values.0.get("transfer"), values.0.get("packet")) else {
            return Ok(());
        };
        // The added blank keeps "ACK 1 " from matching ACK 10.
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
                match &self.action {
                    TriggerAction::Panic => panic!("the secret of the log"),
                    TriggerAction::StopArbiter => assert!(Arbiter::current().stop()),
                    TriggerAction::Hang(gate) => gate.pass(),
                }
            }
        }
        Ok(())
    }
}
