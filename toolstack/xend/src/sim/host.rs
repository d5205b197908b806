//! The simulated host: files, loop devices and scripts.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Machine;
use crate::error::{Error, Result};
use crate::world::{DomId, Host};

pub struct SimHost(pub Arc<Machine>);

/// Linux's major number of loop devices.
const LOOP_MAJOR: u32 = 7;

impl Host for SimHost {
    fn check_file(&self, path: &str) -> Result<()> {
        drop(self.0.look()?);
        if path.contains("missing") {
            return Err(Error::not_found(format!("{path}: no such file")));
        }
        Ok(())
    }

    fn free_loop(&self) -> Result<String> {
        let inner = self.0.look()?;
        (0..256)
            .map(|number| format!("/dev/loop{number}"))
            .find(|node| !inner.loops.contains_key(node))
            .ok_or_else(|| Error::failed("no free loop device"))
    }

    fn loop_file(&self, node: &str) -> Result<Option<String>> {
        Ok(self.0.look()?.loops.get(node).cloned())
    }

    fn block_bind(
        &self,
        script: &str,
        params: &[String],
        hint: &str,
        _writable: bool,
    ) -> Result<String> {
        let words = params.join(":");
        let mut inner = self.0.change(&format!("{script} bind {words}"))?;
        if hint.is_empty() {
            let node = format!("/dev/nd{}", inner.bound.len());
            inner.bound.insert(node.clone(), words);
            return Ok(node);
        }
        if inner.loops.contains_key(hint) {
            return Err(Error::conflict(format!("{hint} is busy")));
        }
        inner.loops.insert(hint.to_owned(), words);
        Ok(hint.to_owned())
    }

    fn block_unbind(&self, script: &str, node: &str) -> Result<()> {
        let mut inner = self.0.change(&format!("{script} unbind {node}"))?;
        inner.loops.remove(node);
        inner.bound.remove(node);
        Ok(())
    }

    fn device_number(&self, node: &str) -> Result<(u32, u32)> {
        drop(self.0.look()?);
        if node.contains("missing") {
            return Err(Error::not_found(format!("{node}: no such device")));
        }
        if let Some(number) = node
            .strip_prefix("/dev/loop")
            .and_then(|number| number.parse().ok())
        {
            return Ok((LOOP_MAJOR, number));
        }
        let mut hasher = DefaultHasher::new();
        node.hash(&mut hasher);
        Ok((253, (hasher.finish() & 0xf_ffff) as u32))
    }

    fn mounted(&self, node: &str) -> Result<Option<bool>> {
        drop(self.0.look()?);
        Ok(match node {
            _ if node.contains("mounted-rw") => Some(true),
            _ if node.contains("mounted-ro") => Some(false),
            _ => None,
        })
    }

    fn run_script(
        &self,
        script: &str,
        args: &[String],
        _env: &[(String, String)],
    ) -> Result<String> {
        let mut inner = self.0.change(&format!("{script} {}", args.join(" ")))?;
        let vif = args
            .iter()
            .find_map(|arg| arg.strip_prefix("vif="))
            .map(str::to_owned);
        match (args.first().map(String::as_str), vif) {
            (Some("up"), Some(vif)) => {
                inner.raised.insert(vif);
            }
            (Some("down"), Some(vif)) => {
                inner.raised.remove(&vif);
            }
            _ => {}
        }
        Ok(String::new())
    }

    fn canonical(&self, path: &str) -> String {
        path.to_owned()
    }

    fn has_interface(&self, name: &str) -> Result<bool> {
        let inner = self.0.look()?;
        let numbers = name
            .strip_prefix("vif")
            .and_then(|rest| rest.split_once('.'));
        let driver = numbers.is_some_and(|(domid, devid)| {
            let path = format!("/local/domain/0/backend/vif/{domid}/{devid}/state");
            inner.store.contains_key(&path)
        });
        Ok(driver || inner.raised.contains(name))
    }

    fn has_driver(&self, kind: &str) -> Result<bool> {
        Ok(!self.0.look()?.missing_drivers.contains(kind))
    }

    fn has_backend(&self, kind: &str, domid: DomId, devid: u32) -> Result<bool> {
        let path = format!("/local/domain/0/backend/{kind}/{domid}/{devid}/state");
        Ok(self.0.look()?.store.contains_key(&path))
    }

    fn boot_id(&self) -> Result<String> {
        drop(self.0.look()?);
        Ok("simulated".into())
    }

    fn load(&self, path: &str) -> Result<Option<String>> {
        Ok(self.0.look()?.files.get(path).cloned())
    }

    fn save(&self, path: &str, text: &str) -> Result<()> {
        self.0
            .change(&format!("save {path}"))?
            .files
            .insert(path.to_owned(), text.to_owned());
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.0.change(&format!("remove {path}"))?.files.remove(path);
        Ok(())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = format!("{folder}/");
        Ok(self
            .0
            .look()?
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }

    fn now(&self) -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64())
    }

    /// Two hours.
    fn utc_offset(&self) -> Result<i64> {
        Ok(7200)
    }

    fn random(&self) -> [u8; 16] {
        let mut inner = self.0.lock();
        inner.random += 1;
        let mut bytes = [0; 16];
        for (half, chunk) in bytes.chunks_mut(8).enumerate() {
            let mut hasher = DefaultHasher::new();
            (inner.random, half).hash(&mut hasher);
            chunk.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        bytes
    }
}
