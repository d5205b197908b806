//! Who gets into xend: the program itself, on a simulated host, over real sockets.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rexen_xend::sim::free_port;
use rustix::process::{Gid, Uid};

const CONFIG: &str = "(vm (name a) (memory 64) (image (linux (kernel /boot/k))) (device (vbd (uname file:/i/a) (dev sda1) (mode w))) (device (vif)))";
/// No test waits for this long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A xend of its own, with a folder of its own; both end with it.
struct Xend {
    child: Child,
    folder: PathBuf,
}

impl Drop for Xend {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended.
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Xend {
    /// Starts one with a configuration and waits until it serves.
    fn start(name: &str, config: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xend-doors-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("xend-config.sxp");
        let config = config.replace("FOLDER", folder.to_str().unwrap());
        fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_xend"))
            .args(["--simulate", "--socket"])
            .arg(folder.join("sock"))
            .env("XEND_CONFIG", file)
            .env("XDG_RUNTIME_DIR", &folder)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("simulated host"));
        assert!(ready.is_some(), "xend did not start");
        std::thread::spawn(move || lines.for_each(drop)); // So that it never waits for a reader.
        Self { child, folder }
    }

    /// A client on the Unix socket.
    fn unix(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.join("sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(self.unix(), &head)
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange(self.unix(), &head)
    }

    fn proc(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.child.id()))
    }

    fn count(&self, what: &str) -> usize {
        fs::read_dir(self.proc(what)).unwrap().count()
    }

    /// Addresses on which it listens, by TCP.
    fn listening(&self) -> Vec<SocketAddr> {
        let inodes: BTreeSet<String> = fs::read_dir(self.proc("fd"))
            .unwrap()
            .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
            .filter_map(|link| {
                let name = link.to_str()?.strip_prefix("socket:[")?;
                Some(name.strip_suffix(']')?.to_owned())
            })
            .collect();
        let mut found = Vec::new();
        for table in ["net/tcp", "net/tcp6", "net/udp", "net/udp6"] {
            let Ok(text) = fs::read_to_string(self.proc(table)) else {
                continue; // A kernel without IPv6.
            };
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // State 0A is LISTEN; whatever socket for datagrams there is counts.
                if inodes.contains(fields[9]) && (fields[3] == "0A" || table.contains("udp")) {
                    found.push(address(fields[1]));
                }
            }
        }
        found
    }
}

/// An address as /proc/net writes it: words in the order of this machine's bytes.
fn address(text: &str) -> SocketAddr {
    let (host, port) = text.split_once(':').unwrap();
    let port = u16::from_str_radix(port, 16).unwrap();
    let words: Vec<u8> = host
        .as_bytes()
        .chunks(8)
        .map(|word| std::str::from_utf8(word).unwrap())
        .flat_map(|word| u32::from_str_radix(word, 16).unwrap().to_ne_bytes())
        .collect();
    match <[u8; 4]>::try_from(words.as_slice()) {
        Ok(four) => (Ipv4Addr::from(four), port).into(),
        Err(_) => (
            Ipv6Addr::from(<[u8; 16]>::try_from(words.as_slice()).unwrap()),
            port,
        )
            .into(),
    }
}

/// Sends a request and reads to the end; gives the status and all the rest.
fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    // One that is refused early may close before all is sent.
    match stream.write_all(request.as_bytes()) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            panic!("{error}")
        }
        _ => {}
    }
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    let text = String::from_utf8(answer).unwrap();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), text)
}

fn encoded(text: &str) -> String {
    text.replace(' ', "+")
}

