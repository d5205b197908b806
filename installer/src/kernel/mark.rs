//! What a run of make leaves in an object tree, and what a killed one must not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::ui;

/// Says that make is at work in an object tree. When a run finds the mark of another, that one was killed without
/// a chance to let make clean up, and make takes a half-written object for a whole one.
pub struct Mark(PathBuf);

impl Mark {
    /// Sets the mark, after making good what a killed run left.
    ///
    /// # Errors
    /// The file system's.
    pub fn set(path: &Path, objects: &Path) -> Result<Self> {
        if let Ok(since) = fs::metadata(path).and_then(|m| m.modified()) {
            let removed = remove_since(objects, since)?;
            ui::note(&format!(
                "the last build was cut off: the {removed} files it had begun are made again"
            ));
        }
        fs::write(path, "").map_err(Error::io("write", path))?;
        Ok(Self(path.to_owned()))
    }

    /// Takes the mark away: make has ended by itself.
    ///
    /// # Errors
    /// The file system's.
    pub fn clear(self) -> Result<()> {
        fs::remove_file(&self.0).map_err(Error::io("remove", &self.0))
    }
}

/// Removes the files below `dir` that are not older than `since`; returns how many.
fn remove_since(dir: &Path, since: SystemTime) -> Result<u64> {
    let mut removed = 0;
    walk(dir, &mut |path, meta| {
        if meta.modified().is_ok_and(|when| when >= since) {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
            removed += 1;
        }
        Ok(())
    })?;
    Ok(removed)
}

/// How many steps make has done in an object tree: kbuild leaves the command of each beside its result.
pub fn made_before(objects: &Path) -> u64 {
    let mut found = 0;
    let _ = walk(objects, &mut |path, _| {
        found += u64::from(path.extension().is_some_and(|e| e == "cmd"));
        Ok(())
    });
    found
}

/// Visits the files below a folder.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))?.flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            walk(&path, visit)?;
        } else {
            visit(&path, &meta)?;
        }
    }
    Ok(())
}
