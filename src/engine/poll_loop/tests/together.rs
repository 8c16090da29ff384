//! What comes together: for many sessions, or for one.

use super::*;
use crate::engine::poll_loop::tests::stage::Stage;

#[test]
fn clients_of_whom_many_answer_at_once_get_each_their_own_block() {
    const WINDOW: &[u8] = b"\0\x01file\0octet\0windowsize\x002\0";
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfers: Vec<_> = (0..35).map(|_| stage.started(READ_EACH_SECOND)).collect();
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
        quitter.send(&[b"\0\x05\0\x03", &[b'x'; 2048][..], b"\0"].concat());
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(quitter.lease.is_over());
        other.expect(&data(2)).await;
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
