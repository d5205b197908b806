//! Consoles: what guests print, kept, logged and shown; what people type, brought to the guest.
//!
//! A thread per domain moves bytes between the ring and a `Console`. The last 64 KiB of output stay in memory and all of it
//! goes to a log file. Any number of watchers read from there, each at its own pace: a watcher never holds up the guest or
//! another watcher; one that falls more than 64 KiB behind is told how much it missed, and the log file has it. Input waits in
//! 64 KiB; when those are full, whoever types has to wait. A console outlives the reboots of its domain.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rexen_config::spec::Uuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, watch};

use crate::error::{Error, Result};
use crate::events::Event;
use crate::log::{Log, ROTATE_AT, Rotating};
use crate::world::{ConsoleRing, DomId, Waker};

/// Bytes of output that stay in memory, and of input that may wait.
pub const BUFFER: usize = 64 << 10;
/// A console's default port is this plus the domain's number.
pub const PORT_BASE: u16 = 9600;
/// How long a busy xend may take to let go of the port of a console that ends.
const RELEASE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(5);

/// One domain's console.
pub struct Console {
    name: String,
    state: Mutex<State>,
    /// Changes whenever there is output: the count of all bytes ever printed.
    printed: watch::Sender<u64>,
    room: Notify,
    port: Option<u16>,
}

#[derive(Default)]
struct State {
    domid: DomId,
    backlog: VecDeque<u8>,
    /// Bytes ever printed; the backlog holds the last of them.
    end: u64,
    input: VecDeque<u8>,
    waker: Option<Waker>,
    pump: Option<JoinHandle<()>>,
    /// Differs between the rings of one console, so that an old pump knows it is one.
    generation: u64,
    watchers: BTreeMap<u64, (SocketAddr, Arc<Notify>)>,
    next_watcher: u64,
    /// Says when the listener has let go of the port, by having no sender any more.
    released: Option<Receiver<Infallible>>,
    closed: bool,
}

/// What a watcher gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes that are no longer in memory.
    pub missed: u64,
    /// Output.
    pub bytes: Vec<u8>,
    /// Where to go on.
    pub next: u64,
}

impl Console {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The domain's number.
    pub fn domid(&self) -> DomId {
        self.state().domid
    }

    /// The domain's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TCP port, if it has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Who is attached by TCP.
    pub fn watchers(&self) -> Vec<SocketAddr> {
        self.state()
            .watchers
            .values()
            .map(|(address, _)| *address)
            .collect()
    }

    /// Whether a domain's ring is behind it.
    pub fn is_live(&self) -> bool {
        self.state().waker.is_some()
    }

    /// Whether it has ended for good.
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Ends all TCP connections.
    pub fn disconnect(&self) {
        for (_, gone) in self.state().watchers.values() {
            gone.notify_one();
        }
    }

    /// Output from a position on; 0 is the beginning.
    pub fn since(&self, from: u64) -> Chunk {
        let state = self.state();
        let begin = state.end - state.backlog.len() as u64;
        let skip = from.max(begin).min(state.end);
        let offset = usize::try_from(skip - begin).unwrap_or(state.backlog.len());
        Chunk {
            missed: if from == 0 {
                0
            } else {
                begin.saturating_sub(from)
            },
            bytes: state.backlog.range(offset..).copied().collect(),
            next: state.end,
        }
    }

