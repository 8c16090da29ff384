//! `stagecoach` without a verb: the server.

#[cfg(feature = "chaos")]
use std::env::VarError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use slog::{crit, warn};
use structopt::StructOpt;
use structopt::clap::ArgMatches;

use super::log::Log;
use super::values;
use super::{Exit, Stop, complain, with_default};
use crate::daemon::{self, Builder, RunError};
use crate::net::{Mtu, PortRange};
use crate::policy::{Access, AccessRule, OnOutage, OverLimit, RefusedOption};
use crate::settings::Settings;
use crate::store::Symlinks;
use crate::transfer::{OnAbort, Rollover};

static DEFAULT: LazyLock<Settings> = LazyLock::new(Settings::default);

// The flags of the server, in the order of `--help`; a flag that wasn't typed is `None`.
//
// No doc comment here: structopt would use it as the program's description. No `default_value`
// either: with one, clap 2 treats a flag without its value as a flag that wasn't typed.
#[derive(Debug, StructOpt)]
pub(super) struct Serve {
    /// Address to listen on, IPv4 or IPv6; a link-local one needs its interface (fe80::1%eth0); may
    /// be repeated; a single :: includes IPv4. --host and --port have no effect if systemd passes
    /// the sockets [default: every address]
    #[structopt(long, value_name = "ADDR", number_of_values = 1, parse(try_from_str = values::host))]
    host: Vec<SocketAddr>,
    /// Start even if no interface has an address of --host yet, and serve once one has (Linux)
    #[structopt(long)]
    wait_for_address: bool,
    #[structopt(short, long, value_name = "PORT", parse(try_from_str = values::port),
        help = with_default("Port to listen on; 0 lets the kernel choose", DEFAULT.listen.port))]
    port: Option<u16>,
    /// Serve transfers from the port that requests are sent to: for NAT, containers and firewalls
    /// that allow only that port
    #[structopt(long)]
    single_port: bool,
    /// Ports that transfers use, for firewalls, such as 50000:50999 [default: any]
    #[structopt(long, value_name = "LO:HI")]
    port_range: Option<PortRange>,

    #[structopt(long, value_name = "DIR", parse(try_from_os_str = values::path),
        help = with_default("Directory to serve; the server touches nothing outside of it", DEFAULT.root.display()))]
    root: Option<PathBuf>,
    /// Refuse all uploads
    #[structopt(long)]
    read_only: bool,
    /// Let uploads replace files
    #[structopt(long)]
    overwrite: bool,
    /// Let uploads create the directories in their names
    #[structopt(long)]
    create_dirs: bool,
    #[structopt(long, value_name = "WHICH", parse(try_from_str = values::word),
        help = with_default(
            "Symbolic links to follow: inside (those that stay below the root), deny (none), follow (all)",
            values::show_word(&DEFAULT.directory.symlinks),
        ))]
    symlinks: Option<Symlinks>,
    #[structopt(long, value_name = "WHAT", parse(try_from_str = values::word),
        help = with_default(
            "What to do with an upload whose client stops in the middle: discard it, or keep the received part as NAME.partial",
            values::show_word(&DEFAULT.on_abort),
        ))]
    on_abort: Option<OnAbort>,
    #[structopt(long, value_name = "SIZE", parse(try_from_str = values::size_above_zero),
        help = with_default(
            "Largest upload, in octets or with K, M, G or T after the number",
            values::show_size(DEFAULT.directory.upload_octets_max),
        ))]
    max_upload_size: Option<u64>,
    #[structopt(long, value_name = "SIZE", parse(try_from_str = values::size),
        help = with_default("Disk space that uploads must leave free", values::show_size(DEFAULT.directory.min_free_octets)))]
    min_free: Option<u64>,
    /// Acknowledge uploads before they are safely on the disk: faster, but a power failure may lose
    /// them
    #[structopt(long)]
    no_fsync: bool,

    #[structopt(long, value_name = "SECONDS", parse(try_from_str = values::seconds),
        help = with_default(
            "Seconds until an unanswered packet is first repeated; later waits last 0.25 s or longer, and follow the measured round trip once the link has lost packets",
            DEFAULT.timeouts.ack.as_secs_f64(),
        ))]
    ack_timeout: Option<Duration>,
    /// Always wait for --ack-timeout, or for the timeout that the client asked for, whatever the
    /// round trip and the losses: for firmware that can't handle a changing interval
    #[structopt(long)]
    fixed_timeout: bool,
    #[structopt(long, alias = "conn-timeout", value_name = "SECONDS", parse(try_from_str = values::seconds),
        help = with_default(
            "Seconds after which the server gives up a client that hasn't answered at all, or, after its first answer, whose transfer hasn't advanced",
            format_args!(
                "{} before the first answer, {} after it",
                DEFAULT.timeouts.unproven.as_secs_f64(),
                DEFAULT.timeouts.idle.as_secs_f64(),
            ),
        ))]
    timeout: Option<Duration>,
    /// Ignore all options of clients
    #[structopt(long)]
    no_options: bool,
    #[structopt(long, value_name = "OCTETS", parse(try_from_str = values::blksize),
        help = with_default("Largest block granted to a client that asks (RFC 2348)", DEFAULT.offer.blksize_max))]
    blksize_max: Option<u16>,
    /// Grant no block that makes an IP packet longer than OCTETS, or than the MTU of the interface
    /// (auto): for firmware and networks that lose fragments [default: no limit but
    /// that of --blksize-max]
    #[structopt(long, value_name = "OCTETS", parse(try_from_str = values::mtu))]
    mtu: Option<Mtu>,
    #[structopt(long, value_name = "BLOCKS", parse(try_from_str = values::windowsize),
        help = with_default("Largest window granted to a client that asks (RFC 7440)", DEFAULT.offer.windowsize_max))]
    windowsize_max: Option<u16>,
    #[structopt(long, value_name = "NUMBER", parse(try_from_str = values::word),
        help = with_default(
            "Number of the block after 65535 for clients that don't ask, 0 or 1",
            values::show_word(&DEFAULT.offer.rollover),
        ))]
    rollover: Option<Rollover>,
    /// Follow the RFCs to the letter: an option value out of range gets ERROR 8, an unknown mode
    /// gets ERROR 4, no block is sent beyond a client's window, and a negotiated timeout applies to
    /// the whole transfer
    #[structopt(long)]
    strict: bool,

    /// Answer a read request that was sent to a broadcast address, if the file exists: for
    /// workstations that boot that way (RFC 906). --host must be left out or be 0.0.0.0
    #[structopt(long)]
    answer_broadcast: bool,

    /// Allow clients of a network, such as 10.0.0.0/8 or 2001:db8::/32:write. The first --allow or
    /// --deny rule that matches decides. A client that no rule matches is allowed, unless there is
    /// an --allow rule for the same kind of request [default: everybody]
    #[structopt(long, value_name = "NETWORK[:read|write]", number_of_values = 1, parse(try_from_str = values::allowed))]
    allow: Vec<AccessRule>,
    /// Refuse clients of a network, or only their reads or writes
    #[structopt(long, value_name = "NETWORK[:read|write]", number_of_values = 1, parse(try_from_str = values::denied))]
    deny: Vec<AccessRule>,
    /// Never grant an option, to all clients or to those of a network: for firmware that asks for
    /// an option and then fails with it; may be repeated
    #[structopt(long, value_name = "NAME[=NETWORK]", number_of_values = 1, parse(try_from_str = values::refused_option))]
    refuse_option: Vec<RefusedOption>,
    #[structopt(long, value_name = "NUMBER", parse(try_from_str = values::transfers),
        help = with_default("Transfers at once; further requests are not answered until one ends", DEFAULT.transfers_max))]
    max_transfers: Option<usize>,
    /// Transfers of one client at once, by its address [default: no limit of its own]
    #[structopt(long, value_name = "NUMBER", parse(try_from_str = values::transfers))]
    max_transfers_per_client: Option<usize>,
    #[structopt(long, value_name = "WHAT", parse(try_from_str = values::word),
        help = with_default(
            "Answer to a request beyond those limits: silence (the client repeats it, and may be served then), or an error",
            values::show_word(&DEFAULT.over_limit),
        ))]
    over_limit: Option<OverLimit>,
    #[structopt(long, value_name = "WHAT", parse(try_from_str = values::word),
        help = with_default(
            "Answer to a read when the disk, or another store, can't say whether the file exists: silence (the client repeats it, and is served once the store answers), or an error (which boot loaders treat as a missing file)",
            values::show_word(&DEFAULT.on_outage),
        ))]
    on_outage: Option<OnOutage>,
    #[structopt(long, value_name = "NUMBER", parse(try_from_str = values::arbiters),
        help = with_default(
            "Threads that share the transfers",
            format_args!("one less than the number of processors, here {}", DEFAULT.arbiters),
        ))]
    arbiters: Option<usize>,
    #[structopt(long, value_name = "MICROSECONDS", parse(try_from_str = values::poll_us),
        help = "Has no effect, and is accepted for compatibility")]
    poll_us: Option<u64>,
    #[structopt(long, value_name = "SECONDS", parse(try_from_str = values::seconds_or_zero),
        help = with_default(
            "Seconds that live transfers have to end after SIGTERM or SIGINT; 0 ends them at once",
            DEFAULT.drain_timeout.as_secs_f64(),
        ))]
    drain_timeout: Option<Duration>,

    /// Append the log to FILE instead of writing it to stderr; - is stderr; SIGHUP opens the file
    /// again
    #[structopt(short = "l", long, value_name = "FILE", parse(try_from_os_str = values::path))]
    file_log: Option<PathBuf>,
    /// Log every packet
    #[structopt(short, long)]
    verbose: bool,

    /// Positions of each `--allow`, then of each `--deny`, on the command line.
    #[structopt(skip)]
    typed_at: Vec<usize>,
}

