//! Lays the tree out beside its place, and puts it there by rename once it is whole.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::list::{Parts, Row, What};
use super::{Facts, MANIFEST, Manifest, SBOM, sbom, scan};
use crate::error::{Error, Result};
use crate::tree;

const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Lays out `rows` in `out`, with manifest and SBOM, in the place of an older tree.
///
/// # Errors
/// A part lacks a file; `out` holds something else than a tree of ours; the file system's. The older tree is then as it
/// was, and nothing is left beside it.
pub fn lay_out(rows: &[Row], parts: &Parts, facts: &Facts, out: &Path) -> Result<Manifest> {
    ensure_replaceable(out)?;
    let part = Beside::of(out, "rexen-new")?;
    let mut layout = Layout {
        root: &part.0,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(facts.time),
        folders: BTreeMap::new(),
    };
    fs::create_dir_all(&part.0).map_err(Error::io("create", &part.0))?;
    layout.folders.insert(String::new(), FOLDER_MODE);
    for row in rows {
        layout.place(row, parts)?;
    }
    layout.write(SBOM, &sbom::text(facts)?)?;
    layout.folders_done()?;
    let missing = rows.iter().filter_map(|row| match row.what {
        What::Missing(why) => Some((parts.named(&row.path), why.to_owned())),
        _ => None,
    });
    let manifest = Manifest::new(facts, missing.collect(), scan::scan(&part.0)?);
    layout.write(MANIFEST, &manifest.text()?)?;
    layout.folders_done()?;
    put_in_place(&part.0, out)?;
    Ok(manifest)
}

/// Refuses a folder that holds what no manifest of ours names: it would be lost.
///
/// # Errors
/// It does, or it cannot be read.
pub fn ensure_replaceable(out: &Path) -> Result<()> {
    // What single `build` commands put there has no manifest, and is ours all the same.
    if !out.exists() || out == tree::dist_install() {
        return Ok(());
    }
    let known = Manifest::read(out).map(|m| m.entries).unwrap_or_default();
    scan::walk(out, &mut |path, _| {
        if path == MANIFEST || known.contains_key(&path) {
            return Ok(());
        }
        Err(Error::new(format!(
            "{} is no install tree of ours: it would be replaced",
            out.display()
        ))
        .because(format!("it holds {path}, which its manifest does not name"))
        .remedy("name a folder that is not there yet"))
    })
}

struct Layout<'a> {
    root: &'a Path,
    time: SystemTime,
    /// The mode of every folder made so far.
    folders: BTreeMap<String, u32>,
}

impl Layout<'_> {
    fn place(&mut self, row: &Row, parts: &Parts) -> Result<()> {
        let path = parts.named(&row.path);
        match &row.what {
            What::File(part, from, mode) => {
                self.copy(&parts.folder(*part).join(parts.named(from)), &path, *mode)
            }
            What::Below(part, from) => {
                let from = parts.folder(*part).join(parts.named(from));
                self.folder(&path, FOLDER_MODE)?;
                scan::walk(&from, &mut |relative, file| {
                    let to = format!("{path}/{relative}");
                    if file.is_dir() {
                        self.folder(&to, FOLDER_MODE)
                    } else {
                        self.copy(file, &to, FILE_MODE)
                    }
                })
            }
            What::Folder(mode) => self.folder(&path, *mode),
            What::Link(to) => {
                let link = self.root.join(&path);
                self.folder_of(&path)?;
                symlink(parts.named(to), &link).map_err(Error::io("create", &link))
            }
            What::Missing(_) => Ok(()),
        }
    }

    fn copy(&mut self, from: &Path, path: &str, mode: u32) -> Result<()> {
        self.folder_of(path)?;
        let to = self.root.join(path);
        let unwritten = |e| Error::new(format!("cannot copy {}", from.display())).because(e);
        fs::copy(from, &to).map_err(unwritten)?;
        self.finish(&to, mode)
    }

    fn write(&mut self, path: &str, text: &str) -> Result<()> {
        self.folder_of(path)?;
        let to = self.root.join(path);
        fs::write(&to, text).map_err(Error::io("write", &to))?;
        self.finish(&to, FILE_MODE)
    }

    /// Gives a file its mode, whatever the umask, and its time.
    fn finish(&self, path: &Path, mode: u32) -> Result<()> {
        let done = fs::File::open(path).and_then(|file| {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.set_modified(self.time)
        });
        done.map_err(Error::io("finish", path))
    }

    fn folder_of(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((folder, _)) if !self.folders.contains_key(folder) => {
                self.folder(folder, FOLDER_MODE)
            }
            _ => Ok(()),
        }
    }

    fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.folder_of(path)?;
        self.folders.insert(path.to_owned(), mode);
        let dir = self.root.join(path);
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))
    }

    /// Modes and times of folders, children first: what is made in a folder changes its time.
    fn folders_done(&self) -> Result<()> {
        for (path, mode) in self.folders.iter().rev() {
            self.finish(&self.root.join(path), *mode)?;
        }
        Ok(())
    }
}

fn put_in_place(part: &Path, out: &Path) -> Result<()> {
    let old = Beside::of(out, "rexen-old")?;
    if out.exists() {
        fs::rename(out, &old.0).map_err(Error::io("replace", out))?;
    }
    fs::rename(part, out).map_err(|e| {
        let _ = fs::rename(&old.0, out);
        Error::io("create", out)(e)
    })
}

/// A path beside another, gone again when this is dropped.
struct Beside(PathBuf);

impl Beside {
    fn of(out: &Path, what: &str) -> Result<Self> {
        let (Some(folder), Some(name)) = (out.parent(), out.file_name()) else {
            return Err(Error::new(format!("cannot replace {}", out.display()))
                .remedy("name a folder that is not there yet"));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{what}"));
        let beside = Self(folder.join(hidden));
        beside.remove();
        Ok(beside)
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.remove();
    }
}
