//! The wire protocol: message types, headers, error names, and the assembly of messages from a byte stream.
//!
//! A message is a header of four little-endian words and at most [`PAYLOAD_MAX`] bytes of payload (public/io/xs_wire.h;
//! docs/misc/xenstore.txt describes the payloads). Nothing here does I/O or knows what a message means.

use std::fmt;

use rexen_abi::Plain;
use rexen_abi::io::xs_wire::*;

/// Most payload bytes of one message, either way.
pub const PAYLOAD_MAX: usize = XENSTORE_PAYLOAD_MAX;
/// Bytes of a message header.
pub const HEADER_LEN: usize = XsdSockmsg::SIZE;
/// Longest absolute path, in bytes.
pub const ABS_PATH_MAX: usize = XENSTORE_ABS_PATH_MAX;
/// Longest relative path, in bytes.
pub const REL_PATH_MAX: usize = XENSTORE_REL_PATH_MAX;

/// Message types (`enum xsd_sockmsg_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Op {
    /// Talks to the daemon itself.
    Control = XS_CONTROL,
    /// Names of a node's children.
    Directory = XS_DIRECTORY,
    /// A node's value.
    Read = XS_READ,
    /// A node's permissions.
    GetPerms = XS_GET_PERMS,
    /// Registers a watch.
    Watch = XS_WATCH,
    /// Removes a watch.
    Unwatch = XS_UNWATCH,
    /// Opens a transaction.
    TransactionStart = XS_TRANSACTION_START,
    /// Commits or discards a transaction.
    TransactionEnd = XS_TRANSACTION_END,
    /// Connects a domain's ring.
    Introduce = XS_INTRODUCE,
    /// Disconnects a domain's ring.
    Release = XS_RELEASE,
    /// A domain's home path.
    GetDomainPath = XS_GET_DOMAIN_PATH,
    /// Writes a node's value.
    Write = XS_WRITE,
    /// Makes a node.
    Mkdir = XS_MKDIR,
    /// Removes a node and what is below it.
    Rm = XS_RM,
    /// Sets a node's permissions.
    SetPerms = XS_SET_PERMS,
    /// A watch fired (from the server only).
    WatchEvent = XS_WATCH_EVENT,
    /// A request failed (from the server only).
    Error = XS_ERROR,
    /// Whether a domain's ring is connected.
    IsDomainIntroduced = XS_IS_DOMAIN_INTRODUCED,
    /// A domain that was shut down runs again.
    Resume = XS_RESUME,
    /// One domain may act for another.
    SetTarget = XS_SET_TARGET,
    /// Drops the caller's watches and transactions.
    ResetWatches = XS_RESET_WATCHES,
    /// Part of a long list of children.
    DirectoryPart = XS_DIRECTORY_PART,
}

impl Op {
    /// Every message type, in the order of its number.
    pub const ALL: [Op; 22] = [
        Op::Control,
        Op::Directory,
        Op::Read,
        Op::GetPerms,
        Op::Watch,
        Op::Unwatch,
        Op::TransactionStart,
        Op::TransactionEnd,
        Op::Introduce,
        Op::Release,
        Op::GetDomainPath,
        Op::Write,
        Op::Mkdir,
        Op::Rm,
        Op::SetPerms,
        Op::WatchEvent,
        Op::Error,
        Op::IsDomainIntroduced,
        Op::Resume,
        Op::SetTarget,
        Op::ResetWatches,
        Op::DirectoryPart,
    ];

