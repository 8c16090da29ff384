//! A blocking client that reads and writes whole files on one socket, with go-back-N: RFC 1350,
//! 2347, 2348, 2349 and 7440.
//!
//! The client keeps no content. Closures take the octets of a read and supply the octets of a
//! write, by offset.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::raw::{self, Packet};

/// Without a packet for this long, the client sends its last packets again.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// After this many repeats in a row without an answer, the client gives up.
const REPEATS_MAX: u32 = 20;

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) mode: &'static str,
    pub(crate) blksize: Option<u16>,
    pub(crate) windowsize: Option<u16>,
}

/// A complete transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// Octets of DATA payload.
    pub(crate) octets: u64,
    pub(crate) blksize: u16,
    pub(crate) windowsize: u16,
    /// Repeats of this side after a silence.
    pub(crate) repeats: u32,
}

/// Why a transfer failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server sent ERROR.
    Refused {
        code: u16,
        text: String,
    },
    /// The server fell silent after this many octets.
    Silent {
        octets: u64,
    },
    /// The server broke a rule of the protocol.
    Broken(String),
    Socket(io::Error),
}

impl Ask {
    /// Octet mode, no options.
    pub(crate) const PLAIN: Self = Self { mode: "octet", blksize: None, windowsize: None };

    /// Octet mode with both options.
    pub(crate) fn window(blksize: u16, windowsize: u16) -> Self {
        Self { blksize: Some(blksize), windowsize: Some(windowsize), ..Self::PLAIN }
    }

    fn request(&self, opcode: u16, name: &str) -> Vec<u8> {
        let (blksize, windowsize) =
            (self.blksize.map(|n| n.to_string()), self.windowsize.map(|n| n.to_string()));
        let options: Vec<_> = [("blksize", &blksize), ("windowsize", &windowsize)]
            .into_iter()
            .filter_map(|(option, value)| Some((option, value.as_deref()?)))
            .collect();
        raw::request(opcode, name.as_bytes(), self.mode, &options)
    }

    /// The block size and the window size that an OACK grants. An OACK must not grant more than the
    /// request asked for.
    fn granted(&self, oack: &[(String, String)]) -> Result<(u16, u16), Failed> {
        let (mut blksize, mut windowsize) = (512, 1);
        for (option, value) in oack {
            let asked = match option.as_str() {
                "blksize" => self.blksize,
                "windowsize" => self.windowsize,
                _ => None,
            };
            let Some(value) =
                value.parse().ok().filter(|&n: &u16| n > 0 && asked.is_some_and(|asked| n <= asked))
            else {
                return Err(Failed::Broken(format!("OACK {option}={value}, asked for {asked:?}")));
            };
            *(if option == "blksize" { &mut blksize } else { &mut windowsize }) = value;
        }
        Ok((blksize, windowsize))
    }
}

/// Reads a file. `sink` gets every octet once and in order: the offset of a piece, then the piece.
pub(crate) fn get(
    server: SocketAddr,
    name: &str,
    ask: Ask,
    mut sink: impl FnMut(u64, &[u8]),
) -> Result<Done, Failed> {
    let mut link = Link::open(server, ask.request(1, name))?;
    let mut done = Done { octets: 0, blksize: 512, windowsize: 1, repeats: 0 };
    let mut next_block = 1u16;
    let mut in_window = 0;
    // The client sends one ACK for a gap or a repeated window. With more ACKs both sides would send
    // everything twice from then on.
    let mut told_of_gap = false;
    // The loop below handles any other first answer.
    if let Packet::Oack(oack) = link.first()? {
        (done.blksize, done.windowsize) = ask.granted(&oack)?;
        link.send(raw::ack(0))?;
    }
    loop {
        let (block, len) = link.receive_data(done.octets)?;
        if block != next_block {
            // A packet is missing, or the server repeats the window because the ACK was lost.
            if !told_of_gap {
                told_of_gap = true;
                in_window = 0;
                link.send(raw::ack(next_block.wrapping_sub(1)))?;
            }
            continue;
        }
        if len > usize::from(done.blksize) {
            return Err(Failed::Broken(format!("DATA {block} of {len} octets, blksize {}", done.blksize)));
        }
        told_of_gap = false;
        sink(done.octets, link.payload(len));
        done.octets += len as u64;
        in_window += 1;
        let last = len < usize::from(done.blksize);
        if last || in_window == done.windowsize {
            in_window = 0;
            link.send(raw::ack(block))?;
        }
        if last {
            return Ok(Done { repeats: link.repeats, ..done });
        }
        next_block = next_block.wrapping_add(1);
    }
}

