//! A link over a socket that reports its calls to the test.

use super::*;

pub(crate) enum Tap {
    Receive,
    Received,
    Send,
}

pub(crate) struct Tapped {
    link: UdpLink,
    tap: Box<dyn FnMut(Tap)>,
}

impl Tapped {
    /// The link of a transfer. `tap` may panic to simulate a broken link.
    pub(crate) fn new(transfer: &Transfer, tap: impl FnMut(Tap) + 'static) -> Box<Self> {
        let link = UdpLink::new(Arc::clone(&transfer.shared.socket), transfer.shared.local);
        Box::new(Self { link, tap: Box::new(tap) })
    }
}

impl Link for Tapped {
    fn local_addr(&self) -> SocketAddr {
        self.link.local_addr()
    }

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unreachable!("the poll loop waits for the socket")
    }

    fn socket(&self) -> Option<&UdpSocket> {
        self.link.socket()
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        (self.tap)(Tap::Receive);
        let arrived = self.link.receive(buffer)?;
        (self.tap)(Tap::Received);
        Ok(arrived)
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        (self.tap)(Tap::Send);
        self.link.send(to, transmit)
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        self.link.take_error()
    }
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.fmt(f)
    }
}