    /// The type with this number, if there is one.
    pub fn from_number(number: u32) -> Option<Op> {
        Op::ALL.into_iter().find(|op| op.number() == number)
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Errors that have a name on the wire (`xsd_errors`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::upper_case_acronyms, reason = "the names of errno.h")]
        pub enum Errno { $($(#[$doc])* $name),* }

        impl Errno {
            /// Every error, in the order of the header.
            pub const ALL: &[Errno] = &[$(Errno::$name),*];

            /// The name sent on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Errno::$name => stringify!($name)),* }
            }
        }
    };
}

errnos! {
    /// Malformed request.
    EINVAL
    /// Not permitted by the node or the caller's role.
    EACCES
    /// Exists already.
    EEXIST
    /// Is a directory (unused today).
    EISDIR
    /// No such node, watch, transaction or domain.
    ENOENT
    /// Out of memory.
    ENOMEM
    /// Over quota.
    ENOSPC
    /// The daemon could not do its part.
    EIO
    /// Not empty (unused today).
    ENOTEMPTY
    /// Unknown request.
    ENOSYS
    /// Read only (unused today).
    EROFS
    /// In use.
    EBUSY
    /// The transaction met a conflicting change: run it again.
    EAGAIN
    /// Connected already.
    EISCONN
    /// The answer does not fit a message.
    E2BIG
    /// Only the owner or domain 0 may.
    EPERM
}

impl Errno {
    /// The error of this name; a name that is not in the header counts as EINVAL, as in libxenstore.
    pub fn from_name(name: &[u8]) -> Errno {
        Errno::ALL
            .iter()
            .copied()
            .find(|e| e.name().as_bytes() == name)
            .unwrap_or(Errno::EINVAL)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Errno {}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The message type's number; it may be none of [`Op`]'s.
    pub kind: u32,
    /// Chosen by the client, repeated in the reply.
    pub req_id: u32,
    /// The transaction, or 0.
    pub tx_id: u32,
    /// At most [`PAYLOAD_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A message of a known type.
    pub fn new(op: Op, req_id: u32, tx_id: u32, payload: Vec<u8>) -> Packet {
        Packet {
            kind: op.number(),
            req_id,
            tx_id,
            payload,
        }
    }

    /// The reply to this request that says `OK`.
    pub fn ack(&self) -> Packet {
        self.reply(b"OK\0".to_vec())
    }

    /// The reply to this request with this payload; a payload over the limit becomes the error E2BIG.
    pub fn reply(&self, payload: Vec<u8>) -> Packet {
        if payload.len() > PAYLOAD_MAX {
            return self.error(Errno::E2BIG);
        }
        Packet { payload, ..*self }
    }

    /// The reply that says this request failed.
    pub fn error(&self, errno: Errno) -> Packet {
        let mut payload = errno.name().as_bytes().to_vec();
        payload.push(0);
        Packet {
            kind: Op::Error.number(),
            payload,
            ..*self
        }
    }

    /// The event that `path` changed, for the watch with this token; `None` if it does not fit a message.
    pub fn watch_event(path: &str, token: &[u8]) -> Option<Packet> {
        let payload = join([path.as_bytes(), token]);
        (payload.len() <= PAYLOAD_MAX).then(|| Packet::new(Op::WatchEvent, 0, 0, payload))
    }

    /// Appends the message as bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        debug_assert!(self.payload.len() <= PAYLOAD_MAX);
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        for word in [self.kind, self.req_id, self.tx_id, len] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.payload);
    }

    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.payload.len());
        self.encode_into(&mut out);
        out
    }
}

/// The peer announced a payload over [`PAYLOAD_MAX`]: the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized {
    /// The announced length in bytes.
    pub len: u32,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a message announces {} bytes of payload; the limit is {PAYLOAD_MAX}",
            self.len
        )
    }
}

impl std::error::Error for Oversized {}

/// Puts messages together from pieces of a byte stream; holds at most one message.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
}

impl Decoder {
    /// A decoder that starts at a message boundary.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// A decoder that has seen `partial` already.
    ///
    /// # Errors
    /// [`Oversized`] as [`Decoder::push`], also when `partial` is more than the start of one message.
    pub fn resume(partial: &[u8]) -> Result<Decoder, Oversized> {
        let mut decoder = Decoder::new();
        match decoder.push(partial)? {
            (used, None) if used == partial.len() => Ok(decoder),
            _ => Err(Oversized {
                len: u32::try_from(partial.len()).unwrap_or(u32::MAX),
            }),
        }
    }

    /// The bytes of the message that is not complete yet.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// How many more bytes surely belong to the current message (at least one).
    pub fn wanted(&self) -> usize {
        self.total()
            .map_or(HEADER_LEN, |len| HEADER_LEN + len as usize)
            .saturating_sub(self.partial.len())
            .max(1)
    }

    /// Takes bytes up to the end of one message; returns how many were taken, and the message if it is complete.
    ///
    /// # Errors
    /// [`Oversized`]: nothing after this can be made sense of.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Packet>), Oversized> {
        let mut used = 0;
        loop {
            let total = self.total();
            if let Some(len) = total
                && len as usize > PAYLOAD_MAX
            {
                return Err(Oversized { len });
            }
            let end = total.map_or(HEADER_LEN, |len| HEADER_LEN + len as usize);
            if total.is_some() && self.partial.len() == end {
                return Ok((used, Some(self.take())));
            }
            let piece = bytes
                .len()
                .saturating_sub(used)
                .min(end - self.partial.len());
            if piece == 0 {
                return Ok((used, None));
            }
            self.partial.extend_from_slice(&bytes[used..used + piece]);
            used += piece;
        }
    }

    fn word(&self, index: usize) -> Option<u32> {
        let bytes = self.partial.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn total(&self) -> Option<u32> {
        self.word(3)
    }

    fn take(&mut self) -> Packet {
        let word = |index| self.word(index).unwrap_or(0);
        let (kind, req_id, tx_id) = (word(0), word(1), word(2));
        let payload = self.partial.split_off(HEADER_LEN);
        self.partial.clear();
        Packet {
            kind,
            req_id,
            tx_id,
            payload,
        }
    }
}

/// Joins strings, each followed by a NUL.
pub fn join<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for string in strings {
        out.extend_from_slice(string);
        out.push(0);
    }
    out
}

/// Splits a payload of NUL-terminated strings; `None` if the last one is not terminated.
pub fn split(payload: &[u8]) -> Option<Vec<&[u8]>> {
    match payload.split_last() {
        None => Some(Vec::new()),
        Some((0, rest)) => Some(rest.split(|&b| b == 0).collect()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
