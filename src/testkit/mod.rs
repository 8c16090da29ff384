//! A server without a network, in virtual time, for tests of extensions.

mod client;
mod faulty_store;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};

pub use self::client::{Download, KitClient, KitError};
pub use self::faulty_store::{Call, FaultyStore, StoreFault};
use crate::actors::session::Session;
use crate::engine::admission::{Admitted, PeerTable, Permit, Verdict};
use crate::engine::extensions::Answer;
use crate::engine::messages::Again;
use crate::engine::poll_loop::PollLoop;
use crate::engine::service::Service;
use crate::engine::transfers::SharedTransfer;
use crate::extend::Datagram;
use crate::limits;
use crate::net::{Link, MemoryLink, Received};
use crate::observe::{Counters, Fact, Observer, TransferId};
use crate::policy::unanswerable;
use crate::supervision::{ChildExited, Exit, start_temporary};
use crate::transfer::{Transmit, fault_packet};
use crate::wire::{Packet, Request};
use actix::{Actor, Addr, AsyncContext, Context, Handler, System};

/// The server's address.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 69);

/// A server for tests: real sessions, with the extensions of a
/// [`Builder`](crate::daemon::Builder), behind links in memory.
///
/// A session that panics ends its transfer, which the server's would resume. Actors in the tree of
/// the builder are started again, but not stopped: what an actor does at its end is tested with a
/// [`Server`](crate::daemon::Server).
///
/// Time [passes](Self::in_virtual_time) only while nothing is at work, also on the threads of
/// `tokio::task::spawn_blocking`. An actor on a thread of its own (`SyncArbiter`) isn't seen to be
/// at work, and would miss its deadline.
#[derive(Debug)]
pub struct Kit {
    service: Arc<Service>,
    counters: Arc<Counters>,
    poll_loop: Rc<PollLoop>,
    peers: Arc<PeerTable>,
    parent: Addr<Parent>,
    clients: Cell<u16>,
    /// Of the live transfers.
    permits: Rc<RefCell<HashMap<u64, Permit>>>,
}

thread_local! {
    /// Whether this thread runs a test in virtual time.
    static VIRTUAL: Cell<bool> = const { Cell::new(false) };
}

/// Hears which sessions have ended.
struct Parent {
    permits: Rc<RefCell<HashMap<u64, Permit>>>,
    service: Arc<Service>,
}

