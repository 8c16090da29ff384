//! Looking for a client's answer again and again, for a moment, instead of going to sleep and being woken: in lock-step that is most of what a block costs.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::datagrams::Scratch;
use super::driver::Driver;
use crate::limits;
use crate::net::Arrived;

thread_local! {
    static ARBITER: Cell<Habit> = const { Cell::new(Habit::NEW) };
}

/// What an arbiter has learned of polling. Exchanges (a packet, and its answer) are timed in batches, asleep and polling: whether polling pays depends on the
/// network, the client, and on who else wants the processors, and only time tells.
#[derive(Debug, Clone, Copy)]
struct Habit {
    /// Sessions that transfer something. While one polls, the others wait.
    at_work: usize,
    /// What the batch of now does.
    polling: bool,
    /// When it began.
    began: Option<Instant>,
    /// Its exchanges so far.
    exchanges: u32,
    /// What a batch takes asleep.
    asleep: Duration,
    /// Batches until the next change: to a trial of polling, or back to sleep to time that anew.
    batches_left: u32,
    /// Batches to sleep after the next trial that fails.
    rest: u32,
    /// Batches in a row in which polling didn't pay.
    failures: u32,
}

/// A session that transfers something; it is one no longer when this is dropped.
#[derive(Debug)]
pub(super) struct AtWork(());

impl Habit {
    const NEW: Self = Self {
        at_work: 0,
        polling: false,
        began: None,
        exchanges: 0,
        asleep: Duration::ZERO,
        batches_left: 0,
        rest: 1,
        failures: 0,
    };

    /// Whether to poll for the next answer.
    fn poll_next(&mut self, now: Instant) -> bool {
        if self.at_work > 1 {
            self.began = None;
            return false;
        }
        self.exchanges += 1;
        match self.began {
            Some(_) if self.exchanges < limits::POLL_BATCH => return self.polling,
            Some(began) => self.judge(now - began),
            None => {}
        }
        (self.began, self.exchanges) = (Some(now), 0);
        self.polling
    }

    /// Decides what the next batch does, after one that took so long.
    fn judge(&mut self, took: Duration) {
        let due = self.batches_left == 0;
        self.batches_left = self.batches_left.saturating_sub(1);
        if !self.polling {
            self.asleep = took;
            if due {
                self.polling = true;
                self.batches_left = limits::POLL_BATCHES_MAX;
            }
            return;
        }
        if took * 10 <= self.asleep * 9 {
            (self.rest, self.failures) = (1, 0);
            self.polling = !due;
            return;
        }
        self.failures += 1;
        if self.failures >= limits::POLL_FAILURES_MAX {
            (self.polling, self.failures) = (false, 0);
            self.batches_left = self.rest;
            self.rest = (self.rest * 2).min(limits::POLL_REST_MAX);
        }
    }

    /// Another client may be nearer or farther.
    fn change_sessions(&mut self, at_work: usize) {
        if std::mem::take(&mut self.polling) {
            self.batches_left = 0;
        }
        (self.at_work, self.began, self.failures) = (at_work, None, 0);
    }

    fn change<T>(change: impl FnOnce(&mut Self) -> T) -> T {
        let mut habit = ARBITER.get();
        let changed = change(&mut habit);
        ARBITER.set(habit);
        changed
    }
}

impl AtWork {
    /// One more on this thread.
    pub(super) fn new() -> Self {
        Habit::change(|habit| habit.change_sessions(habit.at_work + 1));
        Self(())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        Habit::change(|habit| habit.change_sessions(habit.at_work.saturating_sub(1)));
    }
}

impl Driver {
    /// Waits for answers without sleep, while they come soon enough. Timers, messages and sockets of this arbiter wait meanwhile,
    /// so it is for a session that is alone, and soon over.
    pub(super) fn poll_datagrams(&mut self) {
        // First what all sessions share: with company there is nothing to be looked up of this one.
        if ARBITER.get().at_work > 1 || !self.may_poll() {
            return;
        }
        let began = Instant::now();
        let mut now = began;
        while self.may_poll()
            && Habit::change(|habit| habit.poll_next(now))
            && now - began < limits::POLL_TURN
        {
            let mut scratch = Scratch::take();
            let found = self.look(&mut scratch.current, now + self.poll);
            if let Some(arrived) = &found {
                for octets in arrived.datagrams(&scratch.current) {
                    self.on_datagram(arrived.from, octets, false);
                }
            }
            scratch.give_back();
            if found.is_none() {
                return;
            }
            now = Instant::now();
        }
    }

    /// Whether the peer is the one that is waited for: not the reader, nor anybody else on this arbiter.
    fn may_poll(&self) -> bool {
        self.awaits_answer
            && self.is_lock_step
            && self.wanted.is_none()
            && self.at_work.is_some()
            && self.poll > Duration::ZERO
    }

    fn look(&mut self, buffer: &mut [u8], until: Instant) -> Option<Arrived> {
        loop {
            if let Ok(arrived) = self.link.receive(buffer) {
                self.chaos.seam("link").at("receive");
                return Some(arrived);
            }
            if Instant::now() >= until {
                return None;
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests;
