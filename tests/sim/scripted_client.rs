//! Clients that behave as real devices do. They build every packet octet by octet, so that they
//! share no mistake with the server's machines.

use std::sync::Arc;
use std::time::Duration;

use super::Rng;

/// The TID that stands for the well-known port.
pub(crate) const WELL_KNOWN: usize = 0;
/// Repeats of one packet before a client gives up.
const TRIES_MAX: u32 = 40;

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Follows the RFCs.
    Conforming,
    /// Repeats its last packet every 30 to 200 ms, without back-off.
    RepeatsEarly,
    /// Answers every packet, copies too, as clients of 1981 did (the Sorcerer's Apprentice bug, RFC
    /// 1123 §4.2.3.1).
    AnswersCopies,
    /// Answers every unexpected block with an ACK of the last one it has, as EDK2 does.
    AcksUnexpected,
    /// Sends a request, and nothing after it.
    NeverAnswers,
    /// Restarts in the middle, and sends its request again from the same port.
    Reboots,
    /// Pauses for 5 ms to 20 s now and then, then handles the packets that have arrived.
    Pauses,
    /// The same, and ignores copies.
    PausesAndIgnoresCopies,
    /// Pauses for 200 ms at most, once in a window, and hangs when a packet comes twice.
    HangsOnCopies,
}

impl Behavior {
    /// Whether the client, where nothing is lost, never makes the server repeat a block.
    pub(crate) fn causes_no_repeats(self) -> bool {
        matches!(self, Self::Conforming | Self::AnswersCopies | Self::AcksUnexpected)
    }

    /// Whether the client pauses now and then, and repeats nothing while it does.
    pub(crate) fn pauses(self) -> bool {
        matches!(self, Self::Pauses | Self::PausesAndIgnoresCopies | Self::HangsOnCopies)
    }
}

/// How many packets in a thousand that are progress make a client pause.
const PAUSES_PERMILLE: u64 = 60;

/// The file that a client asks for, and with which options.
#[derive(Debug, Clone)]
pub(crate) struct FileRequest {
    pub(crate) name: String,
    pub(crate) is_read: bool,
    /// Not asked for where it is 512.
    pub(crate) blksize: usize,
    /// Not asked for where it is 1.
    pub(crate) windowsize: u64,
    pub(crate) file: Arc<[u8]>,
}

/// How a transfer ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientOutcome {
    /// The client has the file, or the server's last ACK.
    Complete,
    GaveUp,
    /// The server sent an ERROR.
    Refused,
    /// A packet came twice.
    Hung,
}

/// A datagram of a client, after the TID that it is sent to.
pub(crate) type Sent = (usize, Vec<u8>);

pub(crate) struct ScriptedClient {
    behavior: Behavior,
    request: FileRequest,
    interval: Duration,
    /// It restarts after so many blocks; never, or never again, if `None`.
    restart_at: Option<u64>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) outcome: Option<ClientOutcome>,
    rng: Rng,
    /// It pauses until then.
    busy_until: Option<Duration>,
    attempt: Attempt,
    /// Requests sent, and DATA and ACKs to sessions.
    pub(crate) requests: u64,
    pub(crate) sent: u64,
}

/// What a client forgets when it restarts.
struct Attempt {
    /// The TID that answered.
    server: Option<usize>,
    blksize: usize,
    windowsize: u64,
    /// Blocks that came in order, or were acknowledged.
    done: u64,
    /// Blocks since the last ACK.
    in_window: u64,
    /// The gap was answered, or the window sent again, since the last progress.
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

impl ScriptedClient {
    pub(crate) fn new(behavior: Behavior, request: FileRequest, rng: &mut Rng) -> Self {
        let interval = match behavior {
            Behavior::RepeatsEarly => rng.one_of(&[30, 80, 200]),
            _ => rng.one_of(&[700, 1000, 3000]),
        };
        let blocks = (request.file.len() / request.blksize) as u64;
        let restart_at = (behavior == Behavior::Reboots).then(|| rng.within(0..=blocks));
        Self {
            behavior,
            request,
            interval: Duration::from_millis(interval),
            restart_at,
            deadline: None,
            outcome: None,
            rng: rng.fork(),
            busy_until: None,
            attempt: Attempt::new(),
            requests: 0,
            sent: 0,
        }
    }

