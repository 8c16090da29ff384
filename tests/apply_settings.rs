//! Applies settings to a running server.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::System;
use common::client::{self, Ask};
use common::engine::hide_expected_panics;
use common::raw::{Client, ack, data, rrq, wrq};
use stagecoach::Stagecoach;
use stagecoach::daemon::{Applied, ApplyError, Builder, ServerHandle};
use stagecoach::extend::{Asked, Routing};
use stagecoach::settings::{Access, AccessRule, Mtu, OverLimit, PortRange, Settings};
use stagecoach::store::Symlinks;
use tempfile::TempDir;

/// A server of a directory, on a thread of its own.
struct Server {
    address: SocketAddr,
    /// The settings at the start.
    settings: Settings,
    handle: ServerHandle,
    root: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(extend: impl FnOnce(Builder) -> Builder + Send + 'static) -> Self {
        hide_expected_panics();
        let root = directory(&[("file", b"first")]);
        let path = root.path().to_owned();
        let (started, parts) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                let builder = Stagecoach::builder().root(path).listen((Ipv4Addr::LOCALHOST, 0).into());
                let mut server = extend(builder).start().unwrap();
                started.send((server.addresses()[0], server.settings(), server.handle())).unwrap();
                server.serve(|| Ok(())).await.unwrap();
            });
        });
        let (address, settings, handle) = parts.recv().expect("a server that starts");
        Self { address, settings, handle, root, thread: Some(thread) }
    }

    fn apply(&self, change: impl FnOnce(&mut Settings)) -> Result<Applied, ApplyError> {
        let mut settings = self.settings.clone();
        change(&mut settings);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.handle.apply(settings))
    }

    fn client(&self) -> Client {
        Client::to(self.address)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let mut client = self.client();
        client.send(&rrq(name, "octet", &[]));
        let octets = client.expect_data(1);
        client.send(&ack(1));
        octets
    }

    fn refusal(&self, request: &[u8], code: u16) -> String {
        let mut client = self.client();
        client.send(request);
        client.expect_error(code)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

#[test]
fn a_live_read_goes_on_and_a_new_one_gets_the_new_root() {
    let server = Server::start(|builder| builder);
    let content: Vec<u8> = (0..5u8).flat_map(|block| [block; 512]).collect();
    std::fs::write(server.root.path().join("long"), &content).unwrap();
    let mut client = server.client();
    client.send(&rrq("long", "octet", &[]));
    let mut received = client.expect_data(1);

    let other = directory(&[("file", b"second")]);
    let applied = server.apply(|settings| {
        settings.root = other.path().to_owned();
        settings.strict = true;
        settings.offer.options = false;
    });
    assert_eq!(applied.unwrap().pending, [""; 0]);
    assert_eq!(server.read("file"), b"second");
    server.refusal(&rrq("long", "octet", &[]), 1);

    for block in 1..=5 {
        client.send(&ack(block));
        received.extend(client.expect_new_data(block + 1));
    }
    client.send(&ack(6));
    assert!(received == content, "{} octets", received.len());
}

#[test]
fn a_live_upload_goes_on_in_a_server_that_became_read_only() {
    let server = Server::start(|builder| builder);
    let mut client = server.client();
    client.send(&wrq("upload", "octet", &[]));
    client.expect_ack(0);
    server.apply(|settings| settings.read_only = true).unwrap();
    server.refusal(&wrq("another", "octet", &[]), 2);
    client.send(&data(1, b"octets"));
    client.expect_ack(1);
    assert_eq!(std::fs::read(server.root.path().join("upload")).unwrap(), b"octets");
}

#[test]
fn applied_settings_change_new_requests() {
    let server = Server::start(|builder| builder);
    let blksize = |value: &str| {
        let mut client = server.client();
        client.send(&rrq("file", "octet", &[("blksize", value)]));
        let granted = client.expect_oack();
        client.send(&ack(0));
        client.expect_data(1);
        client.send(&ack(1));
        granted
    };
    assert_eq!(blksize("1428"), [("blksize".to_owned(), "1428".to_owned())]);
    // The MTU of an interface needs an actor, which starts now.
    server.apply(|settings| settings.mtu = Mtu::Octets(576)).unwrap();
    assert_eq!(blksize("1428"), [("blksize".to_owned(), "544".to_owned())]);
    server.apply(|settings| settings.mtu = Mtu::OfInterface).unwrap();
    assert_eq!(blksize("65464"), [("blksize".to_owned(), "65464".to_owned())]);

    let taken = server.client();
    let port = taken.port();
    server.apply(|settings| settings.ports = PortRange::new(port + 1, port + 200)).unwrap();
    let mut client = server.client();
    client.send(&rrq("file", "octet", &[]));
    client.expect_data(1);
    assert!((port + 1..=port + 200).contains(&client.tid().port()), "{}", client.tid());
    client.send(&ack(1));

    let denied = AccessRule::new(false, "127.0.0.0/8".parse().unwrap());
    server.apply(|settings| settings.access = Access::new(vec![denied])).unwrap();
    server.refusal(&rrq("file", "octet", &[]), 2);
}

#[test]
fn transfer_limits_hold_from_the_next_request() {
    let server = Server::start(|builder| builder);
    let mut first = server.client();
    first.send(&rrq("file", "octet", &[("blksize", "8")]));
    first.expect_oack();
    let limited = server.apply(|settings| {
        settings.transfers_per_client_max = Some(1);
        settings.over_limit = OverLimit::Error;
    });
    limited.unwrap();
    server.refusal(&rrq("file", "octet", &[]), 0);
    server.apply(|settings| settings.transfers_per_client_max = Some(2)).unwrap();
    assert_eq!(server.read("file"), b"first");
    let limited = server.apply(|settings| {
        settings.transfers_max = 0;
        settings.over_limit = OverLimit::Error;
    });
    limited.unwrap();
    server.refusal(&rrq("file", "octet", &[]), 0);
    first.send(&ack(0));
    assert_eq!(first.expect_data(1), b"first");
    first.send(&ack(1));
}

#[test]
fn a_root_that_can_not_be_served_changes_nothing() {
    let server = Server::start(|builder| builder);
    let refused = server.apply(|settings| {
        settings.root = Path::new("/there/is/no/such/directory").to_owned();
        settings.read_only = true;
    });
    assert!(matches!(refused, Err(ApplyError::Root(_))), "{refused:?}");
    assert_eq!(server.read("file"), b"first");
    let mut client = server.client();
    client.send(&wrq("upload", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, b""));
    client.expect_ack(1);
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let server = Server::start(|builder| builder);
    let applied = server.apply(|settings| {
        settings.listen.port = 9;
        settings.single_port = true;
        settings.arbiters += 1;
        settings.wait_for_address = true;
        settings.read_only = true;
    });
    assert_eq!(applied.unwrap().pending, ["listen", "wait_for_address", "single_port", "arbiters"]);
    server.refusal(&wrq("upload", "octet", &[]), 2);
    // The second call names the settings again, because the old values are still in effect.
    let again = server.apply(|settings| settings.arbiters += 1).unwrap();
    assert_eq!(again.pending, ["arbiters"]);
    assert_eq!(server.apply(|_| {}).unwrap().pending, [""; 0]);
}

#[test]
fn extensions_stay_when_settings_are_applied() {
    let server = Server::start(|builder| {
        let route = |asked: &Asked<'_>| match &*asked.name() {
            "hello" => Routing::octets("hello"),
            _ => Routing::Pass,
        };
        builder.route(route).wrap_store(|_, store| store)
    });
    let other = directory(&[("file", b"second")]);
    server.apply(|settings| settings.root = other.path().to_owned()).unwrap();
    assert_eq!(server.read("hello"), b"hello");
    assert_eq!(server.read("file"), b"second");
    server.apply(|settings| settings.directory.symlinks = Symlinks::Deny).unwrap();
    assert_eq!(server.read("file"), b"first");
}

