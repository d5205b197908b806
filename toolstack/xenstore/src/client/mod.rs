//! A client: typed requests, transactions and watches, over a socket, `/dev/xen/xenbus`, or a store in memory.
//!
//! [`Store`] is a cheap handle that threads share. What carries its messages is a [`Transport`]: [`Socket`] reaches a
//! running xenstored, [`MemoryStore`] is the daemon's own tree inside this process, for tests and `xend --simulate`.

mod error;
mod memory;
mod socket;
#[cfg(test)]
mod tests;
mod watch;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

pub use error::Error;
pub use memory::MemoryStore;
pub use socket::Socket;
pub use watch::{Event, Watch};

use crate::path as paths;
use crate::perms::Perms;
use crate::wire::{self, Errno, Op, PAYLOAD_MAX};

/// What a client's call gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Carries requests to a store and events back.
pub trait Transport: Send + Sync {
    /// Sends one request and waits for its reply's payload.
    ///
    /// # Errors
    /// [`Error::Refused`] when the store says no; [`Error::Lost`] when the connection broke, so that it is not known
    /// whether the request was carried out.
    fn request(&self, op: Op, tx_id: u32, payload: &[u8]) -> Result<Vec<u8>>;

    /// Registers a watch under a token that is unique on this transport.
    ///
    /// # Errors
    /// As [`Transport::request`].
    fn watch(&self, path: &str, depth: Option<u32>) -> Result<Watch>;
}

/// How often a transaction is run again before its conflict is reported.
const TRANSACTION_TRIES: u32 = 64;

/// A handle on a store; clones share one connection. Methods block until the store answers.
#[derive(Clone)]
pub struct Store {
    transport: Arc<dyn Transport>,
}

impl Store {
    /// Connects to the daemon of this host: `$XENSTORED_PATH` if set, else its socket, else `/dev/xen/xenbus`.
    ///
    /// A connection that breaks is made again, and watches are registered again (they fire once more).
    ///
    /// # Errors
    /// [`Error::Connect`]: none of them can be opened.
    pub fn connect() -> Result<Store> {
        Ok(Store::over(Socket::connect()?))
    }

    /// Connects to the daemon behind this Unix socket.
    ///
    /// # Errors
    /// [`Error::Connect`]: it cannot be opened.
    pub fn connect_to(socket: &Path) -> Result<Store> {
        Ok(Store::over(Socket::connect_to(socket)?))
    }

    /// A handle over any transport.
    pub fn over(transport: impl Transport + 'static) -> Store {
        Store {
            transport: Arc::new(transport),
        }
    }

