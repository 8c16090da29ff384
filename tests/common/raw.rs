//! A scripted TFTP client. A test writes down every octet that goes out, and checks every packet
//! that comes in.
//!
//! ```text
//! let mut client = Client::new(daemon.port());
//! client.send(&rrq("boot.img", "octet", &[("blksize", "1428")]));
//! assert_eq!(client.expect_oack(), [("blksize".into(), "1428".into())]);
//! client.send(&ack(0));
//! assert_eq!(client.expect_data(1), content);
//! client.expect_silence(Duration::from_millis(300));
//! ```

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long an expected packet may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest UDP payload.
const DATAGRAM_MAX: usize = 65536;
/// The longest text of an ERROR.
const ERROR_TEXT_OCTETS_MAX: usize = 128;

/// One side of a transfer. [`send`](Self::send) sends to the well-known port until the server has
/// answered, then to the TID of the answer.
pub(crate) struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    tid: Option<SocketAddr>,
}

/// A received packet, by opcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Data { block: u16, payload: Vec<u8> },
    Ack { block: u16, rest: Vec<u8> },
    Error { code: u16, text: String },
    Oack(Vec<(String, String)>),
    Other(Vec<u8>),
}

impl Client {
    /// A client on a port of its own, for a server on 127.0.0.1.
    pub(crate) fn new(port: u16) -> Self {
        Self::to((Ipv4Addr::LOCALHOST, port).into())
    }

    /// A client for a server on any address.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).unwrap_or_else(|e| panic!("no port for a client: {e}"));
        Self { socket, server, tid: None }
    }

    /// A client on a socket of the test's own.
    pub(crate) fn on(socket: UdpSocket, server: SocketAddr) -> Self {
        Self { socket, server, tid: None }
    }

    /// A socket on another port, for a stranger.
    pub(crate) fn stranger() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("no port for a stranger: {e}"))
    }

    /// The client's own port.
    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap_or_else(|e| panic!("a bound socket has an address: {e}")).port()
    }

    /// The client's socket, for anything that this type has no method for.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The server's TID. The server must have answered.
    pub(crate) fn tid(&self) -> SocketAddr {
        self.tid.expect("the server has answered before its TID is asked for")
    }

    /// Takes the sender of a packet as the TID, or checks that it is the TID.
    pub(crate) fn latch(&mut self, from: SocketAddr) {
        assert_eq!(*self.tid.get_or_insert(from), from, "a packet from another TID");
    }

    /// Forgets the TID. The next packet goes from the same port to the well-known port.
    pub(crate) fn restart(&mut self) {
        self.tid = None;
    }

    /// Sends to the server's TID, or to the well-known port if the server has not answered yet.
    pub(crate) fn send(&self, packet: &[u8]) {
        self.send_to(self.tid.unwrap_or(self.server), packet);
    }

    /// Sends to an address of the test's choice, from the client's port.
    pub(crate) fn send_to(&self, to: SocketAddr, packet: &[u8]) {
        self.socket.send_to(packet, to).unwrap_or_else(|e| panic!("a datagram to {to}: {e}"));
    }

    /// Sends from another socket to the server's TID, or to the well-known port if the server has
    /// not answered yet.
    pub(crate) fn send_from(&self, socket: &UdpSocket, packet: &[u8]) {
        let to = self.tid.unwrap_or(self.server);
        socket.send_to(packet, to).unwrap_or_else(|e| panic!("a datagram to {to}: {e}"));
    }

    /// The next packet, from any address.
    pub(crate) fn receive(&self, patience: Duration) -> Option<(Packet, SocketAddr)> {
        receive_on(&self.socket, patience)
    }

    /// The next packet. The packet must come within seconds and, once the client knows the TID,
    /// from the TID.
    pub(crate) fn next(&mut self) -> Packet {
        let Some((packet, from)) = self.receive(PATIENCE) else {
            panic!("nothing came within {PATIENCE:?}");
        };
        match self.tid {
            Some(tid) => assert_eq!(from, tid, "{packet:?} came from another TID"),
            None => self.tid = Some(from),
        }
        packet
    }

    /// The next packet, which `wanted` must accept.
    pub(crate) fn expect(&mut self, wanted: impl FnOnce(&Packet) -> bool) -> Packet {
        let packet = self.next();
        assert!(wanted(&packet), "another packet than expected: {}", packet.brief());
        packet
    }

    /// The payload of the next packet, which must be this DATA.
    pub(crate) fn expect_data(&mut self, number: u16) -> Vec<u8> {
        match self.next() {
            Packet::Data { block, payload } if block == number => payload,
            other => panic!("DATA {number} expected, {} came", other.brief()),
        }
    }

    /// Expects this ACK as the next packet.
    pub(crate) fn expect_ack(&mut self, number: u16) {
        match self.next() {
            Packet::Ack { block, rest } if block == number && rest.is_empty() => {}
            other => panic!("ACK {number} expected, {} came", other.brief()),
        }
    }

    /// The options of the next packet, which must be an OACK, in their order.
    pub(crate) fn expect_oack(&mut self) -> Vec<(String, String)> {
        match self.next() {
            Packet::Oack(options) => options,
            other => panic!("OACK expected, {} came", other.brief()),
        }
    }

    /// The text of the next packet, which must be an ERROR with this code. R1350-50: every text
    /// must be short printable ASCII with one NUL at its end and without a path.
    pub(crate) fn expect_error(&mut self, number: u16) -> String {
        match self.next() {
            Packet::Error { code, text } if code == number => {
                assert!(text.len() <= ERROR_TEXT_OCTETS_MAX, "{} octets of text: {text:?}", text.len());
                assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~')), "not plain ASCII: {text:?}");
                assert!(!text.is_empty() && !text.contains("/tmp"), "a path, or nothing, in {text:?}");
                text
            }
            other => panic!("ERROR {number} expected, {} came", other.brief()),
        }
    }

    /// The payload of this DATA, which must be the next packet other than a repeat of the block
    /// before. For transfers whose retransmission timer follows the measured round trip: a busy
    /// machine may be slower than the timer.
    pub(crate) fn expect_new_data(&mut self, number: u16) -> Vec<u8> {
        let before = number.wrapping_sub(1);
        loop {
            match self.next() {
                Packet::Data { block, payload } if block == number => return payload,
                Packet::Data { block, .. } if block == before => {}
                Packet::Oack(_) if number == 1 => {}
                other => panic!("DATA {number} expected, {} came", other.brief()),
            }
        }
    }

    /// The same for an ACK.
    pub(crate) fn expect_new_ack(&mut self, number: u16) {
        let before = number.wrapping_sub(1);
        loop {
            match self.next() {
                Packet::Ack { block, rest } if block == number && rest.is_empty() => return,
                Packet::Ack { block, .. } if block == before => {}
                other => panic!("ACK {number} expected, {} came", other.brief()),
            }
        }
    }

    /// Expects no packet for this long.
    pub(crate) fn expect_silence(&self, duration: Duration) {
        if let Some((packet, from)) = self.receive(duration) {
            panic!("silence expected, {} came from {from}", packet.brief());
        }
    }

    /// Drops the packets that have arrived or arrive, until none arrives for `quiet`. Returns them.
    pub(crate) fn drain(&self, quiet: Duration) -> Vec<Packet> {
        std::iter::from_fn(|| self.receive(quiet).map(|(packet, _)| packet)).collect()
    }
}

