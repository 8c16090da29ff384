//! A server without a network, in virtual time, for tests of extensions.

mod client;
mod faulty_store;
mod link;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

pub use self::client::{Download, KitClient, KitError};
pub use self::faulty_store::{Call, FaultyStore, StoreFault};
pub use self::link::{KitLink, KitPacket};
use crate::actors::session::Session;
use crate::engine::admission::peer_table::{PeerTable, Permit};
use crate::engine::admission::{Admitted, Verdict};
use crate::engine::extensions::opcodes::Answer;
use crate::engine::messages::Again;
use crate::engine::poll_loop::PollLoop;
use crate::engine::service::Service;
use crate::engine::transfers::assignment::Assignment;
use crate::engine::transfers::destination::Routed;
use crate::engine::transfers::shared_transfer::SharedTransfer;
use crate::extend::Datagram;
use crate::limits;
use crate::net::{Link, MemoryLink, Received};
use crate::observe::{Counters, Fact, Observer, OwnedFact, TransferId};
use crate::policy::unanswerable;
use crate::supervision::{ChildExited, Exit, start_temporary};
use crate::transfer::{Transmit, fault_packet};
use crate::wire::{Packet, Request};
use actix::{Actor, AsyncContext, Context, Handler, Recipient, System};

/// The server's address.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 69);

/// A server for tests: real sessions, with the routes, stores, negotiators, opcodes and observers
/// of a [`Builder`](crate::daemon::Builder), behind links in memory. No port is opened for clients.
/// A session that panics ends its transfer, which the server's would resume; observers hear of the
/// panic. Actors in the tree of the builder are started again, as in the server. They live on when
/// the kit is dropped, until the test's `System` ends: neither their `stopping` nor their `stopped`
/// runs. What an actor does at its end is tested with a [`Server`](crate::daemon::Server).
///
/// Time [passes](Self::in_virtual_time) when nobody has anything to do: to wait for three seconds
/// takes none. It doesn't pass while a store is at work on a thread that may wait, nor during
/// `tokio::task::spawn_blocking`. An actor on a thread of its own (`SyncArbiter`) isn't seen to be
/// at work, and would miss its deadline: use a `ResponseFuture` with `spawn_blocking` instead.
///
/// It needs the feature `testkit`, which is off by default.
#[derive(Debug)]
pub struct Kit {
    service: Arc<Service>,
    counters: Arc<Counters>,
    poll_loop: Rc<PollLoop>,
    peers: Arc<PeerTable>,
    parent: Recipient<ChildExited>,
    listener: Recipient<Again>,
    clients: Cell<u16>,
    places: Places,
}

thread_local! {
    /// Whether this thread runs a test in virtual time.
    static VIRTUAL: Cell<bool> = const { Cell::new(false) };
}

/// The permits of the live transfers.
type Places = Rc<RefCell<HashMap<u64, Permit>>>;

/// Hears which sessions have ended.
struct Parent {
    places: Places,
    service: Arc<Service>,
}

