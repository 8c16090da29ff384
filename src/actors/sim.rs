//! Real sessions, made-up guests and strangers on one arbiter, with links that lose, double, reorder and delay, a store that has to be waited for and panics, and time
//! that passes when nobody has anything to do. Everything follows from a seed. (Of the machines alone there are many more runs: `tests/sim/`.)

#[path = "../../tests/link/agenda.rs"]
mod agenda;
#[path = "../../tests/link/channel.rs"]
#[allow(dead_code, reason = "no script is played here")]
mod channel;
mod crossing;
#[path = "../../tests/sim/guest.rs"]
#[allow(dead_code, reason = "the machines' simulator looks at more")]
mod guest;
#[path = "../../tests/link/rng.rs"]
#[allow(dead_code, reason = "nor is chance of every kind wanted")]
mod rng;
mod seat;
mod store;
#[path = "../../tests/sim/stranger.rs"]
mod stranger;

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler};

use self::channel::{Channel, Conditions};
use self::crossing::Crossing;
use self::guest::{Ended, Guest, Temper};
use self::rng::{Rng, for_each_seed};
use self::seat::Seat;
use self::store::Flaky;
use crate::actors::session::Session;
use crate::engine::admission::peer_table::{PeerTable, Permit};
use crate::engine::admission::{Admitted, Verdict};
use crate::engine::messages::Again;
use crate::engine::poll_loop::PollLoop;
use crate::engine::service::Service;
use crate::engine::test_support::{Parent, in_virtual_time, service};
use crate::engine::transfers::shared_transfer::SharedTransfer;
use crate::limits;
use crate::net::{MemoryLink, Received};
use crate::store::{Memory, MemoryOptions, Name};
use crate::supervision::{Exit, start_temporary};
use crate::transfer::Timeouts;
use crate::wire::Packet;

const RUNS: u64 = 500;
/// Packets of strangers to each guest's sessions, at most.
const MISCHIEF_MAX: usize = 10;
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 69);
const STRANGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1666);

/// What all sessions of a run share.
struct Hall {
    service: Arc<Service>,
    store: Memory,
    poll_loop: Rc<PollLoop>,
    peers: Arc<PeerTable>,
    tell: mpsc::Sender<Exit>,
    exits: mpsc::Receiver<Exit>,
    listener: Addr<Deaf>,
}

/// A session's transfer, and the other ends of its link.
struct Desk {
    /// The guest's.
    far: MemoryLink,
    stranger: MemoryLink,
    /// What the stranger sent.
    mischief: Vec<Vec<u8>>,
    shared: Arc<SharedTransfer>,
    _permit: Permit,
}

/// Whoever asks again will ask again.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<Again> for Deaf {
    type Result = ();

    fn handle(&mut self, _: Again, _: &mut Self::Context) {}
}

impl Hall {
    fn new(rng: &mut Rng) -> Self {
        let store = Memory::new(MemoryOptions { overwrite: true, ..MemoryOptions::default() });
        let flaky = Flaky::new(store.clone(), rng.fork());
        let mut service = Arc::into_inner(service(Arc::new(flaky)).0).unwrap();
        service.timeouts = Timeouts { idle: Duration::from_secs(120), ..Timeouts::default() };
        let service = Arc::new(service);
        let (tell, exits) = mpsc::channel();
        Self {
            poll_loop: PollLoop::start(&service),
            store,
            service,
            peers: PeerTable::new(100),
            tell,
            exits,
            listener: Deaf.start(),
        }
    }