impl Kit {
    /// Runs a test in virtual time, inside of an actix `System` on the test's thread.
    ///
    /// # Panics
    /// If the test does, or there is no runtime.
    pub fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true);
        VIRTUAL.set(true);
        let _real_again = RealAgain;
        System::with_tokio_rt(move || runtime.build().expect("a runtime")).block_on(test)
    }

    pub(crate) fn is_in_virtual_time() -> bool {
        VIRTUAL.get()
    }

    pub(crate) fn new(mut service: Service) -> Self {
        let counters = Arc::<Counters>::default();
        service.observers.push(Arc::<Counters>::clone(&counters));
        let service = Arc::new(service);
        let permits = Rc::default();
        let parent = Parent { permits: Rc::clone(&permits), service: Arc::clone(&service) }.start();
        Self {
            poll_loop: PollLoop::start(&service),
            peers: PeerTable::new(limits::TRANSFERS_MAX_DEFAULT),
            parent,
            clients: Cell::new(0),
            permits,
            service,
            counters,
        }
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// As [`Server::counters`](crate::daemon::Server::counters).
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// As [`Server::lost_facts`](crate::daemon::Server::lost_facts).
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

    /// Delivers a datagram to the well-known port. The link leads to what answers, if anything
    /// does. `None` if the request repeats one whose transfer has a link already.
    pub fn datagram(&self, from: SocketAddr, octets: &[u8]) -> Option<KitLink> {
        let (near, line) = MemoryLink::pair(SERVER, from);
        let far = KitLink { line, client: from };
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
        match self.service.admit(&self.peers, &received, request, || self.parent.clone().recipient()) {
            Verdict::Serve(admitted) => self.serve(*admitted, near),
            Verdict::Fail(failed) => {
                if failed.is_answered() {
                    send(&mut near, peer, &fault_packet(&failed.fault));
                }
                self.service.finish(failed.into_report(SERVER));
            }
            Verdict::Refuse(fault) => {
                self.service.observe(&Fact::Refused {
                    peer,
                    request: Some(request.clone()),
                    fault: Cow::Borrowed(&fault),
                });
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
        // A shared transfer needs a socket, which nothing uses here.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine");
        let state = Arc::clone(&permit.state);
        let shared = Arc::new(SharedTransfer::new(assignment, routed, Arc::new(socket), SERVER, state));
        if let Some(opened) = opened {
            shared.lock().set_opened(opened);
        }
        let id = permit.id.0;
        self.permits.borrow_mut().insert(id, permit);
        let (service, life, poll_loop) =
            (Arc::clone(&self.service), shared.next_life(), Rc::clone(&self.poll_loop));
        start_temporary(id, limits::MAILBOX_SESSION, self.parent.clone().recipient(), move |ctx| {
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

fn send(near: &mut MemoryLink, peer: SocketAddr, packet: &[u8]) {
    // A link in memory takes everything.
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
            self.service.observe(&Fact::Crashed { actor: "session", transfer, panic: panic.into() });
        }
        self.permits.borrow_mut().remove(&id);
    }
}

// A request is never handed back: what a session answers arrives before the client repeats it.
impl Handler<Again> for Parent {
    type Result = ();

    fn handle(&mut self, _: Again, _: &mut Self::Context) {}
}

/// The other end of what [`Kit::datagram`] started. A test sends packets as
/// the client or as any other host, and receives what the server sends to any of them. The link
/// loses and repeats no packet. To drop the link closes the client's port, and ends the transfer.
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::store::{Memory, Name};
/// use stagecoach::testkit::Kit;
///
/// Kit::in_virtual_time(async {
///     let files = Memory::default();
///     files.insert(Name::from_request(b"file").unwrap(), "octets");
///     let kit = Stagecoach::builder().store(files).kit().unwrap();
///     let client = "192.0.2.2:2000".parse().unwrap();
///     let stranger = "192.0.2.3:7".parse().unwrap();
///     let mut link = kit.datagram(client, b"\0\x01file\0octet\0").unwrap();
///     let data = link.next().await.unwrap();
///     assert_eq!((data.to, &*data.octets), (client, &b"\0\x03\0\x01octets"[..]));
///     link.send_from(stranger, b"\0\x04\0\x01");
///     let error = link.next().await.unwrap();
///     assert_eq!((error.to, &error.octets[..4]), (stranger, &b"\0\x05\0\x05"[..]));
///     link.send(b"\0\x04\0\x01");
///     assert_eq!(link.next().await, None);
///     assert!(link.is_closed());
/// });
/// ```
#[derive(Debug)]
pub struct KitLink {
    line: MemoryLink,
    client: SocketAddr,
}

/// A packet of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KitPacket {
    /// The address that the packet is sent to.
    pub to: SocketAddr,
    /// The packet.
    pub octets: Vec<u8>,
}

impl KitLink {
    /// Sends a packet as the client. A transfer that is over does not receive it.
    pub fn send(&mut self, packet: &[u8]) {
        self.line.send_from(self.client, packet);
    }

    /// Sends a packet as another host.
    pub fn send_from(&mut self, from: SocketAddr, packet: &[u8]) {
        self.line.send_from(from, packet);
    }

    /// The next packet of the server; `None` once the transfer is over.
    pub async fn next(&mut self) -> Option<KitPacket> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next), for tests that wait for several links at once.
    pub fn poll_next(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<KitPacket>> {
        let packet = self.line.poll_receive(cx);
        packet.map(|it| it.map(|(to, octets)| KitPacket { to, octets }))
    }

    /// Whether nobody receives at the server's end: the transfer is over, or none began.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.line.is_closed()
    }
}

/// An [`Observer`] that keeps the facts it hears.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Fact<'static>>>);

impl Recorder {
    /// The facts so far, in order.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    fn observe(&self, fact: &Fact<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fact.to_owned());
    }
}
