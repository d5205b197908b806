//! A xend that answers from a table, on a Unix socket, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What a request is answered with: status, media type, body.
pub type Answer = (u16, &'static str, String);
type Answers = dyn Fn(&str, &str, &str) -> Answer + Send + Sync;

/// The server, and what it was asked: `METHOD PATH BODY`.
pub struct Fake {
    dir: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a command printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Fake {
    /// Answers as a host with two guests does.
    pub fn new() -> Self {
        Self::with(usual)
    }

    /// Answers as it is told to.
    pub fn with(answers: impl Fn(&str, &str, &str) -> Answer + Send + Sync + 'static) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nr = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rexen-xm-{}-{nr}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(answers);
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &*answers, &log));
            }
        });
        Self { dir, asked }
    }

    /// A place for files.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A command that talks to this server, called by a name.
    pub fn command(&self, name: &str) -> Command {
        let program = self.dir.join(name);
        if !program.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xm"), &program).unwrap();
        }
        self.shell(program)
    }

    /// Any program, where `xm` finds this server.
    pub fn shell(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("XEND", self.dir.join("sock"))
            .env_remove("XEND_ROOT")
            .env_remove("XEND_TOKEN")
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    /// Runs `NAME ARG...`, as typed: words between blanks, `'` around words with blanks.
    pub fn run(&self, line: &str) -> Said {
        self.type_into(line, "")
    }

    /// The same, with something typed into it, after which its input ends.
    pub fn type_into(&self, line: &str, keys: &str) -> Said {
        let words = words(line);
        let mut child = self
            .command(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(keys.as_bytes());
        let output = child.wait_with_output().unwrap();
        Said {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn out(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{line}");
        said.out
    }

    /// Runs a command that must fail, and returns its complaint.
    pub fn err(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(
            (said.status, said.out.as_str()),
            (1, ""),
            "{line}: {}",
            said.err
        );
        said.err
    }

    /// What the server was asked since the last call of this.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (nr, part) in line.split('\'').enumerate() {
        if nr % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn serve(stream: UnixStream, answers: &Answers, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut length = 0;
    let mut accept = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "accept" => accept = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let mut parts = first.split(' ');
    let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
    log.lock()
        .unwrap()
        .push(format!("{method} {path} {body}").trim().to_owned());
    let (status, kind, text) = answers(method, path, &body);
    assert!(
        path.starts_with("/xend/") == (accept == "application/sxp"),
        "{path} asked for as {accept}"
    );
    if kind == "application/octet-stream" {
        return stream_until_typed(stream, &text, log);
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    let mut stream = stream;
    let _ = stream.write_all((head + &text).as_bytes());
}

/// An answer that goes on until something is posted to a console.
fn stream_until_typed(mut stream: UnixStream, text: &str, log: &Mutex<Vec<String>>) {
    let head =
        "HTTP/1.1 200 X\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n";
    stream
        .write_all(format!("{head}{text}").as_bytes())
        .unwrap();
    let is_typed = |asked: &String| asked.starts_with("POST") && asked.contains("/console ");
    while !log.lock().unwrap().iter().any(is_typed) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// An answer in JSON.
pub fn ok(value: Value) -> Answer {
    (200, "application/json", value.to_string())
}

/// xend's way to refuse.
pub fn refuse(status: u16, message: &str) -> Answer {
    let error = json!({ "error": { "status": status, "message": message } });
    (status, "application/json", error.to_string())
}

/// Domain 0 and two guests: one that runs, one that is dying.
pub fn domains() -> Vec<Value> {
    let guest = |id: u32, name: &str, state: &str| {
        json!({
            "id": id, "name": name, "uuid": "6b3a3b53-9a8a-4c8e-8f5e-0f9a0c3f0001", "memory": 64, "maxmem": 128,
            "vcpus": 2, "vcpus_online": 1, "cpu": 1, "state": state, "cpu_time": 1.25, "up_time": 90_061.4,
            "console_port": 9600 + id, "restart": "onreboot", "restart_state": null, "shutdown_reason": null,
            "devices": devices(),
            "sxp": format!("(domain (id {id}) (name {name}) (memory 64) (maxmem 128) (state {}) (cpu 1) (cpu_time 1.25))", &state[..5]),
        })
    };
    vec![
        json!({
            "id": 0, "name": "Domain-0", "uuid": "00000000-0000-0000-0000-000000000000", "memory": 1024, "vcpus": 4,
            "cpu": 0, "state": "r-----", "cpu_time": 266.21, "up_time": 3723, "console_port": null, "devices": [],
            "sxp": "(domain (id 0) (name Domain-0) (memory 1024) (state r----) (cpu 0) (cpu_time 266.21))",
        }),
        guest(2, "web", "-b----"),
        guest(5, "db", "r----d"),
    ]
}

fn devices() -> Value {
    json!([
        { "type": "vbd", "idx": "0", "devid": 2049, "backend": 0, "state": 4, "evtchn": 9, "rings": [8],
          "sxp": "(vbd (idx 0) (vdev 2049) (mode w) (dev sda1) (uname phy:vg/web))" },
        { "type": "vif", "idx": "0", "devid": 0, "backend": 0, "state": 4, "mac": "aa:00:00:00:00:11",
          "sxp": "(vif (idx 0) (vif 0) (mac aa:00:00:00:00:11) (bridge xen-br0))" },
    ])
}

/// What xend leaves out of a brief list is not there.
fn brief() -> Vec<Value> {
    let mut all = domains();
    for domain in all.iter_mut().filter_map(Value::as_object_mut) {
        for long in ["devices", "config", "sxp", "memory_target"] {
            domain.remove(long);
        }
    }
    all
}

fn find(part: &str) -> Option<Value> {
    let is = |d: &Value| d["name"] == part || d["id"].as_u64() == part.parse().ok();
    domains().into_iter().find(is)
}

fn usual(method: &str, path: &str, body: &str) -> Answer {
    let Some(path) = path.strip_prefix("/api/v1/") else {
        return classic(method, path, body);
    };
    let parts: Vec<&str> = path.split('/').collect();
    match (method, &parts[..]) {
        ("GET", ["domains"]) => ok(json!({ "domains": domains() })),
        ("GET", ["domains?brief=1"]) => ok(json!({ "domains": brief() })),
        ("POST", ["domains"]) => created(body),
        (_, ["domains", dom, rest @ ..]) => match find(dom) {
            None => refuse(404, &format!("invalid domain:{dom}")),
            Some(domain) => of_domain(method, domain, rest, body),
        },
        ("GET", ["node"]) => ok(json!({
            "system": "Linux", "host": "node1", "release": "6.1.0", "version": "#1", "machine": "x86_64", "cores": 4,
            "hyperthreads_per_core": 1, "cpu_mhz": 2400, "memory": 4096, "free_memory": 2816, "xen_major": 4,
            "xen_minor": 17, "xen_extra": ".5", "xen_scheduler": "credit2",
        })),
        ("POST", ["node"] | ["node", "dmesg"]) => ok(json!({})),
        ("GET", ["node", "dmesg"]) => (200, "text/plain", "(XEN) hello\n".to_owned()),
        ("GET", ["node", "log"]) => (200, "text/plain", "[2026] a line\n".to_owned()),
        ("GET", ["consoles"]) => ok(json!({ "consoles": [
            { "domain": 2, "name": "web", "port": 9602, "id": 1, "status": "connected", "connected": ["127.0.0.1:4242"] },
            { "domain": 5, "name": "db", "port": 9605, "id": 2, "status": "listening", "connected": [] },
        ] })),
        ("GET", ["events"]) => (
            200,
            "text/event-stream",
            "event: xend.domain.create\ndata: {\"value\":[\"web\",2]}\n\n".to_owned(),
        ),
        _ => refuse(404, "no such resource"),
    }
}

fn created(body: &str) -> Answer {
    let body: Value = serde_json::from_str(body).unwrap();
    if body["op"] == "restore" {
        return refuse(501, "restoring is not in this version of Rexen");
    }
    if body["dry_run"] == true {
        return ok(json!({ "plan": ["create the domain", "load the kernel"] }));
    }
    let config = body["config"].as_str().unwrap();
    if config.contains("(name taken)") {
        return refuse(409, "vm name clash: taken");
    }
    (201, "application/json", find("web").unwrap().to_string())
}

fn of_domain(method: &str, domain: Value, rest: &[&str], body: &str) -> Answer {
    match (method, rest) {
        ("GET", []) => ok(domain),
        ("GET", ["devices"]) => ok(json!({ "devices": domain["devices"] })),
        ("GET", ["vcpus"]) => ok(json!({ "vcpus": [
            { "vcpu": 0, "cpu": 1, "state": "-b-", "online": true, "cpu_time": 1.25, "affinity": [0, 1, 3] },
            { "vcpu": 1, "cpu": null, "state": "---", "online": false, "cpu_time": 0.0, "affinity": [0, 1, 2, 3] },
        ] })),
        ("POST", []) => {
            let body: Value = serde_json::from_str(body).unwrap();
            match body["op"].as_str().unwrap() {
                "sched" => ok(json!({ "weight": 256, "cap": 0 })),
                "save" | "migrate" => refuse(501, "moving domains is not in this version of Rexen"),
                "shutdown" => (202, "application/json", "{}".to_owned()),
                _ => ok(json!({})),
            }
        }
        _ => refuse(404, "no such resource"),
    }
}

fn classic(method: &str, path: &str, body: &str) -> Answer {
    let text = match (method, path) {
        ("GET", "/xend/") => "(ls node domain console event device vnet)",
        ("GET", "/xend/domain/") => "(Domain-0 web db)",
        ("GET", "/xend/node/dmesg") => return (200, "text/plain", "(XEN) hello\n".to_owned()),
        ("POST", "/xend/domain/web") if body.starts_with("op=pincpu") => "0",
        _ => {
            return (
                404,
                "application/sxp",
                "(xend.err 'invalid domain:x')".to_owned(),
            );
        }
    };
    (200, "application/sxp", text.to_owned())
}

/// A terminal: what a person types and sees on one side, what a program has on the other.
pub struct Terminal {
    /// The person's side.
    pub person: std::fs::File,
    /// The program's side, and its path.
    pub program: std::fs::File,
    pub path: PathBuf,
}

impl Terminal {
    pub fn new() -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let path = PathBuf::from(name.to_str().unwrap());
        let mut options = std::fs::File::options();
        let program = options.read(true).write(true).open(&path).unwrap();
        Self {
            person: person.into(),
            program,
            path,
        }
    }
}

/// Reads until a part has been seen; returns all that was read.
pub fn read_until(from: &mut impl Read, part: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(part) {
            return text;
        }
        let mut buffer = [0; 256];
        let count = from.read(&mut buffer).unwrap();
        assert!(count > 0, "no {part} in {text}");
        seen.extend(&buffer[..count]);
    }
}
