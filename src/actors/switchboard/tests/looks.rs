//! The looks at deadlines that are noted: they don't pile up, and none is forgotten that somebody needs.

use super::stage::Stage;
use super::*;

impl Stage {
    fn expect_few_looks(&self) {
        let (looks, lines) = (self.board.schedule.borrow().looks.len(), self.lines());
        assert!(looks <= limits::LOOKS_PER_SESSION_MAX * lines.max(1), "{looks} looks for {lines} sessions");
    }
}

#[test]
fn clients_whose_answers_come_ever_sooner_leave_few_looks_and_each_gets_its_repeat() {
    in_virtual_time(async {
        // The first look is an hour away.
        let stage = Stage::new(SECOND * 3600);
        let patient = stage.started(READ_EACH_SECOND);
        let transfers: Vec<_> = (0..8).map(|_| stage.started(READ)).collect();
        patient.expect(OACK).await;
        for transfer in &transfers {
            transfer.expect(&data(1)).await;
        }
        pass(MILLISECOND * 900).await;
        // The round trip seems to be long, then shorter with each answer: so does the interval, and time stands still.
        for block in 1..40 {
            for transfer in &transfers {
                transfer.send(&ack(block));
                transfer.expect(&data(block + 1)).await;
                stage.expect_few_looks();
            }
        }
        patient.expect_nothing();
        pass(MILLISECOND * 99).await;
        for transfer in &transfers {
            assert!(transfer.arrived() == [data(40)]);
        }
        patient.expect_nothing();
        patient.expect_repeat(OACK, MILLISECOND).await;
        patient.expect_repeat(OACK, SECOND).await;
    });
}

#[test]
fn sessions_that_come_and_go_leave_few_looks_and_one_that_stays_gets_its_repeat() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND * 3600);
        let patient = stage.started(READ_EACH_SECOND);
        patient.expect(OACK).await;
        for _ in 0..30 {
            let passing = stage.started(READ);
            passing.expect(&data(1)).await;
            assert_eq!(stage.lines(), 2);
            stage.expect_few_looks();
            passing.send(b"\0\x05\0\0enough\0");
            stage.expect_exit(|exit| *exit == Exit::Normal).await;
        }
        patient.expect_repeat(OACK, SECOND).await;
        patient.expect_repeat(OACK, SECOND).await;
    });
}
