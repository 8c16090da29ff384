//! Negotiators from the server's settings.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::observe::TransferId;
use crate::store::{Fixed, Name};
use crate::wire::Packet;

fn granted(negotiator: &dyn Negotiator, peer: &str, options: &str) -> Vec<Grant> {
    let octets = format!("\0\x01f\0octet\0{options}");
    let Ok(Packet::Request(request)) = Packet::decode(octets.as_bytes()) else { panic!("no request") };
    let request = Cow::Owned(request.into_owned());
    let (peer, local) = (SocketAddr::new(peer.parse().unwrap(), 2000), "192.0.2.1:69".parse().unwrap());
    let file = Found {
        store: Arc::new(Fixed::new("")),
        name: Name::from_request(b"file").unwrap(),
        size: None,
        source: None,
    };
    negotiator.negotiate(&Asked { transfer: TransferId(1), peer, local, request }, &file)
}

#[test]
fn an_option_is_refused_to_whom_it_is() {
    let refused = RefusedOption { name: "blksize".into(), network: Some("10.0.0.0/8".parse().unwrap()) };
    for peer in ["10.1.2.3", "::ffff:10.1.2.3"] {
        assert_eq!(granted(&refused, peer, "BlkSize\x001428\0"), [Grant::leave_out("blksize")]);
        assert_eq!(granted(&refused, peer, "tsize\x000\0"), []);
    }
    assert_eq!(granted(&refused, "192.0.2.7", "blksize\x001428\0"), []);
    let everybodys = RefusedOption { name: "rollover".into(), network: None };
    assert_eq!(granted(&everybodys, "192.0.2.7", "rollover\x000\0"), [Grant::leave_out("rollover")]);
}

#[test]
fn no_block_is_larger_than_a_packet_can_be() {
    let ethernet = Mtu::Octets(1500);
    assert_eq!(granted(&ethernet, "192.0.2.7", "blksize\x009000\0"), [Grant::new("blksize", "1468")]);
    assert_eq!(granted(&ethernet, "192.0.2.7", "blksize2\x004096\0"), [Grant::new("blksize2", "1468")]);
    for options in ["blksize\x001468\0", "tsize\x000\0", "blksize\0many\0"] {
        assert_eq!(granted(&ethernet, "192.0.2.7", options), []);
    }
    // If an option is asked for twice, the first value counts.
    assert_eq!(granted(&ethernet, "192.0.2.7", "blksize\x00512\0blksize\x009000\0"), []);
}

#[test]
fn where_no_block_fits_a_packet_none_is_agreed_on() {
    let tiny = Mtu::Octets(10);
    assert_eq!(granted(&tiny, "192.0.2.7", "blksize\x00512\0"), [Grant::leave_out("blksize")]);
    assert_eq!(granted(&Mtu::Unbounded, "192.0.2.7", "blksize\x0065464\0"), []);
}
