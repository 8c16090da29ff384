//! A link that is dedicated to its peer hears and answers everybody as before.

use super::*;
use crate::net::{SocketEvent, SocketSet};

/// A link that is dedicated to the first client, and another client.
fn dedicated(local: &str) -> (UdpLink, UdpSocket, UdpSocket) {
    let mut link = link(local);
    let address = SocketAddr::new(link.local_addr().ip(), 0).to_string();
    let (client, stranger) = (peer(&address), peer(&address));
    assert!(link.dedicate(client.local_addr().unwrap()));
    (link, client, stranger)
}

/// All that has come, with who sent it.
fn received(link: &mut UdpLink) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 64];
    let mut received = Vec::new();
    while let Ok(arrived) = link.receive(&mut buffer) {
        received.push((buffer[..arrived.octets].to_vec(), arrived.from));
    }
    received
}

#[tokio::test]
async fn peer_and_strangers_are_heard_and_answered_from_the_same_port() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut link, client, stranger) = dedicated(local);
        let (tid, to) = (link.local_addr(), client.local_addr().unwrap());
        let other = stranger.local_addr().unwrap();
        stranger.send_to(b"who are you", tid).unwrap();
        client.send_to(b"ack", tid).unwrap();
        assert_eq!(received(&mut link), [(b"ack".to_vec(), to)], "the set has told of nobody else");
        link.expect_strangers();
        client.send_to(b"ack", tid).unwrap();
        assert_eq!(received(&mut link), [(b"ack".to_vec(), to), (b"who are you".to_vec(), other)]);
        for (to, socket) in [(to, &client), (other, &stranger)] {
            link.send(to, &Transmit::Packet(b"hello")).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(socket.recv_from(&mut buffer).unwrap(), (5, tid));
        }
    }
}

#[tokio::test]
async fn windows_and_large_blocks_arrive_as_they_did() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut link, client, _) = dedicated(local);
        for (sizes, blksize) in [(&[65536, 20_000][..], 1428), (&[1000], 512), (&[65536, 65536, 3], 65464)] {
            let slabs = slabs(sizes);
            let blocks = whole_run(&slabs, 0, blksize, 1);
            let expected = packets(blocks);
            link.send(client.local_addr().unwrap(), &Transmit::Blocks(blocks)).unwrap();
            assert!(take(&client, expected.len()) == expected, "blksize {blksize}");
        }
        assert!(link.segments);
    }
}

#[tokio::test]
async fn what_strangers_sent_before_is_not_taken_for_the_peers() {
    let mut link = link("127.0.0.1:0");
    let (client, stranger) = (peer("127.0.0.1:0"), peer("127.0.0.1:0"));
    let (to, other) = (client.local_addr().unwrap(), stranger.local_addr().unwrap());
    stranger.send_to(b"early", link.local_addr()).unwrap();
    assert!(link.dedicate(to));
    client.send_to(b"ack", link.local_addr()).unwrap();
    assert_eq!(received(&mut link), [(b"early".to_vec(), other), (b"ack".to_vec(), to)]);
}

#[tokio::test]
async fn what_strangers_sent_before_is_known_as_theirs_behind_what_the_peer_sent_twice() {
    let mut link = link("127.0.0.1:0");
    let (client, stranger) = (peer("127.0.0.1:0"), peer("127.0.0.1:0"));
    let (to, other) = (client.local_addr().unwrap(), stranger.local_addr().unwrap());
    for _ in 1..RECEIVED_BEFORE_UNMIXED {
        client.send_to(b"old", link.local_addr()).unwrap();
    }
    stranger.send_to(b"early", link.local_addr()).unwrap();
    assert!(link.dedicate(to));
    let heard = received(&mut link);
    assert_eq!(heard.last(), Some(&(b"early".to_vec(), other)));
    // From some time on nobody asks any more whose they are, and strangers are heard all the same.
    for _ in 0..RECEIVED_BEFORE_UNMIXED * 3 {
        client.send_to(b"ack", link.local_addr()).unwrap();
        stranger.send_to(b"hm", link.local_addr()).unwrap();
        link.expect_strangers();
        assert_eq!(received(&mut link), [(b"ack".to_vec(), to), (b"hm".to_vec(), other)]);
    }
    assert_eq!(link.mixed, 0);
}

