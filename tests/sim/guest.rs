//! Clients as they are met: written anew, octet by octet, so that they share no mistake with the server's machines.

use std::sync::Arc;
use std::time::Duration;

use super::Rng;

/// Where a guest sends its requests.
pub(crate) const WELL_KNOWN: usize = 0;
/// Any more repeats of one packet, and a guest gives up.
const TRIES_MAX: u32 = 40;

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    /// As the RFCs have it.
    Proper,
    /// Repeats everything after some tens of milliseconds, and never waits longer.
    Impatient,
    /// Of 1981: answers every packet, also those that it has had (RFC 1123 §4.2.3.1 tells what that leads to).
    Vintage,
    /// As EDK2's: says of every block that it didn't expect which one it has.
    EveryUnexpected,
    /// Asks, and says nothing more.
    Silent,
    /// Is switched off in the middle, and asks anew from the same port.
    Restarting,
    /// Stops for 5 ms to 20 s now and then, and then goes through what has come meanwhile.
    Pausing,
    /// The same, and drops what it has had already without a word.
    Deaf,
    /// Stops for a fifth of a second at most, once in a window, and hangs when something comes
    /// twice.
    Fragile,
}

/// Of the packets that get a guest on, so many in a thousand make it stop for a while.
const PAUSES_PERMILLE: u64 = 60;

/// What a guest asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) name: String,
    pub(crate) is_read: bool,
    /// Not asked for where it is 512.
    pub(crate) blksize: usize,
    /// Not asked for where it is 1.
    pub(crate) windowsize: u64,
    pub(crate) file: Arc<[u8]>,
}

/// How it ended for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has the file, or was told that the server has it.
    Complete,
    GaveUp,
    /// By an ERROR.
    Refused,
    /// Something came twice.
    Hung,
}

/// A datagram of a guest, and to whom.
pub(crate) type Sent = (usize, Vec<u8>);

pub(crate) struct Guest {
    temper: Temper,
    wish: Wish,
    interval: Duration,
    /// After so many blocks it is switched off; never, or never again, if `None`.
    restart_at: Option<u64>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) ended: Option<Ended>,
    rng: Rng,
    /// It has stopped until then.
    busy_until: Option<Duration>,
    attempt: Attempt,
    /// Requests sent, and DATA and ACKs to sessions.
    pub(crate) requests: u64,
    pub(crate) sent: u64,
}

/// What is forgotten when it is switched off.
struct Attempt {
    /// The TID that answered.
    server: Option<usize>,
    blksize: usize,
    windowsize: u64,
    /// Blocks that came in order, or were acknowledged.
    done: u64,
    /// Blocks since the last ACK.
    in_window: u64,
    /// What was said of the gap, or sent again for an ACK, as long as nothing got on.
    is_repeated: bool,
    tries: u32,
    /// Since the last ACK.
    has_paused: bool,
}

impl Attempt {
    fn new() -> Self {
        Self {
            server: None,
            blksize: 512,
            windowsize: 1,
            done: 0,
            in_window: 0,
            is_repeated: false,
            tries: 0,
            has_paused: false,
        }
    }
}

impl Guest {
    pub(crate) fn new(temper: Temper, wish: Wish, rng: &mut Rng) -> Self {
        let interval = match temper {
            Temper::Impatient => rng.one_of(&[30, 80, 200]),
            _ => rng.one_of(&[700, 1000, 3000]),
        };
        let blocks = (wish.file.len() / wish.blksize) as u64;
        let restart_at = (temper == Temper::Restarting).then(|| rng.within(0..=blocks));
        Self {
            temper,
            wish,
            interval: Duration::from_millis(interval),
            restart_at,
            deadline: None,
            ended: None,
            rng: rng.fork(),
            busy_until: None,
            attempt: Attempt::new(),
            requests: 0,
            sent: 0,
        }
    }

