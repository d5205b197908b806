//! The cache of step outputs: a step's inputs are hashed, its output is a folder under that hash.
//!
//! A folder appears by rename once it is whole, so an interrupted run leaves nothing half-made behind
//! and the next one goes on where it stopped. Layout: `<root>/<step>/<hash>/...`.

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rexen_install::hash::hex;
pub use rexen_install::hash::{sha256, sha256_file, sha256_of};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Outputs kept per step; older ones go when a new one arrives, unless someone used them within the hour.
const KEEP: usize = 8;

/// A place outside the tree for what steps make.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: `$XDG_CACHE_HOME/rexen`, else `~/.cache/rexen`.
    ///
    /// # Errors
    /// Neither variable is set.
    pub fn open() -> Result<Self> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|h| h.join(".cache")));
        let base = base.ok_or_else(|| {
            Error::new("no place for the cache").because("HOME and XDG_CACHE_HOME are not set")
        })?;
        Ok(Self::at(base.join("rexen")))
    }

    /// A cache in a given folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the output for `key` is or would be.
    pub fn path(&self, step: &str, key: &str) -> PathBuf {
        self.root.join(step).join(key)
    }

    /// Whether the output for `key` is there.
    pub fn has(&self, step: &str, key: &str) -> bool {
        self.path(step, key).is_dir()
    }

    /// Returns the output folder for `key`, calling `make` to fill it when it is not there yet.
    ///
    /// # Errors
    /// Those of `make`, and of the file system.
    pub fn get_or_make(
        &self,
        step: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.path(step, key);
        if done.is_dir() {
            crate::ui::detail(&format!("{step}: up to date ({key:.12})"));
            return Ok(done);
        }
        let _alone = self.alone(step)?;
        if done.is_dir() {
            return Ok(done); // made by another process while we waited
        }
        self.sweep(step);
        let part = self.scratch(step)?;
        make(&part.0)?;
        fs::rename(&part.0, &done).map_err(Error::io("create", &done))?;
        self.prune(step);
        Ok(done)
    }

    /// One maker per step at a time, over all threads and processes; the lock dies with its holder.
    ///
    /// # Errors
    /// The file system's.
    pub fn alone(&self, step: &str) -> Result<fs::File> {
        let dir = self.root.join(step);
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        let path = dir.join(".lock");
        let file = fs::File::create(&path).map_err(Error::io("create", &path))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            crate::ui::note(&format!("{step}: somebody else is at it; waiting for them"));
        }
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }

    /// A fresh folder that goes away with the returned guard.
    ///
    /// # Errors
    /// The file system's.
    pub fn scratch(&self, step: &str) -> Result<Scratch> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nr = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = self
            .root
            .join(step)
            .join(format!(".part-{}-{nr}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
        }
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        Ok(Scratch(dir))
    }

    /// Removes the whole cache; returns whether there was one.
    ///
    /// # Errors
    /// The file system's.
    pub fn clean(&self) -> Result<bool> {
        if !self.root.exists() {
            return Ok(false);
        }
        fs::remove_dir_all(&self.root).map_err(Error::io("remove", &self.root))?;
        Ok(true)
    }

    /// Removes scratch folders whose process was killed before it could. Best effort, as `prune`.
    fn sweep(&self, step: &str) {
        let entries = fs::read_dir(self.root.join(step)).into_iter().flatten();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name
                .strip_prefix(".part-")
                .and_then(|n| n.split('-').next());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Drops the oldest outputs of a step. Best effort: what cannot be removed stays.
    fn prune(&self, step: &str) {
        let Ok(entries) = fs::read_dir(self.root.join(step)) else {
            return;
        };
        let mut aged: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|e| !e.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        aged.sort();
        let spare = aged.len().saturating_sub(KEEP);
        for (modified, path) in aged.into_iter().take(spare) {
            if modified
                .elapsed()
                .is_ok_and(|age| age > Duration::from_secs(3600))
            {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

/// A folder that is removed when dropped (unless it was renamed away).
pub struct Scratch(PathBuf);

impl Scratch {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Hashes the named inputs of a step. Every item is framed by its length, so no two lists collide.
pub struct Inputs(Sha256);

impl Inputs {
    /// Starts with the step's name.
    pub fn of(step: &str) -> Self {
        let mut inputs = Self(Sha256::new());
        inputs.frame(step.as_bytes());
        inputs
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.0
            .update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds a named piece of text.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.frame(name.as_bytes());
        self.frame(value.as_bytes());
        self
    }

    /// Adds a file's content under a name (its path and times do not count).
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(mut self, name: &str, path: &Path) -> Result<Self> {
        let content = fs::read(path).map_err(Error::io("read", path))?;
        self.frame(name.as_bytes());
        self.frame(&content);
        Ok(self)
    }

    /// Adds every file below `dir`, in the order of names; hidden entries, `target` and `*.md` do not count.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn tree(mut self, name: &str, dir: &Path) -> Result<Self> {
        self.frame(name.as_bytes());
        for path in files_below(dir)? {
            let relative = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            self = self.file(&relative, &path)?;
        }
        Ok(self)
    }

    /// The hash, in hex.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let entry = entry.map_err(Error::io("read", &dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name.ends_with(".md") {
                continue;
            }
            let path = entry.path();
            if path.is_dir() {
                open.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(name: &str) -> Cache {
        let dir = std::env::temp_dir().join(format!("rexen-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Cache::at(dir)
    }

    #[test]
    fn inputs_differ_by_name_by_value_and_by_where_they_are_cut() {
        let hash = |a: &str, b: &str| Inputs::of("s").text(a, b).finish();
        assert_eq!(hash("a", "b"), hash("a", "b"));
        assert_ne!(hash("a", "b"), hash("a", "c"));
        assert_ne!(hash("a", "b"), hash("b", "b"));
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        assert_ne!(Inputs::of("s").finish(), Inputs::of("t").finish());
    }

    #[test]
    fn a_tree_is_its_names_and_contents_but_not_its_times_or_readmes() {
        let cache = cache("tree");
        let dir = cache.scratch("x").unwrap();
        let hash = || Inputs::of("t").tree("src", dir.path()).unwrap().finish();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a.rs"), "one").unwrap();
        let first = hash();
        fs::write(dir.path().join("README.md"), "words").unwrap();
        fs::write(dir.path().join("sub/a.rs"), "one").unwrap();
        assert_eq!(first, hash());
        fs::write(dir.path().join("sub/a.rs"), "two").unwrap();
        let second = hash();
        assert_ne!(first, second);
        fs::rename(dir.path().join("sub/a.rs"), dir.path().join("sub/b.rs")).unwrap();
        assert_ne!(second, hash());
        cache.clean().unwrap();
    }

    #[test]
    fn a_step_is_made_once_and_an_interrupted_one_is_made_again() {
        let cache = cache("once");
        let failed = cache.get_or_make("s", "k", |dir| {
            fs::write(dir.join("half"), "x").unwrap();
            Err(Error::new("interrupted"))
        });
        assert!(failed.is_err());
        assert!(!cache.has("s", "k"));
        // No process has a number beyond 2^22.
        fs::create_dir(cache.root().join("s/.part-99999999-0")).unwrap();
        let again = cache.get_or_make("s", "k", |_| Err(Error::new("interrupted")));
        assert!(again.is_err());
        let left = fs::read_dir(cache.root().join("s")).unwrap().flatten();
        assert_eq!(left.map(|e| e.file_name()).collect::<Vec<_>>(), [".lock"]);

        let mut made = 0;
        for _ in 0..2 {
            let out = cache.get_or_make("s", "k", |dir| {
                made += 1;
                fs::write(dir.join("whole"), "x").unwrap();
                Ok(())
            });
            assert!(out.unwrap().join("whole").is_file());
        }
        assert_eq!(made, 1);
        cache.clean().unwrap();
    }
}
