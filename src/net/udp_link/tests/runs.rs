//! Senders whose datagrams never come together, and those whose do.

use super::*;
use crate::limits::RECEIVED_ALONE_BEFORE_NO_RUNS;

/// Has a link take so many datagrams that came one by one, and find nothing after each.
async fn take_apart(link: &mut UdpLink, client: &UdpSocket, count: u8) {
    for _ in 0..count {
        client.send_to(b"block", link.local_addr()).unwrap();
        event(link).await;
        assert_eq!(link.receive(&mut [0; 16]).unwrap(), Arrived::one(5, client.local_addr().unwrap()));
        assert_eq!(link.receive(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn where_datagrams_never_come_together_nobody_looks_for_that_for_long() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut sender, mut receiver) = (link(local), link(local));
        receiver.expect_runs();
        let slabs = slabs(&[65536]);
        let blocks = whole_run(&slabs, 60_000, 1428, 1);
        let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
        let client = peer(&SocketAddr::new(receiver.local_addr().ip(), 0).to_string());
        // A run begins the count anew.
        take_apart(&mut receiver, &client, RECEIVED_ALONE_BEFORE_NO_RUNS - 1).await;
        sender.send(receiver.local_addr(), &Transmit::Blocks(blocks)).unwrap();
        event(&mut receiver).await;
        assert!(receiver.receive(&mut buffer).unwrap().octets > 1432);
        take_apart(&mut receiver, &client, RECEIVED_ALONE_BEFORE_NO_RUNS - 1).await;
        assert!(receiver.runs);
        take_apart(&mut receiver, &client, 1).await;
        assert!(!receiver.runs);
        // Who sends them all the same is understood.
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
async fn a_run_that_comes_while_nobody_looks_for_one_any_more_is_not_one_long_block() {
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