    /// One of any temper, who wants to read or write a file of some `blocks` at most, in blocks and windows of one of these sizes.
    pub(crate) fn any(
        name: String,
        blocks: usize,
        blksizes: &[usize],
        windowsizes: &[u64],
        rng: &mut Rng,
    ) -> Self {
        let temper = rng.one_of(&[
            Temper::Proper,
            Temper::Proper,
            Temper::Impatient,
            Temper::Vintage,
            Temper::EveryUnexpected,
            Temper::Silent,
            Temper::Restarting,
            Temper::Pausing,
            Temper::Deaf,
            Temper::Fragile,
        ]);
        let is_read = rng.chance(600);
        let blksize = rng.one_of(blksizes);
        let windowsize = if temper == Temper::Vintage { 1 } else { rng.one_of(windowsizes) };
        let length = rng.length(0..=blocks) * blksize + rng.one_of(&[0, 0, 1, blksize - 1]);
        let file = (0..length).map(|_| rng.next() as u8).collect();
        Self::new(temper, Wish { name, is_read, blksize, windowsize, file }, rng)
    }

    pub(crate) fn temper(&self) -> Temper {
        self.temper
    }

    /// Whether the network may double packets of it and to it: a sender of 1981 sends for each ACK that comes twice all that follows twice, and there is nothing
    /// that the other end could do about it.
    pub(crate) fn may_be_doubled(&self) -> bool {
        self.wish.is_read || self.temper != Temper::Vintage
    }

    pub(crate) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Blocks of the whole file.
    pub(crate) fn blocks(&self) -> u64 {
        (self.wish.file.len() / self.wish.blksize) as u64 + 1
    }

    /// Switched on, or off and on.
    pub(crate) fn start(&mut self, now: Duration) -> Vec<Sent> {
        self.attempt = Attempt::new();
        self.deadline = (self.temper != Temper::Silent).then(|| now + self.interval);
        vec![self.request()]
    }

    fn request(&mut self) -> Sent {
        self.requests += 1;
        let mut octets = vec![0, if self.wish.is_read { 1 } else { 2 }];
        octets.extend_from_slice(format!("{}\0octet\0", self.wish.name).as_bytes());
        for (name, value, default) in
            [("blksize", self.wish.blksize as u64, 512), ("windowsize", self.wish.windowsize, 1)]
        {
            if value != default {
                octets.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
            }
        }
        (WELL_KNOWN, octets)
    }

    /// Until when a packet has to wait that comes now, because the guest is at something else.
    pub(crate) fn stops_until(&mut self, now: Duration, octets: &[u8]) -> Option<Duration> {
        if let Some(until) = self.busy_until.take() {
            // That is over, and the packet that waits first is taken.
            self.busy_until = (now < until).then_some(until);
            return self.busy_until;
        }
        let number = octets.get(2..4).map_or(0, |it| u64::from(u16::from_be_bytes([it[0], it[1]])));
        let gets_on = octets[1] == 6 || number > self.attempt.done;
        if self.ended.is_some() || !gets_on || !self.rng.chance(PAUSES_PERMILLE) {
            return None;
        }
        let longest_us = match self.temper {
            Temper::Pausing | Temper::Deaf => self.rng.one_of(&[240_000, 1_000_000, 20_000_000]),
            Temper::Fragile if !std::mem::replace(&mut self.attempt.has_paused, true) => 200_000,
            _ => return None,
        };
        self.busy_until = Some(now + Duration::from_micros(self.rng.within(5000..=longest_us)));
        self.busy_until
    }

