//! The matrix of clients and requests.

use crate::clients::{Client, ExpectedError, Quirk};
use crate::common::content::{Content, netascii_text};

/// Sizes with a short last block, an empty last block, or a single block.
const SMALL: [u64; 6] = [0, 1, 511, 512, 513, 1024];
/// The smallest size whose last block, of 7 octets, has number 0 after 65535. For clients that ask
/// for no blksize.
const WRAPS: u64 = 65535 * 512 + 7;
/// A size whose block numbers wrap at the smallest block size, where this is cheap.
const WRAPS_AT_8: u64 = 65540 * 8 + 7;
/// A size whose block numbers wrap at 512 octets a block.
const LARGE: u64 = 40_000_000;
/// Ends a curl that would wait for ever, long after the file has arrived.
const CURL_GIVES_UP: Option<&str> = Some("--max-time 30");
/// Octets of a window that fits a client's socket buffer with any settings of the machine.
const WINDOW_OCTETS_SAFE: u64 = 96 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Get,
    Put,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Octet,
    Netascii,
}

/// The request of a client. `extra` has arguments in the client's own syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) mode: Mode,
    pub(crate) blksize: Option<u16>,
    pub(crate) windowsize: Option<u16>,
    pub(crate) extra: Option<&'static str>,
}

/// The content of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Octets that the mode must not change.
    Octets(Content),
    /// Text whose pairs are split at the ends of blocks of this size.
    Text { len: u64, blksize: u16 },
    /// A request that the server must refuse.
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The file does not exist.
    Missing,
    /// A link out of the root.
    Forbidden,
    /// A directory.
    Directory,
    /// `../` and the name of a file that exists there.
    Outside,
    /// An upload to an existing file, without `--overwrite`.
    Existing,
    /// An upload to a read-only server.
    ReadOnly,
    /// An upload into a directory that does not exist.
    NoParent,
}

/// One run of one client.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) client: Client,
    pub(crate) direction: Direction,
    pub(crate) ask: Ask,
    pub(crate) subject: Subject,
    /// Faults of the client that must show in this cell.
    pub(crate) quirks: Vec<Quirk>,
}

/// The cells that must end with equal files.
pub(crate) fn transfers() -> Vec<Cell> {
    let mut cells = Vec::new();
    // The long cells run first, so that no other cell waits for them at the end.
    for direction in [Direction::Get, Direction::Put] {
        large(direction, &mut cells);
    }
    for direction in [Direction::Get, Direction::Put] {
        octet(direction, &mut cells);
        netascii(direction, &mut cells);
    }
    cells
}

/// The cells that must end with an ERROR, and leave nothing.
pub(crate) fn refusals() -> Vec<Cell> {
    let of = |direction, refusals: &[Refusal]| -> Vec<_> {
        refusals.iter().map(|&refusal| (direction, refusal)).collect()
    };
    let gets =
        of(Direction::Get, &[Refusal::Missing, Refusal::Forbidden, Refusal::Directory, Refusal::Outside]);
    let puts = of(
        Direction::Put,
        &[Refusal::Existing, Refusal::ReadOnly, Refusal::Forbidden, Refusal::Outside, Refusal::NoParent],
    );
    let all: Vec<_> = gets.into_iter().chain(puts).collect();
    let mut cells = Vec::new();
    for client in Client::ALL {
        for &(direction, refusal) in &all {
            for ask in [Ask::PLAIN, Ask { blksize: Some(1428), ..Ask::PLAIN }] {
                if ask.blksize.is_some() && client == Client::Hpa {
                    continue;
                }
                let mut quirks = Vec::new();
                if client == Client::Hpa {
                    quirks.push(Quirk::HpaExitsZero);
                }
                if direction == Direction::Get && client.leaves_empty_file() {
                    quirks.push(Quirk::LeavesEmptyFile);
                }
                cells.push(Cell { client, direction, ask, subject: Subject::Refused(refusal), quirks });
            }
        }
    }
    cells
}

fn large(direction: Direction, cells: &mut Vec<Cell>) {
    let window =
        |blksize, windowsize| Ask { blksize: Some(blksize), windowsize: Some(windowsize), ..Ask::PLAIN };
    let blocks = |blksize| Ask { blksize: Some(blksize), ..Ask::PLAIN };
    let curl_wraps = match direction {
        Direction::Get => Ask::PLAIN,
        Direction::Put => Ask { extra: CURL_GIVES_UP, ..Ask::PLAIN },
    };
    let plan: &[(Client, Ask, u64)] = &[
        (Client::Hpa, Ask::PLAIN, WRAPS),
        (Client::Curl, curl_wraps, WRAPS),
        (Client::Hpa, Ask::PLAIN, LARGE),
        (Client::Atftp, Ask::PLAIN, WRAPS),
        (Client::Atftp, window(512, 16), WRAPS),
        (Client::Atftp, window(8, 64), WRAPS_AT_8),
        (Client::Atftp, blocks(8), WRAPS_AT_8),
        (Client::Atftp, window(1428, 16), LARGE),
        (Client::Atftp, blocks(65464), LARGE),
        (Client::Curl, Ask::PLAIN, LARGE),
        (Client::Curl, blocks(8), WRAPS_AT_8),
        (Client::Curl, blocks(1428), LARGE),
        (Client::Curl, blocks(65464), LARGE),
        (Client::Busybox, Ask::PLAIN, WRAPS),
        (Client::Busybox, blocks(128), 65540 * 128 + 7),
        (Client::Busybox, blocks(1428), LARGE),
        (Client::Busybox, blocks(65464), LARGE),
    ];
    cells.extend(plan.iter().map(|&(client, ask, len)| Cell::new(client, direction, ask, octets(len))));
}

