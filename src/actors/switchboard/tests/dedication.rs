//! A long transfer's socket is dedicated to its peer: nobody notices.

use super::stage::{Stage, Transfer};
use super::*;
use crate::actors::held_source::HeldSource;
use crate::actors::lease::Opened;
use crate::error::Fault;
use crate::limits::{SENDS_BEFORE_DEDICATION, SENDS_WORTH_DEDICATION};
use crate::store::{Name, Slab, Source, Store};

const ERROR_5: &[u8] = b"\0\x05\0\x05";

/// A client that nobody knows.
struct Stranger(UdpSocket);

impl Stranger {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// Sends something, and gets ERROR 5 from the transfer's port.
    async fn expect_error(&self, transfer: &Transfer) {
        self.0.send_to(&ack(1), transfer.lease.local).unwrap();
        let mut buffer = [0; 600];
        turn_until(|| self.0.peek(&mut [0; 600]).is_ok()).await;
        let (octets, from) = self.0.recv_from(&mut buffer).unwrap();
        assert!(buffer[..octets].starts_with(ERROR_5));
        assert_eq!(from, transfer.lease.local);
    }
}

/// A file that doesn't say how long it is.
#[derive(Debug)]
struct Endless(Arc<dyn Source>);

impl Source for Endless {
    fn size(&self) -> Option<u64> {
        None
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.0.fetch(offset, length)
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        self.0.fetch_cached(offset, length)
    }
}

fn is_dedicated(transfer: &Transfer) -> bool {
    transfer.lease.socket.peer_addr().is_ok()
}

impl Stage {
    /// A transfer of which nobody knows how long it will be.
    fn started_endless(&self, request: &[u8]) -> Transfer {
        let transfer = self.request(request);
        let source = self.store.open(&Name::from_request(b"file").unwrap()).unwrap();
        transfer.lease.hold().set_opened(Opened::new(HeldSource::new(Arc::new(Endless(source)))));
        self.start(&transfer);
        transfer
    }

    /// Has the only session panic.
    async fn crash(&self) {
        let (_, driver) = self.only();
        driver.borrow_mut().set_panicked("as planned".to_owned());
        drop(driver);
        self.attend_only();
        self.expect_exit(|exit| *exit == Exit::Panicked("as planned".into())).await;
    }
}

/// Reads from one block to another.
async fn read(transfer: &Transfer, blocks: impl Iterator<Item = u8>) {
    for block in blocks {
        transfer.send(&ack(block - 1));
        transfer.expect(&data(block)).await;
    }
}

#[test]
fn a_stranger_is_told_so_however_long_the_transfer_lasts_and_the_client_does_not_notice() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (transfer, stranger) = (stage.started_endless(READ_EACH_SECOND), Stranger::new());
        transfer.expect(OACK).await;
        assert!(!is_dedicated(&transfer));
        for block in 1..BLOCKS {
            read(&transfer, [block].into_iter()).await;
            if block % 10 == 0 {
                stranger.expect_error(&transfer).await;
            }
            assert_eq!(is_dedicated(&transfer), u32::from(block) + 1 >= SENDS_BEFORE_DEDICATION, "{block}");
        }
        transfer.expect_repeat(&data(BLOCKS - 1), SECOND).await;
        read(&transfer, [BLOCKS].into_iter()).await;
        transfer.send(&ack(BLOCKS));
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(transfer.lease.is_complete());
    });
}

#[test]
fn a_client_of_a_file_that_is_known_to_be_long_is_served_that_way_once_it_has_answered() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (transfer, stranger) = (stage.started(READ_EACH_SECOND), Stranger::new());
        transfer.expect(OACK).await;
        transfer.expect_repeat(OACK, SECOND).await;
        assert!(!is_dedicated(&transfer), "the request may be forged");
        for block in 1..BLOCKS {
            read(&transfer, [block].into_iter()).await;
            assert!(is_dedicated(&transfer));
            if block % 10 == 0 {
                stranger.expect_error(&transfer).await;
            }
        }
    });
}

#[test]
fn one_of_a_file_that_is_known_to_take_less_is_not() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let full_blocks = u8::try_from(SENDS_WORTH_DEDICATION).unwrap() - 2;
        stage.store.insert(Name::from_request(b"medium").unwrap(), vec![0; usize::from(full_blocks) * 512]);
        let transfer = stage.started(b"\0\x01medium\0octet\0");
        for block in 0..full_blocks {
            turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
            assert_eq!(transfer.arrived().len(), 1);
            transfer.send(&ack(block + 1));
        }
        turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
        assert!(!is_dedicated(&transfer));
    });
}

#[test]
fn a_stranger_is_heard_beside_many_who_are_served_at_once() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfers: Vec<_> = (0..20).map(|_| stage.started(READ_EACH_SECOND)).collect();
        let stranger = Stranger::new();
        for transfer in &transfers {
            transfer.expect(OACK).await;
            read(transfer, 1..80).await;
        }
        for block in 80..BLOCKS {
            transfers.iter().for_each(|transfer| transfer.send(&ack(block - 1)));
            let asked = &transfers[usize::from(block - 80)];
            stranger.expect_error(asked).await;
            for transfer in &transfers {
                transfer.expect(&data(block)).await;
            }
        }
    });
}

#[test]
fn a_session_that_takes_over_hears_strangers_too() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let (transfer, stranger) = (stage.started(READ), Stranger::new());
        transfer.expect(&data(1)).await;
        read(&transfer, 2..70).await;
        assert!(is_dedicated(&transfer));
        stage.crash().await;
        stage.start(&transfer);
        transfer.expect(&data(69)).await;
        stranger.expect_error(&transfer).await;
        read(&transfer, 70..80).await;
        stranger.expect_error(&transfer).await;
    });
}

#[test]
fn the_client_of_a_long_transfer_may_close_its_port() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let transfer = stage.started(READ);
        transfer.expect(&data(1)).await;
        read(&transfer, 2..80).await;
        transfer.send(&ack(79));
        turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
        let Transfer { client, lease, _ticket } = transfer;
        drop(client);
        pass(SECOND).await;
        stage.expect_exit(|exit| *exit == Exit::Normal).await;
        assert!(lease.is_over());
    });
}

#[test]
fn the_socket_of_a_short_file_stays_open_for_whoever_has_it_next_however_small_the_blocks() {
    in_virtual_time(async {
        let stage = Stage::new(SECOND);
        let length = usize::try_from(limits::SHORT_TRANSFER_OCTETS_MAX).unwrap();
        stage.store.insert(Name::from_request(b"short").unwrap(), vec![0; length]);
        let transfer = stage.started(b"\0\x01short\0octet\0blksize\x008\0");
        transfer.expect(b"\0\x06blksize\x008\0").await;
        for block in 0..200 {
            transfer.send(&ack(block));
            turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
            assert_eq!(transfer.arrived().len(), 1);
        }
        assert!(!is_dedicated(&transfer));
        // Not even a session that takes over, which is not to wait with it, has it connected.
        stage.crash().await;
        stage.start(&transfer);
        for block in 199..210 {
            turn_until(|| transfer.client.peek(&mut [0; 600]).is_ok()).await;
            assert_eq!(transfer.arrived().len(), 1);
            transfer.send(&ack(block + 1));
        }
        assert!(!is_dedicated(&transfer));
    });
}