impl Kit {
    /// Runs a test in virtual time, inside of an actix `System`. Actors that a
    /// [`Builder`](crate::daemon::Builder::start_child) starts there live on the test's thread.
    ///
    /// # Panics
    /// If the test does, or the operating system has nothing to make a runtime of.
    pub fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime")
        };
        VIRTUAL.set(true);
        let _real_again = RealAgain;
        System::with_tokio_rt(runtime).block_on(test)
    }

    /// Whether this thread's time is virtual.
    pub(crate) fn is_in_virtual_time() -> bool {
        VIRTUAL.get()
    }

    pub(crate) fn new(mut service: Service) -> Self {
        let counters = Arc::<Counters>::default();
        service.observers.push(Arc::<Counters>::clone(&counters));
        let service = Arc::new(service);
        let places = Places::default();
        let parent = Parent { places: Rc::clone(&places), service: Arc::clone(&service) }.start();
        Self {
            poll_loop: PollLoop::start(&service),
            peers: PeerTable::new(limits::TRANSFERS_MAX_DEFAULT),
            parent: parent.clone().recipient(),
            listener: parent.recipient(),
            clients: Cell::new(0),
            places,
            service,
            counters,
        }
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The counters, as [`Server::counters`](crate::daemon::Server::counters).
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Facts that observers did not hear, as
    /// [`Server::lost_facts`](crate::daemon::Server::lost_facts).
    #[must_use]
    pub fn lost_facts(&self) -> u64 {
        self.service.lost_facts()
    }

    /// A client, at an address of its own.
    pub fn client(&self) -> KitClient<'_> {
        let number = self.clients.get() + 1;
        self.clients.set(number);
        let [high, low] = number.to_be_bytes();
        KitClient::new(self, SocketAddr::from((Ipv4Addr::new(198, 51, high, low), client::FIRST_PORT)))
    }

    /// The table of live peers.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn peer_table(&self) -> &Arc<PeerTable> {
        &self.peers
    }

    /// Delivers a datagram to the well-known port, as the network does. The link leads to what
    /// answers: the transfer that a request begins, a refusal, an opcode, or nothing. `None` if the
    /// request repeats one whose transfer has a link by now.
    pub fn datagram(&self, from: SocketAddr, octets: &[u8]) -> Option<KitLink> {
        let (near, far) = MemoryLink::pair(SERVER, from);
        let far = KitLink::new(far, from);
        if let Some(why) = unanswerable(from, SERVER) {
            self.service.observe(&Fact::Dropped { peer: from, why });
            return Some(far);
        }
        if let Some(answer) =
            self.service.ask_opcode(&self.service.config(), &Datagram::new(from, SERVER, octets))
        {
            self.answer(from, near, answer);
            return Some(far);
        }
        let Ok(Packet::Request(request)) = Packet::decode(octets) else { return Some(far) };
        self.take_request(from, near, &request).then_some(far)
    }

    fn answer(&self, peer: SocketAddr, mut near: MemoryLink, answer: Result<Answer, &'static str>) {
        match answer {
            Ok(Answer::Now(answer)) => answer.iter().for_each(|answer| send(&mut near, peer, answer)),
            Ok(Answer::Later(answer)) => {
                actix::spawn(
                    async move { answer.await.iter().for_each(|answer| send(&mut near, peer, answer)) },
                );
            }
            Err(why) => self.service.observe(&Fact::Dropped { peer, why }),
        }
    }

    /// `false` if the request repeats one that is served.
    fn take_request(&self, peer: SocketAddr, mut near: MemoryLink, request: &Request<'_>) -> bool {
        let received = Received { octets: 0, from: peer, to: SERVER, to_broadcast: false };
        match self.service.admit(&self.peers, &received, request, || self.listener.clone()) {
            Verdict::Serve(admitted) => self.serve(*admitted, near),
            Verdict::Fail(failed) => {
                if failed.is_answered() {
                    send(&mut near, peer, &fault_packet(&failed.fault));
                }
                self.service.finish(failed.into_report(SERVER));
            }
            Verdict::Refuse(fault) => {
                self.service.observe(&Fact::Refused { peer, request: Some(request), fault: &fault });
                send(&mut near, peer, &fault_packet(&fault));
            }
            Verdict::Ignore(limit) => {
                self.service.observe(&Fact::LimitReached { limit, peer });
                self.service.observe(&Fact::Dropped { peer, why: limit.meaning() });
            }
            Verdict::Repeat => return false,
        }
        true
    }

    fn serve(&self, admitted: Admitted, near: MemoryLink) {
        let Admitted { assignment, routed, opened, permit, .. } = admitted;
        let shared = Arc::new(shared(assignment, routed, &permit));
        if let Some(opened) = opened {
            shared.lock().set_opened(opened);
        }
        self.places.borrow_mut().insert(permit.id.0, permit);
        self.start(&shared, near);
    }

    fn start(&self, shared: &Arc<SharedTransfer>, near: MemoryLink) {
        let (shared, service) = (Arc::clone(shared), Arc::clone(&self.service));
        let (life, poll_loop) = (shared.next_life(), Rc::clone(&self.poll_loop));
        let id = shared.assignment.id.0;
        start_temporary(id, limits::MAILBOX_SESSION, self.parent.clone(), move |ctx| {
            Session::new(shared, life, service, Box::new(near), poll_loop, ctx.address())
        });
    }
}

/// Ends what [`Kit::in_virtual_time`] began, also where the test panics.
struct RealAgain;

impl Drop for RealAgain {
    fn drop(&mut self) {
        VIRTUAL.set(false);
    }
}

/// (A shared transfer wants a socket, through which nothing goes.)
fn shared(assignment: Assignment, routed: Routed, permit: &Permit) -> SharedTransfer {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine");
    SharedTransfer::new(assignment, routed, Arc::new(socket), SERVER, Arc::clone(&permit.state))
}

fn send(near: &mut MemoryLink, peer: SocketAddr, packet: &[u8]) {
    // (A link in memory takes everything.)
    let _ = near.send(peer, &Transmit::Packet(packet));
}

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ChildExited> for Parent {
    type Result = ();

    fn handle(&mut self, ChildExited { id, exit }: ChildExited, _: &mut Self::Context) {
        if let Exit::Panicked(panic) = &exit {
            let transfer = Some(TransferId(id));
            self.service.observe(&Fact::Crashed { actor: "session", transfer, panic });
        }
        self.places.borrow_mut().remove(&id);
    }
}

// A request is never handed back: what a session answers arrives before the client repeats it.
impl Handler<Again> for Parent {
    type Result = ();

    fn handle(&mut self, _: Again, _: &mut Self::Context) {}
}

/// An [`Observer`] that keeps the facts it hears. It needs the feature `testkit`.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<OwnedFact>>);

impl Recorder {
    /// The facts so far, in order.
    #[must_use]
    pub fn facts(&self) -> Vec<OwnedFact> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    fn observe(&self, fact: &Fact<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fact.to_owned());
    }
}
