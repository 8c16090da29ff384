use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::Duration;

use actix::Arbiter;

use super::*;
use crate::engine::test_support::{in_virtual_time, pass, service, turn_until};
use crate::net::refuse_registrations;
use crate::store::{Memory, MemoryOptions};
use crate::supervision::{Exit, RestartLimit, start_permanent};

/// Makes the actor panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Boom;

impl Handler<Boom> for Listener {
    type Result = ();

    fn handle(&mut self, _: Boom, _: &mut Self::Context) {
        panic!("as the test wants it");
    }
}

#[test]
fn a_paused_listener_serves_its_backlog_and_closes() {
    const MANY: usize = 3 * limits::DATAGRAMS_PER_TURN;
    in_virtual_time(async {
        let service = service(Arc::new(Memory::new(MemoryOptions::default()))).0;
        let peers = PeerTable::bounded(10, None, false);
        let socket = RequestSocket::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let (exits, exited) = mpsc::channel();
        let workers = Arc::new(Workers::new(RestartLimit::default()));
        let listener = start_permanent(
            &Arbiter::current(),
            RestartLimit::default(),
            limits::MAILBOX_BUSY,
            move |_| Listener::new(socket, service, peers, workers).of_own_socket(),
            move |exit: &Exit, _| drop(exits.send(exit.clone())),
        );
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_nonblocking(true).unwrap();
        for _ in 0..MANY {
            client.send_to(b"\0\x01missing\0octet\0", address).unwrap();
        }
        listener.addr.send(Pause).await.unwrap();
        let answered = std::iter::from_fn(|| client.recv(&mut [0; 600]).ok()).count();
        assert_eq!(answered, MANY);
        let next = UdpSocket::bind(address).expect("the port is free");
        listener.addr.send(Boom).await.unwrap_err();
        let Ok(Exit::Panicked(_)) = exited.try_recv() else { panic!("it did not panic") };
        // The listener has restarted, without a port.
        pass(Duration::from_secs(1)).await;
        listener.addr.send(Pause).await.unwrap();
        drop(next);
        UdpSocket::bind(address).expect("the port is still free");
    });
}

#[test]
fn a_passed_socket_keeps_its_backlog_and_stays_open() {
    in_virtual_time(async {
        let service = service(Arc::new(Memory::new(MemoryOptions::default()))).0;
        let peers = PeerTable::bounded(10, None, false);
        let passed = RequestSocket::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (socket, address) = (Arc::clone(&passed), passed.local_addr().unwrap());
        let workers = Arc::new(Workers::new(RestartLimit::default()));
        let listener = Listener::new(socket, service, peers, workers).start();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"\0\x01missing\0octet\0", address).unwrap();
        listener.send(Pause).await.unwrap();
        passed.recv_from(&mut [0; 600]).expect("the request is there for the next server");
        drop(passed);
        UdpSocket::bind(address).expect_err("the listener has the port");
    });
}

/// After an error event a socket is registered anew. Only in single-port mode does a listener get
/// error events.
#[test]
fn a_listener_that_can_not_poll_panics_and_restarts() {
    in_virtual_time(async {
        let mut service =
            Arc::into_inner(service(Arc::new(Memory::new(MemoryOptions::default()))).0).unwrap();
        service.single_port = true;
        let (service, peers) = (Arc::new(service), PeerTable::bounded(10, None, true));
        let socket = RequestSocket::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (exits, exited) = mpsc::channel();
        let (port, workers) = (Arc::clone(&socket), Arc::new(Workers::new(RestartLimit::default())));
        let _listener = start_permanent(
            &Arbiter::current(),
            RestartLimit::default(),
            limits::MAILBOX_BUSY,
            move |_| Listener::new(port, service, peers, workers),
            move |exit: &Exit, _| drop(exits.send(exit.clone())),
        );
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_nonblocking(true).unwrap();
        let is_answered = async || {
            client.send_to(b"\0\x01missing\0octet\0", socket.local_addr().unwrap()).unwrap();
            turn_until(|| client.recv(&mut [0; 600]).is_ok_and(|octets| octets > 4)).await;
        };
        is_answered().await;
        refuse_registrations(true);
        // Nobody listens at that address, which is reported at once.
        let gone = UdpSocket::bind((Ipv4Addr::new(127, 83, 69, 84), 0)).unwrap().local_addr().unwrap();
        socket.send_to(b"data", gone).unwrap();
        let mut exit = None;
        for _ in 0..1000 {
            pass(Duration::ZERO).await;
            exit = exit.or_else(|| exited.try_recv().ok());
        }
        refuse_registrations(false);
        let Some(Exit::Panicked(why)) = exit else { panic!("{exit:?}") };
        assert!(why.starts_with("can't wait for requests: "), "{why}");
        pass(Duration::from_secs(1)).await;
        is_answered().await;
    });
}
