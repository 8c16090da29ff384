use std::net::Ipv4Addr;

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::net::test_support::{packets, peer, slabs, take, whole_run};

/// A link to a client through one address of a port that is bound to all.
fn link(client: &UdpSocket, own: [u8; 4]) -> (SharedLink, Arc<Inbox>) {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    let local = SocketAddr::new(own.into(), socket.local_addr().unwrap().port());
    let inbox = Arc::<Inbox>::default();
    (SharedLink::new(socket, Arc::clone(&inbox), client.local_addr().unwrap(), local), inbox)
}

#[test]
fn replies_leave_from_the_address_and_port_asked() {
    let client = peer("127.0.0.1:0");
    let (mut link, _) = link(&client, [127, 0, 0, 2]);
    let to = client.local_addr().unwrap();
    link.send(to, &Transmit::Packet(b"oack")).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(client.recv_from(&mut buffer).unwrap(), (4, link.local_addr()));
    for (sizes, blksize) in [(&[65536, 20_000][..], 1428), (&[1000], 512), (&[65536, 65536, 3], 65464)] {
        let slabs = slabs(sizes);
        let blocks = whole_run(&slabs, 0, blksize, 1);
        let expected = packets(blocks);
        link.send(to, &Transmit::Blocks(blocks)).unwrap();
        assert!(take(&client, expected.len()) == expected, "blksize {blksize}");
    }
    assert!(link.segments);
}

#[test]
fn datagrams_arrive_in_order() {
    let client = peer("127.0.0.1:0");
    let (mut link, inbox) = link(&client, [127, 0, 0, 1]);
    let mut buffer = [0; 4];
    assert_eq!(link.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(inbox.push(b"one") && inbox.push(b"longer"));
    let from = client.local_addr().unwrap();
    assert_eq!((link.receive(&mut buffer).unwrap(), &buffer[..3]), (Arrived::one(3, from), &b"one"[..]));
    assert_eq!((link.receive(&mut buffer).unwrap(), &buffer), (Arrived::one(6, from), b"long"));
    assert_eq!(link.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(link.take_error(), None);
    inbox.set_gone();
    assert_eq!((link.take_error(), link.take_error()), (Some(from), None));
}

#[test]
fn an_inbox_holds_as_much_as_a_socket_would() {
    let inbox = Inbox::default();
    assert_eq!((0..INBOX_DATAGRAMS_MAX * 2).filter(|_| inbox.push(b"ack")).count(), INBOX_DATAGRAMS_MAX);
    let inbox = Inbox::default();
    let block = vec![0; 65464 + 4];
    assert_eq!((0..100).filter(|_| inbox.push(&block)).count(), TRANSFER_RECEIVE_BUFFER_OCTETS / block.len());
}

#[test]
fn a_link_is_announced_once_until_a_receive() {
    let client = peer("127.0.0.1:0");
    let (mut link, inbox) = link(&client, [127, 0, 0, 1]);
    let (ready, mut announced) = unbounded_channel();
    let mut told = || announced.try_recv().ok();
    inbox.push(b"before");
    assert!(link.join(&ready, 7));
    assert_eq!((told(), told()), (Some(7), None), "what came before");
    inbox.push(b"more");
    assert_eq!(told(), None, "it hasn't been taken");
    let mut buffer = [0; 8];
    link.receive(&mut buffer).unwrap();
    inbox.push(b"and more");
    inbox.set_gone();
    assert_eq!((told(), told()), (Some(7), None));
    while link.receive(&mut buffer).is_ok() {}
    inbox.push(b"again");
    assert_eq!((told(), told()), (Some(7), None));
    // Another session continues, possibly on another thread.
    let (other, mut announced) = unbounded_channel();
    link.join(&other, 9);
    assert_eq!((told(), announced.try_recv()), (None, Ok(9)));
}
