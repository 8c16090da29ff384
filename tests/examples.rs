//! Runs each example with a real client. To run this file alone, build the examples first: `cargo
//! build --examples`.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::raw::{Client, Packet, ack, data, rrq, wrq};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

struct Example {
    child: Child,
    address: SocketAddr,
    /// The output after the line with the address.
    output: BufReader<ChildStdout>,
}

impl Example {
    /// Starts an example in `directory`, on a port that the kernel chooses.
    fn start(name: &str, directory: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(program(name))
            .arg("127.0.0.1:0")
            .args(args)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("the example {name}: {error}"));
        let (mut line, mut output) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("a line that tells the address");
        Self { address: address.parse().unwrap(), child, output }
    }

    /// Reads a file with the program's own client.
    fn get(&self, name: &str) -> Result<Vec<u8>, String> {
        let got = Command::new(env!("CARGO_BIN_EXE_stagecoach"))
            .args(["get", "--quiet", &self.address.to_string(), name, "-o", "-"])
            .output()
            .unwrap();
        if got.status.success() { Ok(got.stdout) } else { Err(String::from_utf8(got.stderr).unwrap()) }
    }

    fn put(&self, local: &Path, name: &str) -> bool {
        let mut put = Command::new(env!("CARGO_BIN_EXE_stagecoach"));
        put.args(["put", "--quiet", &self.address.to_string()]).arg(local).args(["-r", name]);
        put.stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // The child may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a compiled example.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    profile.join("examples").join(name)
}

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    directory
}

#[test]
fn no_example_is_longer_than_80_lines() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 80, "{} has {lines} lines", path.display());
    }
}

#[test]
fn grub_by_address_renders_a_file_for_each_client() {
    let root = directory(&[("vmlinuz", b"kernel")]);
    let example = Example::start("grub_by_address", root.path(), &[]);
    let config = String::from_utf8(example.get("grub/grub.cfg").unwrap()).unwrap();
    assert!(config.contains("linux /vmlinuz ip=127.0.0.1 hostname=board-1\n"), "{config}");
    assert_eq!(example.get("vmlinuz").unwrap(), b"kernel");
}

#[test]
fn http_origin_fetches_each_file_once() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/boot/", origin.local_addr().unwrap());
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in origin.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut octet = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut octet).unwrap() == 1 {
                request.push(octet[0]);
            }
            let line = String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
            let (status, body) =
                if line.contains("/boot/vmlinuz ") { ("200 OK", "kernel") } else { ("404 Not Found", "") };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            told.send(line).unwrap();
        }
    });
    let root = directory(&[]);
    let example = Example::start("http_origin", root.path(), &[&url]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(example.get("vmlinuz").unwrap(), b"kernel"));
        }
    });
    assert_eq!(example.get("vmlinuz").unwrap(), b"kernel");
    let failed = example.get("missing").unwrap_err();
    assert!(failed.contains("File not found"), "{failed}");
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked, ["GET /boot/vmlinuz HTTP/1.1", "GET /boot/missing HTTP/1.1"]);
}

#[test]
fn router_keeps_firmware_and_configurations_apart() {
    let root = directory(&[("firmware/image", b"firmware"), ("configs/board.cfg", b"config")]);
    let example = Example::start("router", root.path(), &["firmware", "configs"]);
    assert_eq!(example.get("image").unwrap(), b"firmware");
    assert_eq!(example.get("board.cfg").unwrap(), b"config");
    let new = root.path().join("new");
    std::fs::write(&new, b"changed").unwrap();
    assert!(example.put(&new, "board.cfg"));
    assert_eq!(std::fs::read(root.path().join("configs/board.cfg")).unwrap(), b"changed");
    assert!(!example.put(&new, "image"));
    assert_eq!(example.get("image").unwrap(), b"firmware");
}

#[test]
fn sha256_option_sends_the_digest_in_the_oack() {
    let root = directory(&[("abc", b"abc")]);
    let example = Example::start("sha256_option", root.path(), &["."]);
    let mut client = Client::to(example.address);
    client.send(&rrq("abc", "octet", &[("x-sha256", "")]));
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(client.expect_oack(), [("x-sha256".to_owned(), digest.to_owned())]);
    assert_eq!(example.get("abc").unwrap(), b"abc");
}

