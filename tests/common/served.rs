//! A daemon and the directory that it serves, for one test.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::content::{Content, listing};
use super::daemon::Daemon;
use super::raw::{self, Client, Packet};

/// The file that every served directory has.
pub(crate) const GOOD: &str = "good.img";
const GOOD_CONTENT: Content = Content { seed: 7, len: 1300 };
/// How long something may take that should happen at once. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);
/// An option for transfers in which a test counts every packet: the server repeats nothing within
/// ten seconds.
pub(crate) const SLOW: (&str, &str) = ("timeout", "10");

/// A running daemon with a directory of its own.
pub(crate) struct Served {
    pub(crate) daemon: Daemon,
    pub(crate) root: TempDir,
}

impl Served {
    /// Serves a directory with the file [`GOOD`].
    pub(crate) fn new(flags: &[&str]) -> Self {
        let root = directory();
        Self { daemon: Daemon::start(root.path(), flags), root }
    }

    /// Serves a prepared directory.
    pub(crate) fn at(root: TempDir, daemon: Daemon) -> Self {
        Self { daemon, root }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Puts a file into the directory.
    pub(crate) fn file(&self, name: &str, octets: &[u8]) {
        fs::write(self.path(name), octets).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// The content of a file, or `None` if the file does not exist.
    pub(crate) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    /// A client on a port of its own.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.daemon.port())
    }

    /// A client that has sent this request.
    pub(crate) fn ask(&self, request: &[u8]) -> Client {
        let client = self.client();
        client.send(request);
        client
    }

    /// A client whose read request, with `options` and [`SLOW`], got an OACK. The client has not
    /// acknowledged the OACK.
    pub(crate) fn offered(&self, name: &str, options: &[(&str, &str)]) -> Client {
        let mut client = self.ask(&raw::rrq(name, "octet", &[options, &[SLOW]].concat()));
        client.expect_oack();
        client
    }

    /// A client that has acknowledged that OACK: DATA 1 is next.
    pub(crate) fn reading(&self, name: &str, options: &[(&str, &str)]) -> Client {
        let client = self.offered(name, options);
        client.send(&raw::ack(0));
        client
    }

    /// A client whose write request, with `options` and [`SLOW`], got an OACK: the client has to
    /// send DATA 1.
    pub(crate) fn writing(&self, name: &str, options: &[(&str, &str)]) -> Client {
        let mut client = self.ask(&raw::wrq(name, "octet", &[options, &[SLOW]].concat()));
        client.expect_oack();
        client
    }

    /// Reads a whole file, block by block.
    pub(crate) fn read(&self, name: &str, mode: &str, options: &[(&str, &str)]) -> Vec<u8> {
        let mut client = self.ask(&raw::rrq(name, mode, options));
        read_from(&mut client)
    }

    /// Writes a whole file, block by block. The server must accept the file.
    pub(crate) fn write(&self, name: &str, mode: &str, options: &[(&str, &str)], octets: &[u8]) {
        let mut client = self.ask(&raw::wrq(name, mode, options));
        write_to(&mut client, octets);
    }

    /// Checks that the daemon still serves a good request, and that no part of the daemon has
    /// panicked.
    pub(crate) fn still_serves(&self) {
        assert_eq!(self.read(GOOD, "octet", &[]), GOOD_CONTENT.bytes(), "a good request after all that");
        self.has_not_panicked();
    }

    /// The same where the server may have no free place for a moment.
    pub(crate) fn serves_when_there_is_room(&self) {
        let mut client = self.ask_until_answered(&raw::rrq(GOOD, "octet", &[]));
        assert_eq!(read_from(&mut client), GOOD_CONTENT.bytes(), "a good request after all that");
        self.has_not_panicked();
    }

    /// A client that repeats this request until the server answers, as clients do.
    pub(crate) fn ask_until_answered(&self, request: &[u8]) -> Client {
        let client = self.client();
        let until = Instant::now() + PATIENCE;
        let timeout = Some(Duration::from_millis(200));
        client.socket().set_read_timeout(timeout).expect("a read timeout");
        loop {
            client.send(request);
            // The buffer is shorter than the datagram, which Linux reports as no error.
            if client.socket().peek_from(&mut [0; 4]).is_ok() {
                return client;
            }
            assert!(
                Instant::now() < until,
                "there is room, and nobody answers; the log:\n{}",
                self.daemon.log()
            );
        }
    }

    fn has_not_panicked(&self) {
        let log = self.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// The open descriptors, with those that the daemon keeps once it has refused requests.
    pub(crate) fn descriptors_at_rest(&self) -> usize {
        for _ in 0..8 {
            self.ask(&raw::rrq("nobody has this", "octet", &[])).expect_error(1);
        }
        self.daemon.open_descriptors()
    }

    /// Waits until at most this many descriptors are open.
    pub(crate) fn descriptors_fall_to(&self, at_most: usize) {
        let until = Instant::now() + PATIENCE;
        while self.daemon.open_descriptors() > at_most {
            assert!(
                Instant::now() < until,
                "{} descriptors, more than {at_most}",
                self.daemon.open_descriptors()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the directory holds [`GOOD`] and these files only.
    pub(crate) fn holds_only(&self, names: &[&str]) {
        let mut wanted: Vec<PathBuf> = names.iter().chain([&GOOD]).map(|name| self.path(name)).collect();
        wanted.sort();
        let found = || listing(self.root.path()).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        let until = Instant::now() + PATIENCE;
        // Without O_TMPFILE, the removal of a named temporary file may take a moment.
        while found() != wanted {
            assert!(Instant::now() < until, "{:?} instead of {wanted:?}", found());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The log line of a transfer of this name with this outcome.
    pub(crate) fn logged(&self, outcome: &str, name: &str) -> String {
        let line = self.daemon.wait_for_log(PATIENCE, |line| {
            line.contains(outcome) && line.contains(&format!(", name: {name},"))
        });
        line.unwrap_or_else(|| panic!("no line says {outcome:?} of {name}; the log:\n{}", self.daemon.log()))
    }
}

/// A new directory with the file [`GOOD`].
pub(crate) fn directory() -> TempDir {
    let root = tempfile::tempdir().expect("a directory for the test");
    GOOD_CONTENT.write(&root.path().join(GOOD));
    root
}

/// Receives a whole file, block by block, for a client that has sent its request.
pub(crate) fn read_from(client: &mut Client) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut blksize = 512;
    let mut block = 1u16;
    let mut packet = client.next();
    if let Packet::Oack(options) = &packet {
        blksize = granted_blksize(options);
        client.send(&raw::ack(0));
        packet = client.next();
    }
    loop {
        match packet {
            Packet::Data { block: number, payload } if number == block => {
                client.send(&raw::ack(block));
                octets.extend_from_slice(&payload);
                if payload.len() < blksize {
                    return octets;
                }
                block = block.wrapping_add(1);
            }
            // A daemon on a busy machine may repeat a block.
            Packet::Data { block: number, .. } if number == block.wrapping_sub(1) => {}
            Packet::Oack(_) if block == 1 => {}
            other => panic!("DATA {block} expected, {} came", other.brief()),
        }
        packet = client.next();
    }
}

/// Sends a whole file, block by block, for a client that has sent its request.
pub(crate) fn write_to(client: &mut Client, octets: &[u8]) {
    let mut blksize = 512;
    match client.next() {
        Packet::Oack(options) => blksize = granted_blksize(&options),
        Packet::Ack { block: 0, .. } => {}
        other => panic!("{} answers a write request", other.brief()),
    }
    let mut block = 0u16;
    let mut offset = 0;
    loop {
        block = block.wrapping_add(1);
        let payload = &octets[offset..octets.len().min(offset + blksize)];
        client.send(&raw::data(block, payload));
        loop {
            match client.next() {
                Packet::Ack { block: number, .. } if number == block => break,
                Packet::Ack { block: number, .. } if number == block.wrapping_sub(1) => {}
                Packet::Oack(_) if block == 1 => {}
                other => panic!("ACK {block} expected, {} came", other.brief()),
            }
        }
        offset += payload.len();
        if payload.len() < blksize {
            return;
        }
    }
}

fn granted_blksize(options: &[(String, String)]) -> usize {
    let value = options.iter().find(|(name, _)| name.eq_ignore_ascii_case("blksize"));
    value.map_or(512, |(_, value)| value.parse().expect("a block size is a number"))
}
