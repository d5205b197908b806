//! `console`: the terminal on one side, the raw bytes of the domain's console on the other.
//!
//! xend keeps the connection over a reboot of the domain. If xend itself starts again, the connection breaks; then the
//! domain is looked up once more, and the console attached to anew.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;

use crate::client::{Client, Line, typed};
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
    let mut line = client.console(domain)?;
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
        let joined = session(&mut line.stream, &mut keys, &mut signals, watch);
        let end = client.block_on(joined)?;
        client.block_on(line.finish());
        if end != End::Closed {
            break end;
        }
        line = match again(client, domain, &mut keys, &mut signals)? {
            Again::Attached(line) => line,
            Again::Ended(end) => break end,
        };
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

/// What comes after a broken connection.
enum Again {
    /// There is a new one.
    Attached(Line),
    /// There is none, because the domain is gone or the user left.
    Ended(End),
}

/// Attaches again after the connection broke, while the domain lives.
fn again(
    client: &Client,
    domain: &Domain,
    keys: &mut mpsc::Receiver<Vec<u8>>,
    signals: &mut Signals,
) -> Result<Again> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = client.domain(&domain.name);
        match found.and_then(|value| typed::<Domain>(&value)) {
            Ok(now) if lives(&now) => {
                if let Ok(line) = client.console(&now) {
                    return Ok(Again::Attached(line));
                }
            }
            Ok(_) => return Ok(Again::Ended(End::Closed)),
            Err(e) if e.status() == Some(404) => return Ok(Again::Ended(End::Closed)),
            Err(e @ Error::Unreachable { .. }) if Instant::now() > until => return Err(e),
            Err(_) => {}
        }
        if Instant::now() > until {
            return Ok(Again::Ended(End::Closed));
        }
        let left = client.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => false,
                Some(bytes) = keys.recv() => until_escape(&bytes).1,
                () = signals.any() => true,
            }
        });
        if left {
            return Ok(Again::Ended(End::Left));
        }
    }
}

/// Whether there will be more output: it runs, or is to start again.
fn lives(domain: &Domain) -> bool {
    domain.restart_state.is_some() || !domain.state.contains(['s', 'c', 'd'])
}