impl Serve {
    /// Notes the order of `--allow` and `--deny` rules.
    pub(super) fn note_order(&mut self, matches: &ArgMatches<'_>) {
        let indices = ["allow", "deny"].map(|name| matches.indices_of(name));
        self.typed_at = indices.into_iter().flatten().flatten().collect();
    }

    /// The `--allow` and `--deny` rules, in the order in which they were typed.
    fn access(&self) -> Access {
        let rules = self.allow.iter().chain(&self.deny).copied();
        let mut rules: Vec<_> = self.typed_at.iter().zip(rules).collect();
        rules.sort_by_key(|(at, _)| **at);
        Access::new(rules.into_iter().map(|(_, rule)| rule).collect())
    }

    pub(super) fn run(&self, extend: impl FnOnce(Builder) -> Builder + Send + 'static) -> Result<Exit, Stop> {
        let settings = self.settings().map_err(Stop::Wrong)?;
        // The sockets must be read before the log's thread starts.
        let passed = daemon::passed_sockets();
        let file = self.file_log.as_deref().filter(|file| file.as_os_str() != "-");
        let log =
            Log::open(file, self.verbose).map_err(|error| Stop::Failed(format!("--file-log: {error}")))?;
        log.take_panics();
        let logger = log.logger();
        #[cfg(feature = "chaos")]
        warn!(logger, "built with chaos, for tests only";
            "plans" => settings.chaos.planned(), "seed" => settings.chaos.seed());
        if self.poll_us.is_some() {
            warn!(logger, "--poll-us has no effect: the server no longer polls");
        }
        let ended = passed.map_err(RunError::Start).and_then(|sockets| {
            if !sockets.is_empty() && (self.port.is_some() || !self.host.is_empty()) {
                warn!(logger, "--host and --port have no effect: the service manager passed the sockets");
            }
            daemon::run_extended(settings, sockets, logger, log.reopener(), extend)
        });
        if let Err(error) = &ended
            && log.is_file()
        {
            crit!(logger, "{error}");
        }
        // The message on stderr is the last there, so the log ends first.
        log.close();
        match ended {
            Ok(()) => Ok(Exit::Done),
            Err(RunError::Start(error)) => Err(Stop::Failed(error.to_string())),
            Err(error @ RunError::Escalated(_)) => {
                complain(&error.to_string());
                Ok(Exit::Escalated)
            }
        }
    }

