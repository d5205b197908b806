//! The transport to a running xenstored: its Unix socket, or the kernel's `/dev/xen/xenbus`.
//!
//! One thread reads and hands out replies (by request id) and events (by token). When the daemon goes away and comes
//! back, the connection is made again, to where it was: requests that may be repeated are, watches are registered again
//! and fire, open transactions are lost, which their owner learns as a conflict.
//!
//! Over the kernel's device one request is under way at a time: Linux (drivers/xen/xenbus, `xenbus_dev_request_and_reply`)
//! keeps no copy of a request that waits to be sent, so the next one written to the same open file would replace its text.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Error, Event, Result, Transport, Watch};
use crate::wire::{self, Decoder, Errno, Op, Packet};

/// Where a daemon listens, first match wins.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's way to the daemon, which works in any domain.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];
/// How long a broken connection is tried again before callers hear of it.
const RECONNECT_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait between two tries.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A connection to the daemon.
pub struct Socket {
    shared: Arc<Shared>,
}

struct Shared {
    targets: Vec<PathBuf>,
    state: Mutex<State>,
    /// Held while one message is written, so that messages do not mix; over a device, until its reply is there.
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// What answered the first time. A restarted daemon is waited for there: a device opens even while there is none.
    target: Option<PathBuf>,
    /// Counts connections, so that a reader of an old one changes nothing.
    epoch: u64,
    last_req: u32,
    last_token: u64,
    pending: HashMap<u32, Sender<Packet>>,
    transactions: HashSet<u32>,
    watches: HashMap<String, Registered>,
}

#[derive(Clone)]
struct Link {
    file: Arc<File>,
    /// Whether a request is to wait for the reply to the one before.
    one_at_a_time: bool,
}

struct Registered {
    path: String,
    depth: Option<u32>,
    events: Sender<Event>,
}

impl Registered {
    fn payload(&self, token: &str) -> Vec<u8> {
        let mut payload = wire::join([self.path.as_bytes(), token.as_bytes()]);
        if let Some(depth) = self.depth {
            payload.extend(wire::join([depth.to_string().as_bytes()]));
        }
        payload
    }
}

impl Socket {
    /// Connects as [`super::Store::connect`].
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect() -> Result<Socket> {
        let targets = match std::env::var_os("XENSTORED_PATH") {
            Some(path) => vec![path.into()],
            None => SOCKETS.iter().chain(&DEVICES).map(PathBuf::from).collect(),
        };
        Socket::to_first_of(targets)
    }

    /// Connects to this socket or device.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect_to(path: &Path) -> Result<Socket> {
        Socket::to_first_of(vec![path.to_owned()])
    }

    fn to_first_of(targets: Vec<PathBuf>) -> Result<Socket> {
        let shared = Arc::new(Shared {
            targets,
            state: Mutex::default(),
            writing: Mutex::default(),
        });
        shared.open_link(&mut shared.lock())?;
        Ok(Socket { shared })
    }
}

impl Transport for Socket {
    fn request(&self, op: Op, tx_id: u32, payload: &[u8]) -> Result<Vec<u8>> {
        let first = self.shared.request_once(op, tx_id, payload);
        if tx_id != 0 || !repeatable(op) {
            return first;
        }
        let deadline = Instant::now() + RECONNECT_WITHIN;
        let mut last = first;
        while matches!(last, Err(Error::Lost { .. } | Error::Connect { .. }))
            && Instant::now() < deadline
        {
            thread::sleep(RECONNECT_PAUSE);
            last = self.shared.request_once(op, tx_id, payload);
        }
        last
    }

    fn watch(&self, path: &str, depth: Option<u32>) -> Result<Watch> {
        let (events, receiver) = channel();
        let registered = Registered {
            path: path.to_owned(),
            depth,
            events,
        };
        let (token, payload) = {
            let mut state = self.shared.lock();
            state.last_token += 1;
            let token = format!("rexen-{}", state.last_token);
            let payload = registered.payload(&token);
            // Before the request: the first event may overtake its reply.
            state.watches.insert(token.clone(), registered);
            (token, payload)
        };
        match self.request(Op::Watch, 0, &payload) {
            // Registered by the reconnection already.
            Err(e) if e.errno() == Some(Errno::EEXIST) => {}
            Err(e) => {
                self.shared.lock().watches.remove(&token);
                return Err(e.about(path));
            }
            Ok(_) => {}
        }
        let (shared, path) = (Arc::clone(&self.shared), path.to_owned());
        Ok(Watch::new(receiver, move || {
            shared.lock().watches.remove(&token);
            // If this fails the connection is gone, and the watch with it.
            let _ = shared.request_once(
                Op::Unwatch,
                0,
                &wire::join([path.as_bytes(), token.as_bytes()]),
            );
        }))
    }
}

