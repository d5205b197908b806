//! The simulated store: a tree as sorted paths, with drivers and guests that react at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Machine, killed};
use crate::error::Result;
use crate::world::{Change, DomId, Store};

pub struct SimStore(pub Arc<Machine>);

impl Store for SimStore {
    fn read(&self, path: &str) -> Result<Option<String>> {
        Ok(self.0.look()?.store.get(path).cloned())
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        let inner = self.0.look()?;
        let prefix = format!("{path}/");
        let below = inner
            .store
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        let mut names: Vec<String> = below
            .filter_map(|(key, _)| Some(key.get(prefix.len()..)?.split('/').next()?.to_owned()))
            .collect();
        names.dedup();
        Ok(names)
    }

    fn apply(&self, changes: &[Change]) -> Result<()> {
        let mut inner = self.0.change("store")?;
        for change in changes {
            match change {
                Change::Write(path, value) => {
                    inner.store.insert(path.clone(), value.clone());
                }
                Change::Remove(path) => {
                    let below = format!("{path}/");
                    inner
                        .store
                        .retain(|key, _| key != path && !key.starts_with(&below));
                }
                Change::Owner { .. } => {}
            }
        }
        for change in changes {
            if let Change::Write(path, value) = change {
                inner.react(path, value);
            }
        }
        inner.let_go();
        drop(inner);
        self.0.notify();
        Ok(())
    }

    fn introduce(&self, domid: DomId, _mfn: u64, _port: u32) -> Result<()> {
        self.0.change("introduce")?.introduced.insert(domid);
        Ok(())
    }

    fn release(&self, domid: DomId) -> Result<()> {
        self.0.change("release")?.introduced.remove(&domid);
        Ok(())
    }

    fn follow(
        &self,
        _path: &str,
        timeout: Duration,
        done: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.0.look()?.signals;
            if done()? {
                return Ok(true);
            }
            let inner = self.0.look()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((inner, _)) = self
                .0
                .changed
                .wait_timeout_while(inner, left, |inner| inner.signals == seen)
            else {
                return Err(killed());
            };
            if inner.signals == seen {
                return Ok(false);
            }
        }
    }
}
