//! A terminal and a stream, joined: raw bytes both ways until Ctrl-], a signal, or the other side's end.

use std::io::{Read, Write, stdin, stdout};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// Ctrl-].
const ESCAPE: u8 = 0x1d;

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The user typed Ctrl-].
    Left,
    /// The other side closed the connection.
    Closed,
    /// A signal asked this program to end.
    Signalled,
}

/// Reads standard input in a thread of its own, which ends with the program.
pub fn keyboard() -> mpsc::Receiver<Vec<u8>> {
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

/// Joins the two until one of the ends is reached.
///
/// # Errors
/// Nobody can take the output.
pub async fn session(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    keys: &mut mpsc::Receiver<Vec<u8>>,
    signals: &mut Signals,
    watch: bool,
) -> Result<End> {
    let (mut from, mut to) = tokio::io::split(stream);
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
            let send = async {
                to.write_all(bytes).await?;
                to.flush().await
            };
            if !watch && send.await.is_err() {
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
pub fn until_escape(bytes: &[u8]) -> (&[u8], bool) {
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
pub struct Signals {
    term: Signal,
    hup: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(Error::io("cannot watch for signals"));
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            hup: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for one.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
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
