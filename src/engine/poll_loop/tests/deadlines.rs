//! When deadlines are checked: none is missed.

use super::*;
use crate::engine::poll_loop::tests::fixture::Fixture;

#[test]
fn shrinking_intervals_are_kept() {
    in_virtual_time(async {
        // The first check is an hour away.
        let fixture = Fixture::new(SECOND * 3600);
        let patient = fixture.started(READ_EACH_SECOND);
        let transfers: Vec<_> = (0..8).map(|_| fixture.started(READ)).collect();
        patient.expect(OACK).await;
        for transfer in &transfers {
            transfer.expect(&data(1)).await;
        }
        pass(MILLISECOND * 700).await;
        // The measured round trip is long at first, and shrinks with each answer. So does the
        // interval, while time stands still.
        for block in 1..40 {
            for transfer in &transfers {
                transfer.send(&ack(block));
                transfer.expect(&data(block + 1)).await;
            }
        }
        patient.expect_nothing();
        pass(MILLISECOND * 299).await;
        for transfer in &transfers {
            assert!(transfer.arrived() == [data(40)]);
        }
        patient.expect_nothing();
        patient.expect_repeat(OACK, MILLISECOND).await;
        patient.expect_repeat(OACK, SECOND).await;
    });
}

#[test]
fn short_sessions_do_not_delay_a_repeat() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND * 3600);
        let patient = fixture.started(READ_EACH_SECOND);
        patient.expect(OACK).await;
        for _ in 0..30 {
            let passing = fixture.started(READ);
            passing.expect(&data(1)).await;
            assert_eq!(fixture.entries(), 2);
            passing.send(b"\0\x05\0\0enough\0");
            fixture.expect_exit(|exit| *exit == Exit::Normal).await;
        }
        patient.expect_repeat(OACK, SECOND).await;
        patient.expect_repeat(OACK, SECOND).await;
    });
}
