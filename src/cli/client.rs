//! Flags of `get`, `put` and `bench`, and how a transfer is run and reported.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use structopt::StructOpt;

use super::exchange::{Finished, Local, OnRefusal, exchange};
use super::values::{self, Server};
use super::{Exit, Stop, complain, with_default};
use crate::limits;
use crate::transfer::{Outcome, Terms, Timeouts};
use crate::wire::{Direction, Mode, Options, Request, Text};

// No doc comment here: structopt would use it as the description of the verb.
#[derive(Debug, StructOpt)]
pub(super) struct ClientFlags {
    #[structopt(long, value_name = "OCTETS", parse(try_from_str = values::blksize),
        help = with_default("Block size to ask for (RFC 2348)", limits::CLIENT_BLKSIZE_DEFAULT))]
    blksize: Option<u16>,
    #[structopt(long, value_name = "BLOCKS", parse(try_from_str = values::windowsize),
        help = with_default("Window to ask for (RFC 7440)", limits::CLIENT_WINDOWSIZE_DEFAULT))]
    windowsize: Option<u16>,
    /// Retransmission interval to ask for (the timeout option of RFC 2349) [default: none]
    #[structopt(long, value_name = "SECONDS", parse(try_from_str = values::interval))]
    interval: Option<u64>,
    /// Ask for no options: blocks of 512 octets, one at a time (RFC 1350)
    #[structopt(long)]
    no_options: bool,
    #[structopt(long, value_name = "MODE", parse(try_from_str = values::word),
        help = with_default("How octets are carried: octet (as they are) or netascii (line ends are converted)", "octet"))]
    mode: Option<Mode<'static>>,
    #[structopt(long, value_name = "SECONDS", parse(try_from_str = values::seconds),
        help = with_default(
            "Seconds until an unanswered packet is first repeated; later the measured round trip decides",
            limits::ACK_TIMEOUT_DEFAULT.as_secs_f64(),
        ))]
    ack_timeout: Option<Duration>,
    #[structopt(long, value_name = "SECONDS", parse(try_from_str = values::seconds),
        help = with_default(
            "Seconds after which the server is given up if the transfer hasn't advanced",
            format_args!(
                "{} until its first answer, then {}",
                limits::CLIENT_REQUEST_TIMEOUT_DEFAULT.as_secs_f64(),
                limits::CLIENT_TIMEOUT_DEFAULT.as_secs_f64(),
            ),
        ))]
    timeout: Option<Duration>,
    /// Print only errors
    #[structopt(short, long)]
    pub(super) quiet: bool,
}