    /// What the listener and the supervisor do. A session, if it is to be a new one.
    fn ask(&self, peer: SocketAddr, octets: &[u8]) -> Option<Desk> {
        let Ok(Packet::Request(request)) = Packet::decode(octets) else { panic!("no request: {octets:?}") };
        let received = Received { octets: octets.len(), from: peer, to: SERVER, to_broadcast: false };
        let again = || self.listener.clone().recipient();
        let admitted = match self.service.admit(&self.peers, &received, &request, again) {
            Verdict::Serve(admitted) => *admitted,
            Verdict::Repeat => return None,
            Verdict::Fail(failed) => panic!("its file is there: {:?}", failed.fault),
            Verdict::Refuse(fault) => panic!("nothing is wrong with it: {fault:?}"),
            Verdict::Ignore(limit) => panic!("so few, and no place: {limit:?}"),
        };
        let Admitted { assignment, routed, opened, permit, .. } = admitted;
        // (The shared transfer wants a socket, through which nothing goes.)
        let socket = Arc::new(std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let shared =
            Arc::new(SharedTransfer::new(assignment, routed, socket, SERVER, Arc::clone(&permit.state)));
        if let Some(opened) = opened {
            shared.lock().set_opened(opened);
        }
        let (near, far) = MemoryLink::pair(SERVER, peer);
        let (strangers, stranger) = MemoryLink::pair(SERVER, STRANGER);
        let near = Crossing { peer: near, stranger: strangers };
        let (driven, service) = (Arc::clone(&shared), Arc::clone(&self.service));
        let (life, poll_loop) = (shared.next_life(), Rc::clone(&self.poll_loop));
        let parent = Parent(self.tell.clone()).start().recipient();
        start_temporary(permit.id.0, limits::MAILBOX_SESSION, parent, move |ctx| {
            Session::new(driven, life, service, Box::new(near), poll_loop, ctx.address())
        });
        Some(Desk { far, stranger, mischief: Vec::new(), shared, _permit: permit })
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn channel(rng: &mut Rng, is_rough: bool, guest: &Guest) -> Channel {
    let delay = ms(rng.one_of(&[1, 5, 20]));
    let mut conditions = Conditions { delay, in_order: true, ..Conditions::default() };
    if is_rough {
        conditions = Conditions {
            loss: rng.one_of(&[0, 5, 20, 50]),
            duplicate: if guest.may_be_doubled() { rng.one_of(&[0, 20, 200]) } else { 0 },
            reorder: rng.one_of(&[0, 20, 100]),
            jitter: ms(rng.one_of(&[0, 1, 10])),
            in_order: false,
            ..conditions
        };
    }
    Channel::new(conditions, rng.fork())
}

async fn play(seed: u64) {
    let mut rng = Rng::new(seed);
    let hall = Rc::new(Hall::new(&mut rng));
    let is_rough = rng.chance(700);
    let mut seats = Vec::new();
    for number in 0..rng.length(1..=5) {
        let guest = Guest::any(format!("f{number}"), 30, &[8, 512, 1428], &[1, 2, 7], &mut rng);
        let wish = guest.wish();
        if wish.is_read {
            hall.store.insert(Name::from_request(wish.name.as_bytes()).unwrap(), wish.file.to_vec());
        }
        let channels = [(); 2].map(|()| channel(&mut rng, is_rough, &guest));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 2000 + number as u16));
        let comes_in = ms(rng.within(0..=300));
        let seat = Seat::new(Rc::clone(&hall), guest, channels, address, rng.fork());
        seats.push(actix::spawn(seat.play(comes_in)));
    }
    let mut sessions = 0;
    for seat in seats {
        let seat = seat.await.expect("a seat that holds");
        sessions += seat.desks();
        let (guest, wish) = (seat.guest(), seat.guest().wish());
        // Who was switched off and on can take a late packet of the old transfer for the new one's, and give up in the end: the protocol has nothing against that.
        let may_be_mistaken = is_rough && guest.temper() == Temper::Restarting && seat.desks() > 1;
        if guest.temper() != Temper::Silent {
            let is_mistaken = may_be_mistaken && guest.ended == Some(Ended::GaveUp);
            // What was lost, and what was in flight when a reader panicked, comes twice.
            let is_hung = guest.temper() == Temper::Fragile && guest.ended == Some(Ended::Hung);
            assert!(
                guest.ended == Some(Ended::Complete) || is_mistaken || is_hung,
                "{:?}: {:?}",
                guest.temper(),
                guest.ended
            );
        }
        if guest.ended == Some(Ended::Complete) && !wish.is_read {
            let stored = hall.store.get(&Name::from_request(wish.name.as_bytes()).unwrap());
            assert!(stored.is_some_and(|stored| stored[..] == wish.file[..]), "its file didn't arrive");
        }
    }
    // Nothing is left of any of them.
    for _ in 0..sessions {
        let mut exit = hall.exits.try_recv();
        while exit.is_err() {
            tokio::time::sleep(ms(1000)).await;
            exit = hall.exits.try_recv();
        }
        assert!(matches!(exit, Ok(Exit::Normal)), "{exit:?}");
    }
    assert_eq!((hall.peers.live(), hall.peers.unfinished()), (0, 0));
}

#[test]
fn guests_of_every_temper_are_served_by_the_real_actors_whatever_happens_to_packets_and_readers() {
    let name = "guests_of_every_temper_are_served_by_the_real_actors_whatever_happens_to_packets_and_readers";
    for_each_seed(name, RUNS, |seed| in_virtual_time(play(seed)));
}
