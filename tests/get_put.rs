//! Runs the verbs `get` and `put` of the real binary against a scripted server.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server. One socket receives requests; the transfer has another socket (its TID).
struct Script {
    requests: UdpSocket,
    transfer: UdpSocket,
    client: Option<SocketAddr>,
}

impl Script {
    fn request(&mut self) -> Vec<u8> {
        let (packet, from) = receive(&self.requests).expect("a request");
        self.client = Some(from);
        packet
    }

    fn send(&self, packet: &[u8]) {
        self.transfer.send_to(packet, self.client.expect("a client")).expect("sent");
    }

    fn receive(&self) -> Vec<u8> {
        let (packet, from) = receive(&self.transfer).expect("an answer");
        assert_eq!(Some(from), self.client);
        packet
    }

    fn exchange(&self, packet: &[u8]) -> Vec<u8> {
        self.send(packet);
        self.receive()
    }
}

fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 65536];
    let (length, from) = socket.recv_from(&mut buffer)?;
    Ok((buffer[..length].to_vec(), from))
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket
}

/// Runs `stagecoach VERB HOST:PORT ARGS` in `directory` while `script` serves.
fn run(
    directory: &Path,
    args: &[&str],
    input: &[u8],
    script: impl FnOnce(&mut Script) + Send + 'static,
) -> Output {
    let mut server = Script { requests: socket(), transfer: socket(), client: None };
    let address = server.requests.local_addr().expect("bound").to_string();
    let server = thread::spawn(move || {
        script(&mut server);
        // Both ports stay open until the client has ended. A closed port would cause an ICMP error.
        server
    });
    let output = client(directory, &address, args, input);
    match server.join() {
        Ok(_) => output,
        Err(panic) => {
            eprintln!("the client said: {}", stderr(&output));
            std::panic::resume_unwind(panic)
        }
    }
}

fn client(directory: &Path, address: &str, args: &[&str], input: &[u8]) -> Output {
    let mut client = Command::new(env!("CARGO_BIN_EXE_stagecoach"))
        .current_dir(directory)
        .arg(args[0])
        .arg(address)
        .args(&args[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    client.stdin.take().expect("piped").write_all(input).expect("taken");
    client.wait_with_output().expect("it ends")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ends_with_code(output: &Output, code: i32) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// Expects this exit code and one sentence on stderr.
fn fails_with_code(output: &Output, code: i32) -> String {
    let text = ends_with_code(output, code);
    assert!(text.starts_with("stagecoach: ") && text.lines().count() == 1, "{text}");
    text
}

fn data(block: u16, payload: &[u8]) -> Vec<u8> {
    [&[0, 3], &block.to_be_bytes()[..], payload].concat()
}

fn ack(block: u16) -> Vec<u8> {
    [&[0, 4], &block.to_be_bytes()[..]].concat()
}

fn error(code: u8, text: &str) -> Vec<u8> {
    [&[0, 5, 0, code], text.as_bytes(), &[0]].concat()
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn read(directory: &TempDir, name: &str) -> Vec<u8> {
    fs::read(directory.path().join(name)).expect(name)
}

#[test]
fn a_file_is_got_without_options() {
    let here = directory();
    let output = run(here.path(), &["get", "boot/a.txt", "--no-options"], b"", |server| {
        assert_eq!(server.request(), b"\0\x01boot/a.txt\0octet\0");
        assert_eq!(server.exchange(&data(1, &[7; 512])), ack(1));
        assert_eq!(server.exchange(&data(2, b"end")), ack(2));
    });
    let said = ends_with_code(&output, 0);
    assert!(said.contains("got 515 B in ") && said.contains("blksize 512 windowsize 1"), "{said}");
    assert_eq!(read(&here, "a.txt"), [&[7; 512][..], b"end"].concat());
}

#[test]
fn get_uses_the_granted_blksize_and_windowsize() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "-o", "b"], b"", |server| {
        assert_eq!(server.request(), b"\0\x01a\0octet\0tsize\x000\0blksize\x001428\0windowsize\x0016\0");
        assert_eq!(server.exchange(b"\0\x06tsize\x0019\0blksize\x008\0windowsize\x002\0"), ack(0));
        server.send(&data(1, b"12345678"));
        assert_eq!(server.exchange(&data(2, b"abcdefgh")), ack(2));
        assert_eq!(server.exchange(&data(3, b"end")), ack(3));
    });
    let said = ends_with_code(&output, 0);
    assert!(said.contains("blksize 8 windowsize 2"), "{said}");
    assert_eq!(read(&here, "b"), b"12345678abcdefghend");
}

#[test]
fn a_size_that_was_announced_wrong_is_told() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "-q"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(b"\0\x06tsize\x005\0"), ack(0));
        assert_eq!(server.exchange(&data(1, b"end")), ack(1));
    });
    let said = ends_with_code(&output, 0);
    assert!(said.contains("announced 5 octets and sent 3"), "{said}");
}

