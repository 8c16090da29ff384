//! What the log says of clients, and what clients can't make it say.

mod common;

use std::time::Duration;

use common::logged_line::LoggedLine;
use common::raw::{self, ack, rrq};
use common::served::{GOOD, Served};

/// How long a line may take. Generous: a loaded machine is not a fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first line with this message, read back.
fn line(served: &Served, wanted: impl Fn(&LoggedLine) -> bool) -> LoggedLine {
    let found = served.daemon.wait_for_log(PATIENCE, |line| wanted(&LoggedLine::read(line)));
    LoggedLine::read(&found.unwrap_or_else(|| panic!("no such line; the log:\n{}", served.daemon.log())))
}

#[test]
fn a_client_can_not_forge_a_field() {
    let served = Served::new(&["--strict"]);
    let forged = "x, peer: 192.0.2.66:7, name: boot/vmlinuz, why: complete";
    served.ask(&rrq(forged, "octet", &[])).expect_error(1);
    served.ask(&rrq(GOOD, forged, &[])).expect_error(4);
    let mut client = served.ask(&rrq(GOOD, "octet", &[("blksize", "512")]));
    client.expect_oack();
    client.send(&ack(0));
    client.expect_data(1);
    client.send(&raw::error(0, forged));
    let missing = line(&served, |line| line.message == "read failed");
    assert_eq!(missing.field("name").as_deref(), Some(forged));
    assert!(missing.field("peer").unwrap().starts_with("127.0.0.1:"), "{missing:?}");
    let refused = line(&served, |line| line.message == "read refused");
    assert_eq!(refused.field("mode").as_deref(), Some(forged));
    let aborted = line(&served, |line| line.message == "read peer-aborted");
    assert!(aborted.field("why").unwrap().contains(forged), "{aborted:?}");
    // And `grep` is not fooled, as long as it looks for a field.
    let log = served.daemon.log();
    assert!(!log.contains(", name: boot/vmlinuz") && !log.contains(", peer: 192.0.2.66:7"), "{log}");
    served.still_serves();
}
