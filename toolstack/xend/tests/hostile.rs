//! Hostile bytes, from seeds and random changes of them: HTTP on xend's socket, and a guest's console page. Nothing panics,
//! what is kept stays bounded, and the next client, or the other guest, is served.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use rexen_config::spec::Uuid;
use rexen_xenctl::{ByteRing, SharedPages, console_rings};
use rexen_xend::api::{Api, Guard, serve_unix};
use rexen_xend::carry::Site;
use rexen_xend::config::Config;
use rexen_xend::console::{BUFFER, Consoles};
use rexen_xend::error::{Error, Result};
use rexen_xend::journal::Archive;
use rexen_xend::log::Log;
use rexen_xend::node::Node;
use rexen_xend::sim::Machine;
use rexen_xend::world::{ConsoleRing, Waker};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client waits that may have said nothing to answer.
const SOON: Duration = Duration::from_millis(20);
/// More than xend may ever keep of one answer or request, and less than what a length in a head may promise.
const ANSWER_MAX: usize = 16 << 20;
/// No process that served all of this may have needed more, in KiB.
const PEAK_MAX: u64 = 512 << 10;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts the panics of all threads from here on: a server's threads swallow theirs.
fn watch_for_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            usual(info);
        }));
    });
}

fn folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let name = format!("xend-hostile-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The seeds' names and texts.
fn seeds(kind: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/seeds")
        .join(kind);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5);
    files
        .iter()
        .map(|file| {
            let name = file.file_stem().unwrap().to_str().unwrap();
            (name.to_owned(), std::fs::read_to_string(file).unwrap())
        })
        .collect()
}

/// A change of bytes: a cut, and what takes its place, so many times.
type Change = (Index, usize, Index, Index, usize, usize);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (
        any::<Index>(),
        0usize..16,
        any::<Index>(),
        any::<Index>(),
        0usize..24,
        prop_oneof![8 => Just(1usize), 1 => 2usize..40, 1 => 1000usize..20_000],
    );
    prop::collection::vec(change, 1..4)
}

fn changed(seed: &[u8], others: &[Vec<u8>], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (at, cut, other, from, len, times) in changes {
        let donor = other.get(others);
        let from = from.index(donor.len());
        let piece = &donor[from..donor.len().min(from + len)];
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + cut);
        bytes.splice(at..end, piece.repeat(*times));
    }
    bytes
}

// HTTP.

/// xend on a simulated machine, with a socket.
struct Xend {
    folder: PathBuf,
    _runtime: Runtime,
}

impl Xend {
    fn start() -> Xend {
        let folder = folder();
        let runtime = Runtime::new().unwrap();
        let (events, _) = broadcast::channel(64);
        let logs = folder.to_str().unwrap();
        let consoles = Consoles::new(logs, None, None, events.clone(), Log::nowhere());
        let config = Config::default();
        let site = Site {
            world: Arc::new(Machine::new().world()),
            consoles: Arc::new(consoles),
            archive: Archive::new(&config.dbroot),
            config: Arc::new(config),
            log: Log::nowhere(),
            disks: Arc::new(Mutex::new(())),
        };
        let api = Api {
            node: Node::new(site, events, runtime.handle().clone()),
            guard: Arc::new(Guard {
                uid: rustix::process::getuid().as_raw(),
                ..Guard::default()
            }),
            simulated: true,
        };
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(folder.join("socket")).unwrap()
        };
        runtime.spawn(serve_unix(listener, api));
        Xend {
            folder,
            _runtime: runtime,
        }
    }

    /// Sends bytes, waits so long for them to be taken and for an answer to begin, hangs up, and waits for its end.
    fn send(&self, bytes: &[u8], begin: Duration) -> Vec<u8> {
        let stream = UnixStream::connect(self.folder.join("socket")).unwrap();
        // It may refuse the rest and hang up in the middle; or answer with a stream, and then read on only when that is over.
        stream.set_write_timeout(Some(begin)).unwrap();
        let _ = (&stream).write_all(bytes);
        stream.set_read_timeout(Some(begin)).unwrap();
        let mut answer = vec![0; 1 << 16];
        let first = (&stream).read(&mut answer).unwrap_or(0);
        answer.truncate(first);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(SOON)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = match (&stream).read(&mut piece) {
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    // A stream goes on to a client that still listens.
                    if String::from_utf8_lossy(&answer).contains("transfer-encoding: chunked") {
                        break;
                    }
                    assert!(
                        Instant::now() < deadline,
                        "no end after {:?}, and before it {:?}",
                        String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]),
                        String::from_utf8_lossy(&answer[..answer.len().min(2000)]),
                    );
                    continue;
                }
                Err(_) => break,
            };
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&piece[..count]);
            assert!(answer.len() < ANSWER_MAX, "an answer without end");
        }
        answer
    }

    fn goes_on(&self) {
        let answer = self.send(b"GET /xend/node HTTP/1.0\r\n\r\n", PATIENCE);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a thread panicked");
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let peak: u64 = peak
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        assert!(peak < PEAK_MAX, "{peak} KiB");
    }
}

