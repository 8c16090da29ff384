//! Every bound of the server with its reason. Flags change some of them; their defaults are here.

use std::time::Duration;

/// Smallest block size that may be negotiated (RFC 2348).
pub const BLKSIZE_MIN: u16 = 8;
/// Largest block size that may be negotiated (RFC 2348): 65,507 octets less headers and a margin.
pub const BLKSIZE_MAX: u16 = 65464;
/// Block size of a transfer that negotiated none (RFC 1350 §2).
pub const BLKSIZE_DEFAULT: u16 = 512;

/// Range of `--mtu`: from the minimum of IPv4 (RFC 791) to the longest packet.
pub const MTU_OCTETS: std::ops::RangeInclusive<u16> = 68..=65535;

/// Largest window size that RFC 7440 defines.
pub const WINDOWSIZE_MAX: u16 = 65535;
/// Largest window granted by default: it fills a gigabit LAN, and deployed clients can receive it.
pub const WINDOWSIZE_MAX_DEFAULT: u16 = 64;
/// Octets of one window that a session holds; beyond it, the window is smaller (RFC 7440 §3).
pub const WINDOW_OCTETS_MAX: usize = 4 << 20;

/// Octets of all windows larger than one block; beyond it, new windows are of one block.
pub const ALL_WINDOWS_OCTETS_MAX: usize = 512 << 20;

/// Range of the `timeout` option, in seconds (RFC 2349).
pub const TIMEOUT_OPTION_S: std::ops::RangeInclusive<u64> = 1..=255;
/// Range of the `utimeout` option (tftp-hpa), in microseconds.
pub const UTIMEOUT_OPTION_US: std::ops::RangeInclusive<u64> = 10_000..=255_000_000;

/// Longest accepted request. RFC 2347 allows 512 octets; PXELINUX exceeds that with long paths.
pub const REQUEST_OCTETS_MAX: usize = 2048;
/// Options of one request that are read; further ones are ignored.
pub const REQUEST_OPTIONS_MAX: usize = 32;
/// Longest OACK, as RFC 2347 lets a client expect. Options that don't fit are left out.
pub const OACK_OCTETS_MAX: usize = 512;
/// Longest text in an ERROR that is sent.
pub const ERROR_TEXT_OCTETS_MAX: usize = 128;
/// Longest [`Label`](crate::observe::Label) of a transfer: 64 octets.
pub const LABEL_OCTETS_MAX: usize = 64;
/// Log lines a second about transfers whose peers never answered, as in a flood of forged requests.
pub const LINES_UNANSWERED_PER_S: u32 = 50;
/// Log lines a second about requests refused before the first block: all probes of a full hall.
pub const LINES_REFUSED_PER_S: u32 = 5000;
/// How often the log checks whether the second of withheld lines is over, to write their number.
pub const LINES_COUNTED_AFTER: Duration = Duration::from_millis(250);
/// How often the log repeats an outage, a limit that is reached, or a hint: once a minute.
pub const LINE_REPEATED_EVERY: Duration = Duration::from_secs(60);
/// Such lines in that time: made-up names must fill neither the log nor the table of names.
pub const OUTAGES_LOGGED_MAX: usize = 256;
/// Reasons with counters of their own. The server has fewer, but extensions add codes.
pub const REASONS_COUNTED_MAX: usize = 256;
/// Labels with counters of their own: an extension may derive labels from what clients send.
pub const LABELS_COUNTED_MAX: usize = 256;
/// Default time for an extending actor to answer, 3 s: boot loaders repeat after 5 s at the latest.
pub const EXTENSION_WITHIN: Duration = Duration::from_secs(3);
/// How long a question waits for an actor that panicked, 50 ms: more than the first restart pause.
pub const EXTENSION_RESTART_WITHIN: Duration = Duration::from_millis(50);
/// Calls of extensions longer than 500 ms are reported: all work on their thread has waited.
pub const EXTENSION_CALL_WITHIN: Duration = Duration::from_millis(500);
/// Datagrams with opcodes of extensions that may wait for an actor's answer: 64.
pub const OPCODES_ASKED_MAX: usize = 64;
/// Longest component of a name (`NAME_MAX` of all common file systems).
pub const NAME_COMPONENT_OCTETS_MAX: usize = 255;
/// Longest name: Linux's `PATH_MAX` less the NUL, so no system call refuses or cuts a name.
pub const NAME_OCTETS_MAX: usize = 4095;

