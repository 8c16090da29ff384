//! Packets that arrive together, for many sessions or for one.

use super::*;
use crate::engine::poll_loop::tests::fixture::Fixture;

#[test]
fn many_simultaneous_clients_get_their_own_block() {
    const WINDOW: &[u8] = b"\0\x01file\0octet\0windowsize\x002\0";
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfers: Vec<_> = (0..35).map(|_| fixture.started(READ_EACH_SECOND)).collect();
        let (windowed, stranger) =
            (fixture.started(WINDOW), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        for transfer in &transfers {
            transfer.expect(OACK).await;
            transfer.send(&ack(0));
            transfer.expect(&data(1)).await;
        }
        windowed.expect(b"\0\x06windowsize\x002\0").await;
        for block in 1..20 {
            windowed.send(&ack(block * 2 - 2));
            for (number, transfer) in transfers.iter().enumerate() {
                // Each socket holds another mixture of packets.
                if number % 3 == 0 {
                    stranger.send_to(&ack(block), transfer.shared.local).unwrap();
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
fn a_duplicate_ack_of_a_window_is_harmless() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(b"\0\x01file\0octet\0timeout\x001\0windowsize\x002\0");
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
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
    });
}

#[test]
fn a_very_long_error_ends_the_transfer() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let (quitter, other) = (fixture.started(READ), fixture.started(READ));
        quitter.expect(&data(1)).await;
        other.expect(&data(1)).await;
        other.send(&ack(1));
        quitter.send(&[b"\0\x05\0\x03", &[b'x'; 2048][..], b"\0"].concat());
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(quitter.shared.is_over());
        other.expect(&data(2)).await;
    });
}

#[test]
fn a_broken_link_harms_only_its_session() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let others = [fixture.started(READ), fixture.started(READ)];
        let transfer = fixture.request(READ);
        let mut sent = 0;
        let link = Tapped::new(&transfer, move |tap| {
            sent += u32::from(matches!(tap, Tap::Send));
            assert!(sent < 3, "the link broke");
        });
        fixture.start_with(&transfer, link);
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
        fixture.expect_exit(|exit| *exit == Exit::Panicked("the link broke".into())).await;
        // The input that it handled is kept, and nobody else is sent its packets.
        fixture.start(&transfer);
        transfer.expect(&data(3)).await;
        all.iter().for_each(|transfer| transfer.send(&ack(3)));
        for transfer in all {
            transfer.expect(&data(4)).await;
        }
    });
}

#[test]
fn a_send_error_is_noted_and_harms_no_other() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let (transfer, beside) = (fixture.started(READ), fixture.started(READ));
        transfer.expect(&data(1)).await;
        beside.expect(&data(1)).await;
        // `shutdown` of a socket that was never connected fails, but keeps the socket from sending
        // all the same.
        let _ = rustix::net::shutdown(&transfer.shared.socket, rustix::net::Shutdown::Write);
        transfer.send(&ack(1));
        beside.send(&ack(1));
        beside.expect(&data(2)).await;
        transfer.expect_nothing();
        let detail = transfer.shared.lock().summary.detail.clone();
        assert!(detail.as_deref().is_some_and(|detail| detail.contains("Broken pipe")), "{detail:?}");
        assert_eq!(beside.shared.lock().summary.detail, None);
    });
}