impl Drop for Xend {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A seed's bytes on the wire, but for its length.
fn on_wire(seed: &str) -> Vec<u8> {
    match seed.split_once("\n\n") {
        Some((head, body)) => {
            let is_one_text = head.contains("urlencoded") || head.contains("json");
            let line_end = if is_one_text { "\n" } else { "\r\n" };
            let body = body.replace('\n', line_end);
            format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes()
        }
        None => seed.replace('\n', "\r\n").into_bytes(),
    }
}

/// Puts the true length in, where one is to be.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let find = |what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    let (Some(star), Some(end)) = (find(b"Length: *"), find(b"\r\n\r\n")) else {
        return bytes.to_vec();
    };
    let len = (bytes.len() - end - 4).to_string();
    let star = star + b"Length: ".len();
    [&bytes[..star], len.as_bytes(), &bytes[star + 1..]].concat()
}

#[test]
fn changed_requests_are_answered_or_refused() {
    watch_for_panics();
    let xend = Xend::start();
    let mut wires = Vec::new();
    for (name, seed) in seeds("http") {
        let wire = on_wire(&seed);
        let is_sound = name.starts_with("get-") || name.starts_with("create-");
        let begin = if is_sound { PATIENCE } else { SOON };
        let answer = xend.send(&with_length(&wire), begin);
        let shown = String::from_utf8_lossy(&answer);
        assert!(
            !is_sound || shown.starts_with("HTTP/1.1 20"),
            "{name}: {shown}"
        );
        xend.goes_on();
        wires.push(wire);
    }
    let cases = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        // The bytes are in the message; to send them again and again, each with its patience, would take hours.
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    proptest!(cases, |(pick in any::<Index>(), changes in changes())| {
        xend.send(&with_length(&changed(&wires[pick.index(wires.len())], &wires, &changes)), SOON);
        xend.goes_on();
    });
}

// The console.

/// The daemon's end of a console page, as over a grant; a channel stands for the event.
struct Ring {
    output: ByteRing,
    input: ByteRing,
    kicks: Receiver<()>,
    kick: Sender<()>,
}

fn broken(error: rexen_xenctl::Broken) -> Error {
    Error::failed(error.to_string())
}

impl ConsoleRing for Ring {
    fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.output.readable().map_err(broken)?];
        let count = self.output.read(&mut bytes).map_err(broken)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.input.write(bytes).map_err(broken)
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        match self.kicks.recv_timeout(timeout) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Error::failed("no more events")),
        }
    }

    fn waker(&self) -> Waker {
        let kick = self.kick.clone();
        Arc::new(move || {
            let _ = kick.send(());
        })
    }
}

/// A guest with a console.
struct Guest {
    uuid: Uuid,
    page: Arc<SharedPages>,
    kick: Sender<()>,
}