/// Unit in which readers fetch and writers store: about 46 blocks that fill an Ethernet frame.
pub const SLAB_OCTETS: usize = 64 << 10;
/// Octets beyond a slab that are copied to the next one, so that it begins at a page of the file.
pub const SLAB_REST_OCTETS_MAX: usize = 4 << 10;
/// Least octets that a session holds beyond its window, so that the disk is ahead of the network.
pub const READ_AHEAD_OCTETS_MIN: u64 = SLAB_OCTETS as u64 / 4;
/// Most octets beyond the window: the next window, unless it is large.
pub const READ_AHEAD_OCTETS_MAX: u64 = SLAB_OCTETS as u64 * 2;
/// Unused slabs that a directory keeps of files with several readers: 16 MiB, a large kernel.
pub const SLABS_KEPT_MAX: usize = 256;
/// Slab entries of one file before entries without a slab are removed.
pub const SLAB_SLOTS_PRUNED_AT: usize = 64;
/// Longest time step of file systems: a second change within it may leave no trace.
pub const FILE_TIME_STEP_MAX: Duration = Duration::from_millis(100);
/// The same for file systems without fractions (FAT counts in steps of 2 s).
pub const FILE_TIME_STEP_COARSE_MAX: Duration = Duration::from_secs(2);
/// Slabs of one upload on their way to the writer before the peer has to wait for its ACK.
pub const SLABS_UNSTORED_MAX: usize = 4;
/// Slabs of one upload that wait for the writer: the above, and a window that was on its way.
pub const SLABS_WAITING_MAX: usize = SLABS_UNSTORED_MAX + WINDOW_OCTETS_MAX / SLAB_OCTETS;

/// First retransmission interval (`--ack-timeout`), until a round trip has been measured.
pub const ACK_TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// Least margin of the retransmission interval above the smoothed round trip.
pub const RTO_MARGIN_MIN: Duration = Duration::from_millis(10);
/// Longest interval of the backoff without a negotiated one: clients repeat after 4 to 5 s.
pub const RTO_MAX: Duration = Duration::from_secs(5);
/// Shortest time before a repeat until losses are proven: devices write flash between two ACKs.
pub const REPEAT_FLOOR: Duration = Duration::from_millis(250);
/// Proofs of loss after which the interval follows the round trip alone: one may be by chance.
pub const LOSS_PROOFS: u32 = 2;
/// One in this many long pauses ends by chance when an answer is due, and looks like a loss.
pub const PROOF_CHANCE: u32 = 128;
/// Windows of which only the beginning arrived before windows are sent in pieces.
pub const OVERRUN_SIGNS_MAX: u32 = 2;
/// Pause between such pieces. It doubles up to [`PACING_PAUSE_MAX`] while no block arrives.
pub const PACING_PAUSE: Duration = Duration::from_millis(2);
/// See [`PACING_PAUSE`].
pub const PACING_PAUSE_MAX: Duration = Duration::from_millis(32);
/// Repeats of a window before a block beyond it is sent, to learn the peer's position.
pub const REPEATS_BEFORE_BEYOND: u32 = 2;
/// Datagrams for a request, and one more for each repeat of it, before its sender has answered.
pub const UNPROVEN_DATAGRAMS_MAX: u32 = 3;
/// Octets of OACKs for each octet of a request before its sender has answered.
pub const UNPROVEN_OCTETS_RATIO: usize = 3;
/// Transfers with unproven peers, more than of a rack, above which a request gets one datagram.
pub const UNPROVEN_MANY: usize = 256;
/// Transfers of unproven peers (a socket and some 7 KB each); beyond it the oldest give way.
pub const UNPROVEN_MAX: usize = 6144;
/// The same with requests without a session and ending transfers; beyond it, requests are dropped.
pub const UNPROVEN_HELD_MAX: usize = UNPROVEN_MAX + 2 * UNPROVEN_MANY;
/// Such transfers of one address prefix, so that a flood leaves room for others.
pub const UNPROVEN_PER_PREFIX_MAX: usize = UNPROVEN_MAX - UNPROVEN_MANY;
/// How long such a transfer stays at least: a thousand honest clients answer slowly.
pub const UNPROVEN_STAY_MIN: Duration = Duration::from_secs(1);
/// Address prefixes that are told apart, by hash.
pub const PREFIXES: usize = 256;
/// ERRORs a second to one address prefix: PXELINUX asks for eleven missing files, in a whole hall.
pub const ERRORS_PER_PREFIX_MAX: u16 = 4096;
/// A repeated request sooner than this after our last datagram has crossed that datagram.
pub const REPEAT_QUIET: Duration = Duration::from_millis(100);
/// How long a transfer waits for a first answer (`--timeout`): BSD and macOS answer after 6.5 s.
pub const UNPROVEN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
/// How long a transfer may go without progress after the first answer: some devices pause for 20 s.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// A long negotiated interval stretches the limits above to this many intervals.
pub const INTERVALS_BEFORE_GIVING_UP: u32 = 3;
/// How long, at least, a session answers repeats of an upload's last DATA: BSD repeats after 5 s.
pub const DALLY_MIN: Duration = Duration::from_secs(6);