/// Writes a file. `source` fills a buffer with the octets from an offset on, and returns their
/// number. The buffer stays partly empty only at the end of the file.
pub(crate) fn put(
    server: SocketAddr,
    name: &str,
    ask: Ask,
    mut source: impl FnMut(u64, &mut [u8]) -> usize,
) -> Result<Done, Failed> {
    let mut link = Link::open(server, ask.request(2, name))?;
    let mut done = Done { octets: 0, blksize: 512, windowsize: 1, repeats: 0 };
    match link.first()? {
        Packet::Oack(oack) => (done.blksize, done.windowsize) = ask.granted(&oack)?,
        Packet::Ack { block: 0, .. } => {}
        other => return Err(Failed::Broken(format!("{} answers a write request", other.brief()))),
    }
    let blksize = u64::from(done.blksize);
    let mut frame = vec![0; usize::from(done.blksize) + 4];
    let mut acked = 0u64; // blocks that the server has
    let mut last_block = None; // number of the short block, once it has been reached
    let mut restarted = false;
    let mut silent = 0;
    loop {
        let mut sent = acked;
        while sent < acked + u64::from(done.windowsize) && last_block.is_none_or(|last| sent < last) {
            let len = source(sent * blksize, &mut frame[4..]);
            sent += 1;
            frame[..2].copy_from_slice(&[0, 3]);
            // The block number is the low 16 bits: 0 follows 65535.
            frame[2..4].copy_from_slice(&(sent as u16).to_be_bytes());
            link.send_now(&frame[..4 + len])?;
            if len < usize::from(done.blksize) {
                last_block = Some(sent);
                done.octets = (sent - 1) * blksize + len as u64;
            }
        }
        loop {
            let Some(block) = link.receive_ack()? else {
                silent += 1;
                link.repeats += 1;
                if silent > REPEATS_MAX {
                    return Err(Failed::Silent { octets: acked * blksize });
                }
                break;
            };
            let ahead = u64::from(block.wrapping_sub(acked as u16));
            if ahead == 0 && done.windowsize > 1 && !restarted {
                // The first block of the window was lost. RFC 7440 §4 allows one restart for each
                // window.
                restarted = true;
                break;
            }
            if (1..=sent - acked).contains(&ahead) {
                (acked, silent, restarted) = (acked + ahead, 0, false);
                break;
            }
        }
        if last_block == Some(acked) {
            return Ok(Done { repeats: link.repeats, ..done });
        }
    }
}

/// The socket, the server's TID, and the last packet for a repeat.
struct Link {
    socket: UdpSocket,
    server: SocketAddr,
    last: Vec<u8>,
    buffer: Vec<u8>,
    /// Length of the first answer, if the transfer has not handled it yet.
    pending: Option<usize>,
    repeats: u32,
}

impl Link {
    fn open(server: SocketAddr, request: Vec<u8>) -> Result<Self, Failed> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(REPEAT_AFTER))?;
        socket.send_to(&request, server)?;
        Ok(Self { socket, server, last: request, buffer: vec![0; 65536], pending: None, repeats: 0 })
    }

    /// The answer to the request. From then on the client accepts packets of its TID only.
    fn first(&mut self) -> Result<Packet, Failed> {
        for _ in 0..REPEATS_MAX {
            match self.socket.recv_from(&mut self.buffer) {
                Ok((len, tid)) => {
                    self.socket.connect(tid)?;
                    self.pending = Some(len);
                    return match Packet::parse(&self.buffer[..len]) {
                        Packet::Error { code, text } => Err(Failed::Refused { code, text }),
                        packet => Ok(packet),
                    };
                }
                Err(e) if is_timeout(&e) => {
                    self.repeats += 1;
                    self.socket.send_to(&self.last, self.server)?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(Failed::Silent { octets: 0 })
    }

    fn send(&mut self, packet: Vec<u8>) -> Result<(), Failed> {
        self.pending = None;
        self.send_now(&packet)?;
        self.last = packet;
        Ok(())
    }

    /// A closed TID (port unreachable) ends the transfer.
    fn send_now(&self, packet: &[u8]) -> Result<(), Failed> {
        match self.socket.send(packet) {
            // The error concerns an earlier packet. The server's reason may have arrived by now.
            Err(closed) if closed.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => Ok(sent.map(drop)?),
        }
    }

    /// The length of the next packet. The last packet of the server may lie behind the error that
    /// reports its closed port.
    fn receive(&mut self) -> io::Result<usize> {
        let received = self.socket.recv(&mut self.buffer);
        match received {
            Err(closed) if closed.kind() == io::ErrorKind::ConnectionRefused => {
                self.socket.recv(&mut self.buffer).map_err(|_| closed)
            }
            received => received,
        }
    }

    fn receive_data(&mut self, octets: u64) -> Result<(u16, usize), Failed> {
        for _ in 0..REPEATS_MAX {
            let len = match self.pending.take() {
                Some(len) => len,
                None => match self.receive() {
                    Ok(len) => len,
                    Err(e) if is_timeout(&e) => {
                        self.repeats += 1;
                        self.send_now(&self.last)?;
                        continue;
                    }
                    Err(e) => return Err(e.into()),
                },
            };
            if len >= 4 && self.buffer[..2] == [0, 3] {
                return Ok((u16::from_be_bytes([self.buffer[2], self.buffer[3]]), len - 4));
            }
            match Packet::parse(&self.buffer[..len]) {
                Packet::Error { code, text } => return Err(Failed::Refused { code, text }),
                // The server repeats its OACK: our ACK was lost or late.
                Packet::Oack(_) => self.send_now(&self.last)?,
                other => return Err(Failed::Broken(format!("{} in the middle of a read", other.brief()))),
            }
        }
        Err(Failed::Silent { octets })
    }

    fn payload(&self, len: usize) -> &[u8] {
        &self.buffer[4..4 + len]
    }

    /// The number of the next ACK, or `None` after a silence.
    fn receive_ack(&mut self) -> Result<Option<u16>, Failed> {
        loop {
            let len = match self.receive() {
                Ok(len) => len,
                Err(e) if is_timeout(&e) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            match Packet::parse(&self.buffer[..len]) {
                Packet::Ack { block, .. } => return Ok(Some(block)),
                Packet::Error { code, text } => return Err(Failed::Refused { code, text }),
                // The server repeats its OACK: our first DATA is on its way.
                Packet::Oack(_) => {}
                other => return Err(Failed::Broken(format!("{} in the middle of a write", other.brief()))),
            }
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, text } => write!(f, "the server sent ERROR {code}: {text}"),
            Self::Silent { octets } => write!(f, "the server fell silent after {octets} octets"),
            Self::Broken(what) => write!(f, "the server broke a rule: {what}"),
            Self::Socket(error) => write!(f, "the client's socket: {error}"),
        }
    }
}

impl std::error::Error for Failed {}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