    /// Tells when there is more output.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.printed.subscribe()
    }

    /// Takes input as far as there is room; returns how much.
    pub fn input(&self, bytes: &[u8]) -> usize {
        let mut state = self.state();
        let count = bytes.len().min(BUFFER - state.input.len());
        state.input.extend(bytes.iter().take(count));
        if let Some(waker) = &state.waker {
            waker();
        }
        count
    }

    /// Takes all input, waiting for room; gives up when the console is closed.
    pub async fn input_all(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.state().closed {
            let room = self.room.notified();
            let count = self.input(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
            if count == 0 {
                let _ = tokio::time::timeout(IDLE, room).await; // Looks again either way.
            }
        }
    }

    fn print(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.backlog.extend(bytes);
        let surplus = state.backlog.len().saturating_sub(BUFFER);
        state.backlog.drain(..surplus);
        state.end += bytes.len() as u64;
        self.printed.send_replace(state.end);
    }

    /// Moves bytes until the ring is taken away.
    fn pump(&self, mut ring: Box<dyn ConsoleRing>, generation: u64, mut file: Rotating, log: &Log) {
        let mut complained = false;
        loop {
            let moved = ring.read().and_then(|bytes| {
                if !bytes.is_empty() {
                    if let Err(error) = file.append(&bytes)
                        && !std::mem::replace(&mut complained, true)
                    {
                        log.warning(&format!(
                            "console of {}: its log cannot be written: {error}",
                            self.name
                        ));
                    }
                    self.print(&bytes);
                }
                let waiting: Vec<u8> = self.state().input.iter().copied().take(1024).collect();
                let taken = if waiting.is_empty() {
                    0
                } else {
                    ring.write(&waiting)?
                };
                if taken > 0 {
                    self.state().input.drain(..taken);
                    self.room.notify_waiters();
                }
                Ok(bytes.len() + taken)
            });
            if self.state().generation != generation {
                return;
            }
            let next = match moved {
                Ok(0) => ring.wait(IDLE),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = next {
                log.warning(&format!("console of {} ends: {error}", self.name));
                return;
            }
            if self.state().generation != generation {
                // What the guest printed last is still worth having.
                if let Ok(bytes) = ring.read() {
                    let _ = file.append(&bytes);
                    self.print(&bytes);
                }
                return;
            }
        }
    }
}

/// All consoles of the host.
pub struct Consoles {
    all: Mutex<BTreeMap<[u8; 16], Arc<Console>>>,
    logs: String,
    address: Option<String>,
    handle: Option<Handle>,
    events: broadcast::Sender<Event>,
    log: Log,
}

impl Consoles {
    /// No consoles yet. Logs go to a folder; ports are opened on `address`, if there is one and a runtime to serve them.
    pub fn new(
        logs: &str,
        address: Option<String>,
        handle: Option<Handle>,
        events: broadcast::Sender<Event>,
        log: Log,
    ) -> Self {
        Self {
            all: Mutex::default(),
            logs: logs.to_owned(),
            address,
            handle,
            events,
            log,
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], Arc<Console>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The console of a domain.
    pub fn get(&self, uuid: &Uuid) -> Option<Arc<Console>> {
        self.all().get(&uuid.0).cloned()
    }

    /// The handles of all domains with a console.
    pub fn uuids(&self) -> Vec<Uuid> {
        self.all().keys().copied().map(Uuid).collect()
    }

    /// All consoles.
    pub fn list(&self) -> Vec<Arc<Console>> {
        self.all().values().cloned().collect()
    }

    /// Puts a domain's ring behind its console, which is made if there is none; returns the console's TCP port.
    ///
    /// # Errors
    /// The port is in use.
    pub fn attach(
        &self,
        uuid: Uuid,
        name: &str,
        domid: DomId,
        port: Option<u16>,
        ring: Box<dyn ConsoleRing>,
    ) -> Result<Option<u16>> {
        let console = match self.get(&uuid) {
            Some(console) => console,
            None => self.make(uuid, name, domid, port)?,
        };
        self.detach(&uuid);
        let file = Rotating::new(
            format!("{}/console-{}.log", self.logs, name.replace('/', "_")),
            ROTATE_AT,
        );
        let (pumped, log) = (console.clone(), self.log.clone());
        let mut state = console.state();
        state.domid = domid;
        state.generation += 1;
        let generation = state.generation;
        state.waker = Some(ring.waker());
        let pump = std::thread::Builder::new()
            .name(format!("console-{domid}"))
            .spawn(move || pumped.pump(ring, generation, file, &log))?;
        state.pump = Some(pump);
        drop(state);
        Ok(console.port)
    }

    fn make(
        &self,
        uuid: Uuid,
        name: &str,
        domid: DomId,
        port: Option<u16>,
    ) -> Result<Arc<Console>> {
        let listener = match (&self.address, &self.handle) {
            (Some(address), Some(handle)) => {
                let port = port.unwrap_or_else(|| PORT_BASE.saturating_add(domid));
                let listener = StdListener::bind((address.as_str(), port)).map_err(|error| {
                    Error::conflict(format!("console port in use: {port} ({error})"))
                })?;
                listener.set_nonblocking(true)?;
                Some((listener, handle))
            }
            _ => None,
        };
        let port = listener
            .as_ref()
            .and_then(|(listener, _)| listener.local_addr().ok())
            .map(|address| address.port());
        let console = Arc::new(Console {
            name: name.to_owned(),
            state: Mutex::default(),
            printed: watch::Sender::new(0),
            room: Notify::new(),
            port,
        });
        if let Some((listener, handle)) = listener {
            let (held, released) = channel();
            console.state().released = Some(released);
            handle.spawn(accept(listener, console.clone(), self.events.clone(), held));
        }
        self.all().insert(uuid.0, console.clone());
        let _ = self.events.send(Event::new(
            "xend.console.create",
            serde_json::json!([domid, domid, port]),
        ));
        Ok(console)
    }

    /// Takes the ring from a console and waits until nothing uses it; watchers stay.
    pub fn detach(&self, uuid: &Uuid) {
        let Some(console) = self.get(uuid) else {
            return;
        };
        let pump = {
            let mut state = console.state();
            state.generation += 1;
            if let Some(waker) = state.waker.take() {
                waker();
            }
            state.pump.take()
        };
        if pump.is_some_and(|pump| pump.join().is_err()) {
            self.log
                .error(&format!("the console thread of {} panicked", console.name));
        }
    }

    /// Ends a console with its port and watchers.
    pub fn close(&self, uuid: &Uuid) {
        self.detach(uuid);
        if let Some(console) = self.all().remove(&uuid.0) {
            console.state().closed = true;
            console.printed.send_modify(|_| ()); // Wakes the watchers and the listener to see it.
            console.disconnect();
            // The next guest may want the same port.
            let released = console.state().released.take();
            let _ = released.map(|released| released.recv_timeout(RELEASE));
            let _ = self.events.send(Event::new(
                "xend.console.close",
                serde_json::json!(console.domid()),
            ));
        }
    }
}

/// Listens until the console is closed; drops `_held` when it has let go of the port.
async fn accept(
    listener: StdListener,
    console: Arc<Console>,
    events: broadcast::Sender<Event>,
    _held: Sender<Infallible>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut changed = console.subscribe();
    while !console.state().closed {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, address)) = accepted {
                tokio::spawn(serve(stream, address, console.clone(), events.clone()));
            } else {
                tokio::time::sleep(Duration::from_millis(100)).await; // Out of file descriptors, perhaps.
            },
            _ = changed.changed() => {}
        }
    }
}

