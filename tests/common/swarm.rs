//! Very many clients on one thread, each with an address of its own. They transfer one file after
//! another as real clients do: they repeat unanswered packets, and give up after a long silence.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::raw::{self, Packet};

/// Without a packet for this long, a client sends its last packets again.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// A client gives up after this long without progress.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15);
/// Time between two answers to the same gap. With more answers both sides would send everything
/// twice from then on.
const GAP_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// The longest datagram that a client asks for.
const DATAGRAM_MAX: usize = 4 + 1428;

/// What a client has to transfer.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) writes: bool,
    pub(crate) name: String,
    pub(crate) mode: &'static str,
    pub(crate) blksize: u16,
    pub(crate) windowsize: u16,
    /// The file as it is on the network.
    pub(crate) wire: Arc<[u8]>,
}

/// A transfer as its client saw it.
#[derive(Debug, Clone)]
pub(crate) struct TransferResult {
    pub(crate) job: Job,
    /// The client's address. No two transfers have the same address.
    pub(crate) peer: SocketAddr,
    pub(crate) end: End,
    /// Packets sent and received.
    pub(crate) packets: u64,
    /// Repeats of the client after a silence.
    pub(crate) repeats: u32,
}

/// How a transfer ended for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has all octets, and they are right.
    Right,
    /// The server sent wrong octets, or broke another rule.
    Wrong(String),
    /// The server sent ERROR.
    Refused { code: u16, text: String },
    /// The client gave up.
    Silent,
}

/// Random numbers from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Runs `clients` clients, each of which transfers one file after another. The clients start no
/// transfer after `lasting`; the function waits for the last one. `job` gets the number of the
/// client and the number of the transfer. The addresses are in 127.`network`.0.0/16. No two calls
/// in a test may share a network.
pub(crate) fn run_clients(
    server: SocketAddr,
    network: u8,
    clients: u16,
    lasting: Duration,
    job: impl Fn(u16, usize) -> Job + Send + Sync + 'static,
) -> Vec<TransferResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (job, until) = (Arc::new(job), Instant::now() + lasting);
    runtime.block_on(async {
        // Each client is a task: futures within one task would not get equal turns.
        let mut swarm = JoinSet::new();
        for client in 0..clients {
            let job = Arc::clone(&job);
            swarm.spawn(async move {
                let [high, low] = client.to_be_bytes();
                let address = Ipv4Addr::new(127, network, high, low);
                // No client may use the server's own port: its packets would look like the
                // server's.
                let (mut ports, mut results) = (HashSet::from([server.port()]), Vec::new());
                while Instant::now() < until {
                    results.push(go(server, address, &mut ports, job(client, results.len())).await);
                }
                results
            });
        }
        swarm.join_all().await.concat()
    })
}

async fn go(server: SocketAddr, address: Ipv4Addr, ports: &mut HashSet<u16>, job: Job) -> TransferResult {
    let socket = fresh_socket(address, ports).await;
    let peer = socket.local_addr().expect("a bound socket has an address");
    let progress = Instant::now();
    let mut link = Link { socket, server, tid: None, last: Vec::new(), packets: 0, repeats: 0, progress };
    let end = if job.writes { write(&mut link, &job).await } else { read(&mut link, &job).await };
    let end = end.unwrap_or_else(|end| end);
    TransferResult { job, peer, end, packets: link.packets, repeats: link.repeats }
}

/// A socket on a port that the client has not used before. The server's log tells the transfers
/// apart by port.
async fn fresh_socket(address: Ipv4Addr, ports: &mut HashSet<u16>) -> UdpSocket {
    loop {
        let socket =
            UdpSocket::bind((address, 0)).await.unwrap_or_else(|e| panic!("no port for a client: {e}"));
        if ports.insert(socket.local_addr().expect("a bound socket has an address").port()) {
            return socket;
        }
    }
}

impl Job {
    fn request(&self) -> Vec<u8> {
        let (blksize, windowsize) = (self.blksize.to_string(), self.windowsize.to_string());
        let mut options = Vec::new();
        if self.blksize != 512 {
            options.push(("blksize", &*blksize));
        }
        if self.windowsize != 1 {
            options.push(("windowsize", &*windowsize));
        }
        raw::request(if self.writes { 2 } else { 1 }, self.name.as_bytes(), self.mode, &options)
    }

    /// The octets of a block. Blocks count from 1. Only the last block is shorter than the block
    /// size.
    fn block(&self, block: u16) -> &[u8] {
        let from = (usize::from(block) - 1) * usize::from(self.blksize);
        &self.wire[from..self.wire.len().min(from + usize::from(self.blksize))]
    }

    fn last_block(&self) -> u16 {
        u16::try_from(self.wire.len() / usize::from(self.blksize) + 1).expect("a file without a rollover")
    }

    /// An OACK must grant exactly what the request asked for, as the server has room for all
    /// clients.
    fn check_oack(&self, oack: &[(String, String)]) -> Result<(), End> {
        let asked = [("blksize", self.blksize, 512), ("windowsize", self.windowsize, 1)];
        let asked = asked.into_iter().filter(|(_, value, default)| value != default);
        let asked: Vec<_> = asked.map(|(name, value, _)| (name.to_owned(), value.to_string())).collect();
        if asked == oack { Ok(()) } else { Err(End::Wrong(format!("OACK {oack:?}, asked for {asked:?}"))) }
    }
}

