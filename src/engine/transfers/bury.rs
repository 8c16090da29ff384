//! Ends transfers whose sessions can't.

use crate::engine::service::Service;
use crate::engine::transfers::shared_transfer::{SharedTransfer, TransferState};
use crate::error::{Failure, Fault};
use crate::transfer::{Outcome, Transmit, error_packet};

/// Ends a transfer in place of its session, which is dead or hangs.
///
/// The peer is sent an ERROR from the same TID, unless the peer reads and has had no answer yet (see
/// [`Service::refusal`]). Nothing is left of an upload, and what still runs of the transfer can't
/// send any more. A transfer whose outcome is known already stays as it is.
pub(crate) fn bury(shared: &SharedTransfer, service: &Service, failure: Failure, why: &str) {
    shared.next_life();
    shared.upload.close(Fault::new(failure, why));
    shared.set_over();
    // A session that hangs for ever would keep its place for ever.
    shared.peer_state.release();
    let outcome = if shared.has_replied() {
        Outcome::Failed(failure)
    } else {
        service.refusal(shared.assignment.request.direction, failure)
    };
    let report = match shared.try_lock() {
        Some(mut state) => shared.report(&mut state, outcome),
        // The state of a session that hangs can't be read.
        None => shared.report(&mut TransferState::default(), outcome),
    };
    let Some(mut report) = report else { return };
    report.detail = Some(why.into());
    // A client that asked many hosts is sent nothing before a first block.
    let is_to_hear = shared.has_replied() || !shared.assignment.to_broadcast;
    if is_to_hear && matches!(report.outcome, Outcome::Failed(_)) {
        let mut link = shared.link();
        // If the packet can't be sent, there is nothing left to try.
        let _ = link.send(report.peer, &Transmit::Packet(&error_packet(failure)));
    }
    service.finish(report);
    shared.peer_state.set_over();
}
