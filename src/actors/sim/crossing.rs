//! Where a stranger gets at a session: its peer's link and the stranger's, in one.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::net::{Arrived, Link, MemoryLink};
use crate::transfer::Transmit;

#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) peer: MemoryLink,
    pub(super) stranger: MemoryLink,
}

impl Link for Crossing {
    fn local_addr(&self) -> SocketAddr {
        self.peer.local_addr()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (peer, stranger) = (self.peer.poll_event(cx), self.stranger.poll_event(cx));
        if peer.is_ready() { peer } else { stranger }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        self.stranger.receive(buffer).or_else(|_| self.peer.receive(buffer))
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        // (Each takes what is for its own end.)
        self.peer.send(to, transmit)?;
        self.stranger.send(to, transmit)
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        self.peer.take_error().or_else(|| self.stranger.take_error())
    }
}