/// Block size that `get` and `put` ask for: it fits an Ethernet frame even through a tunnel or two.
pub const CLIENT_BLKSIZE_DEFAULT: u16 = 1428;
/// Window that `get` and `put` ask for: it fills a LAN and fits a socket's default receive buffer.
pub const CLIENT_WINDOWSIZE_DEFAULT: u16 = 16;
/// How long `get` and `put` repeat a request without an answer.
pub const CLIENT_REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// Longest pause of `get` and `put` after the network refused: boot loaders listen for seconds.
pub const CLIENT_REFUSED_REPEAT_MAX: Duration = Duration::from_secs(1);
/// Time without progress after which `get` and `put` give up: servers write uploads to disk.
pub const CLIENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Transfers of one `bench`, in total and at once: it stores the duration of each.
pub const BENCH_TRANSFERS_MAX: usize = 10_000_000;
/// Reasons for failures that `bench` counts separately: servers choose the texts of their ERRORs.
pub const BENCH_REASONS_MAX: usize = 32;

/// Live transfers (`--max-transfers`). Further requests are dropped and counted; clients repeat.
pub const TRANSFERS_MAX_DEFAULT: usize = 16384;
/// Largest `--max-transfers`: no machine has addresses for more transfers' UDP ports.
pub const TRANSFERS_MAX: usize = 1 << 20;
/// Most threads that `--arbiters` takes: more than any machine has processors.
pub const ARBITERS_MAX: usize = 1024;
/// Range of flags in seconds: under a millisecond is a flood, more than a day is the wrong unit.
pub const SECONDS_FLAG: std::ops::RangeInclusive<f64> = 0.001..=86400.0;
/// Octets of one upload (`--max-upload-size`).
pub const UPLOAD_OCTETS_MAX_DEFAULT: u64 = 4 << 30;
/// Free disk that uploads never touch (`--min-free`).
pub const MIN_FREE_OCTETS_DEFAULT: u64 = 256 << 20;
/// Octets of an upload between two checks of the free disk, a `statvfs`: far less than the reserve.
pub const FREE_CHECK_OCTETS: u64 = 4 << 20;
/// Octets after which an upload's writeback is started, so that the final `fsync` is short.
pub const WRITEBACK_OCTETS: u64 = 8 << 20;
/// Attempts to find the directories of an upload while other uploads create them.
pub const PARENT_ATTEMPTS_MAX: usize = 3;
/// Attempts to find a free temporary name of 64 random bits: a second collision is an attack.
pub const TEMPORARY_NAME_ATTEMPTS_MAX: usize = 8;
/// Symbolic links that are followed for one file, as in Linux.
pub const SYMLINKS_FOLLOWED_MAX: usize = 40;
/// Directory entries that one sweep reads, so that a huge tree can't delay a start for ever.
pub const SWEEP_ENTRIES_MAX: usize = 1 << 20;
/// Depth of directories in a sweep, which holds one descriptor for each level.
pub const SWEEP_DEPTH_MAX: usize = 32;
/// How often a directory's path is checked, at most: boot loaders probe many missing names.
pub const ROOT_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Octets that a store in memory holds by default.
pub const MEMORY_OCTETS_MAX_DEFAULT: u64 = 64 << 20;
/// Threads of one arbiter that may wait for the disk at once.
pub const BLOCKING_THREADS: usize = 8;
/// Datagrams that a session or a listener takes in one turn before the others have theirs.
pub const DATAGRAMS_PER_TURN: usize = 64;
/// Turns in which a listener empties its socket before it closes it: a buffer has 300 requests.
pub const BACKLOG_TURNS_MAX: usize = 16;
/// Pause of a poll loop after a panic, so that repeated panics don't fill the log.
pub const POLL_LOOP_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a socket is registered again: memory, or `fs.epoll.max_user_watches`, was used up.
pub const SOCKET_ADDED_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Pause between checks of an arbiter's deadlines for each session: 1 ms late with a thousand.
pub const CHECK_PAUSE_PER_SESSION: Duration = Duration::from_micros(1);
/// Octets of a short transfer's file, at most: a configuration or a boot menu.
pub const SHORT_TRANSFER_OCTETS_MAX: u64 = 4096;
/// Short transfers at once on the thread of the listeners, which must read requests in time.
pub const LOCAL_TRANSFERS_MAX: usize = 64;
/// Sockets of an arbiter that are served before its timers and messages.
pub const SOCKETS_PER_TURN: usize = 128;
/// Sockets ready in one poll at which a set counts as busy: it is polled until none is ready.
pub const BUSY_SOCKETS_MIN: usize = 8;
/// Octets of a peer's ERROR text that are kept and logged: more than any firmware sends.
pub const PEER_TEXT_OCTETS_MAX: usize = 256;
/// Consecutive datagrams of windows received singly after which runs are no longer expected.
pub const RECEIVED_ALONE_BEFORE_NO_RUNS: u8 = 128;
/// Largest `--poll-us`, which has no effect.
pub const POLL_US_MAX: u64 = 1000;
/// Sessions that an arbiter starts in one turn before its present sessions have theirs.
pub const REQUESTS_PER_TURN: usize = 64;
/// Requests that may wait for an arbiter to start their sessions, as in a boot storm.
pub const REQUESTS_WAITING_MAX: usize = 4096;
/// Mailbox of an actor with many senders.
pub const MAILBOX_BUSY: usize = 4096;
/// Octets of lines that wait for the log's thread, some 10,000; further lines are only counted.
pub const LOG_OCTETS_QUEUED: usize = 2 << 20;
/// Octets of that buffer that are kept once it is empty, that are written to a file in one call,
/// and that wait for room while its disk is full.
pub const LOG_OCTETS_KEPT: usize = 64 << 10;
/// Octets of lines in one write, unless to a file, and in a thread's line buffer (`PIPE_BUF`).
pub const LOG_OCTETS_AT_ONCE: usize = 4096;
/// Pause of that thread after a write: at 100,000 lines a second, 200 lines wait for it.
pub const LOG_REST: Duration = Duration::from_millis(2);
/// How long the end of the program waits for that thread: a stopped pager reads no lines.
pub const LOG_CLOSE_MAX: Duration = Duration::from_secs(3);

