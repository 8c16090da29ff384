//! Every bound of the server, named, with its why. What an operator may change has a flag; the default is here.

use std::time::Duration;

/// Smallest block size that may be negotiated (RFC 2348).
pub const BLKSIZE_MIN: u16 = 8;
/// Largest block size that may be negotiated (RFC 2348): a 65 507-octet UDP payload less headers and slack.
pub const BLKSIZE_MAX: u16 = 65464;
/// Block size of a transfer that negotiated none (RFC 1350 §2).
pub const BLKSIZE_DEFAULT: u16 = 512;

/// What `--mtu` takes: from the least that IPv4 knows (RFC 791) to the longest packet.
pub const MTU_OCTETS: std::ops::RangeInclusive<u16> = 68..=65535;

/// Largest window that RFC 7440 can name.
pub const WINDOWSIZE_MAX: u16 = 65535;
/// Largest window granted by default: enough to fill a gigabit LAN, and what deployed clients can take.
pub const WINDOWSIZE_MAX_DEFAULT: u16 = 64;
/// Octets of one window that a session may hold in memory; a larger product of block and window size is
/// answered with a smaller window (RFC 7440 §3 lets the server lower it).
pub const WINDOW_OCTETS_MAX: usize = 4 << 20;

/// Octets of all windows larger than one block that a server may hold. When so many are taken, further transfers get a window of one block, which is
/// what every client can do with (RFC 7440 §3 lets the server lower it).
pub const ALL_WINDOWS_OCTETS_MAX: usize = 512 << 20;

/// `timeout` option, in seconds (RFC 2349).
pub const TIMEOUT_OPTION_S: std::ops::RangeInclusive<u64> = 1..=255;
/// `utimeout` option (tftp-hpa), in microseconds.
pub const UTIMEOUT_OPTION_US: std::ops::RangeInclusive<u64> = 10_000..=255_000_000;

/// Longest request that is read. RFC 2347 holds clients to 512 octets, PXELINUX goes beyond with long paths.
pub const REQUEST_OCTETS_MAX: usize = 2048;
/// Options of one request that are looked at; those beyond are ignored.
pub const REQUEST_OPTIONS_MAX: usize = 32;
/// Longest OACK that is sent: what RFC 2347 lets a client expect. Options that don't fit are left out.
pub const OACK_OCTETS_MAX: usize = 512;
/// Longest text of an ERROR packet that is sent.
pub const ERROR_TEXT_OCTETS_MAX: usize = 128;
/// Longest [`Label`](crate::observe::Label) of a transfer: 64 octets.
pub const LABEL_OCTETS_MAX: usize = 64;
/// Lines of the log in a second about transfers whose peers never answered: that is what a flood of forged requests comes to.
pub const LINES_UNANSWERED_PER_S: u32 = 50;
/// Lines in a second about requests that were refused before a block was sent: more than boot loaders of a full hall probe for, and a forger is not who says how large the log is.
pub const LINES_REFUSED_PER_S: u32 = 5000;
/// How long after lines were withheld it is looked whether their number may be written: when the second
/// is over that they were of.
pub const LINES_COUNTED_AFTER: Duration = Duration::from_millis(250);
/// How often the log says that requests to a broadcast address are not answered: a machine that
/// boots so repeats its request for minutes.
pub const BROADCAST_LINE_EVERY: Duration = Duration::from_secs(60);
/// A read that is left unanswered because of an outage is logged once in a minute, by its name; and
/// what a store, a route or a negotiator does then, by its words.
pub const OUTAGE_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Such lines that are logged in that time: a client that makes up names doesn't fill the
/// log, nor the table that remembers them.
pub const OUTAGES_LOGGED_MAX: usize = 256;
/// A limit that requests meet is logged once in this time, a minute, with how often it was met.
pub const LIMIT_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Reasons that are counted each for itself: more than there are, but extensions refuse by codes of
/// their own.
pub const REASONS_COUNTED_MAX: usize = 256;
/// Labels that are counted each for itself: what makes them may make them of what clients send.
pub const LABELS_COUNTED_MAX: usize = 256;
/// How long an actor that extends the server may take to answer, unless it was given another time: 3 s. The most patient of boot loaders repeat their request after
/// five seconds.
pub const EXTENSION_WITHIN: Duration = Duration::from_secs(3);
/// A question to an actor that has panicked waits 50 ms for it: more than its first restart pause.
pub const EXTENSION_RESTART_WITHIN: Duration = Duration::from_millis(50);
/// An extension that is called and needs longer than 500 ms is told of: everybody on that thread has waited with it.
pub const EXTENSION_CALL_WITHIN: Duration = Duration::from_millis(500);
/// Datagrams with opcodes of extensions that may wait for an actor's answer: 64.
pub const OPCODES_ASKED_MAX: usize = 64;
/// Longest name component (`NAME_MAX` of every file system that matters).
pub const NAME_COMPONENT_OCTETS_MAX: usize = 255;
/// Longest name in all: Linux's `PATH_MAX` less its NUL, so no system call is given a name it would refuse or cut.
pub const NAME_OCTETS_MAX: usize = 4095;

