//! The first blocks of a window go out ahead of the others, to a client that is alone.

use super::stage::{Stage, Transfer};
use super::*;

/// A transfer with windows of so many blocks, once its OACK is here.
async fn windowed(stage: &Stage, windowsize: u8) -> (Transfer, Rc<RefCell<Vec<u64>>>) {
    let option = format!("windowsize\0{windowsize}\0");
    let transfer = stage.request(format!("\0\x01file\0octet\0{option}").as_bytes());
    // How many blocks the link is given at once.
    let runs = Rc::<RefCell<Vec<u64>>>::default();
    let noted = Rc::clone(&runs);
    let link = Tapped::new(&transfer, move |tap| {
        if let Tap::Send(Transmit::Blocks(blocks)) = tap {
            noted.borrow_mut().push(blocks.remaining());
        }
    });
    stage.start_with(&transfer, link);
    transfer.expect(format!("\0\x06{option}").as_bytes()).await;
    (transfer, runs)
}

/// The client acknowledges up to `block`, and gets the next `count` blocks.
async fn expect_window(transfer: &Transfer, block: u8, count: u8) {
    transfer.send(&ack(block));
    turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
    pass(Duration::ZERO).await;
    let expected: Vec<_> = (block + 1..=block + count).map(data).collect();
    assert!(transfer.arrived() == expected, "after ACK {block}");
}

#[test]
fn a_client_that_is_alone_gets_the_same_window_in_two_runs_and_one_in_company_at_once() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (first, runs) = windowed(&stage, 16).await;
        expect_window(&first, 0, 16).await;
        expect_window(&first, 16, 16).await;
        assert_eq!(runs.take(), [2, 14, 2, 14]);
        let (second, others) = windowed(&stage, 16).await;
        expect_window(&second, 0, 16).await;
        expect_window(&first, 32, 16).await;
        assert_eq!((runs.take(), others.take()), (vec![16], vec![16]));
        second.send(b"\0\x05\0\0enough\0");
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
        // A gap: what is sent again and what follows go the same way.
        expect_window(&first, 40, 16).await;
        assert_eq!(runs.take(), [2, 14]);
    });
}

#[test]
fn a_short_window_is_not_worth_it() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (transfer, runs) = windowed(&stage, 4).await;
        expect_window(&transfer, 0, 4).await;
        assert_eq!(runs.take(), [4]);
    });
}
