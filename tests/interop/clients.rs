//! The clients: how each is told what to do, how it tells what came of it, and what it gets wrong by itself.

use std::path::Path;
use std::process::{Command, Output};

use crate::cells::{Ask, Direction, Mode};

/// A run of a client that takes longer hangs.
const SECONDS_MAX: &str = "120";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// tftp-hpa 5.2: no options at all.
    Hpa,
    /// atftp 0.8: blksize, windowsize, tsize, timeout.
    Atftp,
    /// curl 7.88: tsize, blksize, timeout, or none of them.
    Curl,
    /// BusyBox 1.35: blksize, tsize; octet only.
    Busybox,
}

/// A fault of a client's own. It is expected where it shows, and fails the cell when it is gone. `docs/interop.md` has the proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// curl ends a download with error 71 when the OACK says that the file is empty (`tsize` 0), as RFC 2349 bids.
    CurlRefusesEmpty,
    /// curl says `netascii` in its request and converts nothing, neither way.
    CurlConvertsNothing,
    /// tftp-hpa exits with 0 after `Error code N: ...`.
    HpaExitsZero,
    /// tftp-hpa and atftp make the local file before they ask for the remote one, and leave it, empty.
    LeavesEmptyFile,
    /// atftp puts the word `enable` on the wire as the value of tsize; the server leaves the option out.
    AtftpTsizeEnable,
}

/// What a refused client should have been told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

impl Client {
    pub(crate) const ALL: [Self; 4] = [Self::Hpa, Self::Atftp, Self::Curl, Self::Busybox];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hpa => "tftp-hpa",
            Self::Atftp => "atftp",
            Self::Curl => "curl",
            Self::Busybox => "busybox",
        }
    }

    /// Runs it once, to its end.
    pub(crate) fn run(
        self,
        port: u16,
        direction: Direction,
        ask: &Ask,
        local: &Path,
        remote: &str,
    ) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", SECONDS_MAX]).env("LC_ALL", "C");
        match self {
            Self::Hpa => hpa(&mut command, port, direction, ask, local, remote),
            Self::Atftp => atftp(&mut command, port, direction, ask, local, remote),
            Self::Curl => curl(&mut command, port, direction, ask, local, remote),
            Self::Busybox => busybox(&mut command, port, direction, ask, local, remote),
        }
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// Why this is not the output of a success, if it isn't.
    pub(crate) fn not_succeeded(self, output: &Output) -> Option<String> {
        let said = said(output);
        // tftp-hpa's exit code says nothing: its words do.
        let failed = !output.status.success() || self == Self::Hpa && !said.is_empty();
        failed.then(|| format!("{}: {}", output.status, said.trim()))
    }

    /// Why this is not the output of a client that was told so, if it isn't.
    pub(crate) fn not_told(self, told: Told, output: &Output) -> Option<String> {
        let Told { code, text } = told;
        let said = said(output);
        let (exit, words) = match self {
            Self::Hpa => (0, format!("Error code {code}: {text}")),
            Self::Atftp => (255, format!("error received from server <{text}>")),
            // curl keeps the text to itself (its message is of another error), but has an exit code for each.
            Self::Curl => (curl_exit(code), String::new()),
            Self::Busybox => (1, format!("server error: ({code}) {text}")),
        };
        let right = output.status.code() == Some(exit) && said.contains(&words);
        (!right)
            .then(|| format!("exit {exit} and {words:?} expected, it was {}: {}", output.status, said.trim()))
    }

    /// Whether a refused download leaves an empty file behind.
    pub(crate) fn leaves_empty_file(self) -> bool {
        matches!(self, Self::Hpa | Self::Atftp)
    }
}

/// Fails, with what to install, if a client is not there: a missing client is not a pass.
pub(crate) fn require_all() {
    for (program, argument, sign) in [
        ("tftp", "-V", "tftp-hpa"),
        ("atftp", "-V", "atftp"),
        ("curl", "-V", "tftp"),
        ("busybox", "tftp", "tftp"),
    ] {
        let found =
            Command::new(program).arg(argument).output().is_ok_and(|output| said(&output).contains(sign));
        assert!(found, "{sign} is needed as `{program}`: tests/run.sh installs it");
    }
}

/// curl's exit code for a TFTP error code (`CURLE_TFTP_NOTFOUND` and those after it).
pub(crate) fn curl_exit(code: u16) -> i32 {
    match code {
        1 => 68,
        2 => 69,
        3 => 70,
        4 => 71,
        5 => 72,
        6 => 73,
        _ => 42,
    }
}

fn hpa(command: &mut Command, port: u16, direction: Direction, ask: &Ask, local: &Path, remote: &str) {
    let mode = if ask.mode == Mode::Octet { "binary" } else { "ascii" };
    command.args(["tftp", "-m", mode, "127.0.0.1", &port.to_string(), "-c"]);
    match direction {
        Direction::Get => command.args(["get", remote]).arg(local),
        Direction::Put => command.arg("put").arg(local).arg(remote),
    };
}

fn atftp(command: &mut Command, port: u16, direction: Direction, ask: &Ask, local: &Path, remote: &str) {
    command.arg("atftp");
    let options = [
        ask.blksize.map(|n| format!("blksize {n}")),
        ask.windowsize.map(|n| format!("windowsize {n}")),
        ask.extra.map(str::to_owned),
        (ask.mode == Mode::Netascii).then(|| "mode netascii".to_owned()),
    ];
    for option in options.into_iter().flatten() {
        command.arg("--option").arg(option);
    }
    command.arg(if direction == Direction::Get { "--get" } else { "--put" });
    command.arg("--local-file").arg(local).args(["--remote-file", remote, "127.0.0.1", &port.to_string()]);
}

fn curl(command: &mut Command, port: u16, direction: Direction, ask: &Ask, local: &Path, remote: &str) {
    command.args(["curl", "--silent", "--show-error", "--path-as-is"]);
    if let Some(blksize) = ask.blksize {
        command.args(["--tftp-blksize", &blksize.to_string()]);
    }
    command.args(ask.extra.into_iter().flat_map(str::split_ascii_whitespace));
    command.arg(if direction == Direction::Get { "--output" } else { "--upload-file" }).arg(local);
    let mode = if ask.mode == Mode::Netascii { ";mode=netascii" } else { "" };
    command.arg(format!("tftp://127.0.0.1:{port}/{remote}{mode}"));
}

fn busybox(command: &mut Command, port: u16, direction: Direction, ask: &Ask, local: &Path, remote: &str) {
    command.args(["busybox", "tftp", if direction == Direction::Get { "-g" } else { "-p" }]);
    if let Some(blksize) = ask.blksize {
        command.args(["-b", &blksize.to_string()]);
    }
    command.arg("-l").arg(local).args(["-r", remote, "127.0.0.1", &port.to_string()]);
}

fn said(output: &Output) -> String {
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stdout));
    said
}
