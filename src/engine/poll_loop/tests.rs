mod deadlines;
mod ended;
mod fixture;
mod tapped;
mod together;

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use self::fixture::{Fixture, Transfer};
use self::tapped::{Tap, Tapped};
use super::*;
use crate::engine::test_support::{in_virtual_time, pass, turn_until};
use crate::net::{Arrived, Link, MemoryLink, UdpLink};
use crate::supervision::Exit;
use crate::transfer::Transmit;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const READ: &[u8] = b"\0\x01file\0octet\0";
/// The interval stays what it is, however soon answers come.
const READ_EACH_SECOND: &[u8] = b"\0\x01file\0octet\0timeout\x001\0";
const OACK: &[u8] = b"\0\x06timeout\x001\0";
/// Blocks of the file.
const BLOCKS: u8 = 100;

fn data(block: u8) -> Vec<u8> {
    let payload = [block; 512];
    [&[0, 3, 0, block], &payload[..if block < BLOCKS { 512 } else { 0 }]].concat()
}

fn ack(block: u8) -> [u8; 4] {
    [0, 4, 0, block]
}

#[test]
fn a_client_that_did_not_get_a_block_gets_it_again_after_the_interval() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ);
        transfer.expect(&data(1)).await;
        transfer.expect_repeat(&data(1), SECOND).await;
        transfer.expect_repeat(&data(1), SECOND * 2).await;
    });
}

#[test]
fn a_client_that_answers_in_time_gets_nothing_twice_and_is_still_looked_after() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ_EACH_SECOND);
        transfer.expect(OACK).await;
        for block in 0..20 {
            // Each deadline is gone before it passes; each moment at which the poll loop looks is another's.
            pass(MILLISECOND * 900).await;
            transfer.expect_nothing();
            transfer.send(&ack(block));
            transfer.expect(&data(block + 1)).await;
        }
        transfer.expect_repeat(&data(20), SECOND).await;
    });
}

#[test]
fn a_client_that_has_shown_how_fast_it_is_does_not_wait_for_the_first_interval() {
    in_virtual_time(async {
        // The board sleeps for an hour when the deadline comes nearer.
        let fixture = Fixture::new(SECOND * 3600);
        let transfer = fixture.started(READ);
        transfer.expect(&data(1)).await;
        transfer.send(&ack(1));
        transfer.expect(&data(2)).await;
        transfer.expect_repeat(&data(2), limits::REPEAT_FLOOR).await;
    });
}

#[test]
fn clients_of_one_arbiter_get_their_repeats_each_in_its_own_time() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let first = fixture.started(READ_EACH_SECOND);
        first.expect(OACK).await;
        pass(MILLISECOND * 500).await;
        let second = fixture.started(READ_EACH_SECOND);
        second.expect(OACK).await;
        for _ in 0..2 {
            first.expect_repeat(OACK, MILLISECOND * 500).await;
            second.expect_nothing();
            second.expect_repeat(OACK, MILLISECOND * 500).await;
            first.expect_nothing();
        }
    });
}

#[test]
fn the_deadline_of_a_session_that_is_gone_disturbs_nobody() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let first = fixture.started(READ_EACH_SECOND);
        first.expect(OACK).await;
        first.send(b"\0\x05\0\0enough\0");
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(first.shared.is_over());
        pass(MILLISECOND * 500).await;
        // This session gets the place on the poll loop that the other one had.
        let second = fixture.started(READ_EACH_SECOND);
        second.expect(OACK).await;
        pass(MILLISECOND * 600).await;
        second.expect_nothing();
        second.expect_repeat(OACK, MILLISECOND * 400).await;
        first.expect_nothing();
    });
}

