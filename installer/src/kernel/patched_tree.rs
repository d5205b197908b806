//! A source tree that is made that of one series after another, with the least writing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::series::{Misfit, Series};
use crate::error::{Error, Result};

/// An unpacked source tree and what is known of it; all paths are below one folder.
pub struct PatchedTree {
    /// The source tree.
    pub tree: PathBuf,
    /// The untouched versions of files that a series has touched.
    pub originals: PathBuf,
    /// The list of all files that a series has touched, a path per line.
    pub record: PathBuf,
    /// Where the series is applied first.
    pub scratch: PathBuf,
}

impl PatchedTree {
    /// Makes the tree that of `series`, whichever series it held before (or half held).
    /// Returns the names of the patches that were left out.
    ///
    /// # Errors
    /// A patch does not apply (the tree is then as before), or the file system's.
    pub fn become_(&self, series: &Series, source: &str, misfit: Misfit) -> Result<Vec<String>> {
        let mut known = self.known()?;
        let touches = series.touches();
        for path in touches.difference(&known) {
            copy_if_there(&self.tree.join(path), &self.originals.join(path))?;
        }
        known.extend(touches.iter().cloned());
        self.remember(&known)?;

        if self.scratch.exists() {
            fs::remove_dir_all(&self.scratch).map_err(Error::io("remove", &self.scratch))?;
        }
        fs::create_dir_all(&self.scratch).map_err(Error::io("create", &self.scratch))?;
        for path in &touches {
            copy_if_there(&self.originals.join(path), &self.scratch.join(path))?;
        }
        let left_out = series.apply(&self.scratch, source, misfit)?;
        for path in &known {
            let wanted = if touches.contains(path) {
                self.scratch.join(path)
            } else {
                self.originals.join(path)
            };
            make_same(&wanted, &self.tree.join(path))?;
        }
        fs::remove_dir_all(&self.scratch).map_err(Error::io("remove", &self.scratch))?;
        Ok(left_out)
    }

    fn known(&self) -> Result<BTreeSet<PathBuf>> {
        if !self.record.exists() {
            return Ok(BTreeSet::new());
        }
        let text = fs::read_to_string(&self.record).map_err(Error::io("read", &self.record))?;
        Ok(text.lines().map(PathBuf::from).collect())
    }

    /// Written beside and renamed: the record is whole or the one before.
    fn remember(&self, known: &BTreeSet<PathBuf>) -> Result<()> {
        let lines: String = known.iter().map(|p| format!("{}\n", p.display())).collect();
        let part = self.record.with_extension("part");
        fs::write(&part, lines).map_err(Error::io("write", &part))?;
        fs::rename(&part, &self.record).map_err(Error::io("write", &self.record))
    }
}

fn copy_if_there(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    }
    fs::copy(from, to).map(drop).map_err(Error::io("write", to))
}

/// Makes `to` hold what `from` holds, or not be there if `from` is not; does nothing if that is so already.
pub fn make_same(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return match fs::remove_file(to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", to)(e)),
            _ => Ok(()),
        };
    }
    let wanted = fs::read(from).map_err(Error::io("read", from))?;
    if fs::read(to).is_ok_and(|held| held == wanted) {
        return Ok(());
    }
    copy_if_there(from, to)
}
