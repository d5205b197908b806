//! Reads what is in a folder: every entry below it with its mode, size and hash.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::hash::sha256_file;

/// One entry of a tree. Modes are the twelve permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder {
        /// Permissions.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permissions.
        mode: u32,
        /// In bytes.
        size: u64,
        /// SHA-256 of the content, in hex.
        sha256: String,
    },
    /// A symbolic link.
    Link {
        /// What it leads to, as it is written in the link.
        target: String,
    },
    /// A device, socket or pipe: never in a tree of ours.
    Special,
}

/// All entries below a folder by their paths relative to it, which sort parents before children.
pub type Entries = BTreeMap<String, Entry>;

/// Reads everything below `dir`, hashing every file.
///
/// # Errors
/// Something cannot be read, or a name is not UTF-8.
pub fn scan(dir: &Path) -> Result<Entries> {
    let mut entries = Entries::new();
    walk(dir, &mut |relative, path| {
        entries.insert(relative, entry(path)?);
        Ok(())
    })?;
    Ok(entries)
}

/// Calls `visit` with the relative and the whole path of everything below `dir`; links are not followed.
///
/// # Errors
/// As [`scan`], and those of `visit`.
pub fn walk(dir: &Path, visit: &mut dyn FnMut(String, &Path) -> Result<()>) -> Result<()> {
    let mut open = vec![(String::new(), dir.to_owned())];
    while let Some((prefix, dir)) = open.pop() {
        for found in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let found = found.map_err(Error::io("read", &dir))?;
            let path = found.path();
            let name = found.file_name().into_string().map_err(|_| {
                Error::new(format!("cannot read {}", path.display()))
                    .because("its name is not UTF-8")
            })?;
            let relative = format!("{prefix}{name}");
            visit(relative.clone(), &path)?;
            let kind = found.file_type().map_err(Error::io("read", &path))?;
            if kind.is_dir() {
                open.push((format!("{relative}/"), path));
            }
        }
    }
    Ok(())
}

/// Reads one entry.
///
/// # Errors
/// It is not there or cannot be read.
pub fn entry(path: &Path) -> Result<Entry> {
    let about = fs::symlink_metadata(path).map_err(Error::io("read", path))?;
    let mode = about.permissions().mode() & 0o7777;
    let kind = about.file_type();
    Ok(if kind.is_dir() {
        Entry::Folder { mode }
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(Error::io("read", path))?;
        let target = target.to_string_lossy().into_owned();
        Entry::Link { target }
    } else if kind.is_file() {
        let (size, sha256) = (about.len(), sha256_file(path)?);
        Entry::File { mode, size, sha256 }
    } else {
        Entry::Special
    })
}