#[test]
fn clock_opcode_tells_the_time() {
    let root = directory(&[("abc", b"abc")]);
    let example = Example::start("clock_opcode", root.path(), &[]);
    let board = UdpSocket::bind("127.0.0.1:0").unwrap();
    board.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    board.send_to(b"TC\0\0\0\0\0\0", example.address).unwrap();
    let mut answer = [0; 32];
    let octets = board.recv(&mut answer).unwrap();
    assert_eq!((octets, &answer[..2]), (10, &b"TC"[..]));
    let told = u64::from_be_bytes(answer[2..10].try_into().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(told) < 60, "{told}");
    assert_eq!(example.get("abc").unwrap(), b"abc");
}

#[test]
fn audit_writes_a_line_for_each_transfer() {
    let root = directory(&[("root/abc", b"abc")]);
    let example = Example::start("audit", root.path(), &["root", "audit.jsonl"]);
    example.get("abc").unwrap();
    example.get("missing").unwrap_err();
    let until = Instant::now() + Duration::from_secs(10);
    let lines = loop {
        let text = std::fs::read_to_string(root.path().join("audit.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= 2 {
            break lines;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let told: Vec<_> = lines.iter().map(|line| (&line["name"], &line["octets"])).collect();
    assert_eq!(told, [(&"abc".into(), &3.into()), (&"missing".into(), &0.into())]);
}

#[test]
fn bandwidth_gives_a_client_so_many_octets_a_second() {
    let file = vec![7; 300_000];
    let root = directory(&[("image", &file)]);
    let example = Example::start("bandwidth", root.path(), &[".", "200000"]);
    let began = Instant::now();
    assert_eq!(example.get("image").unwrap(), file);
    // The last slab is due after the whole time, so that even a fast machine can't be too early.
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
}

/// An example that is a whole server program, on a free port.
struct ExampleServer {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl ExampleServer {
    fn start(name: &str, root: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = root.join("log");
        let child = Command::new(program(name))
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--drain-timeout", "20"])
            .args(["--root".as_ref(), root, "--file-log".as_ref(), log.as_path()])
            .args(args)
            .envs(variables.iter().copied())
            .spawn()
            .unwrap_or_else(|error| panic!("the example {name}: {error}"));
        let server = Self { child, address: ([127, 0, 0, 1], port).into(), log };
        server.logs("listening");
        server
    }

    /// Waits until the log has these words.
    fn logs(&self, words: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains(words) {
                return;
            }
            assert!(Instant::now() < until, "its log never says {words:?}: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes a file of one block.
    fn put(&self, name: &str, content: &[u8]) -> Result<(), String> {
        let mut client = Client::to(self.address);
        client.send(&wrq(name, "octet", &[]));
        client.expect_ack(0);
        client.send(&data(1, content));
        match client.next() {
            Packet::Ack { block: 1, .. } => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Reads a file of one block.
    fn get(&self, name: &str) -> Vec<u8> {
        let mut client = Client::to(self.address);
        client.send(&rrq(name, "octet", &[]));
        let octets = client.expect_data(1);
        client.send(&ack(1));
        octets
    }

    fn terminate(&self) {
        signal::kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }
}

impl Drop for ExampleServer {
    fn drop(&mut self) {
        // The child may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn quota_refuses_uploads_when_it_is_used_up() {
    let root = directory(&[("image", b"kernel")]);
    let mut server = ExampleServer::start("quota", root.path(), &[], &[("QUOTA_OCTETS", "1500")]);
    let mut client = Client::to(server.address);
    client.send(&wrq("upload", "octet", &[]));
    client.expect_ack(0);
    for block in 1..=2 {
        client.send(&data(block, &[7; 512]));
        client.expect_ack(block);
    }
    client.send(&data(3, &[7; 500]));
    assert_eq!(client.expect_error(3), "0 of your 1500 octets are used");
    // The refused upload has left nothing, and has used none of the quota.
    server.put("small", &[7; 500]).unwrap();
    let mut reader = Client::to(server.address);
    reader.send(&rrq("image", "octet", &[("blksize", "512")]));
    reader.expect_oack();
    server.terminate();
    server.logs("draining");
    reader.send(&ack(0));
    assert_eq!(reader.expect_data(1), b"kernel");
    reader.send(&ack(1));
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn versions_keeps_each_replaced_file() {
    let root = directory(&[("config", b"0")]);
    let inode = std::fs::metadata(root.path().join("config")).unwrap().ino();
    let server = ExampleServer::start("versions", root.path(), &["--overwrite"], &[]);
    for content in [b"1", b"2", b"3", b"4"] {
        server.put("config", content).unwrap();
        assert_eq!(std::fs::read(root.path().join("config")).unwrap(), content);
    }
    server.put("another", b"first").unwrap();
    for (version, content) in [("config.1", b"0"), ("config.2", b"1"), ("config.3", b"2"), ("config.4", b"3")]
    {
        assert_eq!(std::fs::read(root.path().join(version)).unwrap(), content, "{version}");
    }
    let kept = std::fs::metadata(root.path().join("config.1")).unwrap().ino();
    assert_eq!(kept, inode, "nothing is copied");
    // The log, and the files of this test.
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 7);
}

#[test]
fn versions_refuses_if_the_old_file_cannot_be_kept() {
    let long = "a".repeat(254);
    let root = directory(&[(&long, b"old")]);
    let server = ExampleServer::start("versions", root.path(), &["--overwrite"], &[]);
    server.put(&long, b"new").unwrap_err();
    server.logs("256 octets: the maximum is 255");
    assert_eq!(std::fs::read(root.path().join(&long)).unwrap(), b"old");
}

/// Accepts connections, keeps the received text, and closes each connection as its answer.
fn collector() -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut line = String::new();
            BufReader::new(stream.unwrap()).read_line(&mut line).unwrap();
            if told.send(line).is_err() {
                return;
            }
        }
    });
    (address, lines)
}

#[test]
fn inventory_reports_all_that_happened_before_it_ends() {
    let root = directory(&[("image", b"kernel")]);
    let (address, lines) = collector();
    let variables = [("INVENTORY", &*address.to_string())];
    let mut server = ExampleServer::start("inventory", root.path(), &[], &variables);
    for _ in 0..20 {
        assert_eq!(server.get("image"), b"kernel");
    }
    server.terminate();
    assert!(server.child.wait().unwrap().success());
    let reported: Vec<String> = lines.try_iter().collect();
    assert_eq!(reported.len(), 20, "{reported:?}");
    assert!(reported[0].contains(r#""name":"image","octets":6"#), "{reported:?}");
}

#[test]
fn a_slow_extension_at_the_end_is_named_in_the_log() {
    let root = directory(&[("image", b"kernel")]);
    // A listener that accepts connections, and never closes them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [("INVENTORY", &*silent.local_addr().unwrap().to_string())];
    let mut server = ExampleServer::start("inventory", root.path(), &[], &variables);
    for _ in 0..3 {
        assert_eq!(server.get("image"), b"kernel");
    }
    server.terminate();
    server.logs("waiting for the inventory to stop");
    let begun = Instant::now();
    server.terminate();
    assert!(server.child.wait().unwrap().success());
    // The extension has thirty seconds to stop.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    server.logs("observers did not hear all facts");
    server.logs(r#"lost: 3, by: "inventory: 3""#);
}

#[test]
fn embed_serves_until_a_board_has_its_image() {
    let root = directory(&[("vmlinuz", b"kernel"), ("vmlinuz.sig", b"signature")]);
    let mut example = Example::start("embed", root.path(), &[".", "vmlinuz"]);
    assert_eq!(example.get("vmlinuz.sig").unwrap(), b"signature");
    assert!(!example.put(&root.path().join("vmlinuz"), "new"), "it takes no uploads");
    assert_eq!(example.get("vmlinuz").unwrap(), b"kernel");
    let mut told = String::new();
    example.output.read_to_string(&mut told).unwrap();
    assert_eq!(told, "127.0.0.1 has 6 octets\n");
    assert!(example.child.wait().unwrap().success());
}
