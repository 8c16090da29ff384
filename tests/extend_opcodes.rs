//! Opcodes of extensions: which actor or closure answers, and the server when an answer is slow,
//! wrong or missing.

mod common;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use common::extended::Extended;
use common::faulty_actors::{slow_actor, stopped_actor};
use stagecoach::daemon::Builder;
use stagecoach::extend::{Datagram, Opcode, OpcodeStep, Received};
use stagecoach::internals::limits::{EXTENSION_CALL_WITHIN, OPCODES_ASKED_MAX};

const SYNC: u16 = 0x0100;
const ACTOR: u16 = 0x0101;
const CLOSURE: u16 = 0x0103;

/// Answers as the third octet says.
fn answer(octets: &[u8]) -> Option<Bytes> {
    match octets[2] {
        b'e' => Some(Bytes::copy_from_slice(octets)),
        b'l' => Some(vec![0; octets.len() * 3 + 1].into()),
        b'k' => {
            std::thread::sleep(EXTENSION_CALL_WITHIN * 2);
            None
        }
        b'p' => panic!("the secret of the opcode"),
        _ => None,
    }
}

#[derive(Debug)]
struct InlineOpcode;

impl Opcode for InlineOpcode {
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        answer(&datagram.octets)
    }
}

struct OpcodeActor;

impl Actor for OpcodeActor {
    type Context = Context<Self>;
}

impl Supervised for OpcodeActor {}

impl Handler<Received> for OpcodeActor {
    type Result = ResponseFuture<Option<Bytes>>;

    fn handle(&mut self, Received(datagram): Received, _: &mut Self::Context) -> Self::Result {
        if datagram.octets[2] == b's' {
            return Box::pin(std::future::pending());
        }
        let answer = answer(&datagram.octets);
        Box::pin(std::future::ready(answer))
    }
}

fn extended(mut builder: Builder) -> Builder {
    let there = builder.start_child(stagecoach::supervision::ChildSpec::permanent("there", |_| OpcodeActor));
    let step = OpcodeStep::asking(there.recipient()).within(Duration::from_millis(200));
    let closure = OpcodeStep::from_fn(|datagram| answer(&datagram.octets));
    builder.opcode(SYNC, OpcodeStep::new(InlineOpcode)).opcode(ACTOR, step).opcode(CLOSURE, closure)
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

fn ask(served: &Extended, opcode: u16, rest: &[u8]) -> Option<Vec<u8>> {
    let socket = client();
    socket.send_to(&[&opcode.to_be_bytes(), rest].concat(), served.address).unwrap();
    let mut buffer = [0; 2048];
    let (octets, from) = socket.recv_from(&mut buffer).ok()?;
    // RFC 1350 §4: an answer comes from a port of its own.
    assert!(from.ip() == served.address.ip() && from.port() != served.address.port());
    Some(buffer[..octets].to_vec())
}

#[test]
fn datagrams_go_to_the_handler_of_their_opcode() {
    let served = Extended::start(extended);
    for opcode in [SYNC, ACTOR, CLOSURE] {
        assert_eq!(ask(&served, opcode, b"echo"), Some([&opcode.to_be_bytes(), &b"echo"[..]].concat()));
        assert_eq!(ask(&served, opcode, b"nothing"), None);
    }
    assert_eq!(ask(&served, 0x0102, b"echo"), None);
    served.still_serves();
}

#[test]
fn an_opcode_answer_is_too_short_to_amplify() {
    let served = Extended::start(extended);
    for opcode in [SYNC, ACTOR] {
        assert_eq!(ask(&served, opcode, b"long"), None);
    }
    served.still_serves();
    let facts = served.settle();
    assert_eq!(facts.misbehaved.len(), 2);
    assert!(facts.misbehaved[0].starts_with("opcode: its answer is so long"), "{:?}", facts.misbehaved);
}

#[test]
fn a_panicked_opcode_actor_loses_only_its_answer() {
    let served = Extended::start(extended);
    for opcode in [SYNC, ACTOR] {
        assert_eq!(ask(&served, opcode, b"panic"), None);
        assert!(ask(&served, opcode, b"echo").is_some());
    }
    served.still_serves();
    let facts = served.settle();
    assert_eq!(
        facts.crashed,
        ["opcode of 0: the secret of the opcode", "there of 0: the secret of the opcode"]
    );
}

#[test]
fn a_silent_opcode_actor_keeps_its_place_for_a_time() {
    let served = Extended::start(extended);
    let socket = client();
    for _ in 0..OPCODES_ASKED_MAX + 10 {
        socket.send_to(&[&ACTOR.to_be_bytes()[..], b"slow"].concat(), served.address).unwrap();
    }
    served.still_serves();
    std::thread::sleep(Duration::from_millis(600));
    assert!(ask(&served, ACTOR, b"echo").is_some());
    let facts = served.settle();
    assert!(facts.misbehaved.iter().all(|it| it == "opcode: it gave no answer within 200ms"));
    assert!((1..=OPCODES_ASKED_MAX).contains(&facts.misbehaved.len()), "{}", facts.misbehaved.len());
}

#[test]
fn a_full_mailbox_is_waited_for_like_a_slow_actor() {
    let served = Extended::start(|builder| {
        let actor = slow_actor(|Received(datagram): Received| answer(&datagram.octets));
        builder.opcode(ACTOR, OpcodeStep::asking(actor))
    });
    let clients: Vec<_> = (0..10).map(|_| client()).collect();
    for client in &clients {
        client.send_to(&[&ACTOR.to_be_bytes(), &b"echo"[..]].concat(), served.address).unwrap();
    }
    for client in &clients {
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 6);
    }
    assert_eq!(served.settle().misbehaved, [""; 0]);
}

#[test]
fn a_stopped_opcode_actor_leaves_silence() {
    let served = Extended::start(|builder| builder.opcode(ACTOR, OpcodeStep::asking(stopped_actor())));
    assert_eq!(ask(&served, ACTOR, b"echo"), None);
    served.still_serves();
    assert_eq!(served.settle().misbehaved, ["opcode: it panicked, or has stopped"]);
}

#[test]
fn an_opcode_closure_that_blocks_is_reported() {
    let served = Extended::start(extended);
    assert_eq!(ask(&served, SYNC, b"keep"), None);
    served.still_serves();
    let misbehaved = served.settle().misbehaved;
    assert!(misbehaved[0].starts_with("opcode: it kept a thread that serves for "), "{misbehaved:?}");
}

#[test]
#[should_panic(expected = "opcode 3 is TFTP's own")]
fn the_opcodes_of_tftp_can_not_be_taken() {
    let _ = stagecoach::Stagecoach::builder().opcode(3, OpcodeStep::new(InlineOpcode));
}