#[test]
fn settings_are_not_applied_after_the_end() {
    let mut server = Server::start(|builder| builder);
    server.handle.stop();
    server.thread.take().unwrap().join().unwrap();
    assert!(matches!(server.apply(|_| {}), Err(ApplyError::Ended)));
}

/// Each request reads one of the two roots, while settings are exchanged.
#[test]
fn applying_settings_under_load_loses_no_transfer() {
    let server = Server::start(|builder| builder);
    let contents = [vec![1; 20_000], vec![2; 30_000]];
    let roots = [0, 1].map(|root| directory(&[("boot", &contents[root])]));
    server.apply(|settings| settings.root = roots[0].path().to_owned()).unwrap();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, done, address) = (Arc::clone(&stop), Arc::clone(&done), server.address);
            let contents = contents.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut octets = Vec::new();
                    let read = client::get(address, "boot", Ask::window(512, 4), |_, part| {
                        octets.extend_from_slice(part);
                    });
                    read.unwrap();
                    assert!(contents.contains(&octets), "{} octets", octets.len());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for exchange in 1..=100 {
        let root = &roots[exchange % 2];
        server
            .apply(|settings| {
                settings.root = root.path().to_owned();
                settings.strict = exchange % 3 == 0;
            })
            .unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(done.load(Ordering::Relaxed) > 8);
}
