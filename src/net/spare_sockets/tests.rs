use super::*;
use crate::net::UdpLink;
use crate::net::test_support::peer;

fn fresh() -> Spare {
    let socket = UdpLink::open("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let local = socket.local_addr().unwrap();
    Spare { socket, local, met: Vec::new() }
}

fn client(port: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()))
}

/// As many spares as it takes, the n-th of them met by client n; and their ports.
fn spares() -> (SpareSockets, Vec<SocketAddr>) {
    let mut spares = SpareSockets::default();
    let locals = (0..SPARE_SOCKETS_MIN).map(|n| give_back_from(&mut spares, fresh(), client(n)));
    let locals = locals.collect();
    (spares, locals)
}

fn give_back_from(spares: &mut SpareSockets, mut spare: Spare, peer: SocketAddr) -> SocketAddr {
    let local = spare.local;
    spare.met.push(peer);
    spares.give_back(spare, Instant::now());
    local
}

#[test]
fn a_client_meets_no_port_twice_and_others_the_one_that_rested_longest() {
    let (mut spares, locals) = spares();
    assert_eq!(spares.take(locals[0], client(0)).unwrap().local, locals[1], "not the one that it has met");
    give_back_from(&mut spares, fresh(), client(1000));
    let again = spares.take(locals[0], client(2000)).unwrap();
    assert_eq!(again.local, locals[0]);
    give_back_from(&mut spares, again, client(2000));
    for met in [0, 2000] {
        let other = spares.take(locals[0], client(met)).unwrap();
        assert_ne!(other.local, locals[0], "however long ago");
        give_back_from(&mut spares, fresh(), client(3000 + met));
    }
    assert!(spares.take("127.0.0.2:69".parse().unwrap(), client(4000)).is_none(), "of another address");
}

#[test]
fn one_client_after_the_other_gets_a_port_of_its_own() {
    let mut spares = SpareSockets::default();
    let local = give_back_from(&mut spares, fresh(), client(1));
    assert!(spares.take(local, client(2)).is_none());
}

#[test]
fn what_comes_late_to_a_port_is_heard_by_no_other_client() {
    let (mut spares, locals) = spares();
    give_back_from(&mut spares, fresh(), client(1000));
    peer("127.0.0.1:0").send_to(b"\0\x04\0\x01", locals[0]).unwrap();
    assert_eq!(spares.take(locals[0], client(2000)).unwrap().local, locals[1]);
    // It is closed: the port can be had.
    UdpSocket::bind(locals[0]).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_port_whose_last_client_is_gone_is_used_no_more() {
    let (mut spares, _) = spares();
    let spare = fresh();
    let gone = peer("127.0.0.1:0").local_addr().unwrap();
    // The answer, an ICMP, is there when this returns.
    spare.socket.send_to(b"\0\x03\0\x01", gone).unwrap();
    let local = give_back_from(&mut spares, spare, gone);
    for n in 0..SPARE_SOCKETS_MIN {
        let taken = spares.take(local, client(2000 + n)).unwrap();
        assert_ne!(taken.local, local);
        give_back_from(&mut spares, fresh(), client(3000 + n));
    }
    let Some(taken) = spares.take(local, client(4000)) else { return };
    assert_ne!(taken.local, local);
}

#[test]
fn neither_the_number_of_spares_nor_the_uses_of_one_grow_without_end() {
    let mut spares = SpareSockets::default();
    for n in 0..=SPARE_SOCKETS_MAX {
        give_back_from(&mut spares, fresh(), client(n));
    }
    assert_eq!(spares.0.len(), SPARE_SOCKETS_MAX);
    spares.0.clear();
    let mut worn = fresh();
    worn.met = (1..SPARE_SOCKET_USES_MAX).map(client).collect();
    give_back_from(&mut spares, worn, client(SPARE_SOCKET_USES_MAX));
    assert_eq!(spares.0.len(), 0);
}

#[test]
fn a_socket_that_somebody_has_still_is_not_given_to_another() {
    let mut spares = SpareSockets::default();
    let spare = fresh();
    let _held = Arc::clone(&spare.socket);
    assert!(!spares.give_back(spare, Instant::now()));
    assert_eq!(spares.0.len(), 0);
}

#[test]
fn ports_that_nobody_wants_are_given_back_to_the_system_soon() {
    let mut spares = SpareSockets::default();
    let now = Instant::now();
    assert!(spares.give_back(fresh(), now), "somebody has to look after it");
    assert!(!spares.give_back(fresh(), now + SPARE_SOCKET_REST_MAX / 2), "who does so already");
    assert!(spares.close_rested(now + SPARE_SOCKET_REST_MAX));
    assert_eq!(spares.0.len(), 1);
    assert!(!spares.close_rested(now + SPARE_SOCKET_REST_MAX * 2));
    assert_eq!(spares.0.len(), 0);
}