impl ClientFlags {
    /// The request for `filename`. `tsize` is the value of that option, if it is to be sent (RFC
    /// 2349).
    pub(super) fn request(
        &self,
        direction: Direction,
        filename: &[u8],
        tsize: Option<u64>,
    ) -> Result<Request<'static>, String> {
        let mode = self.mode.clone().unwrap_or(Mode::Octet);
        // In netascii the octets on the wire differ from those of the file, and servers disagree on
        // which of the two `tsize` counts.
        let tsize = tsize.filter(|_| mode == Mode::Octet);
        let options = if self.no_options { Options::new() } else { self.options(tsize) };
        Text::new(filename.to_vec())
            .and_then(|filename| Request::new(direction, filename, mode, options))
            .ok_or_else(|| "the name of the remote file is empty: write one".to_owned())
    }

    /// Asks for no value that is the default anyway: some servers fail when any option is present.
    fn options(&self, tsize: Option<u64>) -> Options<'static> {
        let Terms { blksize, windowsize, .. } = Terms::default();
        let asked_blksize = self.blksize.unwrap_or(limits::CLIENT_BLKSIZE_DEFAULT);
        let asked_windowsize = self.windowsize.unwrap_or(limits::CLIENT_WINDOWSIZE_DEFAULT);
        let mut options = Options::new();
        for (name, value) in [
            ("tsize", tsize),
            ("blksize", Some(asked_blksize.into()).filter(|_| asked_blksize != blksize)),
            ("windowsize", Some(asked_windowsize.into()).filter(|_| asked_windowsize != windowsize)),
            ("timeout", self.interval),
        ] {
            if let (Some(name), Some(value)) = (Text::new(name.as_bytes()), value) {
                options.push(name, Text::from(value));
            }
        }
        options
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            ack: self.ack_timeout.unwrap_or(limits::ACK_TIMEOUT_DEFAULT),
            unproven: self.timeout.unwrap_or(limits::CLIENT_REQUEST_TIMEOUT_DEFAULT),
            idle: self.timeout.unwrap_or(limits::CLIENT_TIMEOUT_DEFAULT),
            // The user waits for the program to exit. If the last ACK is lost, the network reports
            // a closed port to the server, which only can't know that the file has arrived.
            dally: Duration::ZERO,
            fixed: false,
        }
    }

    /// Runs the transfer and reports the result. `what` is the verb of the report: "got", "put".
    pub(super) fn run(
        &self,
        what: &str,
        server: &Server,
        request: &Request<'static>,
        local: &mut dyn Local,
    ) -> Result<Exit, Stop> {
        let addresses = server.addresses().map_err(Stop::Failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Stop::Failed(error.to_string()))?;
        let finished = runtime.block_on(self.exchange_patiently(&addresses, request, local));
        let finished = finished.map_err(Stop::Failed)?;
        Ok(self.report(what, &finished, request))
    }

    /// Runs the transfer with the first address where a server listens: a name may resolve to
    /// others too. If nobody listens on any of them, the server may not have started yet, so all
    /// addresses are tried again until the timeout, as often as a single address is.
    async fn exchange_patiently(
        &self,
        addresses: &[SocketAddr],
        request: &Request<'static>,
        local: &mut dyn Local,
    ) -> Result<Finished, String> {
        let timeouts = self.timeouts();
        let on_refusal = if addresses.len() == 1 { OnRefusal::Repeat } else { OnRefusal::End };
        let (began, mut pause, mut refusals) = (Instant::now(), timeouts.ack, 0);
        loop {
            let mut ended = Err("the server has no address".to_owned());
            for &address in addresses {
                match exchange(address, request.clone(), timeouts, on_refusal, local).await {
                    Ok(finished) if finished.is_refused() => {
                        refusals += finished.refusals;
                        ended = Ok(finished);
                    }
                    Ok(finished) => return Ok(finished),
                    Err(error) if ended.is_err() => {
                        ended = Err(format!("nothing can be sent to {address}: {error}"));
                    }
                    Err(_) => {}
                }
            }
            let mut finished = ended?;
            if addresses.len() == 1 || began.elapsed() + pause >= timeouts.unproven {
                (finished.refusals, finished.took) = (refusals, began.elapsed());
                return Ok(finished);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::RTO_MAX);
        }
    }

    fn report(&self, what: &str, finished: &Finished, request: &Request<'_>) -> Exit {
        let Finished { outcome, terms, tally, announced, .. } = finished;
        if *outcome != Outcome::Complete {
            complain(&finished.sentence());
            return finished.exit();
        }
        if let Some(announced) = announced
            && request.direction == Direction::Read
            && *announced != tally.octets
        {
            complain(&format!("the server announced {announced} octets and sent {}", tally.octets));
        }
        if !self.quiet {
            let Terms { blksize, windowsize, .. } = terms.unwrap_or_default();
            let seconds = finished.took.as_secs_f64();
            let rate = values::show_octets((tally.octets as f64 / seconds.max(1e-6)) as u64);
            complain(&format!(
                "{what} {} in {seconds:.1} s, {rate}/s, {} repeats, blksize {blksize} windowsize {windowsize}",
                values::show_octets(tally.octets),
                tally.repeats,
            ));
        }
        Exit::Done
    }
}

#[cfg(test)]
mod tests;
