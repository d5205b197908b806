//! `console`: the terminal on one side, the raw bytes of the domain's port on the other.
//!
//! xend keeps the connection over a reboot of the domain. If xend itself starts again, the connection breaks; then the
//! domain is looked up once more, and the console attached to anew.

use std::io::{Read, Write, stderr, stdin, stdout};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::model::Domain;
use crate::report::Report;
use crate::terminal::Raw;

/// Ctrl-].
const ESCAPE: u8 = 0x1d;
/// How long xend may take to start again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether it has.
const RETRY: Duration = Duration::from_millis(500);

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The user typed Ctrl-].
    Left,
    /// The other side closed the connection.
    Closed,
    /// A signal asked this program to end.
    Signalled,
}

/// `console`.
pub fn run(client: &Client, dom: &str, watch: bool) -> Result<Report> {
    let domain: Domain = typed(&client.domain(dom)?)?;
    attach(client, &domain, watch)
}

/// Attaches to a domain's console until the user leaves or the domain ends.
pub fn attach(client: &Client, domain: &Domain, watch: bool) -> Result<Report> {
    let port = port_of(domain)?;
    let mut socket = connect(client, port)?;
    let mut keys = keyboard();
    let mut signals = client.block_on(Signals::catch())?;
    let raw = Raw::enter()?;
    let newline = if raw.is_terminal() { "\r\n" } else { "\n" };
    let say = |text: &str| {
        let _ = write!(stderr(), "{text}{newline}");
    };
    say(&format!(
        "******** console of {}: Ctrl-] leaves ********",
        domain.name
    ));
    let end = loop {
        match client.block_on(session(&mut socket, &mut keys, &mut signals, watch))? {
            End::Closed => {}
            end => break end,
        }
        match again(client, domain, &mut keys, &mut signals)? {
            Some(fresh) => socket = fresh,
            None => break End::Closed,
        }
        say(&format!("{newline}******** attached again ********"));
    };
    drop(raw);
    let why = match end {
        End::Left | End::Signalled => "console left",
        End::Closed => "the domain has ended",
    };
    eprintln!("\n******** {why} ********");
    Ok(Report::done(json!({ "ended": end == End::Closed })))
}

fn port_of(domain: &Domain) -> Result<u16> {
    domain.console_port.ok_or_else(|| {
        let name = &domain.name;
        Error::Said(match domain.is_dom0() {
            true => format!("{name} has no console of its own; its messages are on the host's"),
            false => format!("{name} has no console"),
        })
    })
}

fn connect(client: &Client, port: u16) -> Result<TcpStream> {
    let host = client.console_host();
    let connected = client.block_on(TcpStream::connect((host, port)));
    connected.map_err(Error::io(format!(
        "cannot connect to the console at {host}:{port}"
    )))
}

/// Reads standard input in a thread of its own, which ends with the program.
fn keyboard() -> mpsc::Receiver<Vec<u8>> {
    let (keys, typed) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stdin().read(&mut buffer) {
            if keys.blocking_send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    typed
}

async fn session(
    socket: &mut TcpStream,
    keys: &mut mpsc::Receiver<Vec<u8>>,
    signals: &mut Signals,
    watch: bool,
) -> Result<End> {
    let (mut from, mut to) = socket.split();
    let output = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(End::Closed),
                Ok(count) => show(&buffer[..count])?,
            }
        }
    };
    let input = async {
        while let Some(bytes) = keys.recv().await {
            let (bytes, leave) = until_escape(&bytes);
            if !watch && to.write_all(bytes).await.is_err() {
                return Ok(End::Closed);
            }
            if leave {
                return Ok(End::Left);
            }
        }
        // Standard input has ended; the output may go on.
        std::future::pending().await
    };
    tokio::select! {
        end = output => end,
        end = input => end,
        () = signals.any() => Ok(End::Signalled),
    }
}

/// What is to be sent of what was typed, and whether to leave after it.
fn until_escape(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|&b| b == ESCAPE) {
        Some(at) => (&bytes[..at], true),
        None => (bytes, false),
    }
}

fn show(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    let shown = out.write_all(bytes).and_then(|()| out.flush());
    shown.map_err(Error::io("cannot write to standard output"))
}

/// Requests to end this program, caught from the start so that the terminal is put right first.
struct Signals {
    term: Signal,
    hup: Signal,
}

impl Signals {
    async fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(Error::io("cannot watch for signals"));
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            hup: catch(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
}

/// Attaches again after the connection broke; nothing when the domain is gone or the user left.
fn again(
    client: &Client,
    domain: &Domain,
    keys: &mut mpsc::Receiver<Vec<u8>>,
    signals: &mut Signals,
) -> Result<Option<TcpStream>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = client.domain(&domain.name);
        match found.and_then(|value| typed::<Domain>(&value)) {
            Ok(now) if lives(&now) => {
                if let Some(socket) = now.console_port.and_then(|p| connect(client, p).ok()) {
                    return Ok(Some(socket));
                }
            }
            Ok(_) => return Ok(None),
            Err(e) if e.status() == Some(404) => return Ok(None),
            Err(e @ Error::Unreachable { .. }) if Instant::now() > until => return Err(e),
            Err(_) => {}
        }
        if Instant::now() > until {
            return Ok(None);
        }
        let left = client.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => false,
                Some(bytes) = keys.recv() => until_escape(&bytes).1,
                () = signals.any() => true,
            }
        });
        if left {
            return Ok(None);
        }
    }
}

/// Whether there will be more output: it runs, or is to start again.
fn lives(domain: &Domain) -> bool {
    domain.restart_state.is_some() || !domain.state.contains(['s', 'c', 'd'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_before_the_escape_is_sent() {
        assert_eq!(until_escape(b"ls\r"), (&b"ls\r"[..], false));
        assert_eq!(until_escape(b"ls\r\x1dxx"), (&b"ls\r"[..], true));
        assert_eq!(until_escape(b"\x1d"), (&b""[..], true));
    }
}