    /// The store outside of any transaction.
    fn view(&self) -> View<'_> {
        View {
            transport: &*self.transport,
            tx_id: 0,
            has_read: Cell::new(false),
        }
    }

    /// Reads a value that is text.
    ///
    /// # Errors
    /// [`Error::Refused`] with ENOENT: no such node; [`Error::NotText`]: the value is not UTF-8.
    pub fn read(&self, path: &str) -> Result<String> {
        self.view().read(path)
    }

    /// Reads a value that is text; `None` if there is no such node.
    ///
    /// # Errors
    /// As [`Store::read`], but for a missing node.
    pub fn read_opt(&self, path: &str) -> Result<Option<String>> {
        self.view().read_opt(path)
    }

    /// Reads a value as bytes.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.view().read_bytes(path)
    }

    /// Writes a value; makes the node and its parents where they are missing.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.view().write(path, value)
    }

    /// Makes a node and its parents; those that exist stay as they are.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn mkdir(&self, path: &str) -> Result<()> {
        self.view().mkdir(path)
    }

    /// Removes a node and everything below it; it is no error if it, or its parent, does not exist.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn remove(&self, path: &str) -> Result<()> {
        self.view().remove(path)
    }

    /// The names of a node's children, sorted by the store; lists of any length.
    ///
    /// # Errors
    /// [`Error::Refused`] with ENOENT: no such node.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        self.view().list(path)
    }

    /// The names of a node's children; none if there is no such node.
    ///
    /// # Errors
    /// [`Error::Refused`], but for a missing node.
    pub fn list_opt(&self, path: &str) -> Result<Vec<String>> {
        self.view().list_opt(path)
    }

    /// Whether a node exists (and may be read).
    ///
    /// # Errors
    /// [`Error::Refused`], but for a missing node.
    pub fn exists(&self, path: &str) -> Result<bool> {
        self.view().exists(path)
    }

    /// A node's permissions.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn perms(&self, path: &str) -> Result<Perms> {
        self.view().perms(path)
    }

    /// Sets a node's permissions.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn set_perms(&self, path: &str, perms: &Perms) -> Result<()> {
        self.view().set_perms(path, perms)
    }

    /// Runs `body` in a transaction and commits it; on a conflict, runs it again from the start.
    ///
    /// `body` may thus run several times: it must not change anything but the store. Its error discards the
    /// transaction and is returned. A connection that breaks counts as a conflict, but not at the commit of a body that
    /// read something: that may have taken place, and what is read the next time may be its own doing.
    ///
    /// # Errors
    /// `body`'s error; [`Error::Refused`] with EAGAIN when every one of 64 tries met a conflict; [`Error::Lost`] when
    /// it is not known whether the commit took place.
    pub fn transaction<T>(&self, mut body: impl FnMut(&View<'_>) -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_transaction(&mut body) {
                Err(TryError::Conflict(_)) if tries < TRANSACTION_TRIES => {}
                Err(TryError::Conflict(e) | TryError::Final(e)) => return Err(e),
                Ok(value) => return Ok(value),
            }
        }
    }

    fn try_transaction<T>(
        &self,
        body: &mut impl FnMut(&View<'_>) -> Result<T>,
    ) -> std::result::Result<T, TryError> {
        // Until the commit is sent, a lost connection discarded the transaction: that is a conflict like others.
        let before_commit = |e: Error| match e {
            Error::Lost { .. } => TryError::Conflict(e),
            e if e.errno() == Some(Errno::EAGAIN) => TryError::Conflict(e),
            e => TryError::Final(e),
        };
        let id = self
            .transport
            .request(Op::TransactionStart, 0, b"\0")
            .map_err(before_commit)?;
        let tx_id = wire::split(&id)
            .and_then(|s| paths::number(s.first()?).ok())
            .and_then(|n| u32::try_from(n).ok())
            .ok_or(TryError::Final(Error::Garbled {
                op: Op::TransactionStart,
            }))?;
        let view = View {
            transport: &*self.transport,
            tx_id,
            has_read: Cell::new(false),
        };
        match body(&view) {
            Ok(value) => match self.transport.request(Op::TransactionEnd, tx_id, b"T\0") {
                Ok(_) => Ok(value),
                Err(e) if e.errno() == Some(Errno::EAGAIN) => Err(TryError::Conflict(e)),
                // Done twice, changes that depend on nothing come to the same.
                Err(e @ Error::Lost { .. }) if !view.has_read.get() => Err(TryError::Conflict(e)),
                Err(e) => Err(TryError::Final(e)),
            },
            Err(e) => {
                // The body's error is the one to report; a discard that fails leaves nothing behind either.
                let _ = self.transport.request(Op::TransactionEnd, tx_id, b"F\0");
                Err(before_commit(e))
            }
        }
    }

    /// Watches a node and everything below it. The first event comes at once, with the path itself.
    ///
    /// `path` may be `@introduceDomain` or `@releaseDomain`.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn watch(&self, path: &str) -> Result<Watch> {
        self.transport.watch(path, None)
    }

    /// Watches a node and `depth` levels below it; Debian's daemons of Xen 4.17 refuse this with EINVAL.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn watch_to_depth(&self, path: &str, depth: u32) -> Result<Watch> {
        self.transport.watch(path, Some(depth))
    }

    /// Tells the store of a new domain: the frame of its store page, and the port it left unbound for domain 0.
    ///
    /// # Errors
    /// [`Error::Refused`]: for instance the page cannot be mapped.
    pub fn introduce(&self, domid: u16, store_mfn: u64, port: u32) -> Result<()> {
        let args = [domid.to_string(), store_mfn.to_string(), port.to_string()];
        self.view()
            .call(Op::Introduce, args.each_ref().map(String::as_bytes))
            .map(drop)
    }

    /// Disconnects a domain.
    ///
    /// # Errors
    /// [`Error::Refused`] with ENOENT: it was not connected.
    pub fn release(&self, domid: u16) -> Result<()> {
        self.view()
            .call(Op::Release, [domid.to_string().as_bytes()])
            .map(drop)
    }

    /// Whether a domain is connected.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn is_introduced(&self, domid: u16) -> Result<bool> {
        Ok(self
            .view()
            .call(Op::IsDomainIntroduced, [domid.to_string().as_bytes()])?
            .starts_with(b"T"))
    }

    /// Says that a domain which was shut down (suspended) runs again.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn resume(&self, domid: u16) -> Result<()> {
        self.view()
            .call(Op::Resume, [domid.to_string().as_bytes()])
            .map(drop)
    }

    /// Lets `domid` act for `target`.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn set_target(&self, domid: u16, target: u16) -> Result<()> {
        self.view()
            .call(
                Op::SetTarget,
                [domid.to_string().as_bytes(), target.to_string().as_bytes()],
            )
            .map(drop)
    }

    /// A domain's home, `/local/domain/N`.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn domain_path(&self, domid: u16) -> Result<String> {
        let reply = self
            .view()
            .call(Op::GetDomainPath, [domid.to_string().as_bytes()])?;
        text(&paths::home(domid), strip_nul(reply))
    }

    /// Sends a command to the daemon itself (`help` lists them) and returns what it says.
    ///
    /// # Errors
    /// [`Error::Refused`] with EINVAL: unknown command.
    pub fn control(&self, words: &[&str]) -> Result<String> {
        let reply = self
            .view()
            .call(Op::Control, words.iter().map(|w| w.as_bytes()))?;
        text("control", strip_nul(reply))
    }
}

