//! The store itself, pure: connections, requests, transactions, watches, permissions and quotas, without any I/O.
//!
//! [`Engine::handle`] takes one request and gives its answer. What fired is fetched with [`Engine::take_events`], what
//! must outlive a crash with [`Engine::take_changes`]. Requests that need the machine (connecting a ring) come back as
//! [`Answer`]s for the daemon to carry out.

mod engine;
mod limits;
mod request;
mod step;
#[cfg(test)]
mod tests;
mod transaction;
mod tree;
mod watch;

use std::sync::Arc;

pub use engine::Engine;
pub use limits::Limits;

use self::watch::Registered;
use crate::perms::Perms;
use crate::wire::Packet;

/// A connection to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u32);

/// Who speaks on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// The domain.
    pub domid: u16,
    /// Whether it is free of permissions and quotas.
    pub privileged: bool,
    /// Whether this is the domain's ring, whose watches and transactions outlive the daemon.
    pub ring: bool,
}

impl Role {
    /// A socket of domain 0's tools.
    pub const fn tools() -> Role {
        Role {
            domid: 0,
            privileged: true,
            ring: false,
        }
    }

    /// A domain's ring; domain 0's is privileged.
    pub const fn domain(domid: u16) -> Role {
        Role {
            domid,
            privileged: domid == 0,
            ring: true,
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Reply(Packet),
    /// Connect this ring, call [`Engine::introduced`], and reply.
    Introduce(Introduce),
    /// Disconnect this domain's ring, call [`Engine::released`], and reply.
    Release(u16),
    /// Carry out this command and reply.
    Control(Vec<Vec<u8>>),
}

/// Where a domain's ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduce {
    /// The domain.
    pub domid: u16,
    /// The machine frame of the ring page.
    pub mfn: u64,
    /// The domain's port.
    pub port: u32,
}

/// A watch that fired. One change may fire thousands; they share what is long.
#[derive(Clone, Debug)]
pub struct Fired {
    /// Who is to hear of it.
    pub conn: ConnId,
    domid: u16,
    changed: Arc<str>,
    watch: Arc<Registered>,
}

impl Fired {
    /// What changed, in the form the watch was registered in.
    pub fn path(&self) -> &str {
        self.watch.reported(self.domid, &self.changed)
    }

    /// The watch's own path in that form: what to report when the path cannot be.
    pub fn watched(&self) -> &str {
        self.watch.reported(self.domid, &self.watch.path)
    }

    /// The watch.
    pub fn token(&self) -> &[u8] {
        &self.watch.token
    }
}

/// A change that must outlive the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node has this value and these permissions.
    Put {
        /// The path.
        path: String,
        /// The value.
        value: Arc<[u8]>,
        /// The permissions.
        perms: Arc<Perms>,
    },
    /// A node is gone, with all below.
    Remove {
        /// The path.
        path: String,
    },
    /// A special path has these permissions.
    Special {
        /// `@introduceDomain` or `@releaseDomain`.
        path: String,
        /// The permissions.
        perms: Perms,
    },
    /// A domain is introduced (again).
    Introduced {
        /// The domain.
        domid: u16,
        /// Whether it was seen shut down.
        shut_down: bool,
        /// The domain it acts for.
        target: Option<u16>,
    },
    /// A domain is released: its watches and transactions are gone.
    Released {
        /// The domain.
        domid: u16,
    },
    /// A domain's ring has a watch.
    Watch {
        /// The domain.
        domid: u16,
        /// The absolute path.
        path: String,
        /// Its token.
        token: Vec<u8>,
        /// Its depth.
        depth: Option<u32>,
        /// Whether paths are reported relative to the domain's home.
        relative: bool,
    },
    /// A domain's ring dropped a watch.
    Unwatch {
        /// The domain.
        domid: u16,
        /// The absolute path.
        path: String,
        /// Its token.
        token: Vec<u8>,
    },
    /// A domain's ring opened a transaction.
    TransactionStart {
        /// The domain.
        domid: u16,
        /// The transaction.
        tx_id: u32,
    },
    /// A domain's ring ended a transaction.
    TransactionEnd {
        /// The domain.
        domid: u16,
        /// The transaction.
        tx_id: u32,
    },
    /// A domain's ring dropped all watches and transactions.
    Reset {
        /// The domain.
        domid: u16,
    },
}