#[test]
fn an_empty_file_is_got() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "-q"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&data(1, b"")), ack(1));
    });
    assert_eq!(ends_with_code(&output, 0), "");
    assert_eq!(read(&here, "a"), b"");
}

#[test]
fn lost_packets_are_repeated() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "--no-options", "--ack-timeout", "0.05"], b"", |server| {
        let lost = server.request();
        assert_eq!(server.request(), lost);
        assert_eq!(server.exchange(&data(1, &[1; 512])), ack(1));
        // This ACK is lost too.
        assert_eq!(server.receive(), ack(1));
        assert_eq!(server.exchange(&data(2, b"end")), ack(2));
    });
    let said = ends_with_code(&output, 0);
    assert!(!said.contains(" 0 repeats"), "{said}");
    assert_eq!(read(&here, "a").len(), 515);
}

#[test]
fn get_keeps_the_mode_and_a_write_protected_file() {
    let here = directory();
    let get = |mode| {
        fs::write(here.path().join("a"), "old").expect("written");
        fs::set_permissions(here.path().join("a"), fs::Permissions::from_mode(mode)).expect("set");
        run(here.path(), &["get", "a", "--no-options"], b"", move |server| {
            // The client sends no request if it can't write the local file.
            if mode == 0o640 {
                server.request();
                assert_eq!(server.exchange(&data(1, b"new")), ack(1));
            }
        })
    };
    ends_with_code(&get(0o640), 0);
    assert_eq!(read(&here, "a"), b"new");
    assert_eq!(fs::metadata(here.path().join("a")).expect("there").mode() & 0o7777, 0o640);
    let said = fails_with_code(&get(0o440), 1);
    assert!(said.contains("a is write-protected (mode 0440)"), "{said}");
    assert_eq!(read(&here, "a"), b"old");
}

#[test]
fn a_refusal_leaves_what_was_there() {
    let here = directory();
    fs::write(here.path().join("a"), "old").expect("written");
    let output = run(here.path(), &["get", "a"], b"", |server| {
        server.request();
        server.send(&error(1, "File not\nfound"));
    });
    let said = fails_with_code(&output, 4);
    assert!(said.contains("refused: ERROR 1 \"File not\\nfound\""), "{said}");
    assert_eq!(read(&here, "a"), b"old");
}

#[test]
fn an_error_half_way_leaves_nothing() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "--no-options"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&data(1, &[1; 512])), ack(1));
        server.send(&error(0, "Server is shutting down"));
    });
    let said = fails_with_code(&output, 4);
    assert!(said.contains("ended the transfer: ERROR 0"), "{said}");
    assert_eq!(names(&here), [""; 0]);
}

#[test]
fn a_stranger_gets_error_5_and_disturbs_nothing() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "--no-options"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&data(1, &[1; 512])), ack(1));
        let stranger = socket();
        stranger.send_to(&data(2, b"forged"), server.client.expect("a client")).expect("sent");
        let (answer, _) = receive(&stranger).expect("an answer");
        assert_eq!(answer[..4], [0, 5, 0, 5]);
        assert_eq!(server.exchange(&data(2, b"end")), ack(2));
    });
    ends_with_code(&output, 0);
    assert!(read(&here, "a").ends_with(b"\x01end"));
}

