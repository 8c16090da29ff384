//! Helpers of this layer's tests.

use std::cell::Cell;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;

use super::Link;
use crate::transfer::{Blocks, Rollover};

thread_local! {
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Makes registrations on this thread fail from now on, or succeed again.
pub(crate) fn refuse_registrations(are_refused: bool) {
    REFUSED.set(are_refused);
}

pub(super) fn are_registrations_refused() -> bool {
    REFUSED.get()
}

/// Runs `body` in a network namespace that `setup` (a shell script) has prepared: this test is
/// executed again in a process of its own. The test fails if no namespace can be made.
pub(super) fn in_namespace<Test>(test: &Test, setup: &str, body: impl FnOnce()) {
    const INSIDE: &str = "STAGECOACH_TEST_NAMESPACE";
    let path = std::any::type_name_of_val(test);
    let name = path.split_once("::").map_or(path, |(_crate, name)| name);
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        return body();
    }
    let script = format!("{setup}\nexec \"$@\"");
    let output = Command::new("unshare")
        // A user namespace, so that root is not needed.
        .args(["--map-root-user", "--net", "sh", "-ec", &script, "sh"])
        .arg(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, name)
        .output()
        .expect("the program unshare (of util-linux) makes the network namespace that this test needs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "in a network namespace (needs unshare, ip, and permission): {text}");
    assert!(text.contains("1 passed"), "the test must have run in its network namespace: {text}");
}

pub(super) fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

/// Slabs of `sizes` with octets that depend on their position.
pub(super) fn slabs(sizes: &[usize]) -> Vec<Bytes> {
    let mut octets = (0u32..).map(|n| (n % 251) as u8);
    sizes.iter().map(|size| octets.by_ref().take(*size).collect()).collect()
}

/// The run of all blocks of `slabs` from `offset` on; its short last block may be empty.
pub(super) fn whole_run(slabs: &[Bytes], offset: usize, blksize: usize, first: u64) -> Blocks<'_> {
    let octets = slabs.iter().map(Bytes::len).sum::<usize>() - offset;
    let count = (octets / blksize + 1) as u64;
    Blocks::new(slabs, offset, octets, blksize, first, count, Rollover::Zero)
}

/// The packets of a run, built in the simplest way.
pub(super) fn packets(blocks: Blocks<'_>) -> Vec<Vec<u8>> {
    blocks
        .map(|block| [&block.header[..]].into_iter().chain(block.payload()).collect::<Vec<_>>().concat())
        .collect()
}

pub(super) fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    // A window of large blocks must fit, because nothing is retransmitted here.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    socket
}

pub(super) fn take(peer: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65536];
    let mut next = || {
        let octets = peer.recv(&mut buffer).expect("another datagram");
        buffer[..octets].to_vec()
    };
    (0..count).map(|_| next()).collect()
}

pub(super) async fn event(link: &mut impl Link) {
    let event = std::future::poll_fn(|cx| link.poll_event(cx));
    tokio::time::timeout(Duration::from_secs(5), event)
        .await
        .expect("an event within 5 s")
        .expect("a reactor");
}
