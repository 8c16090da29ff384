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

#[test]
fn a_socket_that_the_kernel_does_not_take_back_is_looked_at_now_and_then_until_it_does() {
    in_virtual_time(async {
        let stage = Stage::polling();
        let transfer = stage.request(WRITE);
        let (looks, is_refused) = <(Rc<Cell<u32>>, Rc<Cell<bool>>)>::default();
        let (board, counted, refused) = (Rc::clone(&stage.board), Rc::clone(&looks), Rc::clone(&is_refused));
        let link = Tapped::new(&transfer, move |tap| {
            if let Tap::Look(socket) = tap {
                counted.update(|looks| looks + 1);
                if refused.get() {
                    // Somebody else's place in the set is what refuses it.
                    let _ = board.set.as_ref().unwrap().add(socket, 0);
                }
            }
        });
        stage.start_with(&transfer, link);
        transfer.expect(OACK).await;
        for number in 1..=4 {
            transfer.send(&block(number));
        }
        transfer.expect(&ack(4)).await;
        poll_always();
        is_refused.set(true);
        for number in 5..=8 {
            transfer.send(&block(number));
        }
        transfer.expect(&ack(8)).await;
        let seen = looks.get();
        pass(Duration::ZERO).await;
        pass(Duration::ZERO).await;
        assert_eq!(looks.get(), seen, "it is looked at without a pause");
        // It is heard all the same.
        for number in 9..=12 {
            transfer.send(&block(number));
        }
        pass(limits::SOCKET_ADDED_AGAIN_AFTER).await;
        transfer.expect(&ack(12)).await;
        is_refused.set(false);
        stage.board.set.as_ref().unwrap().remove(&transfer.lease.socket).unwrap();
        pass(limits::SOCKET_ADDED_AGAIN_AFTER).await;
        assert!(stage.waits_for(&transfer.lease.socket));
        for number in 13..=16 {
            transfer.send(&block(number));
        }
        transfer.expect(&ack(16)).await;
    });
}
