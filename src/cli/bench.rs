//! `stagecoach bench`: put load on a TFTP server, and measure it.

mod load;
mod report;
mod work;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use structopt::StructOpt;

use self::load::{Load, Payload};
use self::report::Report;
use self::work::Work;
use super::client::ClientFlags;
use super::values::{self, Server};
use super::{Exit, complain, refuse_pointless, usage_error, with_default};
use crate::daemon::raise_open_files;
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
    #[structopt(value_name = "WHAT")]
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

impl Bench {
    pub(super) fn run(&self) -> Exit {
        let name = match self.check_flags().and_then(|()| self.name()) {
            Ok(name) => name,
            Err(sentence) => return usage_error(&sentence),
        };
        // The number makes no difference to whether the name is valid.
        if let Err(sentence) = self.request(&name, 0) {
            return usage_error(&sentence);
        }
        match self.put_load(&name) {
            Ok(report) => self.tell(&report),
            Err(sentence) => {
                complain(&sentence);
                Exit::Failed
            }
        }
    }

    fn check_flags(&self) -> Result<(), String> {
        let work = self.work.as_str();
        let clause = format!("bench {work} writes no file");
        refuse_pointless(self.work != Work::Put, &clause, &[("--size", self.size.is_some())])?;
        let clause = format!("bench {work} reads no file");
        refuse_pointless(self.work != Work::Get, &clause, &[("--check", self.check.is_some())])
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

    fn put_load(&self, name: &[u8]) -> Result<Report, String> {
        let server = self.server()?;
        let payload = match (self.work, &self.check) {
            (Work::Put, _) => Payload::generated(self.size()),
            (_, Some(path)) => {
                let octets = std::fs::read(path);
                Payload::expected(
                    octets.map_err(|error| format!("{} can't be read: {error}", path.display()))?,
                )
            }
            _ => Payload::any(),
        };
        // With fewer open files some transfers fail, and the report says why.
        let _ = raise_open_files();
        let request = |number| self.request(name, number);
        let transfers = self.transfers.unwrap_or(1);
        let load =
            Load { server, work: self.work, timeouts: self.client.timeouts(), payload, request: &request };
        let report = load.run(transfers, self.concurrency.unwrap_or(1).min(transfers));
        report.map_err(|error| format!("nothing can be sent from here: {error}"))
    }

    fn server(&self) -> Result<SocketAddr, String> {
        let addresses = self.to.addresses()?;
        addresses.first().copied().ok_or_else(|| "the server has no address".to_owned())
    }

    fn tell(&self, report: &Report) -> Exit {
        // If nobody reads it, the exit code still tells.
        let _ = writeln!(io::stdout(), "{}", report.json());
        if !self.client.quiet || report.exit() != Exit::Done {
            complain(&report.sentence());
        }
        report.exit()
    }
}

fn numbered(name: &[u8], number: usize) -> Vec<u8> {
    let mut numbered = Vec::with_capacity(name.len() + NUMBER.len());
    let mut rest = name;
    while let Some(at) = rest.windows(NUMBER.len()).position(|place| place == NUMBER.as_bytes()) {
        numbered.extend_from_slice(&rest[..at]);
        numbered.extend_from_slice(number.to_string().as_bytes());
        rest = &rest[at + NUMBER.len()..];
    }
    numbered.extend_from_slice(rest);
    numbered
}

#[cfg(test)]
mod tests;
