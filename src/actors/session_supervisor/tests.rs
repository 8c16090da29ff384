use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use actix::{Arbiter, System};
use tokio::time::Instant;

use super::*;
use crate::engine::admission::{Claim, PeerTable};
use crate::engine::config::Config;
use crate::engine::test_support::{service, wait_until};
use crate::engine::transfers::Assignment;
use crate::net::{PortRange, Received};
use crate::observe::Observer;
use crate::store::{Memory, MemoryOptions};
use crate::supervision::{RestartLimit, start_permanent};
use crate::wire::Packet;

/// An observer that blocks at a request for which there is no port.
#[derive(Debug)]
struct Slow {
    begin: Mutex<Sender<()>>,
    end: Mutex<Receiver<()>>,
}

impl Observer for Slow {
    fn observe(&self, fact: &Fact<'_>) {
        if matches!(fact, Fact::Dropped { .. }) {
            self.begin.lock().unwrap().send(()).unwrap();
            // This blocks until the test drops the other end.
            let _ = self.end.lock().unwrap().recv();
        }
    }
}

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 69);

fn claim(peers: &Arc<PeerTable>, number: u64) -> Claim {
    let Ok(Packet::Request(request)) = Packet::decode(b"\0\x01file\0octet\0") else { panic!("a request") };
    let received =
        Received { octets: 0, from: (Ipv4Addr::LOCALHOST, 9).into(), to: LOCAL, to_broadcast: false };
    peers.claim(&received, &request, || unreachable!("it has no session"), || TransferId(number))
}

/// The observer of the refusal blocks meanwhile, and its arbiter too.
#[test]
fn a_request_without_a_socket_can_be_repeated() {
    let _system = System::new();
    let arbiter = Arbiter::new();
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let ((begin, begun), (end, ended)) = (channel(), channel::<()>());
    let slow = Slow { begin: begin.into(), end: ended.into() };
    let (service, peers) = (service(Arc::new(Memory::new(MemoryOptions::default()))).0, PeerTable::new(9));
    let mut service = Arc::into_inner(service).unwrap();
    let ports = PortRange::new(port, port);
    service.set_config(Config { ports, ..(*service.config()).clone() });
    service.observers = vec![Arc::new(slow)];
    let (service, sessions) = (Arc::new(service), Arc::<SessionTable>::default());
    let Claim::New(permit) = claim(&peers, 1) else { panic!("no place") };
    let Ok(Packet::Request(request)) = Packet::decode(b"\0\x01file\0octet\0") else { panic!("a request") };
    let (id, peer, request) = (permit.id, (Ipv4Addr::LOCALHOST, 9).into(), request.into_owned());
    let config = service.config();
    let assignment =
        Assignment { id, peer, request, received_at: Instant::now(), to_broadcast: false, config };
    let routed = service.route(&assignment.config, &assignment.asked(LOCAL), 0).unwrap();
    let admitted = Admitted { assignment, routed, local: LOCAL, opened: None, permit };
    let pending = PendingRequest::new(admitted, None);
    assert!(sessions.push_waiting(&pending));
    let (served, table) = (Arc::clone(&service), Arc::clone(&sessions));
    let make =
        move |_: &mut Context<SessionSupervisor>| SessionSupervisor::new(served, table, Arc::default());
    let limit = RestartLimit::default();
    let _supervisor = start_permanent(&arbiter.handle(), limit, limits::MAILBOX_BUSY, make, |_: &_, _| ());
    begun.recv().unwrap();
    assert!(matches!(claim(&peers, 2), Claim::New(_)), "nobody answers it");
    assert_eq!(sessions.load(), 0);
    drop(end);
    wait_until("its place is free", || peers.live() == 0);
    arbiter.stop();
    arbiter.join().unwrap();
}
