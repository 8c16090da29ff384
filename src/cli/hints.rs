//! Hints for common mistakes on the command line: flags of other servers, a missing value, a
//! directory without its flag.

use std::path::Path;

/// Flags of other TFTP servers (tftpd-hpa, atftpd, dnsmasq), and what to use here. Without this
/// table, clap would suggest the flag with the most similar spelling, which may mean something
/// else.
pub(super) const FLAGS_OF_OTHERS: [(&str, &str); 26] = [
    (
        "--create -c",
        "uploads make new files, unless --read-only is typed; --create-dirs makes directories too",
    ),
    ("--secure -s --directory --tftp-root", "--root DIR names the directory that is served"),
    ("--tftp-secure --permissive", "the server reads and writes what the user who starts it may"),
    ("--user -u --group", "start the server as that user, with CAP_NET_BIND_SERVICE for port 69"),
    ("--address -a --bind-address", "--host ADDR and --port PORT set the address and the port to listen on"),
    ("--listen --foreground -L --daemon", "the server always runs in the foreground: leave the flag out"),
    ("--verbosity", "--verbose logs every packet"),
    ("--retransmit -T", "--ack-timeout SECONDS is the interval between repeats"),
    ("--map-file -m --mapfile", "names are not mapped: make a symbolic link for another name"),
    ("-R", "--port-range LO:HI names the ports that transfers use"),
    ("--refuse -r", "--refuse-option NAME leaves an option out"),
    ("--blocksize -B", "--blksize-max OCTETS bounds the size of a block"),
    ("--ipv4 -4", "--host 0.0.0.0 listens to IPv4 alone"),
    ("--ipv6 -6", "--host :: listens to IPv6, and to IPv4 too"),
    ("-t", "an idle server doesn't exit; --timeout SECONDS says when it gives up a client"),
    ("--umask -U", "uploads get the umask of the process that starts the server"),
    ("--pidfile -P --pid-file", "the server runs in the foreground: its service manager knows the process"),
    ("--enable-tftp", "stagecoach always serves TFTP: leave the flag out"),
    (
        "--tftp-unique-root",
        "all clients share one --root DIR; a route in Rust can serve each client other files",
    ),
    ("--tftp-mtu", "--mtu OCTETS bounds the length of packets"),
    ("--tftp-no-blocksize", "--refuse-option blksize leaves that option out"),
    ("--tftp-single-port", "--single-port does the same"),
    ("--tftp-max", "--max-transfers NUMBER bounds the transfers at once"),
    ("--tftp-port-range", "--port-range LO:HI names the ports that transfers use"),
    ("--config --conf-file -C", "there is no configuration file: all settings are flags"),
    ("--syslog --logfile --log-file", "the log goes to stderr, or to a file with --file-log FILE"),
];

pub(super) fn instead_of(flag: &str) -> Option<&'static str> {
    let is_meant = |flags: &str| flags.split(' ').any(|other| other == flag);
    FLAGS_OF_OTHERS.into_iter().find(|(flags, _)| is_meant(flags)).map(|(_, instead)| instead)
}

pub(super) fn stray(word: &str) -> String {
    if word.contains('/') || word.starts_with('.') || Path::new(word).is_dir() {
        return format!("{word:?} is one argument too many: write --root {word}");
    }
    format!(
        "{word:?} is one argument too many: the verbs are get, put and bench, and without one it serves the directory of --root DIR"
    )
}

/// Example values, by the value names that `--help` shows.
const EXAMPLES: [(&str, &str); 17] = [
    ("ADDR", "192.0.2.1"),
    ("PORT", "69"),
    ("LO:HI", "50000:50999"),
    ("DIR", "/srv/tftp"),
    ("SIZE", "256M"),
    ("SECONDS", "5"),
    ("OCTETS", "1468"),
    ("BLOCKS", "16"),
    ("NUMBER", "1"),
    ("NETWORK[:read|write]", "10.0.0.0/8"),
    ("NAME[=NETWORK]", "blksize"),
    ("MICROSECONDS", "50"),
    ("FILE", "/var/log/stagecoach.log"),
    ("MODE", "netascii"),
    ("HOST[:PORT]", "192.0.2.1:69"),
    ("LOCAL", "vmlinuz"),
    ("REMOTE", "boot/vmlinuz"),
];

/// Example values of flags that take a word.
const WORDS: [(&str, &str); 4] =
    [("--symlinks", "inside"), ("--on-abort", "keep"), ("--over-limit", "error"), ("--on-outage", "error")];

/// An example for clap's `--flag <VALUE>`, ready to type.
pub(super) fn example(usage: &str) -> Option<String> {
    let (flag, value) = usage.split_once(" <")?;
    let value = value.split_once('>')?.0;
    let (_, example) = WORDS.iter().chain(&EXAMPLES).find(|(name, _)| *name == flag || *name == value)?;
    Some(format!("{flag} {example}"))
}