/// Whether a request may be sent again when it is not known if the first was carried out.
fn repeatable(op: Op) -> bool {
    !matches!(
        op,
        Op::TransactionEnd
            | Op::Release
            | Op::Resume
            | Op::SetTarget
            | Op::Control
            | Op::ResetWatches
    )
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; if somebody did, the state is still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request_once(self: &Arc<Self>, op: Op, tx_id: u32, payload: &[u8]) -> Result<Vec<u8>> {
        let (sender, receiver) = channel();
        let (link, packet) = {
            let mut state = self.lock();
            if tx_id != 0 && !state.transactions.contains(&tx_id) {
                return Err(Error::Lost { op });
            }
            self.open_link(&mut state)?;
            let link = state.link.clone().ok_or(Error::Lost { op })?;
            state.last_req = state.last_req.checked_add(1).unwrap_or(1);
            let req_id = state.last_req;
            state.pending.insert(req_id, sender);
            (link, Packet::new(op, req_id, tx_id, payload.to_vec()))
        };
        let reply = {
            let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            // A failed write shows to the reader too, which then drops our sender.
            if (&*link.file).write_all(&packet.encode()).is_err() {
                self.lock().pending.remove(&packet.req_id);
            }
            let _until_answered = link.one_at_a_time.then_some(writing);
            receiver.recv().map_err(|_| Error::Lost { op })?
        };
        if op == Op::TransactionEnd {
            self.lock().transactions.remove(&tx_id);
        }
        if reply.kind == Op::Error.number() {
            let name = reply.payload.strip_suffix(b"\0").unwrap_or(&reply.payload);
            return Err(Error::Refused {
                op,
                errno: Errno::from_name(name),
                path: None,
            });
        }
        if reply.kind != op.number() {
            return Err(Error::Garbled { op });
        }
        Ok(reply.payload)
    }

    /// Makes the connection if there is none, and registers the watches on it.
    fn open_link(self: &Arc<Self>, state: &mut State) -> Result<()> {
        if state.link.is_some() {
            return Ok(());
        }
        let targets = match &state.target {
            Some(target) => std::slice::from_ref(target),
            None => &self.targets,
        };
        let (link, target) = open_first(targets)?;
        state.target = Some(target);
        state.epoch += 1;
        let (shared, reader, epoch) = (Arc::downgrade(self), Arc::clone(&link.file), state.epoch);
        thread::Builder::new()
            .name("xenstore".into())
            .spawn(move || read_all(&shared, &reader, epoch))
            .map_err(|e| Error::Connect {
                tried: vec![(PathBuf::from("a thread to read replies"), e)],
            })?;
        for (token, watch) in &state.watches {
            // Request 0 belongs to nobody: its reply is dropped. If writing fails, so do the reader and all who come next.
            // Each is written by itself, since a device takes one message at a time; it carries out a watch at once.
            let packet = Packet::new(Op::Watch, 0, 0, watch.payload(token));
            let _ = (&*link.file).write_all(&packet.encode());
        }
        state.link = Some(link);
        Ok(())
    }

    fn dispatch(&self, packet: Packet) {
        let mut state = self.lock();
        if packet.kind == Op::WatchEvent.number() {
            if let Some([path, token, ..]) = wire::split(&packet.payload).as_deref()
                && let (Ok(path), Ok(token)) = (str::from_utf8(path), str::from_utf8(token))
                && let Some(watch) = state.watches.get(token)
            {
                // Nobody listens any more while the watch is being dropped.
                let _ = watch.events.send(Event {
                    path: path.to_owned(),
                });
            }
        } else if let Some(sender) = state.pending.remove(&packet.req_id) {
            if packet.kind == Op::TransactionStart.number()
                && let Some(id) = transaction_id(&packet.payload)
            {
                state.transactions.insert(id);
            }
            let _ = sender.send(packet);
        }
    }
}

fn transaction_id(payload: &[u8]) -> Option<u32> {
    let strings = wire::split(payload)?;
    u32::try_from(crate::path::number(strings.first()?).ok()?).ok()
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(link) = self.lock().link.take() {
            // Wakes the reader of a socket; that of a device sleeps until the process ends.
            let _ = rustix::net::shutdown(&*link.file, rustix::net::Shutdown::Both);
        }
    }
}

