//! The matrix: which client is run with what.

use crate::clients::{Client, Quirk, Told};
use crate::common::content::{Content, netascii_text};

/// Sizes at which a short block, an empty last block, or none at all has to be right.
const SMALL: [u64; 6] = [0, 1, 511, 512, 513, 1024];
/// The first size whose last block, of 7 octets, is number 0 after 65535, for clients that ask for no blksize.
const WRAPS: u64 = 65535 * 512 + 7;
/// Goes round with the smallest block size, where it costs little.
const WRAPS_AT_8: u64 = 65540 * 8 + 7;
/// Goes round with 512 octets a block.
const LARGE: u64 = 40_000_000;
/// Ends the client that would wait for ever, long after the file has arrived.
const CURL_GIVES_UP: Option<&str> = Some("--max-time 30");
/// Octets of a window that a client's socket buffer takes, whatever the machine's settings.
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

/// What a client is made to ask for. `extra` is in the client's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) mode: Mode,
    pub(crate) blksize: Option<u16>,
    pub(crate) windowsize: Option<u16>,
    pub(crate) extra: Option<&'static str>,
}

/// What is transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Octets that the mode must not touch.
    Octets(Content),
    /// Text with its pairs torn apart at the ends of blocks of that size.
    Text { len: u64, blksize: u16 },
    /// A request that has to be refused.
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such file.
    Missing,
    /// A link that leads out of the root.
    Forbidden,
    /// A directory.
    Directory,
    /// `../`, with a file of that name there.
    Outside,
    /// An upload onto a file that is there, overwriting not allowed.
    Existing,
    /// An upload to a server that takes none.
    ReadOnly,
    /// An upload into a directory that isn't there.
    NoParent,
}

/// One run of one client.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) client: Client,
    pub(crate) direction: Direction,
    pub(crate) ask: Ask,
    pub(crate) subject: Subject,
    /// The client's own faults that must show in it.
    pub(crate) quirks: Vec<Quirk>,
}

/// All cells that must end with equal files.
pub(crate) fn transfers() -> Vec<Cell> {
    let mut cells = Vec::new();
    // The long ones first: they don't keep the others waiting at the end.
    for direction in [Direction::Get, Direction::Put] {
        large(direction, &mut cells);
    }
    for direction in [Direction::Get, Direction::Put] {
        octet(direction, &mut cells);
        netascii(direction, &mut cells);
    }
    cells
}

/// All cells that must end with an ERROR and nothing left.
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
    // BusyBox can't fit a request and its options into less than some 60 octets, its block being its buffer.
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

/// Sizes around one full block, and around two full windows.
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

    /// Whether the request carries a tsize that the server can answer.
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

    /// The name of its file among the served ones and the local ones.
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
    /// The ERROR that RFC 1350 and the documentation of the server name for it.
    pub(crate) fn told(self) -> Told {
        match self {
            Self::Missing | Self::NoParent => Told { code: 1, text: "File not found" },
            Self::Forbidden | Self::Outside => Told { code: 2, text: "Access violation" },
            Self::Directory => Told { code: 2, text: "Not a regular file" },
            Self::ReadOnly => Told { code: 2, text: "Server is read-only" },
            Self::Existing => Told { code: 6, text: "File already exists" },
        }
    }
}
