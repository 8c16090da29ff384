use std::io::ErrorKind;
use std::time::Duration;

use super::*;
use crate::net::test_support::{event, packets, slabs, whole_run};

fn pair() -> (MemoryLink, MemoryLink) {
    MemoryLink::pair("192.0.2.1:69".parse().unwrap(), "192.0.2.2:2000".parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn datagrams_arrive_in_virtual_time() {
    let (mut server, mut client) = pair();
    let delivery = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.send(client_addr(), &Transmit::Packet(b"packet")).unwrap();
        let slabs = slabs(&[1000]);
        let blocks = whole_run(&slabs, 0, 512, 1);
        server.send(client_addr(), &Transmit::Blocks(blocks)).unwrap();
        server.send("192.0.2.9:9".parse().unwrap(), &Transmit::Packet(b"nobody's")).unwrap();
        packets(blocks)
    };
    let ((), blocks) = tokio::join!(event(&mut client), delivery);
    let mut buffer = [0; 516];
    let expected = Arrived::one(6, server.local_addr());
    assert_eq!(client.receive(&mut buffer[..3]).unwrap(), expected, "the length is its own");
    for block in blocks {
        let Arrived { octets, .. } = client.receive(&mut buffer).unwrap();
        assert_eq!(buffer[..octets], block);
    }
    assert_eq!(client.receive(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_end_is_reported_after_a_send() {
    let (mut server, client) = pair();
    drop(client);
    let quiet = std::future::poll_fn(|cx| server.poll_event(cx));
    tokio::time::timeout(Duration::from_secs(1), quiet).await.expect_err("not reported yet");
    server.send(client_addr(), &Transmit::Packet(b"packet")).unwrap();
    event(&mut server).await;
    assert_eq!(server.take_error(), Some(client_addr()));
    assert_eq!(server.take_error(), None);
}

fn client_addr() -> SocketAddr {
    "192.0.2.2:2000".parse().unwrap()
}