/// Unit in which readers fetch and writers store: about 46 blocks of an Ethernet frame each.
pub const SLAB_OCTETS: usize = 64 << 10;
/// Most octets beyond a slab that are kept for the next one, so that it begins where a page of the file does: they are copied once more.
pub const SLAB_REST_OCTETS_MAX: usize = 4 << 10;
/// Octets of a file that a session holds at least beyond its window, so that the disk is ahead of the network.
pub const READ_AHEAD_OCTETS_MIN: u64 = SLAB_OCTETS as u64 / 4;
/// Most of them: a session holds its next window, but not of the largest. Two of the largest blocks, or 91 that fill an Ethernet frame.
pub const READ_AHEAD_OCTETS_MAX: u64 = SLAB_OCTETS as u64 * 2;
/// Slabs of files with several readers that a directory keeps when nobody needs them at the moment, the oldest out: 16 MiB, a kernel or
/// much of an initial file system.
pub const SLABS_KEPT_MAX: usize = 256;
/// Slabs of one file that are noted before those that are gone are looked for.
pub const SLAB_SLOTS_PRUNED_AT: usize = 64;
/// Longest step in which a file system counts time, where it knows fractions of a second: for so long after a change, another one may leave no
/// trace, and the file isn't shared.
pub const FILE_TIME_STEP_MAX: Duration = Duration::from_millis(100);
/// The same where it doesn't (FAT counts in steps of two seconds).
pub const FILE_TIME_STEP_COARSE_MAX: Duration = Duration::from_secs(2);
/// Slabs of one upload that may be under way to its writer before the peer has to wait for its ACK.
pub const SLABS_UNSTORED_MAX: usize = 4;
/// Slabs of one upload that may wait for its writer: these, and those of the largest window, which was under way before the peer had to wait.
pub const SLABS_WAITING_MAX: usize = SLABS_UNSTORED_MAX + WINDOW_OCTETS_MAX / SLAB_OCTETS;

