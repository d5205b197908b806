//! A store in this process: the daemon's own tree, for tests and simulation.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Error, Event, Result, Store, Transport, Watch};
use crate::store::{Answer, ConnId, Engine, Role};
use crate::wire::{self, Errno, Op, Packet};

/// A store that lives as long as this value or a handle on it.
///
/// Domains are introduced without rings; [`MemoryStore::domain`] speaks as one of them.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    engine: Engine,
    watches: HashMap<(ConnId, String), Sender<Event>>,
    last_token: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// A store with nothing but what a fresh daemon holds.
    pub fn new() -> MemoryStore {
        let inner = Inner {
            engine: Engine::new(),
            watches: HashMap::new(),
            last_token: 0,
        };
        MemoryStore {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// A new connection as domain 0's tools have it.
    pub fn store(&self) -> Store {
        let conn = self.lock().engine.connect(Role::tools());
        Store::over(Memory {
            inner: Arc::clone(&self.inner),
            conn,
        })
    }

    /// A new connection as this domain's kernel has it: relative paths, permissions and quotas apply.
    pub fn domain(&self, domid: u16) -> Store {
        let conn = self.lock().engine.connect(Role::domain(domid));
        Store::over(Memory {
            inner: Arc::clone(&self.inner),
            conn,
        })
    }

    /// The domain crashed or shut down: `@releaseDomain` fires.
    pub fn domain_shut_down(&self, domid: u16) {
        let mut inner = self.lock();
        inner.engine.domain_shut_down(domid);
        inner.deliver();
    }

    /// The domain is gone: it is released, and what it owned is removed.
    pub fn domain_gone(&self, domid: u16) {
        let mut inner = self.lock();
        inner.engine.domain_gone(domid);
        inner.deliver();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Hands what fired to those who watch.
    fn deliver(&mut self) {
        for event in self.engine.take_events() {
            let token = String::from_utf8_lossy(event.token()).into_owned();
            if let Some(sender) = self.watches.get(&(event.conn, token)) {
                // Nobody listens any more while the watch is being dropped.
                let _ = sender.send(Event {
                    path: event.path().to_owned(),
                });
            }
        }
    }

    fn request(&mut self, conn: ConnId, op: Op, tx_id: u32, payload: &[u8]) -> Result<Vec<u8>> {
        let refused = |errno| Error::Refused {
            op,
            errno,
            path: None,
        };
        if payload.len() > wire::PAYLOAD_MAX {
            return Err(refused(Errno::E2BIG));
        }
        let packet = Packet::new(op, 1, tx_id, payload.to_vec());
        let reply = match self.engine.handle(conn, &packet) {
            Answer::Reply(reply) => reply,
            Answer::Introduce(introduce) => {
                self.engine.introduced(introduce.domid);
                packet.ack()
            }
            Answer::Release(domid) => {
                self.engine.released(domid);
                packet.ack()
            }
            Answer::Control(_) => packet.error(Errno::ENOSYS),
        };
        self.deliver();
        if reply.kind == Op::Error.number() {
            let name = reply.payload.strip_suffix(b"\0").unwrap_or(&reply.payload);
            return Err(refused(Errno::from_name(name)));
        }
        Ok(reply.payload)
    }
}

/// One connection to a [`MemoryStore`].
struct Memory {
    inner: Arc<Mutex<Inner>>,
    conn: ConnId,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Memory {
    fn request(&self, op: Op, tx_id: u32, payload: &[u8]) -> Result<Vec<u8>> {
        self.lock().request(self.conn, op, tx_id, payload)
    }

    fn watch(&self, path: &str, depth: Option<u32>) -> Result<Watch> {
        let (events, receiver) = channel();
        let mut inner = self.lock();
        inner.last_token += 1;
        let token = format!("rexen-{}", inner.last_token);
        let key = (self.conn, token.clone());
        inner.watches.insert(key.clone(), events);
        let mut payload = wire::join([path.as_bytes(), token.as_bytes()]);
        if let Some(depth) = depth {
            payload.extend(wire::join([depth.to_string().as_bytes()]));
        }
        if let Err(e) = inner.request(self.conn, Op::Watch, 0, &payload) {
            inner.watches.remove(&key);
            return Err(e.about(path));
        }
        drop(inner);
        let (shared, conn, path) = (Arc::clone(&self.inner), self.conn, path.to_owned());
        Ok(Watch::new(receiver, move || {
            let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
            inner.watches.remove(&key);
            // The connection may be gone before the watch; then so is its registration.
            let _ = inner.request(
                conn,
                Op::Unwatch,
                0,
                &wire::join([path.as_bytes(), token.as_bytes()]),
            );
        }))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.lock().engine.disconnect(self.conn);
    }
}