fn octet(direction: Direction, cells: &mut Vec<Cell>) {
    let mut add = |client, ask: Ask, sizes: &[u64]| {
        cells.extend(sizes.iter().map(|&len| Cell::new(client, direction, ask, octets(len))));
    };
    add(Client::Hpa, Ask::PLAIN, &SMALL);
    for blksize in [None, Some(8), Some(511), Some(512), Some(1024), Some(1428), Some(8192), Some(65464)] {
        for windowsize in [None, Some(1), Some(2), Some(4), Some(16), Some(64)] {
            let ask = Ask { blksize, windowsize, ..Ask::PLAIN };
            add(Client::Atftp, ask, &SMALL);
            add(Client::Atftp, ask, &around_windows(&ask));
        }
    }
    for extra in ["timeout 3", "tsize 0", "tsize enable"] {
        add(Client::Atftp, Ask { extra: Some(extra), windowsize: Some(4), ..Ask::PLAIN }, &SMALL);
    }
    for blksize in [None, Some(8), Some(512), Some(1024), Some(1428), Some(8192), Some(65464)] {
        let ask = Ask { blksize, ..Ask::PLAIN };
        add(Client::Curl, ask, &SMALL);
        add(Client::Curl, ask, &around_windows(&ask));
    }
    add(Client::Curl, Ask { extra: Some("--tftp-no-options"), ..Ask::PLAIN }, &SMALL);
    // BusyBox can't fit a request with options into less than some 60 octets, as its block is its
    // buffer.
    for blksize in [None, Some(128), Some(1024), Some(1428), Some(8192), Some(65464)] {
        let ask = Ask { blksize, ..Ask::PLAIN };
        add(Client::Busybox, ask, &SMALL);
        add(Client::Busybox, ask, &around_windows(&ask));
    }
}

fn netascii(direction: Direction, cells: &mut Vec<Cell>) {
    let text = Ask { mode: Mode::Netascii, ..Ask::PLAIN };
    let mut add = |client, ask: Ask| {
        let blksize = ask.blksize.unwrap_or(512);
        for len in SMALL.into_iter().chain([20_000]) {
            cells.push(Cell::new(client, direction, ask, Subject::Text { len, blksize }));
        }
    };
    add(Client::Hpa, text);
    for blksize in [None, Some(8), Some(1428)] {
        for windowsize in [None, Some(4), Some(16)] {
            add(Client::Atftp, Ask { blksize, windowsize, ..text });
        }
    }
    for blksize in [None, Some(8), Some(1428)] {
        add(Client::Curl, Ask { blksize, ..text });
    }
    add(Client::Curl, Ask { extra: Some("--tftp-no-options"), ..text });
}

/// Sizes around one full block and around two full windows.
fn around_windows(ask: &Ask) -> Vec<u64> {
    let blksize = u64::from(ask.blksize.unwrap_or(512));
    let window = blksize * u64::from(ask.windowsize.unwrap_or(1));
    let mut sizes = vec![blksize - 1, blksize, blksize + 1];
    if window <= WINDOW_OCTETS_SAFE {
        sizes.extend([2 * window - 1, 2 * window, 2 * window + 1]);
    }
    sizes.retain(|size| !SMALL.contains(size));
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn octets(len: u64) -> Subject {
    Subject::Octets(Content::new(len ^ 0x5eed, len))
}

impl Ask {
    pub(crate) const PLAIN: Self = Self { mode: Mode::Octet, blksize: None, windowsize: None, extra: None };

    /// Whether the request has a tsize that the server can answer.
    fn learns_size(&self, client: Client) -> bool {
        client == Client::Curl && self.mode == Mode::Octet && self.extra != Some("--tftp-no-options")
    }
}

impl Cell {
    fn new(client: Client, direction: Direction, ask: Ask, subject: Subject) -> Self {
        let mut quirks = Vec::new();
        if direction == Direction::Get && ask.learns_size(client) && subject.len() == 0 {
            quirks.push(Quirk::CurlRefusesEmpty);
        }
        if client == Client::Curl && ask.mode == Mode::Netascii {
            quirks.push(Quirk::CurlConvertsNothing);
        }
        if ask.extra == Some("tsize enable") {
            quirks.push(Quirk::AtftpTsizeEnable);
        }
        Self { client, direction, ask, subject, quirks }
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

impl Subject {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Octets(content) => content.len,
            Self::Text { len, .. } => *len,
            Self::Refused(_) => 0,
        }
    }

    /// The name of the cell's file among the served files and the local files.
    pub(crate) fn file_name(&self) -> String {
        match self {
            Self::Octets(content) => format!("o{}", content.len),
            Self::Text { len, blksize } => format!("t{len}-{blksize}"),
            Self::Refused(_) => "refused".to_owned(),
        }
    }

    /// The text itself.
    pub(crate) fn text(&self) -> Vec<u8> {
        match self {
            Self::Text { len, blksize } => {
                netascii_text(usize::try_from(*len).expect("texts are short"), (*blksize).into())
            }
            _ => panic!("{self:?} is no text"),
        }
    }
}

impl Refusal {
    /// The ERROR of RFC 1350 and of the server's documentation for this refusal.
    pub(crate) fn expected_error(self) -> ExpectedError {
        match self {
            Self::Missing | Self::NoParent => ExpectedError { code: 1, text: "File not found" },
            Self::Forbidden | Self::Outside => ExpectedError { code: 2, text: "Access violation" },
            Self::Directory => ExpectedError { code: 2, text: "Not a regular file" },
            Self::ReadOnly => ExpectedError { code: 2, text: "Server is read-only" },
            Self::Existing => ExpectedError { code: 6, text: "File already exists" },
        }
    }
}