/// First retransmission interval (`--ack-timeout`), until the round trip has been measured.
pub const ACK_TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// Least margin of the retransmission interval above the smoothed round trip.
pub const RTO_MARGIN_MIN: Duration = Duration::from_millis(10);
/// Longest interval that backing off may reach when the peer negotiated none: clients repeat after
/// 4 to 5 s themselves.
pub const RTO_MAX: Duration = Duration::from_secs(5);
/// Nothing is repeated sooner than this before losses are proven in a transfer: devices write their
/// flash between two ACKs, and some fail when a block comes twice.
pub const REPEAT_FLOOR: Duration = Duration::from_millis(250);
/// Proofs of loss in a transfer, from which on its interval follows the measured round trip alone. Two:
/// a device that drops doubled blocks may end its pause a round trip after one repeat, by chance.
pub const LOSS_PROOFS: u32 = 2;
/// A pause that is longer than the interval ends by chance, one time in so many, when the answer to a
/// repeat is due, and looks like a loss.
pub const PROOF_CHANCE: u32 = 128;
/// Windows in a row of which the beginning alone arrived, from which on windows are sent in pieces: the
/// peer's receive buffer holds no more. Of a single one the end may have been lost.
pub const OVERRUN_SIGNS_MAX: u32 = 2;
/// Pause between the pieces of such a window, in which the peer can read what it has. It doubles where
/// even single blocks don't arrive, up to [`PACING_PAUSE_MAX`].
pub const PACING_PAUSE: Duration = Duration::from_millis(2);
/// See [`PACING_PAUSE`].
pub const PACING_PAUSE_MAX: Duration = Duration::from_millis(32);
/// Repeats of a window in a row, from which on a block beyond it asks the peer where it is: the first repeat heals the loss of the window's last block.
pub const REPEATS_BEFORE_BEYOND: u32 = 2;
/// Datagrams that a request may buy before its sender has answered once: forged requests reflect no more.
/// The same request that comes again buys one more.
pub const UNPROVEN_DATAGRAMS_MAX: u32 = 3;
/// Octets of OACKs for each octet of a request, before its sender has answered.
pub const UNPROVEN_OCTETS_RATIO: usize = 3;
/// Transfers whose peers haven't answered, from which on such a peer gets one datagram for each request and nothing by itself: more than a rack has
/// at a time, whose machines answer within milliseconds.
pub const UNPROVEN_MANY: usize = 256;
/// Transfers whose peers haven't answered, in all; beyond it the oldest give way. Each holds a socket and some 7 KB.
pub const UNPROVEN_MAX: usize = 6144;
/// The same with those that no session has answered yet, and those that have given way or up and are not gone: beyond it requests get silence. Whatever comes, and however busy
/// the machine is, this is what it costs.
pub const UNPROVEN_HELD_MAX: usize = UNPROVEN_MAX + 2 * UNPROVEN_MANY;
/// Those of one prefix of addresses: a flood from there leaves room for others.
pub const UNPROVEN_PER_PREFIX_MAX: usize = UNPROVEN_MAX - UNPROVEN_MANY;
/// How long each of them has at least, once there are so many: a thousand honest clients who ask at once answer later than one.
pub const UNPROVEN_STAY_MIN: Duration = Duration::from_secs(1);
/// Prefixes that are told apart, by hash.
pub const PREFIXES: usize = 256;
/// ERRORs that the hosts of one prefix get from the well-known port in a second: PXELINUX asks for eleven files that aren't there, and a hall of machines is switched
/// on at once.
pub const ERRORS_PER_PREFIX_MAX: u16 = 4096;
/// A repeated request sooner than this after our last datagram is one that crossed it on the way.
pub const REPEAT_QUIET: Duration = Duration::from_millis(100);
/// How long the place of a transfer is kept after the last datagram that its peer got without an answer
/// (`--timeout` sets it and the next): clients of BSD and macOS answer after 6.5 s, and a board may
/// initialise its flash first.
pub const UNPROVEN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
/// Without progress, a transfer whose peer has answered is given up after this: there are devices that
/// pause for 20 s in the middle.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// A negotiated interval stretches the limits above to this many intervals.
pub const INTERVALS_BEFORE_GIVING_UP: u32 = 3;
/// After the final ACK of an upload, the session answers repeats of the last DATA for at least this long: more than the 5 s after
/// which BSD's and tftp-hpa's clients repeat, or theirs would come just too late.
pub const DALLY_MIN: Duration = Duration::from_secs(6);

/// Block size that `get` and `put` ask for: what fits an Ethernet frame through a tunnel or two.
pub const CLIENT_BLKSIZE_DEFAULT: u16 = 1428;
/// Window that `get` and `put` ask for: fills a LAN, and fits the receive buffer that a socket has by default.
pub const CLIENT_WINDOWSIZE_DEFAULT: u16 = 16;
/// How long `get` and `put` repeat a request that nobody answers.
pub const CLIENT_REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// Longest interval after which `get` and `put` repeat a request that the network refused: the boot loader
/// of a router listens for a few seconds only.
pub const CLIENT_REFUSED_REPEAT_MAX: Duration = Duration::from_secs(1);
/// Without progress, `get` and `put` give up after this: longer than servers do, for a server may be busy putting a large
/// upload on its disk before it acknowledges the last block.
pub const CLIENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Most transfers of one `bench`, in all or at once: it remembers how long each took.
pub const BENCH_TRANSFERS_MAX: usize = 10_000_000;
/// Different reasons for failures that `bench` counts apart: servers choose the texts of their ERRORs.
pub const BENCH_REASONS_MAX: usize = 32;

