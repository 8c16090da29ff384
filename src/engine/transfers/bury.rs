//! Ends transfers on behalf of sessions that died or hang.

use crate::engine::service::Service;
use crate::engine::transfers::shared_transfer::{SharedTransfer, TransferState};
use crate::error::{Failure, Fault};
use crate::transfer::{Outcome, Transmit, error_packet};

/// Ends a transfer on behalf of its session, which died or hangs.
///
/// The peer is sent an ERROR from the same TID, unless the peer reads and has had no answer yet
/// (see [`Service::refusal`]). An unfinished upload is removed, and the old session can't send any
/// more. A transfer that was reported already keeps its outcome.
pub(crate) fn bury(shared: &SharedTransfer, service: &Service, failure: Failure, why: &str) {
    shared.next_life();
    shared.upload.close(Fault::new(failure, why));
    shared.set_over();
    // A session that hangs would otherwise count in the peer table for as long as it hangs.
    shared.peer_state.release();
    let outcome = if shared.has_replied() {
        Outcome::Failed(failure)
    } else {
        shared.assignment.config.refusal(shared.assignment.request.direction, failure)
    };
    let report = match shared.try_lock() {
        Some(mut state) => shared.report(&mut state, outcome),
        // A session that hangs may hold the lock.
        None => shared.report(&mut TransferState::default(), outcome),
    };
    let Some(mut report) = report else { return };
    report.detail = Some(why.into());
    // A request that was sent to many hosts gets no ERROR before the first block.
    let is_answered = shared.has_replied() || !shared.assignment.to_broadcast;
    if is_answered && matches!(report.outcome, Outcome::Failed(_)) {
        let mut link = shared.link();
        // If the packet can't be sent, there is nothing left to try.
        let _ = link.send(report.peer, &Transmit::Packet(&error_packet(failure)));
    }
    service.finish(report);
    shared.peer_state.set_over();
}
