//! One direction of a link.

use std::time::Duration;

use super::Rng;

/// What happens to packets in one direction. Chances are in permille of the packets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) loss: u64,
    /// Chance that a burst of losses begins.
    pub(crate) burst: u64,
    /// A burst loses every packet for up to this.
    pub(crate) burst_length: Duration,
    pub(crate) duplicate: u64,
    /// Chance that a packet is delayed by up to ten times the delay and jitter, so that later
    /// packets overtake it.
    pub(crate) reorder: u64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// Jitter doesn't reorder.
    pub(crate) in_order: bool,
}

/// How a test's script delivers a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Normal,
    Lost,
    /// Later than normal by this.
    Late(Duration),
}

type Script = Box<dyn FnMut(&[u8]) -> Delivery>;

pub(crate) struct Channel {
    conditions: Conditions,
    rng: Rng,
    burst_until: Duration,
    last_arrival: Duration,
    script: Option<Script>,
}

impl Channel {
    pub(crate) fn new(conditions: Conditions, rng: Rng) -> Self {
        Self { conditions, rng, burst_until: Duration::ZERO, last_arrival: Duration::ZERO, script: None }
    }

    /// Has `script` decide about each packet first.
    pub(crate) fn scripted(mut self, script: impl FnMut(&[u8]) -> Delivery + 'static) -> Self {
        self.script = Some(Box::new(script));
        self
    }

    /// When the copies of a packet arrive; the packet is sent `now`.
    pub(crate) fn carry(&mut self, now: Duration, octets: &[u8]) -> Vec<Duration> {
        let late = match self.script.as_mut().map_or(Delivery::Normal, |script| script(octets)) {
            Delivery::Lost => return Vec::new(),
            Delivery::Late(late) => late,
            Delivery::Normal => Duration::ZERO,
        };
        if self.is_lost(now) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.rng.chance(self.conditions.duplicate));
        (0..copies).map(|_| self.arrival(now) + late).collect()
    }

    fn is_lost(&mut self, now: Duration) -> bool {
        if self.rng.chance(self.conditions.burst) {
            self.burst_until = now + self.up_to(self.conditions.burst_length);
        }
        now < self.burst_until || self.rng.chance(self.conditions.loss)
    }

    fn arrival(&mut self, now: Duration) -> Duration {
        let Conditions { delay, jitter, reorder, in_order, .. } = self.conditions;
        let mut arrival = now + delay + self.up_to(jitter);
        if self.rng.chance(reorder) {
            arrival += self.up_to((delay + jitter) * 10);
        }
        if in_order {
            arrival = arrival.max(self.last_arrival);
        }
        self.last_arrival = arrival;
        arrival
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.rng.within(0..=most.as_nanos() as u64))
    }
}
