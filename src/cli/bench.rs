//! `stagecoach bench`: put load on a TFTP server, and measure it.

mod load;
mod report;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use structopt::StructOpt;

use super::client::ClientFlags;
use super::values::{self, Server, Words, show_word};
use super::{Exit, Stop, complain, with_default};
use crate::wire::{Direction, Request};

/// Size of an upload unless `--size` says otherwise: about that of a boot loader.
const SIZE_DEFAULT: u64 = 1 << 20;

/// Replaced by the transfer's number in `--name`.
const NUMBER: &str = "{}";

const AFTER_HELP: &str = "\
The report is one JSON object on stdout: rates over the whole run, percentiles of the transfers
that succeeded, and failures by reason. Unlike get and put, bench doesn't wait for a server: if
nobody listens, each transfer fails at once. Each transfer has its own socket, and one thread
drives all of them. Uploads stay on the server. Use it only on servers that you may put load on.

    stagecoach bench get --to 127.0.0.1:9069 --name boot/vmlinuz -n 1000 -c 100
    stagecoach bench put --to 127.0.0.1:9069 -n 100 -c 10 --size 4M
    stagecoach bench miss --to 127.0.0.1:9069 -n 20000 -c 16";

/// Put load on a TFTP server, and measure it
#[derive(Debug, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub(super) struct Bench {
    /// get (read a file), put (write files), or miss (ask for files that don't exist: ERROR 1 is
    /// the expected answer)
    #[structopt(value_name = "WHAT", parse(try_from_str = values::word))]
    work: Work,
    /// Server, with its port unless that is 69; if a name has several addresses, the first is used
    #[structopt(long, value_name = "HOST[:PORT]")]
    to: Server,
    #[structopt(short = "n", long, value_name = "NUMBER", parse(try_from_str = values::load),
        help = with_default("Transfers in all", 1))]
    transfers: Option<usize>,
    #[structopt(short = "c", long, value_name = "NUMBER", parse(try_from_str = values::load),
        help = with_default("Transfers at once", 1))]
    concurrency: Option<usize>,
    /// Name of the file on the server; {} in it stands for the transfer's number [default for put
    /// and miss: a new name with the process id]
    #[structopt(long, value_name = "NAME", parse(from_os_str))]
    name: Option<OsString>,
    #[structopt(long, value_name = "SIZE", parse(try_from_str = values::size),
        help = with_default("put: octets of each file", values::show_size(SIZE_DEFAULT)))]
    size: Option<u64>,
    /// get: compare each file received with this one
    #[structopt(long, value_name = "FILE", parse(try_from_os_str = values::path))]
    check: Option<PathBuf>,
    #[structopt(flatten)]
    client: ClientFlags,
}

/// What the transfers of a load do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Get,
    Put,
    Miss,
}

impl Words for Work {
    const WORDS: &'static [(&'static str, Self)] =
        &[("get", Self::Get), ("put", Self::Put), ("miss", Self::Miss)];
}

impl Bench {
    pub(super) fn run(&self) -> Result<Exit, Stop> {
        self.check().map_err(Stop::Wrong)?;
        let name = self.name().map_err(Stop::Wrong)?;
        // The number makes no difference to whether the name is valid.
        self.request(&name, 0).map_err(Stop::Wrong)?;
        let report = self.put_load(&name).map_err(Stop::Failed)?;
        // If nobody reads it, the exit code still tells.
        let _ = writeln!(io::stdout(), "{}", report.json());
        if !self.client.quiet || report.exit() != Exit::Done {
            complain(&report.sentence());
        }
        Ok(report.exit())
    }

    fn check(&self) -> Result<(), String> {
        let work = show_word(&self.work);
        let pointless = match self.work {
            Work::Get | Work::Miss if self.size.is_some() => format!("{work} writes no file, so --size"),
            Work::Put | Work::Miss if self.check.is_some() => format!("{work} reads no file, so --check"),
            _ => return Ok(()),
        };
        Err(format!("bench {pointless} has nothing to act on: leave it out"))
    }

    fn name(&self) -> Result<Vec<u8>, String> {
        let id = std::process::id();
        match (&self.name, self.work) {
            (Some(name), _) => Ok(name.clone().into_vec()),
            (None, Work::Get) => Err("the file to read is missing: write --name NAME".to_owned()),
            (None, Work::Put) => Ok(format!("stagecoach-bench-{id}-{NUMBER}").into()),
            (None, Work::Miss) => Ok(format!("stagecoach-bench-{id}-absent-{NUMBER}").into()),
        }
    }

    fn request(&self, name: &[u8], number: usize) -> Result<Request<'static>, String> {
        let (direction, tsize) = match self.work {
            Work::Get | Work::Miss => (Direction::Read, 0),
            Work::Put => (Direction::Write, self.size()),
        };
        self.client.request(direction, &numbered(name, number), Some(tsize))
    }

    fn size(&self) -> u64 {
        self.size.unwrap_or(SIZE_DEFAULT)
    }
}

/// `name` with the transfer's number for each [`NUMBER`].
fn numbered(name: &[u8], number: usize) -> Vec<u8> {
    let mut numbered = name.to_vec();
    while let Some(at) = numbered.windows(NUMBER.len()).position(|place| place == NUMBER.as_bytes()) {
        numbered.splice(at..at + NUMBER.len(), number.to_string().into_bytes());
    }
    numbered
}

#[cfg(test)]
mod tests;