/// Largest payload of a UDP datagram over IPv4, and of one segmented send: 65,535 less the headers.
pub const UDP_PAYLOAD_OCTETS_MAX: usize = 65507;
/// DATA packets in one system call, for any kernel with `UDP_SEGMENT` (newer ones take 128).
pub const SEGMENTS_PER_CALL_MAX: usize = 64;
/// Slices in one system call: for each segment a header and a payload that straddles slabs, on the
/// stack. The kernel would take 1024.
pub const SLICES_PER_CALL_MAX: usize = 256;
/// Longest DATA packet that is copied: for an Ethernet frame, that is cheaper than gathering.
pub const COPIED_OCTETS_MAX: usize = 2048;
/// Slices of a longer DATA packet that is sent without a copy: a header, and parts of slabs.
pub const SLICES_PER_PACKET_MAX: usize = 8;
/// Send buffer of a transfer's socket: a whole window (up to `net.core.wmem_max`).
pub const TRANSFER_SEND_BUFFER_OCTETS: usize = WINDOW_OCTETS_MAX;
/// Receive buffer of a transfer's socket: several windows of 64 blocks. Strangers can fill it.
pub const TRANSFER_RECEIVE_BUFFER_OCTETS: usize = 1 << 20;
/// Receive buffer of a listening socket, for a boot storm while the listener is restarted.
pub const REQUEST_RECEIVE_BUFFER_OCTETS: usize = 4 << 20;
/// Local addresses with all their refusal sockets: most machines have fewer. With more sockets, the
/// least recently used is dropped first.
pub const REFUSAL_ADDRESSES_MAX: usize = 16;
/// Refusal sockets of one address, used in turn, so that a client's next refusal has another port.
pub const REFUSAL_SOCKETS: usize = 4;
/// Refusals from one such socket before another port replaces it: no port stays for long.
pub const REFUSALS_PER_SOCKET: u32 = 256;
/// Datagrams that may wait for a session in single-port mode: a window and its repeats.
pub const INBOX_DATAGRAMS_MAX: usize = 1024;
/// How long a repeated request to the single port doesn't restart a transfer: it may be late.
pub const RESTART_QUIET: Duration = Duration::from_secs(1);
/// Datagrams that an in-memory link holds; further ones are lost, as in a full socket.
pub const MEMORY_LINK_DATAGRAMS: usize = 1024;
/// Pending errors of earlier datagrams that one receive skips: a flood must not hold an arbiter.
pub const PENDING_ERRORS_PER_RECEIVE_MAX: usize = 64;