    /// A client of any behavior that reads or writes a file of at most about `blocks` blocks, with
    /// one of these sizes of blocks and windows.
    pub(crate) fn random(
        name: String,
        blocks: usize,
        blksizes: &[usize],
        windowsizes: &[u64],
        rng: &mut Rng,
    ) -> Self {
        let behavior = rng.one_of(&[
            Behavior::Conforming,
            Behavior::Conforming,
            Behavior::RepeatsEarly,
            Behavior::AnswersCopies,
            Behavior::AcksUnexpected,
            Behavior::NeverAnswers,
            Behavior::Reboots,
            Behavior::Pauses,
            Behavior::PausesAndIgnoresCopies,
            Behavior::HangsOnCopies,
        ]);
        let is_read = rng.chance(600);
        let blksize = rng.one_of(blksizes);
        let windowsize = if behavior == Behavior::AnswersCopies { 1 } else { rng.one_of(windowsizes) };
        let length = rng.length(0..=blocks) * blksize + rng.one_of(&[0, 0, 1, blksize - 1]);
        let file = (0..length).map(|_| rng.next() as u8).collect();
        Self::new(behavior, FileRequest { name, is_read, blksize, windowsize, file }, rng)
    }

    pub(crate) fn behavior(&self) -> Behavior {
        self.behavior
    }

    /// Whether the network may duplicate the client's packets. A sender that answers copies sends
    /// everything after a duplicate ACK twice, and the receiver can't prevent that.
    pub(crate) fn tolerates_duplicates(&self) -> bool {
        self.request.is_read || self.behavior != Behavior::AnswersCopies
    }

    pub(crate) fn request(&self) -> &FileRequest {
        &self.request
    }

    /// Blocks of the whole file.
    pub(crate) fn blocks(&self) -> u64 {
        (self.request.file.len() / self.request.blksize) as u64 + 1
    }

    /// Starts, or restarts.
    pub(crate) fn start(&mut self, now: Duration) -> Vec<Sent> {
        self.attempt = Attempt::new();
        self.deadline = (self.behavior != Behavior::NeverAnswers).then(|| now + self.interval);
        vec![self.request_packet()]
    }

    fn request_packet(&mut self) -> Sent {
        self.requests += 1;
        let mut octets = vec![0, if self.request.is_read { 1 } else { 2 }];
        octets.extend_from_slice(format!("{}\0octet\0", self.request.name).as_bytes());
        for (name, value, default) in
            [("blksize", self.request.blksize as u64, 512), ("windowsize", self.request.windowsize, 1)]
        {
            if value != default {
                octets.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
            }
        }
        (WELL_KNOWN, octets)
    }

    /// When a packet that arrives now is handled, if the client pauses.
    pub(crate) fn pause_until(&mut self, now: Duration, octets: &[u8]) -> Option<Duration> {
        if let Some(until) = self.busy_until.take() {
            // Once the pause is over, the first packet that waits is handled.
            self.busy_until = (now < until).then_some(until);
            return self.busy_until;
        }
        let number = octets.get(2..4).map_or(0, |it| u64::from(u16::from_be_bytes([it[0], it[1]])));
        let gets_on = octets[1] == 6 || number > self.attempt.done;
        if self.outcome.is_some() || !gets_on || !self.rng.chance(PAUSES_PERMILLE) {
            return None;
        }
        let longest_us = match self.behavior {
            Behavior::Pauses | Behavior::PausesAndIgnoresCopies => {
                self.rng.one_of(&[240_000, 1_000_000, 20_000_000])
            }
            Behavior::HangsOnCopies if !std::mem::replace(&mut self.attempt.has_paused, true) => 200_000,
            _ => return None,
        };
        self.busy_until = Some(now + Duration::from_micros(self.rng.within(5000..=longest_us)));
        self.busy_until
    }

