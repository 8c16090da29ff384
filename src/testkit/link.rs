//! The clients' end of a link to a transfer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::net::MemoryLink;

/// The other end of what [`Kit::datagram`](super::Kit::datagram) started: of a transfer, or of an
/// answer. A test sends packets as the client or as any other host, and receives what the server
/// sends to any of them. The link loses and repeats no packet. It needs the feature
/// `testkit`.
///
/// A link that is dropped is a client that closed its port: the next packet of the server meets
/// nobody, and the transfer ends.
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::store::{Memory, Name};
/// use stagecoach::testkit::Kit;
///
/// Kit::in_virtual_time(async {
///     let files = Memory::default();
///     files.insert(Name::from_request(b"file").unwrap(), "octets");
///     let kit = Stagecoach::builder().store(files).kit().unwrap();
///     let client = "192.0.2.2:2000".parse().unwrap();
///     let stranger = "192.0.2.3:7".parse().unwrap();
///     let mut link = kit.datagram(client, b"\0\x01file\0octet\0").unwrap();
///     let data = link.next().await.unwrap();
///     assert_eq!((data.to, &*data.octets), (client, &b"\0\x03\0\x01octets"[..]));
///     link.send_from(stranger, b"\0\x04\0\x01");
///     let error = link.next().await.unwrap();
///     assert_eq!((error.to, &error.octets[..4]), (stranger, &b"\0\x05\0\x05"[..]));
///     link.send(b"\0\x04\0\x01");
///     assert_eq!(link.next().await, None);
///     assert!(link.is_closed());
/// });
/// ```
#[derive(Debug)]
pub struct KitLink {
    line: MemoryLink,
    client: SocketAddr,
}

/// A packet of the server. It needs the feature `testkit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KitPacket {
    /// The address that the packet is sent to.
    pub to: SocketAddr,
    /// The packet.
    pub octets: Vec<u8>,
}

impl KitLink {
    pub(super) fn new(line: MemoryLink, client: SocketAddr) -> Self {
        Self { line, client }
    }

    /// Sends a packet as the client. A transfer that is over does not receive it.
    pub fn send(&mut self, packet: &[u8]) {
        self.line.send_from(self.client, packet);
    }

    /// Sends a packet as another host.
    pub fn send_from(&mut self, from: SocketAddr, packet: &[u8]) {
        self.line.send_from(from, packet);
    }

    /// The next packet of the server; `None` once the transfer is over.
    pub async fn next(&mut self) -> Option<KitPacket> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next), for tests that wait for several links at once.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<KitPacket>> {
        let packet = self.line.poll_receive(cx);
        packet.map(|it| it.map(|(to, octets)| KitPacket { to, octets }))
    }

    /// Whether nobody receives at the server's end: the transfer is over, or none began.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.line.is_closed()
    }
}