    pub(super) fn settings(&self) -> Result<Settings, String> {
        self.check()?;
        let mut settings = Settings::default();
        set(&mut settings.listen.port, &self.port);
        settings.listen.hosts = self.hosts(settings.listen.port)?;
        settings.wait_for_address = self.wait_for_address;
        settings.ports = self.port_range;
        settings.single_port = self.single_port;
        set(&mut settings.root, &self.root);
        settings.read_only = self.read_only;
        set(&mut settings.on_abort, &self.on_abort);
        settings.strict = self.strict;
        settings.answer_broadcast = self.answer_broadcast;
        settings.access = self.access();
        settings.refused_options.clone_from(&self.refuse_option);
        set(&mut settings.transfers_max, &self.max_transfers);
        settings.transfers_per_client_max = self.max_transfers_per_client;
        set(&mut settings.over_limit, &self.over_limit);
        set(&mut settings.on_outage, &self.on_outage);
        set(&mut settings.arbiters, &self.arbiters);
        set(&mut settings.drain_timeout, &self.drain_timeout);

        let directory = &mut settings.directory;
        directory.overwrite = self.overwrite;
        directory.create_dirs = self.create_dirs;
        set(&mut directory.symlinks, &self.symlinks);
        set(&mut directory.upload_octets_max, &self.max_upload_size);
        set(&mut directory.min_free_octets, &self.min_free);
        directory.durable = !self.no_fsync;

        let offer = &mut settings.offer;
        offer.options = !self.no_options;
        offer.strict = self.strict;
        set(&mut offer.blksize_max, &self.blksize_max);
        set(&mut offer.windowsize_max, &self.windowsize_max);
        set(&mut offer.rollover, &self.rollover);
        set(&mut settings.mtu, &self.mtu);

        let timeouts = &mut settings.timeouts;
        set(&mut timeouts.ack, &self.ack_timeout);
        timeouts.fixed = self.fixed_timeout;
        set(&mut timeouts.unproven, &self.timeout);
        set(&mut timeouts.idle, &self.timeout);
        #[cfg(feature = "chaos")]
        {
            settings.chaos = chaos()?;
        }
        Ok(settings)
    }

