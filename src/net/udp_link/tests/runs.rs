//! Datagrams that arrive in runs, and datagrams that never do.

use super::*;
use crate::limits::RECEIVED_ALONE_BEFORE_NO_RUNS;

/// Receives `count` datagrams one by one, with an empty socket after each.
async fn take_apart(link: &mut UdpLink, client: &UdpSocket, count: u8) {
    for _ in 0..count {
        client.send_to(b"block", link.local_addr()).unwrap();
        event(link).await;
        assert_eq!(link.receive(&mut [0; 16]).unwrap(), Arrived::one(5, client.local_addr().unwrap()));
        assert_eq!(link.receive(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn without_runs_gro_is_soon_switched_off() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut sender, mut receiver) = (link(local), link(local));
        receiver.expect_runs();
        let slabs = slabs(&[65536]);
        let blocks = whole_run(&slabs, 60_000, 1428, 1);
        let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
        let client = peer(&SocketAddr::new(receiver.local_addr().ip(), 0).to_string());
        // A run resets the count.
        take_apart(&mut receiver, &client, RECEIVED_ALONE_BEFORE_NO_RUNS - 1).await;
        sender.send(receiver.local_addr(), &Transmit::Blocks(blocks)).unwrap();
        event(&mut receiver).await;
        assert!(receiver.receive(&mut buffer).unwrap().octets > 1432);
        take_apart(&mut receiver, &client, RECEIVED_ALONE_BEFORE_NO_RUNS - 1).await;
        assert!(receiver.runs);
        take_apart(&mut receiver, &client, 1).await;
        assert!(!receiver.runs);
        // Runs are still received correctly.
        sender.send(receiver.local_addr(), &Transmit::Blocks(blocks)).unwrap();
        event(&mut receiver).await;
        for packet in packets(blocks) {
            let arrived = receiver.receive(&mut buffer).unwrap();
            assert_eq!(arrived, Arrived::one(packet.len(), sender.local_addr()));
            assert!(buffer[..arrived.octets] == packet);
        }
        receiver.expect_runs();
        assert!(receiver.runs, "a session that goes on looks anew");
    }
}

#[tokio::test]
async fn a_run_pending_at_the_switch_is_still_cut() {
    let (mut sender, receiver) = (link("127.0.0.1:0"), link("127.0.0.1:0"));
    assert!(sys::expect_runs(&receiver.socket));
    let slabs = slabs(&[65536]);
    let blocks = whole_run(&slabs, 60_000, 1428, 1);
    sender.send(receiver.local_addr(), &Transmit::Blocks(blocks)).unwrap();
    assert!(!sys::expect_no_runs(&receiver.socket), "something is there");
    let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
    let arrived = sys::receive_run(&receiver.socket, &mut buffer).unwrap();
    let received: Vec<_> = arrived.datagrams(&buffer).map(<[u8]>::to_vec).collect();
    assert!(received == packets(blocks));
    assert!(sys::expect_no_runs(&receiver.socket), "nothing is");
}