#[test]
fn options_that_nobody_asked_for_get_error_8() {
    for oack in [&b"\0\x06multicast\x001\0"[..], b"\0\x06blksize\x001429\0", b"\0\x06windowsize\x000\0"] {
        let here = directory();
        let output = run(here.path(), &["get", "a"], b"", |server| {
            server.request();
            assert_eq!(server.exchange(oack)[..4], [0, 5, 0, 8]);
        });
        let said = fails_with_code(&output, 1);
        assert!(said.contains("--no-options"), "{said}");
        assert_eq!(names(&here), [""; 0]);
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let here = directory();
    let began = Instant::now();
    let output = run(here.path(), &["get", "a", "--timeout", "0.3"], b"", |server| {
        server.request();
    });
    let said = fails_with_code(&output, 5);
    // The text has the real waiting time, which is a little longer on a busy machine.
    let waited = said.split("didn't answer within ").nth(1).and_then(|rest| rest.split(' ').next());
    let waited: f64 = waited.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    let took = began.elapsed().as_secs_f64();
    // The text is rounded to a tenth of a second.
    assert!((0.3..took + 0.1).contains(&waited) && took < 5.0, "{said}, after {took} s");
    assert_eq!(names(&here), [""; 0]);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "--no-options", "--timeout", "0.3"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&data(1, &[1; 512])), ack(1));
    });
    let said = fails_with_code(&output, 5);
    assert!(said.contains("stopped answering after 512 octets"), "{said}");
    assert_eq!(names(&here), [""; 0]);
}

/// An address where nobody listens: one address for each test, and a port that the kernel gives to
/// no other program by itself.
fn nobody(test: u8) -> SocketAddr {
    let bound =
        (20_000..30_000).find_map(|port| UdpSocket::bind((Ipv4Addr::new(127, 78, test, 1), port)).ok());
    bound.expect("a free port").local_addr().expect("bound")
}

/// Without an error queue, only the timeout shows that nobody listens.
#[cfg(target_os = "linux")]
#[test]
fn a_closed_port_is_reported_at_the_timeout() {
    let (here, nobody, began) = (directory(), nobody(1), Instant::now());
    let args = ["get", "a", "--ack-timeout", "0.4", "--timeout", "2"];
    let said = fails_with_code(&client(here.path(), &nobody.to_string(), &args, b""), 5);
    assert!(began.elapsed() >= Duration::from_secs(2), "{said}");
    // Requests go out after 0, 0.4 and 1.2 s: a refusal must not cause a storm.
    let expected = format!("nobody listens at {nobody}: 3 requests refused within 2.");
    assert!(said.contains(&expected), "{said}");
    assert_eq!(names(&here), [""; 0]);
}

/// A server that begins to listen after the kernel has refused some requests.
fn late_server(address: SocketAddr) -> Script {
    thread::sleep(Duration::from_millis(700));
    let requests = UdpSocket::bind(address).expect("still free");
    requests.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let transfer = UdpSocket::bind((address.ip(), 0)).expect("a socket");
    transfer.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    Script { requests, transfer, client: None }
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_listens_later_is_waited_for() {
    let here = directory();
    fs::write(here.path().join("firmware"), "new").expect("written");
    let address = nobody(2);
    let server = thread::spawn(move || {
        let mut server = late_server(address);
        server.request();
        assert_eq!(server.exchange(&ack(0)), data(1, b"new"));
        server.send(&ack(1));
        server
    });
    let output = client(here.path(), &address.to_string(), &["put", "firmware", "--no-options"], b"");
    server.join().expect("a whole upload");
    ends_with_code(&output, 0);

    let address = nobody(3);
    let server = thread::spawn(move || {
        let mut server = late_server(address);
        server.request();
        assert_eq!(server.exchange(&data(1, b"config")), ack(1));
        server
    });
    let output = client(here.path(), &address.to_string(), &["get", "a", "--no-options"], b"");
    server.join().expect("a whole read");
    ends_with_code(&output, 0);
    assert_eq!(read(&here, "a"), b"config");
}

/// Once the server has answered, its port closes only when the server ends.
#[cfg(target_os = "linux")]
#[test]
fn a_port_that_closes_in_the_middle_is_told_at_once() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "--no-options"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&data(1, &[1; 512])), ack(1));
        server.send(&data(2, &[1; 512]));
        server.transfer = socket();
    });
    let said = fails_with_code(&output, 5);
    assert!(said.contains("closed its port in the middle of the transfer"), "{said}");
}

#[test]
fn stdout_takes_a_file() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "-o", "-"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&data(1, b"to stdout")), ack(1));
    });
    ends_with_code(&output, 0);
    assert_eq!(output.stdout, b"to stdout");
    assert_eq!(names(&here), [""; 0]);
}