/// Reads a file. Like many clients, this one closes its port after the last ACK.
async fn read(link: &mut Link, job: &Job) -> Result<End, End> {
    link.begin(job.request()).await;
    let (mut received, mut in_window, mut told_of_gap) = (0u16, 0, None::<Instant>);
    loop {
        match link.next().await? {
            Packet::Oack(oack) if received == 0 => {
                job.check_oack(&oack)?;
                link.say(vec![raw::ack(0)]).await;
            }
            Packet::Data { block, payload } if block == received.wrapping_add(1) => {
                if block > job.last_block() || payload != job.block(block) {
                    return Err(End::Wrong(format!("DATA {block} has other octets than the file")));
                }
                received = block;
                in_window += 1;
                told_of_gap = None;
                link.progress = Instant::now();
                let last = payload.len() < usize::from(job.blksize);
                if last || in_window == job.windowsize {
                    in_window = 0;
                    link.say(vec![raw::ack(block)]).await;
                }
                if last {
                    return Ok(End::Right);
                }
            }
            // A packet is missing, or the server repeats the window because the ACK was lost.
            Packet::Data { .. } if told_of_gap.is_none_or(|at| at.elapsed() > GAP_AGAIN_AFTER) => {
                told_of_gap = Some(Instant::now());
                in_window = 0;
                link.say(vec![raw::ack(received)]).await;
            }
            Packet::Data { .. } | Packet::Oack(_) => {}
            other => return Err(End::Wrong(format!("{} in a read", other.brief()))),
        }
    }
}

async fn write(link: &mut Link, job: &Job) -> Result<End, End> {
    link.begin(job.request()).await;
    let last = job.last_block();
    let (mut acked, mut restarted) = (None, false);
    loop {
        let block = match link.next().await? {
            Packet::Oack(oack) => {
                job.check_oack(&oack)?;
                0
            }
            Packet::Ack { block, .. } if block <= last => block,
            other => return Err(End::Wrong(format!("{} in a write", other.brief()))),
        };
        if acked.is_none_or(|acked| block > acked) {
            (acked, restarted) = (Some(block), false);
            link.progress = Instant::now();
        } else if job.windowsize > 1 && acked == Some(block) && !restarted {
            // The server misses a block of this window (RFC 7440 §4). In lock-step, a second answer
            // would double every later packet.
            restarted = true;
        } else {
            continue;
        }
        if block == last {
            return Ok(End::Right);
        }
        let window = block + 1..=last.min(block + job.windowsize);
        link.say(window.map(|block| raw::data(block, job.block(block))).collect()).await;
    }
}

/// A client's side of a transfer.
struct Link {
    socket: UdpSocket,
    server: SocketAddr,
    /// The server's port for this transfer, once the server has answered.
    tid: Option<SocketAddr>,
    /// The last packets, for a repeat after a silence.
    last: Vec<Vec<u8>>,
    packets: u64,
    repeats: u32,
    /// Time of the last progress.
    progress: Instant,
}

impl Link {
    async fn begin(&mut self, request: Vec<u8>) {
        self.say(vec![request]).await;
    }

    async fn say(&mut self, packets: Vec<Vec<u8>>) {
        self.last = packets;
        self.send_last().await;
    }

    async fn send_last(&mut self) {
        let to = self.tid.unwrap_or(self.server);
        for packet in &self.last {
            self.packets += 1;
            self.socket.send_to(packet, to).await.unwrap_or_else(|e| panic!("a datagram to {to}: {e}"));
        }
    }

    /// The next packet of this transfer, which is no ERROR. Repeats the last packets until one
    /// arrives.
    async fn next(&mut self) -> Result<Packet, End> {
        loop {
            // Checked here too: repeats of old packets must not keep a client waiting for ever.
            if self.progress.elapsed() > GIVE_UP_AFTER {
                return Err(End::Silent);
            }
            match timeout(REPEAT_AFTER, self.receive()).await {
                Ok(Packet::Error { code, text }) => return Err(End::Refused { code, text }),
                Ok(packet) => return Ok(packet),
                Err(_) => {
                    self.repeats += 1;
                    self.send_last().await;
                }
            }
        }
    }

    async fn receive(&mut self) -> Packet {
        let mut buffer = [0; DATAGRAM_MAX + 1];
        loop {
            let (len, from) =
                self.socket.recv_from(&mut buffer).await.unwrap_or_else(|e| panic!("a client: {e}"));
            self.packets += 1;
            if *self.tid.get_or_insert(from) == from {
                return Packet::parse(&buffer[..len]);
            }
            // Another answer to a repeated request (RFC 1350 §4).
            let error = raw::error(5, "Unknown transfer ID");
            self.socket.send_to(&error, from).await.unwrap_or_else(|e| panic!("a datagram to {from}: {e}"));
        }
    }
}
