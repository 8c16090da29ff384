//! `stagecoach put`: write a file to a TFTP server.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use structopt::StructOpt;

use super::client::ClientFlags;
use super::exchange::Local;
use super::values::{self, Server};
use super::{Exit, Stop};
use crate::error::Fault;
use crate::store::{Slab, io_fault};
use crate::wire::Direction;

/// Write a file to a TFTP server
#[derive(Debug, StructOpt)]
pub(super) struct Put {
    /// Server, with its port unless that is 69; write an IPv6 address with a port in brackets
    #[structopt(value_name = "HOST[:PORT]")]
    server: Server,
    /// File to read, - for stdin
    #[structopt(value_name = "LOCAL", parse(try_from_os_str = values::path))]
    local: PathBuf,
    /// Name of the file on the server [default: the last part of LOCAL]
    #[structopt(short, long, value_name = "REMOTE", parse(from_os_str))]
    remote: Option<OsString>,
    #[structopt(flatten)]
    client: ClientFlags,
}

impl Put {
    pub(super) fn run(&self) -> Result<Exit, Stop> {
        let remote = self.remote().map_err(Stop::Wrong)?;
        let mut source = Source::open(&self.local)
            .map_err(|error| Stop::Failed(format!("{} can't be read: {error}", self.local.display())))?;
        let request = self.client.request(Direction::Write, remote.as_bytes(), source.size);
        self.client.run("put", &self.server, &request.map_err(Stop::Wrong)?, &mut source)
    }

    fn remote(&self) -> Result<OsString, String> {
        let last = || self.local.file_name().filter(|name| *name != "-").map(ToOwned::to_owned);
        let missing = || format!("{:?} has no file name for the server: write -r REMOTE", self.local);
        self.remote.clone().or_else(last).ok_or_else(missing)
    }
}

struct Source {
    stream: Box<dyn Read>,
    /// In octets, if known. It is announced as `tsize`.
    size: Option<u64>,
    name: String,
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self { stream: Box::new(io::stdin()), size: None, name: "stdin".into() });
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::other("it is a directory, so write the name of a file in it"));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self { stream: Box::new(file), size, name: path.display().to_string() })
    }
}

impl Local for Source {
    fn fetch(&mut self, octets: usize) -> Result<Slab, Fault> {
        let mut bytes = Vec::with_capacity(octets);
        let read = self.stream.by_ref().take(octets as u64).read_to_end(&mut bytes);
        let read = read.map_err(|error| io_fault(&error, &self.name))?;
        Ok(Slab::new(bytes, read < octets))
    }
}