/// A xend that listens on TCP, and its port.
fn on_tcp(name: &str) -> (Xend, u16) {
    let port = free_port();
    let config = format!(
        "(xend-port {port})(xend-address 127.0.0.1)(xend-token-file FOLDER/token)(console-address none)"
    );
    (Xend::start(name, &config), port)
}

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn as_shipped_nothing_listens_beyond_this_host() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc/xen/xend-config.sxp");
    let xend = Xend::start("shipped", &fs::read_to_string(shipped).unwrap());
    assert_eq!(xend.listening(), [], "no guest, no port");
    let mode = fs::metadata(xend.folder.join("sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "the socket is its user's");
    // Guests' consoles have ports; another one's console may have the usual number on this machine.
    let port = free_port();
    let config = CONFIG.replace("(memory 64)", &format!("(memory 64) (console {port})"));
    let (status, answer) = xend.post(
        "/xend/domain",
        &format!("op=create&config={}", encoded(&config)),
    );
    assert_eq!(status, 201, "{answer}");
    assert_eq!(
        xend.listening(),
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
    );
    assert_eq!(xend.post("/xend/domain/a", "op=destroy").0, 200);
    let left = || xend.listening();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !left().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", left());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tcp_serves_who_shows_the_token_and_means_this_host() {
    let (xend, port) = on_tcp("tcp");
    assert_eq!(
        xend.listening(),
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
    );
    let token = fs::read_to_string(xend.folder.join("token")).unwrap();
    let token = token.trim();
    let mode = fs::metadata(xend.folder.join("token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!((mode & 0o777, token.len()), (0o600, 64));
    let right = format!("Authorization: Bearer {token}");
    let wrong = format!("Authorization: Bearer {}", "0".repeat(64));
    let basic = format!("Authorization: Basic {token}");
    let here = format!("Host: 127.0.0.1:{port}");
    let ask = |path: &str, headers: &[&str]| {
        let head = format!(
            "GET {path} HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n",
            headers.join("\r\n")
        );
        exchange(tcp(port), &head)
    };
    for path in [
        "/xend/domain",
        "/api/v1/domains",
        "/metrics",
        "/api/v1/openapi.json",
        "/",
        "/nowhere",
    ] {
        let (status, answer) = ask(path, &[&here]);
        assert_eq!(status, 401, "{path}: {answer}");
        assert!(
            answer.to_lowercase().contains("www-authenticate: bearer"),
            "{answer}"
        );
        assert!(
            !answer.contains("Domain-0") && !answer.contains(token),
            "{answer}"
        );
    }
    let evil = format!("Host: evil.example:{port}");
    let same_origin = format!("Origin: http://127.0.0.1:{port}");
    let table: [(&[&str], u16); 14] = [
        (&[&here, &right], 200),
        (&[&here, &right, &same_origin], 200),
        (&[&here, &wrong], 401),
        (&[&here, &basic], 401),
        (&[&here, &format!("{right}0")], 401),
        (&[&here, "Authorization: Bearer "], 401),
        (&[&evil, &right], 421),
        (&["Host: 10.0.0.1", &right], 421),
        (&["Host: 127.0.0.1.evil.example", &right], 421),
        (&[&here, &evil, &right], 421),
        (&[&here, &right, "Origin: http://evil.example"], 403),
        (&[&here, &right, "Origin: null"], 403),
        (&[&here, &right, "Sec-Fetch-Site: cross-site"], 403),
        // Another service of this host is another site.
        (&[&here, &right, "Origin: http://127.0.0.1:1"], 403),
    ];
    for (headers, status) in table {
        let answer = ask("/xend/domain", headers);
        assert_eq!(answer.0, status, "{headers:?}: {}", answer.1);
        assert_eq!(
            answer.1.contains("(Domain-0)"),
            status == 200,
            "{headers:?}: {}",
            answer.1
        );
    }
    // What is refused has no effect.
    let create = format!("op=create&config={}", encoded(CONFIG));
    let head = format!(
        "POST /xend/domain HTTP/1.1\r\n{here}\r\nOrigin: http://evil.example\r\nContent-Length: {}\r\n\r\n{create}",
        create.len()
    );
    assert_eq!(
        exchange(
            tcp(port),
            &head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        )
        .0,
        403
    );
    assert!(xend.get("/xend/domain").1.ends_with("(Domain-0)"));
}

#[test]
fn without_a_port_in_its_configuration_there_is_no_tcp_even_with_a_token() {
    let xend = Xend::start("no-tcp", "(xend-address '')(xend-token-file FOLDER/token)");
    assert_eq!(xend.listening(), []);
    assert!(!xend.folder.join("token").exists(), "nobody needs one");
    assert_eq!(xend.get("/xend/domain").0, 200);
}

#[test]
fn the_kernel_says_who_calls() {
    let xend = Xend::start("peer", "(console-address none)");
    assert_eq!(xend.get("/xend/domain").0, 200);
    if !rustix::process::geteuid().is_root() {
        return; // Who may not become somebody else cannot ask as somebody else; `api::tests` has the rule itself.
    }
    // Even where the socket's mode lets everybody in. A thread is somebody of its own to the kernel.
    let socket = xend.folder.join("sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let stranger = std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let head = "GET /xend/domain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        exchange(UnixStream::connect(socket).unwrap(), head)
    });
    let (status, answer) = stranger.join().unwrap();
    assert_eq!(status, 403, "{answer}");
    assert!(answer.contains("only root may do this"), "{answer}");
}

#[test]
fn a_slow_or_endless_request_does_not_stay() {
    let (xend, port) = on_tcp("slow");
    // Half a head, and then nothing: xend hangs up.
    let mut slow = tcp(port);
    slow.write_all(b"GET /xend/domain HTTP/1.1\r\nHost: loc")
        .unwrap();
    // A head without an end.
    let long = format!(
        "GET /xend/domain HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(1 << 20)
    );
    let (status, answer) = exchange(tcp(port), &long);
    assert!(matches!(status, 0 | 431), "{status} {answer}");
    // A body that is too long, whether it says so or not.
    let token = fs::read_to_string(xend.folder.join("token")).unwrap();
    let head = format!(
        "POST /xend/domain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n",
        token.trim()
    );
    let lie = format!(
        "{head}Content-Length: {}\r\n\r\n{}",
        1_u64 << 40,
        "x".repeat(4 << 20)
    );
    let endless = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        format!("100000\r\n{}\r\n", "x".repeat(1 << 20)).repeat(8)
    );
    for request in [lie, endless] {
        let (status, answer) = exchange(tcp(port), &request);
        assert!(matches!(status, 0 | 413), "{status} {answer}");
    }
    // Strangers cannot take all places for good, and the Unix socket has its own.
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| tcp(port)).collect();
    assert_eq!(xend.get("/xend/domain").0, 200);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    for stream in &mut crowd {
        let _ = stream.read_to_end(&mut rest); // Hung up on, or reset.
    }
    let fine = format!(
        "GET /xend/domain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    assert_eq!(exchange(tcp(port), &fine).0, 200);
}

#[test]
fn unknown_methods_have_their_status() {
    let xend = Xend::start("methods", "(console-address none)");
    let head = "PATCH /xend/domain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(xend.unix(), head).0, 405);
}

/// What a xend holds of everything that could pile up.
fn holdings(xend: &Xend) -> Vec<(&'static str, String)> {
    let body = |path: &str| {
        let (status, answer) = xend.get(path);
        assert_eq!(status, 200, "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let metrics = body("/metrics");
    let of = |name: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is missing: {metrics}"))
            .to_owned()
    };
    vec![
        ("domains", body("/xend/domain")),
        ("consoles", body("/api/v1/consoles")),
        ("free memory", of("xend_node_memory_free_bytes")),
        ("tasks", of("xend_tasks")),
        ("listeners", format!("{:?}", xend.listening())),
    ]
}

#[test]
fn two_hundred_lives_leave_xend_as_it_was() {
    let port = free_port();
    let xend = Xend::start("lives", "(console-address 127.0.0.1)");
    let config = CONFIG.replace("(memory 64)", &format!("(memory 64) (console {port})"));
    let create = format!("op=create&config={}", encoded(&config));
    let live = |times: usize| {
        for _ in 0..times {
            let (status, answer) = xend.post("/xend/domain", &create);
            assert_eq!(status, 201, "{answer}");
            assert_eq!(xend.post("/xend/domain/a", "op=unpause").0, 200);
            assert_eq!(xend.post("/xend/domain/a", "op=destroy").0, 200);
        }
    };
    let before = holdings(&xend);
    live(50); // The allocator and the pool of threads have found their size by then.
    let (files, resident) = (xend.count("fd"), resident_kib(&xend));
    live(150);
    let deadline = std::time::Instant::now() + PATIENCE;
    while holdings(&xend) != before || xend.count("fd") > files {
        let now = (holdings(&xend), xend.count("fd"));
        assert!(
            std::time::Instant::now() < deadline,
            "{now:?}, not {before:?} and {files} files"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let now = resident_kib(&xend);
    assert!(
        now <= resident + 2048,
        "{now} KiB are resident after 200 lives, {resident} KiB after 50"
    );
    let logs: u64 = walk(&xend.folder)
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(
        logs < 200 * 1024,
        "{logs} bytes of files after 200 guests that said little"
    );
}

fn resident_kib(xend: &Xend) -> usize {
    let status = fs::read_to_string(xend.proc("status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// All plain files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| {
        if path.is_dir() {
            walk(&path)
        } else {
            vec![path]
        }
    };
    entries
        .filter(|path| path.is_dir() || path.is_file())
        .flat_map(of)
        .collect()
}
