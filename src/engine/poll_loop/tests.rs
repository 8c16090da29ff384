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
/// The `timeout` option fixes the interval, however fast the client answers.
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
fn a_lost_block_is_repeated_after_the_interval() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ);
        transfer.expect(&data(1)).await;
        transfer.expect_repeat(&data(1), SECOND).await;
        transfer.expect_repeat(&data(1), SECOND * 2).await;
    });
}

#[test]
fn nothing_is_repeated_while_answers_come_in_time() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ_EACH_SECOND);
        transfer.expect(OACK).await;
        for block in 0..20 {
            // Each deadline moves before it passes, and each check of the poll loop finds another
            // deadline.
            pass(MILLISECOND * 900).await;
            transfer.expect_nothing();
            transfer.send(&ack(block));
            transfer.expect(&data(block + 1)).await;
        }
        transfer.expect_repeat(&data(20), SECOND).await;
    });
}

#[test]
fn a_measured_client_gets_its_repeat_early() {
    in_virtual_time(async {
        // The poll loop sleeps for an hour when the deadline moves closer.
        let fixture = Fixture::new(SECOND * 3600);
        let transfer = fixture.started(READ);
        transfer.expect(&data(1)).await;
        transfer.send(&ack(1));
        transfer.expect(&data(2)).await;
        transfer.expect_repeat(&data(2), limits::REPEAT_FLOOR).await;
    });
}

#[test]
fn each_client_gets_its_repeat_when_due() {
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
fn the_deadline_of_an_ended_session_is_dropped() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let first = fixture.started(READ_EACH_SECOND);
        first.expect(OACK).await;
        first.send(b"\0\x05\0\0enough\0");
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(first.shared.is_over());
        pass(MILLISECOND * 500).await;
        // This session gets the slot in the poll loop that the first one had.
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
            // Both answers arrive together, in alternating order.
            let [one, other] = if block % 2 == 0 { [0, 1] } else { [1, 0] }.map(|index| &transfers[index]);
            one.send(&ack(block));
            other.send(&ack(block));
            one.expect(&data(block + 1)).await;
            other.expect(&data(block + 1)).await;
        }
        // Only one of them answers.
        transfers[0].send(&ack(20));
        transfers[0].expect(&data(21)).await;
        transfers[1].expect_nothing();
    });
}

#[test]
fn a_link_without_a_socket_is_served() {
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
        // The poll loop checks the deadlines of this transfer as well.
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
fn the_descriptor_of_an_ended_session_can_be_reused() {
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
        // From here on another socket has the number, and the first one is closed.
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
fn an_answer_before_the_session_is_received() {
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
fn an_answer_behind_a_full_turn_is_received() {
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
fn a_closed_client_port_ends_the_session() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let Transfer { client, shared, _permit } = fixture.started(READ);
        turn_until(|| client.peek(&mut [0; 600]).is_ok()).await;
        drop(client);
        assert!(!shared.is_over());
        // The host of the client answers the repeated block with an ICMP error.
        pass(SECOND).await;
        turn_until(|| shared.is_over() && fixture.entries() == 0).await;
        fixture.expect_exit(|exit| *exit == Exit::Normal).await;
    });
}

#[test]
fn a_panic_ends_one_session_and_the_next_continues() {
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
        // The session that panicked had received the answer.
        transfer.expect(&data(2)).await;
        assert!(fixture.waits_for(&transfer.shared.socket));
        transfer.send(&ack(2));
        transfer.expect(&data(3)).await;
    });
}

#[test]
fn a_flood_takes_one_turn_before_others_run() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND * 3600);
        let (beside, transfer) = (fixture.started(READ), fixture.request(READ));
        beside.expect(&data(1)).await;
        let (taken, most, turns) = <(Rc<Cell<usize>>, Rc<Cell<usize>>, Rc<Cell<usize>>)>::default();
        // Another task of the arbiter that is always ready, and runs whenever it can.
        let (taken_before, most_seen, turns_had) = (Rc::clone(&taken), Rc::clone(&most), Rc::clone(&turns));
        let other = actix::spawn(poll_fn(move |cx| {
            most_seen.set(most_seen.get().max(taken_before.take()));
            turns_had.update(|turns| turns + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        (0..limits::DATAGRAMS_PER_TURN / 2).for_each(|_| transfer.send(&ack(0)));
        // The socket is never empty: each datagram that is received is followed by another one,
        // which raises an edge.
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
fn an_answer_behind_ignored_packets_is_received() {
    in_virtual_time(async {
        let fixture = Fixture::new(SECOND);
        let transfer = fixture.started(READ_EACH_SECOND);
        transfer.expect(OACK).await;
        for block in 0..10 {
            transfer.send(&ack(block));
            transfer.expect(&data(block + 1)).await;
        }
        // The answer, followed by more ignored packets than fit in a turn: they stay in the socket.
        transfer.send(&ack(10));
        (0..limits::DATAGRAMS_PER_TURN * 2).for_each(|_| transfer.send(&ack(0)));
        transfer.expect(&data(11)).await;
        // The deadline receives a turn's worth of them.
        transfer.expect_repeat(&data(11), SECOND).await;
        transfer.send(&ack(11));
        transfer.expect(&data(12)).await;
    });
}