/// Live transfers (`--max-transfers`); over it requests are dropped unanswered and counted: the client repeats.
pub const TRANSFERS_MAX_DEFAULT: usize = 16384;
/// Most that `--max-transfers` takes: every transfer has a UDP port of its own, and no machine has more addresses than
/// this makes ports of. A larger number is a slip.
pub const TRANSFERS_MAX: usize = 1 << 20;
/// Most threads that `--arbiters` takes: more than any machine has processors.
pub const ARBITERS_MAX: usize = 1024;
/// What flags in seconds take: shorter than a millisecond is a storm, longer than a day a slip of the unit.
pub const SECONDS_FLAG: std::ops::RangeInclusive<f64> = 0.001..=86400.0;
/// Octets that one upload may bring (`--max-upload-size`).
pub const UPLOAD_OCTETS_MAX_DEFAULT: u64 = 4 << 30;
/// Free disk that uploads never touch (`--min-free`).
pub const MIN_FREE_OCTETS_DEFAULT: u64 = 256 << 20;
/// Octets that an upload may write before it asks again how much of the disk is free: a `statvfs` a slab would cost
/// more than it saves, and the reserve is far larger than this.
pub const FREE_CHECK_OCTETS: u64 = 4 << 20;
/// Octets after which the kernel is told to start writing an upload back, so that the last `fsync` is short.
pub const WRITEBACK_OCTETS: u64 = 8 << 20;
/// Tries to find the directories of an upload while uploads beside it make them.
pub const PARENT_ATTEMPTS_MAX: usize = 3;
/// Tries to find a free name for a temporary file: with 64 random bits, a second one already means mischief.
pub const TEMPORARY_NAME_ATTEMPTS_MAX: usize = 8;
/// Symbolic links that are followed on the way to one file, as Linux has it.
pub const SYMLINKS_FOLLOWED_MAX: usize = 40;
/// Directory entries that one sweep for stale temporaries looks at, so that a huge tree can't delay a start for ever.
pub const SWEEP_ENTRIES_MAX: usize = 1 << 20;
/// Directories below each other that a sweep enters: it holds one descriptor for each.
pub const SWEEP_DEPTH_MAX: usize = 32;
/// How often, each second, a directory that is served is looked for at its path, when requests ask for what isn't
/// there: boot loaders probe many names, and a root is replaced once a day.
pub const ROOT_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Octets that a store in memory holds in all, unless told otherwise.
pub const MEMORY_OCTETS_MAX_DEFAULT: u64 = 64 << 20;
/// Threads of one arbiter that may wait for the disk at once.
pub const BLOCKING_THREADS: usize = 8;
/// Datagrams that a session or a listener takes in one turn before others on its arbiter get theirs.
pub const DATAGRAMS_PER_TURN: usize = 64;
/// Such turns in which a listener takes what has arrived before it closes its socket. A receive
/// buffer of the kernel's default size holds fewer than 300 requests; a flood must not keep the
/// socket open.
pub const BACKLOG_TURNS_MAX: usize = 16;
/// How long a poll loop rests that panicked: the log is not to be filled by one that does so again and again.
pub const POLL_LOOP_PAUSE: Duration = Duration::from_millis(100);
/// After how long a socket that the kernel refused to tell of is looked at, and offered to it again. The kernel refuses while it has
/// no memory, or no room for the user (`fs.epoll.max_user_watches`).
pub const SOCKET_ADDED_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Pause after the deadlines of an arbiter's sessions have been looked at, for each of them: so it takes a few thousandths of the time, however many there
/// are, and a thousand get their repeats one millisecond late at most.
pub const CHECK_PAUSE_PER_SESSION: Duration = Duration::from_micros(1);
/// Octets of a short transfer's file, at most: a configuration or a boot menu.
pub const SHORT_TRANSFER_OCTETS_MAX: u64 = 4096;
/// Short transfers at once on the thread of the listeners. Arbiters serve more of them, so that the
/// listeners read requests in time.
pub const LOCAL_TRANSFERS_MAX: usize = 64;
/// Sockets of an arbiter that are served before timers and messages have their turn.
pub const SOCKETS_PER_TURN: usize = 128;
/// Sockets that have something at once, from which on nobody waits to be told that more have: it is asked for until there are none.
pub const BUSY_SOCKETS_MIN: usize = 8;
/// Octets of a peer's ERROR text that are kept and logged: more than any firmware says.
pub const PEER_TEXT_OCTETS_MAX: usize = 256;
/// Datagrams of a window that came by themselves, one after the other, after which nobody looks for runs of them any more.
pub const RECEIVED_ALONE_BEFORE_NO_RUNS: u8 = 128;
/// Most microseconds that `--poll-us` takes, which has no effect.
pub const POLL_US_MAX: u64 = 1000;
/// Sessions that an arbiter starts in one turn before those that it has get theirs.
pub const REQUESTS_PER_TURN: usize = 64;
/// Requests that may wait for an arbiter to start their sessions: a boot storm's.
pub const REQUESTS_WAITING_MAX: usize = 4096;
/// Mailbox of an actor that hears from many others.
pub const MAILBOX_BUSY: usize = 4096;
/// Octets of lines that wait for the log's own thread, some 10,000 lines; those beyond are dropped and their number is logged.
pub const LOG_OCTETS_QUEUED: usize = 2 << 20;
/// Octets of that buffer that are kept when so many don't wait any more.
pub const LOG_OCTETS_KEPT: usize = 64 << 10;
/// Octets of several lines that it writes in one call, unless it is to a file: what a pipe takes as a whole (`PIPE_BUF`). The longest line
/// that a thread keeps the memory of.
pub const LOG_OCTETS_AT_ONCE: usize = 4096;
/// How long that thread rests after it wrote: at 100,000 lines a second, 200 wait then, and nobody sees the delay.
pub const LOG_REST: Duration = Duration::from_millis(2);
/// How long the end of the program waits for that thread: a pager that is stopped takes no line, and holds up nothing else.
pub const LOG_CLOSE_MAX: Duration = Duration::from_secs(3);