    pub(crate) fn take(&mut self, now: Duration, from: usize, octets: &[u8]) -> Vec<Sent> {
        if self.temper == Temper::Silent || (self.temper == Temper::Fragile && self.is_hung()) {
            return Vec::new();
        }
        match self.attempt.server {
            Some(server) if server != from => return self.on_stranger(from, octets),
            // Its port is closed.
            _ if self.ended.is_some() && self.deadline.is_none() => return Vec::new(),
            _ => {}
        }
        let number = octets.get(2..4).map(|it| u16::from_be_bytes([it[0], it[1]]));
        match (octets.get(1), number) {
            (Some(6), _) => self.on_oack(now, from, &octets[2..]),
            (Some(3), Some(block)) if self.wish.is_read => self.on_data(now, from, block, &octets[4..]),
            (Some(4), Some(block)) if !self.wish.is_read => self.on_ack(now, from, block),
            (Some(5), _) => {
                eprintln!("{:?} of {}: {}", self.temper, self.wish.name, octets[2..].escape_ascii());
                self.end(Ended::Refused);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// RFC 1350 §4: a stranger is told that it is one, and nothing else happens. (Errors are not answered, and old clients answer nothing.)
    fn on_stranger(&self, from: usize, octets: &[u8]) -> Vec<Sent> {
        let is_error = octets.get(1) == Some(&5);
        if is_error || self.temper == Temper::Vintage || self.ended.is_some() {
            return Vec::new();
        }
        vec![(from, b"\0\x05\0\x05who is this?\0".to_vec())]
    }

    fn on_oack(&mut self, now: Duration, from: usize, options: &[u8]) -> Vec<Sent> {
        if self.attempt.done > 0 || self.ended.is_some() {
            return Vec::new();
        }
        self.attempt.server = Some(from);
        let mut words = options.split(|&octet| octet == 0).map(|word| std::str::from_utf8(word).unwrap());
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let value: u64 = value.parse().unwrap();
            match name {
                "blksize" => self.attempt.blksize = value as usize,
                "windowsize" => self.attempt.windowsize = value,
                other => panic!("nobody asked for {other}"),
            }
        }
        assert!(self.attempt.blksize == self.wish.blksize && self.attempt.windowsize <= self.wish.windowsize);
        self.got_on(now);
        if self.wish.is_read { self.ack(0) } else { self.window() }
    }

    fn on_data(&mut self, now: Duration, from: usize, block: u16, payload: &[u8]) -> Vec<Sent> {
        if self.attempt.server.is_none() {
            if block != 1 || self.wants_oack() {
                return Vec::new();
            }
            self.attempt.server = Some(from);
        }
        // (No file of these tests is so long that numbers would wrap.)
        let (block, expected) = (u64::from(block), self.attempt.done + 1);
        if block != expected || self.ended.is_some() {
            return self.on_unexpected(block);
        }
        let start = self.attempt.done as usize * self.attempt.blksize;
        let until = (start + self.attempt.blksize).min(self.wish.file.len());
        assert!(self.wish.file[start..until] == *payload, "block {block} isn't what it should be");
        self.attempt.done += 1;
        self.attempt.in_window += 1;
        self.got_on(now);
        if self.is_switched_off() {
            return self.start(now);
        }
        if payload.len() < self.attempt.blksize {
            self.ended = Some(Ended::Complete);
            // To answer the last block again: not the impatient, whose loader is gone by then.
            let dally = (self.temper != Temper::Impatient).then(|| now + self.interval * 3);
            self.deadline = dally;
            return self.ack(self.attempt.done);
        }
        if self.attempt.in_window >= self.attempt.windowsize {
            self.ack(self.attempt.done)
        } else {
            Vec::new()
        }
    }

    fn on_unexpected(&mut self, block: u64) -> Vec<Sent> {
        let is_old = block <= self.attempt.done;
        match self.temper {
            Temper::Fragile if is_old => self.hang(),
            Temper::Deaf if is_old => Vec::new(),
            Temper::Vintage if is_old => self.ack(block),
            Temper::Vintage => Vec::new(),
            Temper::EveryUnexpected => self.ack(self.attempt.done),
            // In lock-step the ACK may have been lost; of a window the first that is out of order tells of a gap.
            _ if self.attempt.windowsize == 1 && is_old => self.ack(self.attempt.done),
            _ if std::mem::replace(&mut self.attempt.is_repeated, true) => Vec::new(),
            _ => self.ack(self.attempt.done),
        }
    }

    fn on_ack(&mut self, now: Duration, from: usize, block: u16) -> Vec<Sent> {
        let is_first = self.attempt.server.is_none();
        if is_first {
            if block != 0 || self.wants_oack() {
                return Vec::new();
            }
            self.attempt.server = Some(from);
        }
        if self.ended.is_some() {
            return Vec::new();
        }
        let (block, done) = (u64::from(block), self.attempt.done);
        let is_progress = block > done && block <= done + self.attempt.windowsize && block <= self.blocks();
        if is_progress {
            self.attempt.done = block;
        }
        if is_progress || is_first {
            self.got_on(now);
            if self.is_switched_off() {
                return self.start(now);
            }
            if self.attempt.done == self.blocks() {
                self.end(Ended::Complete);
                return Vec::new();
            }
            return self.window();
        }
        if self.temper == Temper::Fragile && block <= done {
            return self.hang();
        }
        let says_gap = block == done && self.attempt.windowsize > 1 && self.temper != Temper::Deaf;
        let answers = match self.temper {
            Temper::Vintage => block == done,
            _ => says_gap && !std::mem::replace(&mut self.attempt.is_repeated, true),
        };
        if answers { self.window() } else { Vec::new() }
    }

    pub(crate) fn on_deadline(&mut self, now: Duration) -> Vec<Sent> {
        self.deadline = None;
        if self.ended.is_some() {
            return Vec::new();
        }
        if let Some(until) = self.busy_until.filter(|until| now < *until) {
            self.deadline = Some(until);
            return Vec::new();
        }
        self.attempt.tries += 1;
        if self.attempt.tries > TRIES_MAX {
            self.end(Ended::GaveUp);
            return Vec::new();
        }
        self.deadline = Some(now + self.interval);
        match (self.attempt.server, self.wish.is_read) {
            (None, _) => vec![self.request()],
            (Some(_), true) => self.ack(self.attempt.done),
            (Some(_), false) => self.window(),
        }
    }

    fn hang(&mut self) -> Vec<Sent> {
        self.end(Ended::Hung);
        Vec::new()
    }

    fn is_hung(&self) -> bool {
        self.ended == Some(Ended::Hung)
    }

    /// What comes without one may be of the transfer before it was switched off.
    fn wants_oack(&self) -> bool {
        self.wish.blksize != 512 || self.wish.windowsize != 1
    }

    fn is_switched_off(&mut self) -> bool {
        self.restart_at.take_if(|at| *at <= self.attempt.done).is_some()
    }

    fn got_on(&mut self, now: Duration) {
        (self.attempt.tries, self.attempt.is_repeated) = (0, false);
        self.deadline = Some(now + self.interval);
    }

    fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
        self.deadline = None;
    }

    fn ack(&mut self, block: u64) -> Vec<Sent> {
        self.attempt.in_window = 0;
        self.attempt.has_paused = false;
        self.send(4, block, &[])
    }

    /// What may be in flight.
    fn window(&mut self) -> Vec<Sent> {
        let (first, file) = (self.attempt.done + 1, Arc::clone(&self.wish.file));
        let last = (self.attempt.done + self.attempt.windowsize).min(self.blocks());
        let payload = |block: u64| {
            let start = (block as usize - 1) * self.attempt.blksize;
            start..(start + self.attempt.blksize).min(file.len())
        };
        let payloads: Vec<_> = (first..=last).map(|block| (block, payload(block))).collect();
        payloads.into_iter().flat_map(|(block, payload)| self.send(3, block, &file[payload])).collect()
    }

    fn send(&mut self, opcode: u8, block: u64, payload: &[u8]) -> Vec<Sent> {
        let Some(server) = self.attempt.server else { return Vec::new() };
        self.sent += 1;
        let [high, low] = (block as u16).to_be_bytes();
        vec![(server, [&[0, opcode, high, low], payload].concat())]
    }
}
