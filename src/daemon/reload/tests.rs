use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use slog::o;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A reload that reports when a call begins, and waits for its release.
fn reloads() -> (Reloads, Receiver<()>, std::sync::mpsc::Sender<()>) {
    let (tell, begun) = channel();
    let (release, released) = channel();
    let reload = move || {
        tell.send(()).unwrap();
        released.recv().map_err(io::Error::other)
    };
    (Reloads::of_log(reload, &Logger::root(slog::Discard, o!()), watch::Sender::new(None)), begun, release)
}

#[test]
fn many_reload_orders_make_two_calls_at_most() {
    let (reloads, begun, release) = reloads();
    reloads.order();
    begun.recv_timeout(PATIENCE).unwrap();
    for _ in 0..1000 {
        reloads.order();
    }
    release.send(()).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    release.send(()).unwrap();
    while reloads.0.ordered.load(Ordering::Acquire) > 0 {
        thread::yield_now();
    }
    assert!(begun.try_recv().is_err());
    // A later order is carried out like the first.
    reloads.order();
    begun.recv_timeout(PATIENCE).unwrap();
    release.send(()).unwrap();
}

#[test]
fn one_that_panics_is_followed_by_others() {
    let (tell, begun) = channel();
    let reload = move || {
        tell.send(()).unwrap();
        panic!("a test");
    };
    let reloads = Reloads::of_log(reload, &Logger::root(slog::Discard, o!()), watch::Sender::new(None));
    for _ in 0..2 {
        reloads.order();
        begun.recv_timeout(PATIENCE).unwrap();
        while reloads.0.ordered.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
    }
    assert_eq!(begun.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
}