/// Largest payload of a UDP datagram over IPv4 (65535 less the IP and UDP headers); one segmented send holds no more either.
pub const UDP_PAYLOAD_OCTETS_MAX: usize = 65507;
/// DATA packets that one system call sends: what every kernel with `UDP_SEGMENT` takes (newer ones take 128).
pub const SEGMENTS_PER_CALL_MAX: usize = 64;
/// Slices that one system call gathers: a header and a payload for each segment, and room for payloads that straddle
/// slabs. The array lies on the stack; the kernel would take 1024.
pub const SLICES_PER_CALL_MAX: usize = 192;
/// A DATA packet up to this long is copied together to be sent: for a frame of Ethernet that is cheaper than to have the kernel gather it.
pub const COPIED_OCTETS_MAX: usize = 2048;
/// Slices of one longer DATA packet that are sent from where they lie: a header and a payload that straddles slabs. A
/// packet in more pieces than this is copied together first.
pub const SLICES_PER_PACKET_MAX: usize = 8;
/// Send buffer that a transfer's socket asks for: a whole window (the kernel grants up to `net.core.wmem_max`).
pub const TRANSFER_SEND_BUFFER_OCTETS: usize = WINDOW_OCTETS_MAX;
/// Receive buffer that a transfer's socket asks for: a window of 64 blocks of an Ethernet frame with the kernel's
/// own overhead, several times over. Not more, as strangers can fill it.
pub const TRANSFER_RECEIVE_BUFFER_OCTETS: usize = 1 << 20;
/// Receive buffer that a listening socket asks for: a boot storm's requests wait here while the listener is restarted.
pub const REQUEST_RECEIVE_BUFFER_OCTETS: usize = 4 << 20;
/// Local addresses that a listener keeps sockets for refusals at, the one of longest ago out: more than most machines have.
pub const REFUSAL_ADDRESSES_MAX: usize = 16;
/// Sockets for refusals at one address, used in turn: a client that asks again gets its next refusal from another port.
pub const REFUSAL_SOCKETS: usize = 4;
/// Refusals that one of these sends before another port takes its place: no port stands for long, and a new socket for each
/// would cost more than all the rest of a refusal.
pub const REFUSALS_PER_SOCKET: u32 = 256;
/// Datagrams that may wait for a session in single-port mode: a window and its repeats.
pub const INBOX_DATAGRAMS_MAX: usize = 1024;
/// How long a client that is heard of is not believed to have begun anew when its request comes again to the single port: that may be late.
pub const RESTART_QUIET: Duration = Duration::from_secs(1);
/// Datagrams that an in-memory link holds for its reader; those beyond are lost, as in a full socket.
pub const MEMORY_LINK_DATAGRAMS: usize = 1024;
/// Calls that one receive makes before it reports nothing, while each of them only tells of an earlier datagram's
/// fate. Every such report is an event of its own, so nothing is slept through; without it, a flood of them could hold an arbiter.
pub const PENDING_ERRORS_PER_RECEIVE_MAX: usize = 64;

