//! A disk that becomes full during an upload (WR-06).

mod common;

use std::process::Command;

use common::daemon::Daemon;
use common::namespace::in_namespace;
use common::raw::{self, Packet, data};
use common::served::{GOOD, Served, directory};

#[test]
fn wr_06_a_full_disk_sends_error_3_and_leaves_nothing() {
    in_namespace(&wr_06_a_full_disk_sends_error_3_and_leaves_nothing, "ip link set lo up", || {
        let root = directory();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(root.path())
            .status()
            .expect("the program mount");
        assert!(mounted.success(), "this test mounts a tmpfs in a namespace of its own");
        let content = common::content::Content { seed: 7, len: 1300 };
        content.write(&root.path().join(GOOD));
        let daemon = Daemon::start(root.path(), &["--min-free", "0"]);
        let served = Served::at(root, daemon);
        // Uploads block by block, with windows, and with an announced size.
        for options in [&[("blksize", "8192")][..], &[("blksize", "8192"), ("windowsize", "8")]] {
            for name in ["new", "again"] {
                let mut client = served.writing(name, options);
                let mut block = 0u16;
                let window = if options.len() > 1 { 8 } else { 1 };
                let code = loop {
                    for _ in 0..window {
                        block += 1;
                        client.send(&data(block, &[7; 8192]));
                    }
                    assert!(block < 1000, "more than the disk has room for");
                    match client.next() {
                        Packet::Ack { block: acked, .. } => assert_eq!(acked, block),
                        Packet::Error { code, .. } => break code,
                        other => panic!("{}", other.brief()),
                    }
                };
                assert_eq!(code, 3);
                assert!(block > 60, "the room that there is can be used: {block} blocks");
                served.holds_only(&[]);
            }
        }
        served.ask(&raw::wrq("new", "octet", &[("tsize", "2000000")])).expect_error(3);
        // The room of the failed upload is free again.
        served.write("new", "octet", &[("blksize", "8192")], &[7; 900_000]);
        served.holds_only(&["new"]);
        served.still_serves();
        let root = served.root.path().to_owned();
        let Served { daemon, root: directory } = served;
        daemon.kill();
        let _ = Command::new("umount").arg(root).status();
        drop(directory);
    });
}
