//! Links without a socket of their own, polled together.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::limits::SOCKETS_PER_TURN;

/// The tokens of links that have something to receive, until they are taken. Pushes from other
/// threads wake the consumer once in total.
#[derive(Debug, Default)]
pub struct ReadyList(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<u64>,
    waker: Option<Waker>,
}

impl ReadyList {
    pub(super) fn push(&self, token: u64) {
        let waker = {
            let mut state = self.lock();
            state.ready.push_back(token);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Replaces the content of `ready` with the tokens pushed since the last call: at most one
    /// turn's worth, oldest first. Pending if there are none.
    pub fn poll_ready(&self, cx: &mut Context<'_>, ready: &mut Vec<u64>) -> Poll<()> {
        ready.clear();
        let mut state = self.lock();
        if state.ready.is_empty() {
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let count = state.ready.len().min(SOCKETS_PER_TURN);
        ready.extend(state.ready.drain(..count));
        Poll::Ready(())
    }

    /// A panic elsewhere leaves the state consistent, because each change is a single step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
