//! A session that panicked receives and sends nothing more.

use super::*;
use crate::engine::poll_loop::tests::fixture::Fixture;

#[test]
fn a_driver_that_panicked_receives_nothing_more() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let (beside, transfer) = (fixture.started(READ), fixture.request(READ));
        let attempts = Rc::<Cell<u32>>::default();
        let counted = Rc::clone(&attempts);
        let link = Tapped::new(&transfer, move |tap| {
            if matches!(tap, Tap::Receive) {
                counted.update(|attempts| attempts + 1);
                assert!(counted.get() > 1, "the link broke");
            }
        });
        fixture.start_with(&transfer, link);
        transfer.expect(&data(1)).await;
        beside.expect(&data(1)).await;
        beside.send(&ack(1));
        transfer.send(&ack(1));
        fixture.expect_exit(|exit| *exit == Exit::Panicked("the link broke".into())).await;
        beside.expect(&data(2)).await;
        transfer.expect_nothing();
        assert_eq!(attempts.get(), 1);
        // The packets that it left are received by the next session.
        fixture.start(&transfer);
        pass(Duration::ZERO).await;
        assert!(transfer.arrived() == [data(1), data(2)]);
    });
}

#[test]
fn a_panicked_driver_sends_nothing() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ);
        transfer.expect(&data(1)).await;
        let (_, driver) = fixture.only();
        driver.borrow_mut().deferred.panic = Some("as planned".into());
        transfer.send(&ack(1));
        driver.borrow_mut().turn();
        assert!(!driver.borrow().backlog);
        transfer.expect_nothing();
        drop(driver);
        fixture.attend_only();
        fixture.expect_exit(|exit| *exit == Exit::Panicked("as planned".into())).await;
    });
}
