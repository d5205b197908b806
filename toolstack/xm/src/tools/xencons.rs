//! `xencons HOST PORT`: a console by its port, without asking xend.

use tokio::net::TcpStream;

use crate::error::{Error, Result};
use crate::session::{End, Signals, keyboard, session};
use crate::terminal::Raw;

const USAGE: &str = "xencons: usage: xencons HOST PORT; Ctrl-] leaves";

/// Attaches until the user leaves or the other side closes.
pub fn run(args: &[String]) -> Result<()> {
    let [host, port] = args else {
        return Err(Error::Usage(USAGE.to_owned()));
    };
    let number: u16 = port
        .parse()
        .map_err(|_| Error::Usage(format!("xencons: {port} is no port; {}", &USAGE[9..])))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("cannot start"))?;
    let connected = runtime.block_on(TcpStream::connect((host.as_str(), number)));
    let mut socket = connected.map_err(Error::io(format!("cannot connect to {host}:{port}")))?;
    let mut signals = runtime.block_on(Signals::catch())?;
    let mut keys = keyboard();
    let raw = Raw::enter()?;
    let newline = if raw.is_terminal() { "\r\n" } else { "\n" };
    eprint!("******** {host}:{port}: Ctrl-] leaves ********{newline}");
    let end = runtime.block_on(session(&mut socket, &mut keys, &mut signals, false))?;
    drop(raw);
    let why = if end == End::Closed { "closed" } else { "left" };
    eprintln!("\n******** {why} ********");
    Ok(())
}
