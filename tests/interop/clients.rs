//! The clients: their arguments, their results, and their known faults.

use std::path::Path;
use std::process::{Command, Output};

use crate::cells::{Ask, Direction, Mode};

/// A client that runs for longer hangs.
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

/// A known fault of a client. The fault must show in its cells: a cell fails once the fault is
/// gone. `docs/interop.md` has the proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// curl ends a download with error 71 when the OACK announces an empty file (`tsize` 0), as RFC
    /// 2349 asks.
    CurlRefusesEmpty,
    /// curl sends `netascii` in its request, and converts nothing in either direction.
    CurlConvertsNothing,
    /// tftp-hpa exits with 0 after `Error code N: ...`.
    HpaExitsZero,
    /// tftp-hpa and atftp make the local file before they request the remote file, and leave it
    /// empty.
    LeavesEmptyFile,
    /// atftp sends the word `enable` as the value of tsize, and the server leaves the option out.
    AtftpTsizeEnable,
}

/// The ERROR that a refused client should report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedError {
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

    /// Runs the client once, to its end.
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

    /// Why the output is not that of a success, or `None`.
    pub(crate) fn why_not_successful(self, output: &Output) -> Option<String> {
        let said = said(output);
        // The exit code of tftp-hpa says nothing. Its output does.
        let failed = !output.status.success() || self == Self::Hpa && !said.is_empty();
        failed.then(|| format!("{}: {}", output.status, said.trim()))
    }

    /// Why the output is not that of a client with this ERROR, or `None`.
    pub(crate) fn why_not_refused(self, expected_error: ExpectedError, output: &Output) -> Option<String> {
        let ExpectedError { code, text } = expected_error;
        let said = said(output);
        let (exit, words) = match self {
            Self::Hpa => (0, format!("Error code {code}: {text}")),
            Self::Atftp => (255, format!("error received from server <{text}>")),
            // curl does not show the text of the ERROR, but has an exit code for each error code.
            Self::Curl => (curl_exit(code), String::new()),
            Self::Busybox => (1, format!("server error: ({code}) {text}")),
        };
        let right = output.status.code() == Some(exit) && said.contains(&words);
        (!right)
            .then(|| format!("exit {exit} and {words:?} expected, it was {}: {}", output.status, said.trim()))
    }

    /// Whether a refused download leaves an empty file.
    pub(crate) fn leaves_empty_file(self) -> bool {
        matches!(self, Self::Hpa | Self::Atftp)
    }
}

/// Fails if a client is not installed, and names the package.
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

/// curl's exit code for a TFTP error code (`CURLE_TFTP_NOTFOUND` and the codes after it).
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