    pub(crate) fn on_packet(&mut self, now: Duration, from: usize, octets: &[u8]) -> Vec<Sent> {
        if self.behavior == Behavior::NeverAnswers
            || (self.behavior == Behavior::HangsOnCopies && self.is_hung())
        {
            return Vec::new();
        }
        match self.attempt.server {
            Some(server) if server != from => return self.on_stranger(from, octets),
            // The client has closed its port.
            _ if self.outcome.is_some() && self.deadline.is_none() => return Vec::new(),
            _ => {}
        }
        let number = octets.get(2..4).map(|it| u16::from_be_bytes([it[0], it[1]]));
        match (octets.get(1), number) {
            (Some(6), _) => self.on_oack(now, from, &octets[2..]),
            (Some(3), Some(block)) if self.request.is_read => self.on_data(now, from, block, &octets[4..]),
            (Some(4), Some(block)) if !self.request.is_read => self.on_ack(now, from, block),
            (Some(5), _) => {
                eprintln!("{:?} of {}: {}", self.behavior, self.request.name, octets[2..].escape_ascii());
                self.end(ClientOutcome::Refused);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// RFC 1350 §4: a packet from an unknown TID gets ERROR 5, and the transfer goes on. (An ERROR
    /// gets no answer, and old clients answer no stranger.)
    fn on_stranger(&self, from: usize, octets: &[u8]) -> Vec<Sent> {
        let is_error = octets.get(1) == Some(&5);
        if is_error || self.behavior == Behavior::AnswersCopies || self.outcome.is_some() {
            return Vec::new();
        }
        vec![(from, b"\0\x05\0\x05who is this?\0".to_vec())]
    }

    fn on_oack(&mut self, now: Duration, from: usize, options: &[u8]) -> Vec<Sent> {
        if self.attempt.done > 0 || self.outcome.is_some() {
            return Vec::new();
        }
        self.attempt.server = Some(from);
        let mut words = options.split(|&octet| octet == 0).map(|word| std::str::from_utf8(word).unwrap());
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let value: u64 = value.parse().unwrap();
            match name {
                "blksize" => self.attempt.blksize = value as usize,
                "windowsize" => self.attempt.windowsize = value,
                other => panic!("{other} was not asked for"),
            }
        }
        assert!(
            self.attempt.blksize == self.request.blksize
                && self.attempt.windowsize <= self.request.windowsize
        );
        self.got_on(now);
        if self.request.is_read { self.ack(0) } else { self.window() }
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
        if block != expected || self.outcome.is_some() {
            return self.on_unexpected(block);
        }
        let start = self.attempt.done as usize * self.attempt.blksize;
        let until = (start + self.attempt.blksize).min(self.request.file.len());
        assert!(self.request.file[start..until] == *payload, "block {block} has wrong content");
        self.attempt.done += 1;
        self.attempt.in_window += 1;
        self.got_on(now);
        if self.is_switched_off() {
            return self.start(now);
        }
        if payload.len() < self.attempt.blksize {
            self.outcome = Some(ClientOutcome::Complete);
            // It dallies to answer a copy of the last block. A boot loader that repeats early is
            // gone by then.
            let dally = (self.behavior != Behavior::RepeatsEarly).then(|| now + self.interval * 3);
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
        match self.behavior {
            Behavior::HangsOnCopies if is_old => self.hang(),
            Behavior::PausesAndIgnoresCopies if is_old => Vec::new(),
            Behavior::AnswersCopies if is_old => self.ack(block),
            Behavior::AnswersCopies => Vec::new(),
            Behavior::AcksUnexpected => self.ack(self.attempt.done),
            // In lock-step the ACK may have been lost. In a window the first block out of order
            // shows a gap.
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
        if self.outcome.is_some() {
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
                self.end(ClientOutcome::Complete);
                return Vec::new();
            }
            return self.window();
        }
        if self.behavior == Behavior::HangsOnCopies && block <= done {
            return self.hang();
        }
        let says_gap =
            block == done && self.attempt.windowsize > 1 && self.behavior != Behavior::PausesAndIgnoresCopies;
        let answers = match self.behavior {
            Behavior::AnswersCopies => block == done,
            _ => says_gap && !std::mem::replace(&mut self.attempt.is_repeated, true),
        };
        if answers { self.window() } else { Vec::new() }
    }

    pub(crate) fn on_deadline(&mut self, now: Duration) -> Vec<Sent> {
        self.deadline = None;
        if self.outcome.is_some() {
            return Vec::new();
        }
        if let Some(until) = self.busy_until.filter(|until| now < *until) {
            self.deadline = Some(until);
            return Vec::new();
        }
        self.attempt.tries += 1;
        if self.attempt.tries > TRIES_MAX {
            self.end(ClientOutcome::GaveUp);
            return Vec::new();
        }
        self.deadline = Some(now + self.interval);
        match (self.attempt.server, self.request.is_read) {
            (None, _) => vec![self.request_packet()],
            (Some(_), true) => self.ack(self.attempt.done),
            (Some(_), false) => self.window(),
        }
    }

    fn hang(&mut self) -> Vec<Sent> {
        self.end(ClientOutcome::Hung);
        Vec::new()
    }

    fn is_hung(&self) -> bool {
        self.outcome == Some(ClientOutcome::Hung)
    }

    /// Whether the server has to send an OACK. A first packet that is none may belong to the
    /// transfer before the restart.
    fn wants_oack(&self) -> bool {
        self.request.blksize != 512 || self.request.windowsize != 1
    }

    fn is_switched_off(&mut self) -> bool {
        self.restart_at.take_if(|at| *at <= self.attempt.done).is_some()
    }

    fn got_on(&mut self, now: Duration) {
        (self.attempt.tries, self.attempt.is_repeated) = (0, false);
        self.deadline = Some(now + self.interval);
    }

    fn end(&mut self, ended: ClientOutcome) {
        self.outcome.get_or_insert(ended);
        self.deadline = None;
    }

    fn ack(&mut self, block: u64) -> Vec<Sent> {
        self.attempt.in_window = 0;
        self.attempt.has_paused = false;
        self.send(4, block, &[])
    }

    /// All blocks of the current window.
    fn window(&mut self) -> Vec<Sent> {
        let (first, file) = (self.attempt.done + 1, Arc::clone(&self.request.file));
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