#[test]
fn two_clients_of_one_arbiter_are_served_side_by_side() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfers = [fixture.started(READ), fixture.started(READ)];
        for transfer in &transfers {
            transfer.expect(&data(1)).await;
        }
        assert_eq!(fixture.entries(), 2);
        for block in 1..20 {
            // Their answers come together, now one first, now the other.
            let [one, other] = if block % 2 == 0 { [0, 1] } else { [1, 0] }.map(|index| &transfers[index]);
            one.send(&ack(block));
            other.send(&ack(block));
            one.expect(&data(block + 1)).await;
            other.expect(&data(block + 1)).await;
        }
        // One rests, and the other doesn't.
        transfers[0].send(&ack(20));
        transfers[0].expect(&data(21)).await;
        transfers[1].expect_nothing();
    });
}

#[test]
fn a_transfer_without_a_socket_is_served_beside_one_that_has_one() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let (beside, transfer) = (fixture.started(READ), fixture.request(READ));
        let peer = transfer.shared.assignment.peer;
        let (link, mut client) = MemoryLink::pair(transfer.shared.local, peer);
        fixture.start_with(&transfer, Box::new(link));
        let mut next = || {
            let mut buffer = [0; 600];
            client.receive(&mut buffer).ok().map(|arrived| buffer[..arrived.octets].to_vec())
        };
        pass(Duration::ZERO).await;
        assert_eq!(next(), Some(data(1)));
        beside.expect(&data(1)).await;
        // The board keeps its deadlines as well.
        pass(SECOND - MILLISECOND).await;
        assert_eq!(next(), None);
        pass(MILLISECOND).await;
        assert_eq!((next(), next()), (Some(data(1)), None));
        assert_eq!(beside.arrived(), [data(1)]);
        for block in 1..10 {
            client.send(transfer.shared.local, &Transmit::Packet(&ack(block))).unwrap();
            pass(Duration::ZERO).await;
            let mut buffer = [0; 600];
            let octets = client.receive(&mut buffer).unwrap().octets;
            assert!(buffer[..octets] == data(block + 1));
        }
        assert!(!fixture.waits_for(&transfer.shared.socket));
    });
}

#[test]
fn a_session_that_ended_leaves_nothing_on_the_board_and_the_next_may_have_the_number_of_its_socket() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let first = fixture.started(READ);
        for block in 1..=BLOCKS {
            first.expect(&data(block)).await;
            first.send(&ack(block));
        }
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
        assert_eq!(fixture.entries(), 0);
        let socket = Arc::clone(&first.shared.socket);
        drop(first);
        let mut descriptor = OwnedFd::from(Arc::into_inner(socket).expect("nobody else has the socket"));
        // The number is another socket's from here on, and the first one is closed.
        let next = UdpLink::open((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap();
        rustix::io::dup2(&next, &mut descriptor).unwrap();
        drop(next);
        let second = fixture.request_at(Arc::new(descriptor.into()), READ);
        fixture.start(&second);
        second.expect(&data(1)).await;
        assert!(fixture.waits_for(&second.shared.socket));
        second.send(&ack(1));
        second.expect(&data(2)).await;
        assert_eq!(fixture.entries(), 1);
    });
}

#[test]
fn an_answer_that_came_before_there_was_a_session_is_taken() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.request(READ);
        transfer.send(&ack(1));
        fixture.start(&transfer);
        turn_until(|| fixture.entries() == 1).await;
        pass(Duration::ZERO).await;
        assert!(transfer.arrived() == [data(1), data(2)]);
    });
}

#[test]
fn an_answer_behind_more_than_a_turn_takes_is_found_without_further_news() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ);
        transfer.expect(&data(1)).await;
        (0..limits::DATAGRAMS_PER_TURN * 2 + 1).for_each(|_| transfer.send(&ack(0)));
        transfer.send(&ack(1));
        transfer.expect(&data(2)).await;
    });
}

#[test]
fn the_session_of_a_client_that_closed_its_port_ends_at_once() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let Transfer { client, shared, _permit } = fixture.started(READ);
        turn_until(|| client.peek(&mut [0; 600]).is_ok()).await;
        drop(client);
        assert!(!shared.is_over());
        // The repeat is what its host answers.
        pass(SECOND).await;
        turn_until(|| shared.is_over() && fixture.entries() == 0).await;
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
    });
}