/// Serves one TCP watcher: output as it comes, input as it is typed.
async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    console: Arc<Console>,
    events: broadcast::Sender<Event>,
) {
    let gone = Arc::new(Notify::new());
    let (number, domid) = {
        let mut state = console.state();
        let number = state.next_watcher;
        state.next_watcher += 1;
        state.watchers.insert(number, (address, gone.clone()));
        (number, state.domid)
    };
    let value = serde_json::json!([domid, address.ip().to_string(), address.port()]);
    let _ = events.send(Event::new("xend.console.connect", value.clone()));
    let (mut reader, mut writer) = stream.into_split();
    let output = async {
        let mut changed = console.subscribe();
        let mut position = 0;
        while !console.state().closed {
            let chunk = console.since(position);
            position = chunk.next;
            if chunk.missed > 0 {
                writer
                    .write_all(missed_notice(chunk.missed).as_bytes())
                    .await?;
            }
            writer.write_all(&chunk.bytes).await?;
            if chunk.bytes.is_empty() && changed.changed().await.is_err() {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    let input = async {
        let mut buffer = [0; 1024];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    console
                        .input_all(buffer.get(..count).unwrap_or_default())
                        .await
                }
            }
        }
    };
    tokio::select! {
        _ = output => {}
        () = input => {}
        () = gone.notified() => {}
    }
    console.state().watchers.remove(&number);
    let _ = events.send(Event::new("xend.console.disconnect", value));
}

/// What a watcher is told that was too slow.
pub fn missed_notice(bytes: u64) -> String {
    format!("\r\n[xend: {bytes} bytes were not shown; the console's log has them]\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console() -> Console {
        Console {
            name: "a".into(),
            state: Mutex::default(),
            printed: watch::Sender::new(0),
            room: Notify::new(),
            port: None,
        }
    }

    #[test]
    fn watchers_read_at_their_own_pace_and_learn_what_they_missed() {
        let console = console();
        console.print(b"hello ");
        let first = console.since(0);
        assert_eq!(
            first,
            Chunk {
                missed: 0,
                bytes: b"hello ".to_vec(),
                next: 6
            }
        );
        console.print(b"world");
        assert_eq!(console.since(first.next).bytes, b"world");
        console.print(&vec![b'x'; BUFFER]);
        let late = console.since(first.next);
        assert_eq!(late.missed, 5);
        assert_eq!(late.bytes.len(), BUFFER);
        assert_eq!(
            console.since(late.next),
            Chunk {
                missed: 0,
                bytes: Vec::new(),
                next: late.next
            }
        );
        assert_eq!(
            console.since(0).missed,
            0,
            "a new watcher has missed nothing"
        );
    }

    #[test]
    fn input_is_bounded() {
        let console = console();
        assert_eq!(console.input(&vec![0; BUFFER + 10]), BUFFER);
        assert_eq!(console.input(b"x"), 0);
    }
}
