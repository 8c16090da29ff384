//! A session that polls for windows looks at its socket by itself: nobody is told of it meanwhile, and of everything afterwards.

use super::stage::{Stage, waits_for};
use super::*;
use crate::actors::session::poll_always;

const WRITE: &[u8] = b"\0\x02new\0octet\0blksize\x008\0windowsize\x004\0";
const OACK: &[u8] = b"\0\x06blksize\x008\0windowsize\x004\0";

/// Notes whether its socket was waited for when it was looked at last.
#[derive(Debug)]
struct Watched {
    link: UdpLink,
    board: Rc<Switchboard>,
    was_waited_for: Rc<Cell<Option<bool>>>,
}

impl Link for Watched {
    fn local_addr(&self) -> SocketAddr {
        self.link.local_addr()
    }

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unreachable!("the board waits for the socket")
    }

    fn socket(&self) -> Option<&UdpSocket> {
        self.link.socket()
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        self.was_waited_for.set(Some(waits_for(&self.board, self.link.socket().unwrap())));
        self.link.receive(buffer)
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        self.link.send(to, transmit)
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        self.link.take_error()
    }
}

fn block(number: u8) -> Vec<u8> {
    [&[0, 3, 0, number][..], &[number; 8]].concat()
}

#[test]
fn a_client_whose_windows_are_polled_for_is_heard_also_when_it_pauses_within_one() {
    in_virtual_time(async {
        let stage = Stage::polling();
        let transfer = stage.request(WRITE);
        let link = UdpLink::from_socket(Arc::clone(&transfer.lease.socket)).unwrap();
        let was_waited_for = Rc::<Cell<Option<bool>>>::default();
        let (board, noted) = (Rc::clone(&stage.board), Rc::clone(&was_waited_for));
        stage.start_with(&transfer, Box::new(Watched { link, board, was_waited_for: noted }));
        transfer.expect(OACK).await;
        let look = || was_waited_for.take();
        for window in 0..20 {
            // The first window is taken by a session that does not poll yet.
            if window == 1 {
                poll_always();
            }
            let first = window * 4 + 1;
            for (numbers, is_end) in [(first..first + 2, false), (first + 2..first + 4, true)] {
                look();
                for number in numbers {
                    transfer.send(&block(number));
                }
                turn_until(|| was_waited_for.get().is_some()).await;
                assert_eq!(look(), Some(window == 0), "in window {window}");
                assert!(stage.waits_for(&transfer.lease.socket), "after a turn in window {window}");
                if is_end {
                    transfer.expect(&ack(first + 3)).await;
                } else {
                    transfer.expect_nothing();
                }
            }
        }
        transfer.send(b"\0\x05\0\0enough\0");
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
    });
}