impl Packet {
    /// Parses a packet as the RFCs define it.
    pub(crate) fn parse(datagram: &[u8]) -> Self {
        let number =
            |at: usize| datagram.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
        match (number(0), number(2)) {
            (Some(3), Some(block)) => Self::Data { block, payload: datagram[4..].to_vec() },
            (Some(4), Some(block)) => Self::Ack { block, rest: datagram[4..].to_vec() },
            (Some(5), Some(code)) if datagram.len() > 4 && datagram.ends_with(&[0]) => {
                let text = String::from_utf8_lossy(&datagram[4..datagram.len() - 1]).into_owned();
                Self::Error { code, text }
            }
            (Some(6), _) => match strings(&datagram[2..]) {
                Some(list) if list.len().is_multiple_of(2) => {
                    Self::Oack(list.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
                }
                _ => Self::Other(datagram.to_vec()),
            },
            _ => Self::Other(datagram.to_vec()),
        }
    }

    /// A short summary for assertion messages, with the lengths of payloads.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Data { block, payload } => format!("DATA {block} of {} octets", payload.len()),
            other => format!("{other:?}"),
        }
    }
}

/// The next packet on a socket of the test's own.
pub(crate) fn receive_on(socket: &UdpSocket, patience: Duration) -> Option<(Packet, SocketAddr)> {
    let until = Instant::now() + patience;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).unwrap_or_else(|e| panic!("a read timeout: {e}"));
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => return Some((Packet::parse(&buffer[..len]), from)),
            // A port unreachable of an earlier packet is no packet.
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => {}
            Err(e) => panic!("a client's socket: {e}"),
        }
    }
}

/// RRQ: `0001 name 00 mode 00 (option 00 value 00)*`.
pub(crate) fn rrq(name: &str, mode: &str, options: &[(&str, &str)]) -> Vec<u8> {
    request(1, name.as_bytes(), mode, options)
}

/// WRQ: `0002 name 00 mode 00 (option 00 value 00)*`.
pub(crate) fn wrq(name: &str, mode: &str, options: &[(&str, &str)]) -> Vec<u8> {
    request(2, name.as_bytes(), mode, options)
}

/// A request with any opcode. The name may have any octets.
pub(crate) fn request(opcode: u16, name: &[u8], mode: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = opcode.to_be_bytes().to_vec();
    packet.extend_from_slice(name);
    packet.push(0);
    for text in [mode].into_iter().chain(options.iter().flat_map(|&(option, value)| [option, value])) {
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    }
    packet
}

/// DATA: `0003 block payload`.
pub(crate) fn data(block: u16, payload: &[u8]) -> Vec<u8> {
    [&[0, 3], block.to_be_bytes().as_slice(), payload].concat()
}

/// ACK: `0004 block`.
pub(crate) fn ack(block: u16) -> Vec<u8> {
    [[0, 4], block.to_be_bytes()].concat()
}

/// ERROR: `0005 code text 00`.
pub(crate) fn error(code: u16, text: &str) -> Vec<u8> {
    [&[0, 5], code.to_be_bytes().as_slice(), text.as_bytes(), &[0]].concat()
}

/// OACK: `0006 (option 00 value 00)*`.
pub(crate) fn oack(options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = vec![0, 6];
    for text in options.iter().flat_map(|&(option, value)| [option, value]) {
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    }
    packet
}

/// NUL-terminated strings, or `None` if the last one has no NUL.
fn strings(octets: &[u8]) -> Option<Vec<String>> {
    let Some(octets) = octets.strip_suffix(&[0]) else {
        return octets.is_empty().then(Vec::new);
    };
    Some(octets.split(|&octet| octet == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}