/// Restarts of a permanent actor, 5 within [`RESTARTS_WITHIN`], before its parent is told that it can't be kept alive.
pub const RESTARTS_MAX: usize = 5;
/// See [`RESTARTS_MAX`]: 10 s.
pub const RESTARTS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before the first restart, 10 ms; it doubles with each further one.
pub const RESTART_PAUSE: Duration = Duration::from_millis(10);
/// What that pause doubles up to, 1 s before jitter: clients repeat a request after about this long.
pub const RESTART_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Time that a supervised actor gets to stop, 5 s unless its specification says otherwise (as in OTP).
///
/// A server waits for the actors that were added to it as long as their specifications say, beyond
/// [`SERVER_STOP_WITHIN`], which is for its own.
pub const CHILD_STOP_WITHIN_DEFAULT: Duration = Duration::from_secs(5);
/// How much longer a supervisor waits for a child that was terminated: one whose arbiter is blocked may never say that it ended.
pub const TERMINATED_WITHIN: Duration = Duration::from_secs(1);
/// Mailbox of a supervised actor, 16 messages unless its specification says otherwise (as in actix).
pub const MAILBOX_CHILD_DEFAULT: usize = 16;
/// Most time that an actor may be given to stop, a day: a longer one is a slip of the unit.
pub const STOP_WITHIN_MAX: Duration = Duration::from_secs(86400);
/// How often an arbiter is asked whether it is alive.
pub const ARBITER_ASKED_EVERY: Duration = Duration::from_secs(1);
/// Questions in a row that an arbiter may leave unanswered before it counts as blocked: with [`ARBITER_ASKED_EVERY`], five seconds. Shorter, and
/// a machine that is merely overloaded would lose transfers; longer, and clients give up by themselves. Questions are counted, not seconds: a machine that was suspended has asked none.
pub const ARBITER_SILENCE_MAX: u32 = 5;
/// Seconds in a row, 10, without a sign of life from the thread that the listeners share, before the daemon gives up: longer than for an arbiter of sessions, for it
/// is the end of all transfers.
pub const SERVER_SILENCE_MAX: u32 = 10;
/// Arbiters that may fail within [`ARBITERS_FAILED_WITHIN`] before the server gives up.
pub const ARBITERS_FAILED_MAX: usize = 5;
/// See [`ARBITERS_FAILED_MAX`].
pub const ARBITERS_FAILED_WITHIN: Duration = Duration::from_secs(60);
/// Arbiters that may be blocked for good, each of them a thread that is lost, before the server gives up.
pub const ARBITERS_ABANDONED_MAX: usize = 16;
/// Sessions that may take the place of one that panicked, in one transfer: a cause that comes back each time must have an end.
pub const RESUMPTIONS_MAX: u32 = 3;
/// Readers that may take the place of one that panicked, in one transfer.
pub const READERS_REPLACED_MAX: u32 = 3;
/// How long a store may take to open a file, or to read a slab of it, 30 s, before the transfer ends: clients have given up long before.
pub const READ_WITHIN: Duration = Duration::from_secs(30);
/// Files of a store that is an actor, open or not yet closed by it: more than transfers at once on any but the largest servers, and an actor that has hung is owed
/// no more than that.
pub const ACTOR_FILES_MAX: usize = 65_536;
/// How long a store may take to begin an upload, or to write the slabs that wait, 30 s, before the transfer ends: clients have given up
/// long before.
pub const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to publish one, 300 s: by then the largest upload (4 GiB) is on a disk that takes 15 MB/s, even if all of it was still
/// in memory. Longer than clients wait, for a file that came whole is worth having even if its sender never learns of it.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(300);
/// ERROR 5 that one transfer sends to strangers (RFC 1350 §4); more of them are ignored, or it could be made to flood someone.
pub const STRANGERS_ANSWERED_MAX: u32 = 32;
/// Least time between two publications of how far a transfer is.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Finished transfers that the registry remembers.
pub const HISTORY_MAX: usize = 256;
/// Messages that may wait for a session, its reader or its writer: each asks the other for one thing at a time.
pub const MAILBOX_SESSION: usize = 16;
/// How long a server that is told to stop waits for its sessions to say goodbye.
pub const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How long all of a server's own actors may take to stop, 4 s: [`STOP_WITHIN`] for the sessions, and as
/// much again for the actors above them.
pub const SERVER_STOP_WITHIN: Duration = STOP_WITHIN.saturating_mul(2);
/// Time that live transfers get to end by themselves when a server is told to (`--drain-timeout`): a boot image takes seconds, and
/// service managers lose patience after 90.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Of that time, what transfers get whose peers have not answered: a machine that is there answers within
/// milliseconds, and asks the next server if not.
pub const DRAIN_UNPROVEN_WITHIN: Duration = Duration::from_secs(3);
/// Most time for that: a longer one is a slip of the unit.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(86400);
/// Lines of an operator's list of live transfers that are written at once: a quarter of what the queue
/// of the log holds ([`LOG_OCTETS_QUEUED`]), of the longest that are usual (2 KB).
pub const DUMP_LINES_AT_ONCE: usize = 256;
/// Pause after so many of them: the thread of the log writes what has come every [`LOG_REST`].
pub const DUMP_PAUSE: Duration = Duration::from_millis(10);
/// How long an operator's list of live transfers is waited for.
pub const LIST_WITHIN: Duration = Duration::from_secs(2);
/// How long the last word to the service manager may take.
pub const NOTIFY_WITHIN: Duration = Duration::from_secs(1);
/// How long the end of the program waits until what has ended is dropped. What takes longer (a call
/// that hangs in a disk) ends with the process.
pub const DROP_WITHIN: Duration = Duration::from_secs(1);
/// The end of the program, beyond the time that transfers get to end by themselves (`--drain-timeout`),
/// takes 9 s at most, and what actors that were added may take: the server's own stop, the manager gets
/// its last word, what has ended is dropped, the log is written. The manager is asked for all of it.
pub const END_WITHIN: Duration = SERVER_STOP_WITHIN
    .saturating_add(NOTIFY_WITHIN)
    .saturating_add(DROP_WITHIN)
    .saturating_add(LOG_CLOSE_MAX);
/// Longest datagram that can arrive.
pub const DATAGRAM_OCTETS_MAX: usize = 64 << 10;
/// Open files that the process asks for at start, as far as its hard limit goes: a socket and a file for each transfer.
pub const OPEN_FILES_WANTED: u64 = 65536;

/// Plans and storms that one server's `Chaos` takes. (Feature `chaos`.)
#[cfg(feature = "chaos")]
pub const CHAOS_PLANS_MAX: usize = 64;
/// Passes that a storm lets go by at most before it strikes: enough to strike now this actor and now another. (Feature `chaos`.)
#[cfg(feature = "chaos")]
pub const CHAOS_SKIP_MAX: u32 = 15;
/// How often a point is passed where nobody would without a plan for it. (Feature `chaos`.)
#[cfg(feature = "chaos")]
pub const CHAOS_PASS_EVERY: Duration = Duration::from_millis(5);