    fn hosts(&self, port: u16) -> Result<Vec<SocketAddr>, String> {
        let mut hosts = Vec::new();
        for host in &self.host {
            let mut host = *host;
            host.set_port(port);
            if hosts.contains(&host) {
                return Err(format!("--host {} is given twice: write each address once", host.ip()));
            }
            hosts.push(host);
        }
        Ok(hosts)
    }

    fn check(&self) -> Result<(), String> {
        if self.wait_for_address && self.host.is_empty() {
            return Err(
                "--wait-for-address waits for an address of --host: name it, or leave the flag out".into()
            );
        }
        if self.answer_broadcast
            && !self.host.is_empty()
            && !self.host.iter().any(|host| host.ip().is_unspecified())
        {
            return Err(
                "broadcasts reach no single address, so --answer-broadcast has nothing to act on: write --host 0.0.0.0, or leave --host out"
                    .into(),
            );
        }
        match (self.ack_timeout, self.timeout) {
            (Some(ack), Some(timeout)) if ack >= timeout => Err(format!(
                "--timeout {} ends before --ack-timeout {}, so nothing would ever be repeated: make it longer",
                timeout.as_secs_f64(),
                ack.as_secs_f64(),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "chaos")]
fn chaos() -> Result<crate::chaos::Chaos, String> {
    match std::env::var("STAGECOACH_CHAOS") {
        Ok(text) => text.parse().map_err(|why| format!("STAGECOACH_CHAOS: {why}")),
        Err(VarError::NotPresent) => Ok(crate::chaos::Chaos::default()),
        Err(error) => Err(format!("STAGECOACH_CHAOS: {error}")),
    }
}

/// Replaces a default by the typed value.
fn set<T: Clone>(value: &mut T, typed: &Option<T>) {
    if let Some(typed) = typed {
        value.clone_from(typed);
    }
}

#[cfg(test)]
mod tests;