enum TryError {
    Conflict(Error),
    Final(Error),
}

/// The store as one transaction sees it.
pub struct View<'a> {
    transport: &'a dyn Transport,
    tx_id: u32,
    has_read: Cell<bool>,
}

impl View<'_> {
    /// Asks for something that the caller may act upon.
    fn ask<'p>(&self, op: Op, strings: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<u8>> {
        self.has_read.set(true);
        self.call(op, strings)
    }

    fn call<'p>(&self, op: Op, strings: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<u8>> {
        self.transport.request(op, self.tx_id, &wire::join(strings))
    }

    /// As [`Store::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, path: &str) -> Result<String> {
        text(path, self.read_bytes(path)?)
    }

    /// As [`Store::read_opt`].
    ///
    /// # Errors
    /// As there.
    pub fn read_opt(&self, path: &str) -> Result<Option<String>> {
        self.read(path).map(Some).or_else(|e| e.if_missing(None))
    }

    /// As [`Store::read_bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.ask(Op::Read, [path.as_bytes()])
            .map_err(|e| e.about(path))
    }

    /// As [`Store::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let mut payload = wire::join([path.as_bytes()]);
        payload.extend_from_slice(value.as_ref());
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::Refused {
                op: Op::Write,
                errno: Errno::E2BIG,
                path: Some(path.to_owned()),
            });
        }
        self.transport
            .request(Op::Write, self.tx_id, &payload)
            .map(drop)
            .map_err(|e| e.about(path))
    }

    /// As [`Store::mkdir`].
    ///
    /// # Errors
    /// As there.
    pub fn mkdir(&self, path: &str) -> Result<()> {
        self.call(Op::Mkdir, [path.as_bytes()])
            .map(drop)
            .map_err(|e| e.about(path))
    }

    /// As [`Store::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.call(Op::Rm, [path.as_bytes()])
            .map(drop)
            .or_else(|e| e.about(path).if_missing(()))
    }

    /// As [`Store::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let reply = match self.ask(Op::Directory, [path.as_bytes()]) {
            Err(e) if e.errno() == Some(Errno::E2BIG) => self.list_by_parts(path),
            other => other,
        };
        let garbled = || Error::Garbled { op: Op::Directory };
        let reply = reply.map_err(|e| e.about(path))?;
        wire::split(&reply)
            .ok_or_else(garbled)?
            .into_iter()
            .map(|name| text(path, name.to_vec()))
            .collect()
    }

    /// As [`Store::list_opt`].
    ///
    /// # Errors
    /// As there.
    pub fn list_opt(&self, path: &str) -> Result<Vec<String>> {
        self.list(path).or_else(|e| e.if_missing(Vec::new()))
    }

    /// Asks for the list piece by piece, from the start again when the node changes meanwhile.
    fn list_by_parts(&self, path: &str) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        let mut generation = Vec::new();
        loop {
            let offset = whole.len().to_string();
            let part = self.ask(Op::DirectoryPart, [path.as_bytes(), offset.as_bytes()])?;
            let end = part.iter().position(|&b| b == 0).ok_or(Error::Garbled {
                op: Op::DirectoryPart,
            })?;
            let (now, names) = (&part[..end], &part[end + 1..]);
            if !whole.is_empty() && now != generation {
                whole.clear();
                continue;
            }
            generation = now.to_vec();
            // The last part ends with an empty name.
            if let Some(rest) = names.strip_suffix(b"\0")
                && (rest.is_empty() || rest.ends_with(b"\0"))
            {
                whole.extend_from_slice(rest);
                return Ok(whole);
            }
            if names.is_empty() {
                return Err(Error::Garbled {
                    op: Op::DirectoryPart,
                });
            }
            whole.extend_from_slice(names);
        }
    }

    /// As [`Store::exists`].
    ///
    /// # Errors
    /// As there.
    pub fn exists(&self, path: &str) -> Result<bool> {
        self.read_bytes(path)
            .map(|_| true)
            .or_else(|e| e.if_missing(false))
    }

    /// As [`Store::perms`].
    ///
    /// # Errors
    /// As there.
    pub fn perms(&self, path: &str) -> Result<Perms> {
        let reply = self
            .ask(Op::GetPerms, [path.as_bytes()])
            .map_err(|e| e.about(path))?;
        wire::split(&reply)
            .and_then(|e| Perms::parse(&e).ok())
            .ok_or(Error::Garbled { op: Op::GetPerms })
    }

    /// As [`Store::set_perms`].
    ///
    /// # Errors
    /// As there.
    pub fn set_perms(&self, path: &str, perms: &Perms) -> Result<()> {
        let mut payload = wire::join([path.as_bytes()]);
        payload.extend_from_slice(&perms.encode());
        self.transport
            .request(Op::SetPerms, self.tx_id, &payload)
            .map(drop)
            .map_err(|e| e.about(path))
    }
}

fn strip_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn text(path: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::NotText {
        path: path.to_owned(),
    })
}
