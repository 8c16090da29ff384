use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::Duration;

use actix::Arbiter;

use super::*;
use crate::actors::test_support::{in_virtual_time, pass, service, turn_until};
use crate::net::refuse_registrations;
use crate::store::{Memory, MemoryOptions};
use crate::supervision::{Exit, RestartLimit, start_permanent};

/// (After an error event a socket is registered anew. Only in single-port mode is a listener told of errors.)
#[test]
fn a_listener_whose_socket_can_not_be_waited_for_any_more_says_so_and_comes_back() {
    in_virtual_time(async {
        let mut service =
            Arc::into_inner(service(Arc::new(Memory::new(MemoryOptions::default()))).0).unwrap();
        service.single_port = true;
        let (service, peers) = (Arc::new(service), LivePeers::bounded(10, None, true));
        let socket = RequestSocket::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (exits, said) = mpsc::channel();
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
        // Nobody listens there, which is told of at once.
        let gone = UdpSocket::bind((Ipv4Addr::new(127, 83, 69, 84), 0)).unwrap().local_addr().unwrap();
        socket.send_to(b"data", gone).unwrap();
        let mut exit = None;
        for _ in 0..1000 {
            pass(Duration::ZERO).await;
            exit = exit.or_else(|| said.try_recv().ok());
        }
        refuse_registrations(false);
        let Some(Exit::Panicked(why)) = exit else { panic!("{exit:?}") };
        assert!(why.starts_with("can't wait for requests: "), "{why}");
        pass(Duration::from_secs(1)).await;
        is_answered().await;
    });
}