/// The reader thread: ends with the connection, and makes a new one while somebody watches.
fn read_all(shared: &Weak<Shared>, link: &File, epoch: u64) {
    let mut decoder = Decoder::new();
    let mut buffer = [0; 4096];
    'connected: loop {
        let mut bytes = match (&*link).read(&mut buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
            Ok(len) => &buffer[..len],
        };
        while !bytes.is_empty() {
            let Ok((used, packet)) = decoder.push(bytes) else {
                break 'connected;
            };
            bytes = &bytes[used..];
            let Some(shared) = shared.upgrade() else {
                return;
            };
            if let Some(packet) = packet {
                shared.dispatch(packet);
            }
        }
    }
    {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut state = shared.lock();
        if state.epoch == epoch {
            state.link = None;
            state.pending.clear();
            state.transactions.clear();
        }
    }
    // Watchers wait for events and would never ask: connect again on their behalf, for as long as they live.
    while let Some(shared) = shared.upgrade() {
        let mut state = shared.lock();
        if state.epoch != epoch || state.watches.is_empty() || shared.open_link(&mut state).is_ok()
        {
            return;
        }
        drop(state);
        drop(shared);
        thread::sleep(RECONNECT_PAUSE);
    }
}

fn open_first(targets: &[PathBuf]) -> Result<(Link, PathBuf)> {
    let mut tried = Vec::new();
    for path in targets {
        match open(path) {
            Ok(link) => return Ok((link, path.clone())),
            Err(e) => tried.push((path.clone(), e)),
        }
    }
    Err(Error::Connect { tried })
}

fn open(path: &Path) -> io::Result<Link> {
    let one_at_a_time = std::fs::metadata(path)?.file_type().is_char_device();
    let file = if one_at_a_time {
        OpenOptions::new().read(true).write(true).open(path)?
    } else {
        File::from(OwnedFd::from(UnixStream::connect(path)?))
    };
    Ok(Link {
        file: Arc::new(file),
        one_at_a_time,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A daemon that answers one request.
    fn answer(stream: &mut UnixStream, with: &[u8]) -> bool {
        let (mut decoder, mut byte) = (Decoder::new(), [0]);
        loop {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return false;
            }
            if let (_, Some(request)) = decoder.push(&byte).unwrap() {
                let reply = Packet::new(Op::Read, request.req_id, 0, with.to_vec());
                return stream.write_all(&reply.encode()).is_ok();
            }
        }
    }

    #[test]
    fn a_restarted_daemon_is_waited_for_where_it_was() {
        let folder = std::env::temp_dir().join(format!("xenstore-client-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (first, second) = (folder.join("first"), folder.join("second"));
        let listener = UnixListener::bind(&first).unwrap();
        let other = UnixListener::bind(&second).unwrap(); // It can be opened all the time, as a device can.
        thread::spawn(move || answer(&mut other.accept().unwrap().0, b"other"));
        let socket = Socket::to_first_of(vec![first.clone(), second]).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(answer(&mut stream, b"x"));
            drop((stream, listener)); // It is killed, and started again after a while.
            thread::sleep(2 * RECONNECT_PAUSE);
            std::fs::remove_file(&first).unwrap();
            let (mut stream, _) = UnixListener::bind(&first).unwrap().accept().unwrap();
            assert!(answer(&mut stream, b"x"));
        });
        assert_eq!(socket.request(Op::Read, 0, b"/a\0").unwrap(), b"x");
        assert_eq!(socket.request(Op::Read, 0, b"/a\0").unwrap(), b"x");
        daemon.join().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn over_a_device_one_request_is_under_way_at_a_time() {
        const NR: usize = 8;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let link = Link {
            file: Arc::new(File::from(OwnedFd::from(ours))),
            one_at_a_time: true,
        };
        let shared = Arc::new(Shared {
            targets: Vec::new(),
            state: Mutex::default(),
            writing: Mutex::default(),
        });
        let (reading, reader) = (Arc::downgrade(&shared), Arc::clone(&link.file));
        thread::spawn(move || read_all(&reading, &reader, 0));
        shared.lock().link = Some(link);
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..NR)
            .map(|_| {
                let (shared, answered) = (Arc::clone(&shared), Arc::clone(&answered));
                thread::spawn(move || {
                    shared.request_once(Op::Read, 0, b"/a\0").unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        let mut decoder = Decoder::new();
        let mut bytes = [0; 4096];
        for _ in 0..NR {
            // All that comes before an answer is one request; a second one has time to show.
            let mut requests = Vec::new();
            while requests.is_empty() {
                let len = theirs.read(&mut bytes).unwrap();
                thread::sleep(Duration::from_millis(5));
                let mut rest = &bytes[..len];
                while !rest.is_empty() {
                    let (used, packet) = decoder.push(rest).unwrap();
                    rest = &rest[used..];
                    requests.extend(packet);
                }
            }
            theirs.set_nonblocking(true).unwrap();
            let more = theirs.read(&mut bytes);
            assert!(more.is_err(), "a request before the answer to another");
            theirs.set_nonblocking(false).unwrap();
            let [request] = &requests[..] else {
                panic!("{} requests at once", requests.len());
            };
            let reply = Packet::new(Op::Read, request.req_id, 0, b"x".to_vec());
            theirs.write_all(&reply.encode()).unwrap();
        }
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(answered.load(Ordering::Relaxed), NR);
    }
}