#[test]
fn a_panic_is_told_of_the_session_that_it_happened_to_and_the_next_one_goes_on_at_the_same_board() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let (beside, transfer) = (fixture.started(READ), fixture.request(READ));
        let mut taken = 0;
        let link = Tapped::new(&transfer, move |tap| {
            taken += u32::from(matches!(tap, Tap::Received));
            assert!(taken < 2, "the link broke");
        });
        fixture.start_with(&transfer, link);
        for block in 1..=2 {
            transfer.expect(&data(block)).await;
            beside.expect(&data(block)).await;
            transfer.send(&ack(block));
            beside.send(&ack(block));
        }
        fixture.expect_exit(|exit| *exit == Exit::Panicked("the link broke".into())).await;
        beside.expect(&data(3)).await;
        assert_eq!(fixture.entries(), 1);
        assert!(!fixture.waits_for(&transfer.shared.socket));
        fixture.start(&transfer);
        // (The answer was in the hands of the one that died.)
        transfer.expect(&data(2)).await;
        assert!(fixture.waits_for(&transfer.shared.socket));
        transfer.send(&ack(2));
        transfer.expect(&data(3)).await;
    });
}

#[test]
fn the_flood_of_one_client_takes_a_turn_and_no_more_before_others_get_theirs_however_long_it_lasts() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND * 3600);
        let (beside, transfer) = (fixture.started(READ), fixture.request(READ));
        beside.expect(&data(1)).await;
        let (taken, most, turns) = <(Rc<Cell<usize>>, Rc<Cell<usize>>, Rc<Cell<usize>>)>::default();
        // Another on the arbiter, who is always ready: it has its turn whenever it can have one.
        let (taken_before, most_seen, turns_had) = (Rc::clone(&taken), Rc::clone(&most), Rc::clone(&turns));
        let other = actix::spawn(poll_fn(move |cx| {
            most_seen.set(most_seen.get().max(taken_before.take()));
            turns_had.update(|turns| turns + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        (0..limits::DATAGRAMS_PER_TURN / 2).for_each(|_| transfer.send(&ack(0)));
        // It never runs dry: for each datagram that is taken another one comes, which raises an edge.
        let client = transfer.client.try_clone().unwrap();
        let link = Tapped::new(&transfer, move |tap| {
            if matches!(tap, Tap::Received) {
                taken.update(|taken| taken + 1);
                client.send(&ack(0)).unwrap();
            }
        });
        fixture.start_with(&transfer, link);
        turn_until(|| most.get() > 0).await;
        let until = turns.get() + 500;
        turn_until(|| turns.get() > until).await;
        beside.send(&ack(1));
        turn_until(|| beside.client.peek(&mut [0; 600]).is_ok()).await;
        other.abort();
        assert_eq!(most.get(), limits::DATAGRAMS_PER_TURN);
        assert!(beside.arrived() == [data(2)] && transfer.arrived() == [data(1)]);
    });
}

#[test]
fn an_answer_that_comes_after_a_repeat_is_heard_though_much_of_no_use_lay_before_it() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ_EACH_SECOND);
        transfer.expect(OACK).await;
        for block in 0..10 {
            transfer.send(&ack(block));
            transfer.expect(&data(block + 1)).await;
        }
        // The answer, and behind it more of no use than fits a turn: it is left in the socket.
        transfer.send(&ack(10));
        (0..limits::DATAGRAMS_PER_TURN * 2).for_each(|_| transfer.send(&ack(0)));
        transfer.expect(&data(11)).await;
        // The deadline takes a turn's worth of it.
        transfer.expect_repeat(&data(11), SECOND).await;
        transfer.send(&ack(11));
        transfer.expect(&data(12)).await;
    });
}