#[test]
fn line_ends_of_netascii_are_converted() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "--mode", "netascii", "--no-options"], b"", |server| {
        assert_eq!(server.request(), b"\0\x01a\0netascii\0");
        assert_eq!(server.exchange(&data(1, b"one\r\ntwo\r\0")), ack(1));
    });
    ends_with_code(&output, 0);
    assert_eq!(read(&here, "a"), b"one\ntwo\r");
}

#[test]
fn a_link_is_written_through_and_a_device_as_it_is() {
    let here = directory();
    fs::write(here.path().join("file"), "old").expect("written");
    std::os::unix::fs::symlink("file", here.path().join("link")).expect("a link");
    for target in ["link", "/dev/null"] {
        let output = run(here.path(), &["get", "a", "-o", target], b"", |server| {
            server.request();
            assert_eq!(server.exchange(&data(1, b"new")), ack(1));
        });
        ends_with_code(&output, 0);
    }
    assert!(here.path().join("link").is_symlink());
    assert_eq!(read(&here, "file"), b"new");
}

#[test]
fn a_file_is_put_with_its_size() {
    let here = directory();
    fs::write(here.path().join("a"), [9; 515]).expect("written");
    let output = run(here.path(), &["put", "a"], b"", |server| {
        assert_eq!(server.request(), b"\0\x02a\0octet\0tsize\x00515\0blksize\x001428\0windowsize\x0016\0");
        // A server without options answers with ACK 0.
        assert_eq!(server.exchange(&ack(0)), data(1, &[9; 512]));
        assert_eq!(server.exchange(&ack(1)), data(2, &[9; 3]));
        server.send(&ack(2));
    });
    let said = ends_with_code(&output, 0);
    assert!(said.contains("put 515 B in "), "{said}");
}

#[test]
fn a_window_of_blocks_is_put_before_each_ack() {
    let here = directory();
    fs::write(here.path().join("a"), b"12345678abcdefghend").expect("written");
    let output = run(here.path(), &["put", "a", "-r", "dir/b", "--windowsize", "4"], b"", |server| {
        assert_eq!(server.request(), b"\0\x02dir/b\0octet\0tsize\x0019\0blksize\x001428\0windowsize\x004\0");
        assert_eq!(server.exchange(b"\0\x06blksize\x008\0windowsize\x002\0"), data(1, b"12345678"));
        assert_eq!(server.receive(), data(2, b"abcdefgh"));
        // The second block was lost on the way. The window restarts there.
        assert_eq!(server.exchange(&ack(1)), data(2, b"abcdefgh"));
        assert_eq!(server.receive(), data(3, b"end"));
        server.send(&ack(3));
    });
    ends_with_code(&output, 0);
}

#[test]
fn stdin_is_put_without_a_size() {
    let here = directory();
    let output = run(here.path(), &["put", "-", "-r", "b", "--blksize", "512"], b"from stdin", |server| {
        assert_eq!(server.request(), b"\0\x02b\0octet\0windowsize\x0016\0");
        assert_eq!(server.exchange(&ack(0)), data(1, b"from stdin"));
        server.send(&ack(1));
    });
    ends_with_code(&output, 0);
}

#[test]
fn an_upload_that_is_never_confirmed_has_not_arrived() {
    let here = directory();
    fs::write(here.path().join("a"), "new").expect("written");
    let output = run(here.path(), &["put", "a", "--timeout", "0.3"], b"", |server| {
        server.request();
        assert_eq!(server.exchange(&ack(0)), data(1, b"new"));
    });
    let said = fails_with_code(&output, 5);
    assert!(said.contains("never confirmed"), "{said}");
}

#[test]
fn an_upload_is_refused_where_the_file_exists() {
    let here = directory();
    fs::write(here.path().join("a"), "new").expect("written");
    let output = run(here.path(), &["put", "a"], b"", |server| {
        server.request();
        server.send(&error(6, "File already exists"));
    });
    let said = fails_with_code(&output, 4);
    assert!(said.contains("ERROR 6 \"File already exists\""), "{said}");
}

#[test]
fn a_full_disk_at_this_end_is_told_to_the_server() {
    let here = directory();
    let output = run(here.path(), &["get", "a", "-o", "/dev/full"], b"", |server| {
        server.request();
        // The client can't store the last block, and does not acknowledge it.
        assert_eq!(server.exchange(&data(1, b"too much"))[..4], [0, 5, 0, 3]);
    });
    let said = fails_with_code(&output, 1);
    assert!(said.contains("/dev/full: No space left"), "{said}");
}
