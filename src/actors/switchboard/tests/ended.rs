//! A session that panicked, or was buried, does nothing more.

use super::stage::Stage;
use super::*;
use crate::error::Failure;

#[test]
fn a_packet_that_was_ready_when_its_transfer_was_buried_is_not_sent() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (buried, beside) = (stage.started(READ), stage.request(READ));
        let (lease, service) = (Arc::clone(&buried.lease), Arc::clone(&stage.service));
        let mut sent = 0;
        // The packets of both are ready when the arbiter hangs, and is given up, as the first
        // leaves.
        let link = Tapped::new(&beside, move |tap| {
            sent += u32::from(matches!(tap, Tap::Send));
            if sent == 3 {
                lease.bury(&service, Failure::Internal, "its arbiter was blocked");
            }
        });
        stage.start_with(&beside, link);
        for block in 1..=2 {
            // (After the first answer the file is read.)
            buried.expect(&data(block)).await;
            beside.expect(&data(block)).await;
            beside.send(&ack(block));
            buried.send(&ack(block));
        }
        beside.expect(&data(3)).await;
        let arrived = buried.arrived();
        assert!(arrived.len() == 1 && arrived[0].starts_with(b"\0\x05\0\0"), "{arrived:?}");
    });
}

#[test]
fn a_driver_that_panicked_as_many_were_received_for_receives_nothing_more() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (beside, transfer) = (stage.started(READ), stage.request(READ));
        let looks = Rc::<Cell<u32>>::default();
        let counted = Rc::clone(&looks);
        let link = Tapped::new(&transfer, move |tap| {
            if matches!(tap, Tap::Look) {
                counted.update(|looks| looks + 1);
                assert!(counted.get() > 1, "the link broke");
            }
        });
        stage.start_with(&transfer, link);
        transfer.expect(&data(1)).await;
        beside.expect(&data(1)).await;
        beside.send(&ack(1));
        transfer.send(&ack(1));
        stage.expect_exit(|exit| *exit == Exit::Panicked("the link broke".into())).await;
        beside.expect(&data(2)).await;
        transfer.expect_nothing();
        assert_eq!(looks.get(), 1);
        // What it left lies there for the next one.
        stage.start(&transfer);
        pass(Duration::ZERO).await;
        assert!(transfer.arrived() == [data(1), data(2)]);
    });
}

#[test]
fn until_its_session_hears_of_the_panic_a_driver_takes_no_turn_and_sends_nothing() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfer = stage.started(READ);
        transfer.expect(&data(1)).await;
        let (_, driver) = stage.only();
        driver.borrow_mut().set_panicked("as planned".to_owned());
        transfer.send(&ack(1));
        let mut room = [0; limits::ANSWER_OCTETS_MAX];
        assert_eq!(driver.borrow_mut().take_ahead(&mut room), None);
        let answer = (Arrived::one(4, transfer.client.local_addr().unwrap()), &ack(1)[..]);
        driver.borrow_mut().turn(None, Instant::now());
        driver.borrow_mut().turn(Some(answer), Instant::now());
        assert!(!driver.borrow().backlog);
        transfer.expect_nothing();
        drop(driver);
        stage.attend_only();
        stage.expect_exit(|exit| *exit == Exit::Panicked("as planned".into())).await;
    });
}