impl Guest {
    fn attach(consoles: &Consoles, domid: u16) -> Guest {
        let page = Arc::new(SharedPages::anonymous(1).unwrap());
        let (output, input) = console_rings(&page);
        let (kick, kicks) = channel();
        let uuid = Uuid([domid as u8; 16]);
        let ring = Ring {
            output,
            input,
            kicks,
            kick: kick.clone(),
        };
        let name = format!("guest-{domid}");
        consoles
            .attach(uuid, &name, domid, None, Box::new(ring))
            .unwrap();
        Guest { uuid, page, kick }
    }

    /// Does a line of a seed; one that makes no sense is nothing.
    fn act(&self, consoles: &Consoles, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (output, input) = console_rings(&self.page);
        match verb {
            "print" => drop(output.write(&text(rest))),
            "take" => {
                let len = rest.parse().unwrap_or(0).min(4096);
                let _ = input.read(&mut vec![0; len]);
            }
            "type" => {
                let console = consoles.get(&self.uuid).unwrap();
                console.input(&text(rest));
            }
            "poke" => {
                let mut numbers = rest.split(' ').map(|word| word.parse::<u32>().ok());
                if let (Some(Some(at)), Some(Some(value))) = (numbers.next(), numbers.next()) {
                    self.page.store_u32(at as usize % 4096 / 4 * 4, value);
                }
            }
            _ => {}
        }
        let _ = self.kick.send(());
    }
}

/// The bytes that a seed's text stands for.
fn text(escaped: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = escaped.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
                rest = tail;
            }
            (b'\\', [letter, tail @ ..]) => {
                bytes.push(match letter {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    other => *other,
                });
                rest = tail;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    bytes
}

/// One guest does all that to its page, in rounds; another's console works before, then, and after, and so does the first
/// one's when it boots again.
fn torment(lines: &[String], rounds: usize) {
    let folder = folder();
    let (events, _) = broadcast::channel(64);
    let logs = folder.to_str().unwrap();
    let consoles = Consoles::new(logs, None, None, events, Log::nowhere());
    let (bad, good) = (Guest::attach(&consoles, 7), Guest::attach(&consoles, 8));
    for round in 0..rounds {
        for line in lines {
            bad.act(&consoles, line);
        }
        let console = consoles.get(&bad.uuid).unwrap();
        assert!(console.since(0).bytes.len() <= BUFFER);
        assert!(console.input(&vec![b'i'; BUFFER + 1]) <= BUFFER);
        works(&consoles, &good, &format!("round {round}"));
    }
    let again = Guest::attach(&consoles, 7);
    works(&consoles, &again, "after a reboot");
    for guest in [&again, &good] {
        consoles.close(&guest.uuid);
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a thread panicked");
    std::fs::remove_dir_all(folder).unwrap();
}

/// What the guest prints arrives at its console.
fn works(consoles: &Consoles, guest: &Guest, what: &str) {
    guest.act(consoles, &format!("print {what}\\n"));
    let console = consoles.get(&guest.uuid).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let expected = format!("{what}\n");
    while !console.since(0).bytes.ends_with(expected.as_bytes()) {
        assert!(Instant::now() < deadline, "{what}: nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn lines(seed: &str) -> Vec<String> {
    let lines = seed.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_guest_that_breaks_its_console_breaks_no_other() {
    watch_for_panics();
    let seeds = seeds("console");
    for (_, seed) in &seeds {
        torment(&lines(seed), 40);
    }
    let all: Vec<String> = seeds.iter().flat_map(|(_, seed)| lines(seed)).collect();
    let raw: Vec<Vec<u8>> = all.iter().map(|line| line.clone().into_bytes()).collect();
    let cases = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        // The bytes are in the message; to send them again and again, each with its patience, would take hours.
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let line = (any::<Index>(), prop::option::of(changes()));
    proptest!(cases, |(picks in prop::collection::vec(line, 1..60))| {
        let lines: Vec<String> = picks
            .iter()
            .map(|(pick, changes)| match changes {
                Some(changes) => String::from_utf8_lossy(&changed(&raw[pick.index(raw.len())], &raw, changes)).into_owned(),
                None => all[pick.index(all.len())].clone(),
            })
            .collect();
        torment(&lines, 2);
    });
}