/// Restarts of a permanent actor, 5 within [`RESTARTS_WITHIN`], before its parent is notified.
pub const RESTARTS_MAX: usize = 5;
/// See [`RESTARTS_MAX`]: 10 s.
pub const RESTARTS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before the first restart, 10 ms; it doubles with each further one.
pub const RESTART_PAUSE: Duration = Duration::from_millis(10);
/// Longest restart pause, 1 s before jitter: clients repeat a request after about this long.
pub const RESTART_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Time for a supervised actor to stop, 5 s unless its specification says otherwise (as in OTP).
pub const CHILD_STOP_WITHIN_DEFAULT: Duration = Duration::from_secs(5);
/// How much longer a supervisor waits for a terminated child: a blocked arbiter never reports it.
pub const TERMINATED_WITHIN: Duration = Duration::from_secs(1);
/// Mailbox of a supervised actor, 16 messages unless its specification differs (as in actix).
pub const MAILBOX_CHILD_DEFAULT: usize = 16;
/// Longest time for an actor to stop, a day: a longer one is the wrong unit.
pub const STOP_WITHIN_MAX: Duration = Duration::from_secs(86400);
/// How often an arbiter is pinged.
pub const ARBITER_ASKED_EVERY: Duration = Duration::from_secs(1);
/// Pings in a row without an answer, 5 s, after which an arbiter counts as blocked: fewer are lost
/// on an overloaded machine. Pings, not seconds: a suspended machine sends none.
pub const ARBITER_SILENCE_MAX: u32 = 5;
/// Seconds, 10, without an answer of the listeners' thread before the daemon ends all transfers.
pub const SERVER_SILENCE_MAX: u32 = 10;
/// Arbiters that may fail within [`ARBITERS_FAILED_WITHIN`] before the server gives up.
pub const ARBITERS_FAILED_MAX: usize = 5;
/// See [`ARBITERS_FAILED_MAX`].
pub const ARBITERS_FAILED_WITHIN: Duration = Duration::from_secs(60);
/// Arbiters that may stay blocked, each a lost thread, before the server gives up.
pub const ARBITERS_ABANDONED_MAX: usize = 16;
/// Sessions that may replace one that panicked, in one transfer: a cause may recur.
pub const RESUMPTIONS_MAX: u32 = 3;
/// Readers that may replace one that panicked, in one transfer.
pub const READERS_REPLACED_MAX: u32 = 3;
/// Time to open a file or to read a slab, 30 s, or the transfer ends: clients gave up long before.
pub const READ_WITHIN: Duration = Duration::from_secs(30);
/// Files of a store that is an actor, open or waiting for their `CloseFile`, also if it hangs.
pub const ACTOR_FILES_MAX: usize = 65_536;
/// Time for a store to begin an upload or to write the waiting slabs, 30 s, as for a read.
pub const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// Time to publish an upload, 300 s: the largest one (4 GiB) takes that long at 15 MB/s.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(300);
/// ERROR 5 packets that one transfer sends to strangers (RFC 1350 §4): it must flood no host.
pub const STRANGERS_ANSWERED_MAX: u32 = 32;
/// Least time between two progress reports of a transfer.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Finished transfers that the registry remembers.
pub const HISTORY_MAX: usize = 256;
/// Mailbox of a session, its reader and its writer: they ask each other for one thing at a time.
pub const MAILBOX_SESSION: usize = 16;
/// How long a server that stops waits for its sessions to end their transfers.
pub const STOP_WITHIN: Duration = Duration::from_secs(2);
/// Time for a server's own actors to stop, 4 s: the sessions, and the same for their supervisors.
pub const SERVER_STOP_WITHIN: Duration = STOP_WITHIN.saturating_mul(2);
/// Time for transfers to complete (`--drain-timeout`): service managers wait for 90 s.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The part of that time for transfers whose peers have not answered: machines take milliseconds.
pub const DRAIN_UNPROVEN_WITHIN: Duration = Duration::from_secs(3);
/// Longest `--drain-timeout`: a longer one is the wrong unit.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(86400);
/// Lines of a list of live transfers that are logged at once: a quarter of [`LOG_OCTETS_QUEUED`].
pub const DUMP_LINES_AT_ONCE: usize = 256;
/// Pause after that many lines: the log's thread writes every [`LOG_REST`].
pub const DUMP_PAUSE: Duration = Duration::from_millis(10);
/// How long the program waits for an operator's list of live transfers.
pub const LIST_WITHIN: Duration = Duration::from_secs(2);
/// Time for the root of new settings to open, 10 s. A dead file system never answers.
pub const ROOT_WITHIN: Duration = Duration::from_secs(10);
/// Time for the last notification to the service manager.
pub const NOTIFY_WITHIN: Duration = Duration::from_secs(1);
/// How long the end of the program waits for destructors; hanging calls end with the process.
pub const DROP_WITHIN: Duration = Duration::from_secs(1);
/// Longest end of the program after `--drain-timeout`, 9 s, plus the stop times of added actors:
/// the service manager is asked for this time.
pub const END_WITHIN: Duration = SERVER_STOP_WITHIN
    .saturating_add(NOTIFY_WITHIN)
    .saturating_add(DROP_WITHIN)
    .saturating_add(LOG_CLOSE_MAX);
/// Longest datagram that can arrive.
pub const DATAGRAM_OCTETS_MAX: usize = 64 << 10;
/// Open files that the process asks for, up to its hard limit: two for each transfer.
pub const OPEN_FILES_WANTED: u64 = 65536;

/// Plans and storms that one server's `Chaos` takes. (Feature `chaos`.)
#[cfg(feature = "chaos")]
pub const CHAOS_PLANS_MAX: usize = 64;
/// Passes that a storm skips at most, so that the struck actors vary. (Feature `chaos`.)
#[cfg(feature = "chaos")]
pub const CHAOS_SKIP_MAX: u32 = 15;
/// How often a point is passed that is only passed for a plan. (Feature `chaos`.)
#[cfg(feature = "chaos")]
pub const CHAOS_PASS_EVERY: Duration = Duration::from_millis(5);
