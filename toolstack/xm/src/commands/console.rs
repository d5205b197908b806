//! `console`: the terminal on one side, the raw bytes of the domain's port on the other.
//!
//! xend keeps the connection over a reboot of the domain. If xend itself starts again, the connection breaks; then the
//! domain is looked up once more, and the console attached to anew.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::model::Domain;
use crate::report::Report;
use crate::session::{End, Signals, keyboard, session, until_escape};
use crate::terminal::Raw;

/// How long xend may take to start again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether it has.
const RETRY: Duration = Duration::from_millis(500);

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
