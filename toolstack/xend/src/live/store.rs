//! The store, over rexen-xenstore's client.

use std::time::{Duration, Instant};

use rexen_xenstore::client::{Error as ClientError, Store as Client};
use rexen_xenstore::perms::Perms;

use crate::error::{Error, Result};
use crate::world::{Change, DomId, Store};

/// A running xenstored.
pub struct ClientStore(Client);

fn failed(what: &str) -> impl Fn(ClientError) -> Error {
    let what = what.to_owned();
    move |error| Error::failed(format!("store: {what}: {error}"))
}

impl ClientStore {
    /// A store behind any of the client's transports.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Store for ClientStore {
    fn read(&self, path: &str) -> Result<Option<String>> {
        self.0.read_opt(path).map_err(failed(path))
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        self.0.list_opt(path).map_err(failed(path))
    }

    fn apply(&self, changes: &[Change]) -> Result<()> {
        let apply = |view: &rexen_xenstore::client::View<'_>| {
            for change in changes {
                match change {
                    Change::Write(path, value) => view.write(path, value)?,
                    Change::Remove(path) => view.remove(path)?,
                    Change::Owner {
                        path,
                        owner,
                        reader,
                    } => {
                        let perms = reader.map_or_else(
                            || Perms::private(*owner),
                            |reader| Perms::readable_by(*owner, reader),
                        );
                        view.set_perms(path, &perms)?;
                    }
                }
            }
            Ok(())
        };
        self.0.transaction(apply).map_err(failed("changing it"))
    }

    fn introduce(&self, domid: DomId, mfn: u64, port: u32) -> Result<()> {
        self.0
            .introduce(domid, mfn, port)
            .map_err(failed(&format!("introducing domain {domid}")))
    }

    fn release(&self, domid: DomId) -> Result<()> {
        // A domain that the store does not know needs no release. One whose answer was lost may have taken place: so the store
        // is asked again.
        while self.0.is_introduced(domid).map_err(failed("asking"))? {
            match self.0.release(domid) {
                Err(ClientError::Lost { .. }) => {}
                released => {
                    return released.map_err(failed(&format!("releasing domain {domid}")));
                }
            }
        }
        Ok(())
    }

    fn follow(
        &self,
        path: &str,
        timeout: Duration,
        done: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let watch = self.0.watch(path).map_err(failed(path))?;
        let deadline = Instant::now() + timeout;
        loop {
            if done()? {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if watch.next_within(left).is_none() {
                return done(); // Time is up; what came in the last moment counts.
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rexen_xenstore::client::{MemoryStore, Result as ClientResult, Transport, Watch};
    use rexen_xenstore::wire::Op;

    use super::*;

    /// A store that releases a domain and is killed before it says so.
    #[derive(Clone, Default)]
    struct Mute {
        released: Arc<AtomicBool>,
    }

    impl Transport for Mute {
        fn request(&self, op: Op, _tx_id: u32, _payload: &[u8]) -> ClientResult<Vec<u8>> {
            match op {
                Op::IsDomainIntroduced if self.released.load(Ordering::Relaxed) => {
                    Ok(b"F\0".to_vec())
                }
                Op::IsDomainIntroduced => Ok(b"T\0".to_vec()),
                Op::Release => {
                    assert!(!self.released.swap(true, Ordering::Relaxed), "once");
                    Err(ClientError::Lost { op })
                }
                _ => panic!("{op:?} is not part of a release"),
            }
        }

        fn watch(&self, _path: &str, _depth: Option<u32>) -> ClientResult<Watch> {
            panic!("a release watches nothing")
        }
    }

    #[test]
    fn a_release_whose_answer_is_lost_counts() {
        let store = Mute::default();
        let released = store.released.clone();
        assert_eq!(ClientStore::new(Client::over(store)).release(3), Ok(()));
        assert!(released.load(Ordering::Relaxed));
    }

    #[test]
    fn changes_reach_the_store_together() {
        let memory = MemoryStore::new();
        let store = ClientStore::new(memory.store());
        let write = |path: &str, value: &str| Change::Write(path.into(), value.into());
        store
            .apply(&[
                write("/local/domain/5/name", "a"),
                write("/local/domain/5/device/vif/0/state", "1"),
            ])
            .unwrap();
        assert_eq!(
            store.read("/local/domain/5/name").unwrap().as_deref(),
            Some("a")
        );
        assert_eq!(store.list("/local/domain/5").unwrap().len(), 2);
        store
            .apply(&[
                Change::Remove("/local/domain/5".into()),
                Change::Remove("/local/domain/5".into()),
            ])
            .unwrap();
        assert_eq!(store.read("/local/domain/5/name").unwrap(), None);
        assert!(store.list("/local/domain/5").unwrap().is_empty());
        let refused = store.apply(&[
            write("/local/domain/6/name", "b"),
            write("no/../path//", "x"),
        ]);
        assert!(refused.is_err());
        assert_eq!(
            store.read("/local/domain/6/name").unwrap(),
            None,
            "all or nothing"
        );
    }

    #[test]
    fn following_ends_when_somebody_else_writes() {
        let memory = MemoryStore::new();
        let store = ClientStore::new(memory.store());
        let other = memory.store();
        let writer = std::thread::spawn(move || other.write("/a/state", "2").unwrap());
        let ready = store.follow("/a/state", Duration::from_secs(60), &mut || {
            Ok(store.read("/a/state")?.as_deref() == Some("2"))
        });
        assert_eq!(ready, Ok(true));
        writer.join().unwrap();
        assert_eq!(
            store.follow("/a/state", Duration::ZERO, &mut || Ok(false)),
            Ok(false)
        );
    }
}
