//! What comes together: for many sessions, or for one.

use super::stage::Stage;
use super::*;

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
