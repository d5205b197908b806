//! One connection of the daemon: where its bytes come from and go to.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::output::Output;
use super::ring::{Fault, Ring};
use crate::store::{ConnId, Role};
use crate::wire::{Decoder, HEADER_LEN, PAYLOAD_MAX, Packet};

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// Its name in the engine.
    pub conn: ConnId,
    /// Who speaks on it.
    pub role: Role,
    /// Puts its requests together.
    pub decoder: Decoder,
    /// What it is to receive.
    pub output: Output,
    /// What carries its bytes.
    pub carrier: Carrier,
    /// Whether requests may wait.
    pub ready: bool,
}

/// What carries bytes.
#[derive(Debug)]
pub enum Carrier {
    /// A client's socket, and what was read of it but not looked at.
    Socket {
        /// The socket, which does not block.
        stream: UnixStream,
        /// Bytes behind the current message.
        input: Vec<u8>,
    },
    /// A domain's ring.
    Ring(Ring),
}

/// The connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The client closed it, or broke the protocol.
    Socket,
    /// The guest broke its ring.
    Ring(Fault),
}

impl Link {
    /// The next request, if it is there whole.
    ///
    /// # Errors
    /// [`Over`].
    pub fn next_request(&mut self) -> Result<Option<Packet>, Over> {
        match &mut self.carrier {
            Carrier::Socket { stream, input } => loop {
                if input.is_empty() && !fill(stream, input)? {
                    return Ok(None);
                }
                let (used, packet) = self.decoder.push(input).map_err(|_| Over::Socket)?;
                input.drain(..used);
                if packet.is_some() {
                    return Ok(packet);
                }
            },
            Carrier::Ring(ring) => {
                let mut bytes = [0; HEADER_LEN + PAYLOAD_MAX];
                loop {
                    let wanted = self.decoder.wanted().min(bytes.len());
                    let len = ring.take(&mut bytes[..wanted]).map_err(Over::Ring)?;
                    if len == 0 {
                        return Ok(None);
                    }
                    // No more was taken than belongs to this message.
                    let (_, packet) = self
                        .decoder
                        .push(&bytes[..len])
                        .map_err(|_| Over::Ring(Fault::Protocol))?;
                    if packet.is_some() {
                        return Ok(packet);
                    }
                }
            }
        }
    }

    /// Sends what there is room for; returns whether the other side of a ring is to be notified.
    ///
    /// # Errors
    /// [`Over`].
    pub fn flush(&mut self) -> Result<bool, Over> {
        let mut notify = match &mut self.carrier {
            Carrier::Ring(ring) => ring.publish(),
            Carrier::Socket { .. } => false,
        };
        while !self.output.front().is_empty() {
            let front = self.output.front();
            let len = match &mut self.carrier {
                Carrier::Ring(ring) => ring.put(front).map_err(Over::Ring)?,
                Carrier::Socket { stream, .. } => match stream.write(front) {
                    Ok(len) => len,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return Err(Over::Socket),
                },
            };
            if len == 0 {
                break;
            }
            notify = true;
            self.output.sent(len);
        }
        Ok(notify)
    }

    /// The ring, if it is one.
    pub fn ring(&mut self) -> Option<&mut Ring> {
        match &mut self.carrier {
            Carrier::Ring(ring) => Some(ring),
            Carrier::Socket { .. } => None,
        }
    }
}

/// Reads what the socket has; returns whether there was something.
fn fill(stream: &mut UnixStream, input: &mut Vec<u8>) -> Result<bool, Over> {
    let mut bytes = [0; 2 * (HEADER_LEN + PAYLOAD_MAX)];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Err(Over::Socket),
            Ok(len) => {
                input.extend_from_slice(&bytes[..len]);
                return Ok(true);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Over::Socket),
        }
    }
}
