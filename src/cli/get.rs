//! `stagecoach get`: read a file from a TFTP server.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use structopt::StructOpt;

use super::client::ClientFlags;
use super::exchange::Local;
use super::values::{self, Server};
use super::{Exit, Stop};
use crate::error::Fault;
use crate::store::{Directory, DirectoryOptions, Name, Sink, Store, io_fault};
use crate::wire::Direction;

const AFTER_HELP: &str = "\
The local file is written when the whole transfer has succeeded. It may then replace a file of the
same name. If the transfer fails, nothing is left behind and nothing is replaced.";

/// Read a file from a TFTP server
#[derive(Debug, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub(super) struct Get {
    /// Server, with its port unless that is 69; write an IPv6 address with a port in brackets
    #[structopt(value_name = "HOST[:PORT]")]
    server: Server,
    /// Name of the file on the server
    #[structopt(value_name = "REMOTE", parse(from_os_str))]
    remote: OsString,
    /// File to write, - for stdout [default: the last part of REMOTE, in the current directory]
    #[structopt(short, long, value_name = "LOCAL", parse(try_from_os_str = values::path))]
    output: Option<PathBuf>,
    #[structopt(flatten)]
    client: ClientFlags,
}

impl Get {
    pub(super) fn run(&self) -> Result<Exit, Stop> {
        let request = self.client.request(Direction::Read, self.remote.as_bytes(), Some(0));
        let request = request.map_err(Stop::Wrong)?;
        let output = self.output().map_err(Stop::Wrong)?;
        let mut target = Target::open(&output)
            .map_err(|error| Stop::Failed(format!("{} can't be written: {error}", output.display())))?;
        self.client.run("got", &self.server, &request, &mut target)
    }

    fn output(&self) -> Result<PathBuf, String> {
        if let Some(output) = &self.output {
            return Ok(output.clone());
        }
        let last = self.remote.as_bytes().rsplit(|octet| matches!(octet, b'/' | b'\\')).next();
        match last {
            None | Some(b"" | b"." | b"..") => {
                Err(format!("{:?} doesn't end with a file's name: write -o LOCAL", self.remote))
            }
            Some(b"-") => Ok("./-".into()),
            Some(last) => Ok(OsStr::from_bytes(last).into()),
        }
    }
}

enum Target {
    /// A file that appears under its name once it is complete.
    Whole(Option<Box<dyn Sink>>),
    /// Stdout, a device or a pipe: octets are written as they arrive.
    Stream(Box<dyn Write>, String),
}

impl Target {
    fn open(output: &Path) -> Result<Self, String> {
        if output.as_os_str() == "-" {
            return Ok(Self::Stream(Box::new(io::stdout()), "stdout".into()));
        }
        // An existing symbolic link is followed.
        let path = std::fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
        match std::fs::metadata(&path) {
            Ok(there) if there.is_dir() => {
                Err("it is a directory, so write the name of a file in it".to_owned())
            }
            Ok(there) if !there.is_file() => {
                let stream = File::options().write(true).open(&path).map_err(|error| error.to_string())?;
                Ok(Self::Stream(Box::new(stream), output.display().to_string()))
            }
            _ => Self::whole(&path),
        }
    }

    /// Uses the store, which publishes a file completely or not at all, even if the process is
    /// killed.
    fn whole(path: &Path) -> Result<Self, String> {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = parent.unwrap_or(Path::new("."));
        let mut options = DirectoryOptions::default();
        (options.overwrite, options.durable) = (true, false);
        (options.upload_octets_max, options.min_free_octets) = (u64::MAX, 0);
        let last = path.file_name().unwrap_or_default();
        let name = Name::from_request(last.as_bytes()).map_err(|fault| fault.to_string())?;
        if name.as_bytes() != last.as_bytes() {
            return Err("names with a backslash are not written".into());
        }
        let store = Directory::open(directory, options).map_err(|error| error.source.to_string())?;
        let sink = store.create(&name, None).map_err(|fault| fault.to_string())?;
        Ok(Self::Whole(Some(sink)))
    }
}

impl Local for Target {
    fn store(&mut self, octets: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Whole(Some(sink)) => sink.write(octets),
            Self::Whole(None) => Ok(()),
            Self::Stream(stream, name) => stream.write_all(octets).map_err(|error| io_fault(&error, name)),
        }
    }

    fn publish(&mut self) -> Result<(), Fault> {
        match self {
            Self::Whole(sink) => sink.take().map_or(Ok(()), Sink::publish),
            Self::Stream(stream, name) => stream.flush().map_err(|error| io_fault(&error, name)),
        }
    }
}
