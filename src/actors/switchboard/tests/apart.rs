//! A session that polls for windows looks at its socket by itself: nobody is told of it meanwhile, and of everything afterwards.

use super::stage::{Stage, waits_for};
use super::*;
use crate::actors::session::poll_always;

const WRITE: &[u8] = b"\0\x02new\0octet\0blksize\x008\0windowsize\x004\0";
const OACK: &[u8] = b"\0\x06blksize\x008\0windowsize\x004\0";

fn block(number: u8) -> Vec<u8> {
    [&[0, 3, 0, number][..], &[number; 8]].concat()
}

#[test]
fn a_client_whose_windows_are_polled_for_is_heard_also_when_it_pauses_within_one() {
    in_virtual_time(async {
        let stage = Stage::polling();
        let transfer = stage.request(WRITE);
        // Whether the socket was waited for when the session looked at it last.
        let was_waited_for = Rc::<Cell<Option<bool>>>::default();
        let (board, noted) = (Rc::clone(&stage.board), Rc::clone(&was_waited_for));
        let link = Tapped::new(&transfer, move |tap| {
            if let Tap::Look(socket) = tap {
                noted.set(Some(waits_for(&board, socket)));
            }
        });
        stage.start_with(&transfer, link);
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