#[tokio::test]
async fn nobody_else_can_have_the_port() {
    let (link, ..) = dedicated("127.0.0.1:0");
    for reuse in [false, true] {
        let socket = Socket::new(Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_address(reuse).unwrap();
        let error = socket.bind(&link.local_addr().into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}

#[tokio::test]
async fn a_peer_that_closed_its_port_is_known_and_a_stranger_who_left_is_nobody() {
    let (mut link, client, stranger) = dedicated("127.0.0.1:0");
    let set = SocketSet::new().unwrap();
    set.add(link.socket().unwrap(), 1).unwrap();
    set.add_beside(link.strangers().unwrap(), 1).unwrap();
    let mut events = Vec::new();
    let (to, other) = (client.local_addr().unwrap(), stranger.local_addr().unwrap());
    drop((stranger, client));
    link.send(other, &Transmit::Packet(b"error")).unwrap();
    link.send(to, &Transmit::Packet(b"data")).unwrap();
    std::future::poll_fn(|cx| set.poll_events(cx, &mut events)).await.unwrap();
    assert_eq!(events, [SocketEvent { token: 1, error: true, strangers: false }]);
    link.expect_errors();
    assert_eq!((link.take_error(), link.take_error()), (Some(to), None));
    assert_eq!(received(&mut link), []);
}

#[tokio::test]
async fn another_link_goes_on_with_the_socket_and_may_be_dedicated_as_well() {
    let (link, client, stranger) = dedicated("127.0.0.1:0");
    let (socket, tid) = (link.shared_socket(), link.local_addr());
    let (to, other) = (client.local_addr().unwrap(), stranger.local_addr().unwrap());
    let mut second = UdpLink::from_socket(Arc::clone(&socket)).unwrap();
    assert!(!second.dedicate(to), "the first one hears the strangers");
    drop(link);
    second.send(to, &Transmit::Packet(b"data")).unwrap();
    assert_eq!(take(&client, 1), [b"data"]);
    assert!(second.dedicate(to));
    second.expect_strangers();
    client.send_to(b"ack", tid).unwrap();
    stranger.send_to(b"hm", tid).unwrap();
    assert_eq!(received(&mut second), [(b"ack".to_vec(), to), (b"hm".to_vec(), other)]);
}

#[tokio::test]
async fn a_link_of_no_single_address_stays_open_to_all() {
    let mut link = link("0.0.0.0:0");
    assert!(!link.dedicate(peer("127.0.0.1:0").local_addr().unwrap()));
    assert!(link.strangers().is_none());
}

#[tokio::test]
async fn the_peer_is_heard_at_once_however_many_strangers_send() {
    let (mut link, client, stranger) = dedicated("127.0.0.1:0");
    let (tid, to, other) = (link.local_addr(), client.local_addr().unwrap(), stranger.local_addr().unwrap());
    let flood = || {
        // (The kernel drops what has no room.)
        (0..100).for_each(|_| assert_eq!(stranger.send_to(b"hm", tid).unwrap(), 2));
    };
    flood();
    link.expect_strangers();
    let from = |link: &mut UdpLink| link.receive(&mut [0; 8]).unwrap().from;
    assert_eq!([from(&mut link), from(&mut link)], [other, other], "nobody else has sent anything");
    for _ in 0..10 {
        flood();
        client.send_to(b"ack", tid).unwrap();
        assert_eq!(from(&mut link), to, "before all of them");
        // And they are answered though the peer has more to say.
        client.send_to(b"ack", tid).unwrap();
        assert_eq!([from(&mut link), from(&mut link)], [other, to]);
        assert_eq!(from(&mut link), other);
    }
}
