//! What comes together: for many sessions, or for one.

use super::stage::Stage;
use super::*;
use crate::actors::session::Departure;
use crate::transfer::Machine;

#[test]
fn clients_of_whom_more_answer_at_once_than_are_received_from_at_once_get_each_their_own_block() {
    const WINDOW: &[u8] = b"\0\x01file\0octet\0windowsize\x002\0";
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfers: Vec<_> =
            (0..limits::SOCKETS_AT_ONCE * 2 + 3).map(|_| stage.started(READ_EACH_SECOND)).collect();
        let (windowed, stranger) =
            (stage.started(WINDOW), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        for transfer in &transfers {
            transfer.expect(OACK).await;
            transfer.send(&ack(0));
            transfer.expect(&data(1)).await;
        }
        windowed.expect(b"\0\x06windowsize\x002\0").await;
        for block in 1..20 {
            windowed.send(&ack(block * 2 - 2));
            for (number, transfer) in transfers.iter().enumerate() {
                // Each has its own mixture in its socket.
                if number % 3 == 0 {
                    stranger.send_to(&ack(block), transfer.lease.local).unwrap();
                }
                if number % 4 == 0 {
                    transfer.send(&ack(block - 1));
                }
                transfer.send(&ack(block));
            }
            for transfer in &transfers {
                transfer.expect(&data(block + 1)).await;
            }
            assert!(windowed.arrived() == [data(block * 2 - 1), data(block * 2)]);
        }
    });
}

#[test]
fn a_windows_answer_that_comes_twice_hides_no_other_and_costs_nothing() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfer = stage.started(b"\0\x01file\0octet\0timeout\x001\0windowsize\x002\0");
        transfer.expect(b"\0\x06timeout\x001\0windowsize\x002\0").await;
        for block in (0..20).step_by(2) {
            transfer.send(&ack(block));
            transfer.send(&ack(block));
            pass(Duration::ZERO).await;
            turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
            pass(MILLISECOND).await;
            assert!(transfer.arrived() == [data(block + 1), data(block + 2)], "{block}");
        }
        transfer.send(b"\0\x05\0\0enough\0");
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
    });
}

#[test]
fn a_client_that_gives_up_at_great_length_among_others_is_understood() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (quitter, other) = (stage.started(READ), stage.started(READ));
        quitter.expect(&data(1)).await;
        other.expect(&data(1)).await;
        other.send(&ack(1));
        quitter.send(&[b"\0\x05\0\x03", &[b'x'; limits::ANSWER_OCTETS_MAX * 2][..], b"\0"].concat());
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(quitter.lease.is_over());
        other.expect(&data(2)).await;
    });
}

#[test]
fn what_many_are_sent_leaves_when_all_of_them_have_had_their_turn() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let beside = stage.started(READ);
        let transfer = stage.request(READ);
        let (board, lease) = (Rc::clone(&stage.board), Arc::clone(&beside.lease));
        // How far the other one was whenever this one was sent something.
        let others = Rc::<RefCell<Vec<Option<u64>>>>::default();
        let noted = Rc::clone(&others);
        let link = Tapped::new(&transfer, move |tap| {
            if matches!(tap, Tap::Send) {
                noted.borrow_mut().push(lease.hold().machine.as_ref().map(|machine| machine.tally().octets));
            }
        });
        stage.start_with(&transfer, link);
        for block in 1..10 {
            transfer.expect(&data(block)).await;
            beside.expect(&data(block)).await;
            // This one's turn is the first.
            transfer.send(&ack(block));
            beside.send(&ack(block));
        }
        transfer.expect(&data(10)).await;
        assert_eq!(board.lines.borrow().len(), 2);
        let expected: Vec<_> = (0..10).map(|block| Some(block * 512)).collect();
        assert_eq!(others.take(), expected);
    });
}

#[test]
fn a_link_that_breaks_as_many_are_sent_to_harms_its_own_session_alone() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let others = [stage.started(READ), stage.started(READ)];
        let transfer = stage.request(READ);
        let mut sent = 0;
        let link = Tapped::new(&transfer, move |tap| {
            sent += u32::from(matches!(tap, Tap::Send));
            assert!(sent < 3, "the link broke");
        });
        stage.start_with(&transfer, link);
        let [first, last] = &others;
        let all = [first, &transfer, last];
        for block in 1..=2 {
            for transfer in all {
                transfer.expect(&data(block)).await;
            }
            all.iter().for_each(|transfer| transfer.send(&ack(block)));
        }
        for other in &others {
            other.expect(&data(3)).await;
        }
        transfer.expect_nothing();
        stage.expect_exit(|exit| *exit == Exit::Panicked("the link broke".into())).await;
        // What it had taken in stands, and nobody else is sent what was its.
        stage.start(&transfer);
        transfer.expect(&data(3)).await;
        all.iter().for_each(|transfer| transfer.send(&ack(3)));
        for transfer in all {
            transfer.expect(&data(4)).await;
        }
    });
}

#[test]
fn why_a_packet_among_many_could_not_leave_is_noted_and_the_others_leave() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (transfer, beside) = (stage.started(READ), stage.started(READ));
        transfer.expect(&data(1)).await;
        beside.expect(&data(1)).await;
        // (A socket that was never connected says that it isn't, and sends nothing any more all the same.)
        let _ = rustix::net::shutdown(&transfer.lease.socket, rustix::net::Shutdown::Write);
        transfer.send(&ack(1));
        beside.send(&ack(1));
        beside.expect(&data(2)).await;
        transfer.expect_nothing();
        let detail = transfer.lease.hold().summary.detail.clone();
        assert!(detail.as_deref().is_some_and(|detail| detail.contains("Broken pipe")), "{detail:?}");
        assert_eq!(beside.lease.hold().summary.detail, None);
    });
}

#[test]
fn a_client_that_is_sent_twice_before_the_others_have_had_their_turn_gets_it_in_order() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfer = stage.started(READ);
        transfer.expect(&data(1)).await;
        // Once the file is there.
        transfer.send(&ack(1));
        transfer.expect(&data(2)).await;
        let driver = stage.board.lines.borrow().values().map(|line| Rc::clone(&line.driver)).next().unwrap();
        let mut driver = driver.borrow_mut();
        driver.departure = Some(Departure::new());
        for (block, expected) in [(2, vec![]), (3, vec![data(3), data(4)])] {
            let answer = (Arrived::one(4, transfer.client.local_addr().unwrap()), &ack(block)[..]);
            driver.turn(Some(answer), Instant::now());
            assert!(transfer.arrived() == expected, "after ACK {block}");
        }
        assert!(driver.departure.take().unwrap().is_empty(), "nothing is sent again");
    });
}
