//! The one layer through which a host is changed: small steps on paths below its root, each of which happens or does not.
//!
//! Tests put their own [`Disk`] around [`RealDisk`] and cut the power at each step. A path is relative to the root, without
//! a slash before it; links on the way are followed within the root, so that another root's `/etc` is never ours.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::scan::{self, Entry};

/// Links followed for one path before we call it a circle, as Linux counts.
const LINKS: u32 = 40;

/// What a file has besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits.
    pub mode: u32,
    /// User and group, where they are not those of who runs this.
    pub owner: Option<(u32, u32)>,
    /// When it was changed, in seconds since 1970.
    pub time: u64,
}

/// A host's file system, and the one program that is run on it.
pub trait Disk {
    /// The host's root folder.
    fn root(&self) -> &Path;

    /// Makes a folder; one that is there stays as it is.
    ///
    /// # Errors
    /// The file system's, as for all of these.
    fn make_folder(&self, path: &str, mode: u32) -> Result<()>;

    /// Writes a file, in the place of one that is there. A cut leaves part of it: write beside, [`Self::sync`], rename.
    ///
    /// # Errors
    /// The file system's.
    fn write(&self, path: &str, bytes: &[u8], meta: Meta) -> Result<()>;

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// The file system's.
    fn link(&self, path: &str, target: &str) -> Result<()>;

    /// Gives a file another name, in the place of what had that name.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file or a link, if it is there.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, path: &str) -> Result<()>;

    /// Removes a folder that is empty, and says whether it was.
    ///
    /// # Errors
    /// The file system's.
    fn remove_folder(&self, path: &str) -> Result<bool>;

    /// Returns when everything done so far would survive a power cut.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self) -> Result<()>;

    /// Whether it is the host that this runs on, so that its programs can be run and its kernel be asked.
    fn runs(&self) -> bool;

    /// Has the host's grub-mkconfig write a boot menu for the host as it is now.
    ///
    /// # Errors
    /// It says so.
    fn make_menu(&self, path: &str) -> Result<()>;

    /// The file system that a path is or would be on, as a number, and the bytes free there.
    ///
    /// # Errors
    /// It cannot be asked.
    fn free(&self, path: &str) -> Result<(u64, u64)>;

    /// Where a path is. The last part of it may be a link, and is not followed.
    fn at(&self, path: &str) -> PathBuf {
        resolve(self.root(), path)
    }

    /// What is at a path, if something is.
    ///
    /// # Errors
    /// It cannot be read.
    fn entry(&self, path: &str) -> Result<Option<Entry>> {
        let at = self.at(path);
        match at.symlink_metadata() {
            Ok(_) => scan::entry(&at).map(Some),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(Error::io("read", &at)(e)),
        }
    }

    /// A file's text, if it is there.
    fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.followed(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether something is there, behind links or not.
    fn has(&self, path: &str) -> bool {
        self.followed(path).exists()
    }

    /// The names in a folder, sorted; none where there is no folder.
    fn names(&self, path: &str) -> Vec<String> {
        let found = fs::read_dir(self.followed(path)).into_iter().flatten();
        let mut names: Vec<String> = found
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Where a path leads, the last part followed, too.
    fn followed(&self, path: &str) -> PathBuf {
        // Below a folder that is not there, nothing is a link.
        resolve(self.root(), &format!("{path}/."))
    }
}

fn absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Follows the links on the way to `path`, all of them within `root`.
fn resolve(root: &Path, path: &str) -> PathBuf {
    let follow_last = path.ends_with("/.");
    let mut left: Vec<PathBuf> = parts(Path::new(path)).rev().collect();
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            done.pop();
            continue;
        }
        let here = root.join(&done).join(&part);
        let last = left.is_empty() && !follow_last;
        match fs::read_link(&here) {
            Ok(target) if !last && links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    done.clear();
                }
                left.extend(parts(&target).rev());
            }
            _ => done.push(part),
        }
    }
    root.join(done)
}

/// The parts of a path that count.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    })
}

/// The host that this runs on, or the root of another in a folder.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The host whose root folder this is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Disk for RealDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn make_folder(&self, path: &str, mode: u32) -> Result<()> {
        let at = self.followed(path);
        if at.is_dir() {
            return Ok(());
        }
        fs::create_dir(&at)
            .and_then(|()| fs::set_permissions(&at, Permissions::from_mode(mode)))
            .map_err(Error::io("create", &at))
    }

    fn write(&self, path: &str, bytes: &[u8], meta: Meta) -> Result<()> {
        let at = self.at(path);
        let written = || {
            // A new file, not the old one's: that may be a link, or have other names.
            match fs::remove_file(&at) {
                Err(e) if !absent(&e) => return Err(e),
                _ => {}
            }
            let mut file = File::create_new(&at)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(bytes)?;
            if let Some((user, group)) = meta.owner {
                chown(&at, Some(user), Some(group))?;
            }
            file.set_permissions(Permissions::from_mode(meta.mode))?;
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(meta.time))?;
            // Full disks show here at the latest.
            file.sync_data()
        };
        written().map_err(Error::io("write", &at))
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        let at = self.at(path);
        symlink(target, &at).map_err(Error::io("create", &at))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let to = self.at(to);
        fs::rename(self.at(from), &to).map_err(Error::io("write", &to))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let at = self.at(path);
        match fs::remove_file(&at) {
            Err(e) if !absent(&e) => Err(Error::io("remove", &at)(e)),
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, path: &str) -> Result<bool> {
        let at = self.at(path);
        match fs::remove_dir(&at) {
            Ok(()) => Ok(true),
            Err(e) if absent(&e) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            // Something is mounted there.
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => Ok(false),
            Err(e) => Err(Error::io("remove", &at)(e)),
        }
    }

    fn sync(&self) -> Result<()> {
        // /boot may be another file system than /: all of them.
        rustix::fs::sync();
        Ok(())
    }

    fn runs(&self) -> bool {
        self.root == Path::new("/")
    }

    fn make_menu(&self, path: &str) -> Result<()> {
        let output = Command::new("grub-mkconfig")
            .arg("-o")
            .arg(self.at(path))
            .stdin(Stdio::null())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .map_err(|e| Error::new("cannot run grub-mkconfig").because(e))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.trim().lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(Error::new("grub-mkconfig makes no boot menu")
            .because(last.join("\n"))
            .remedy("see what 'grub-mkconfig' says, and mend that first"))
    }

    fn free(&self, path: &str) -> Result<(u64, u64)> {
        let path = self.followed(path);
        let there = path.ancestors().find(|p| p.is_dir()).unwrap_or(&self.root);
        let asked = || {
            let space = rustix::fs::statvfs(there)?;
            Ok((there.metadata()?.dev(), space.f_bavail * space.f_frsize))
        };
        asked().map_err(Error::io("read", there))
    }
}

/// The name beside `path` under which its next content is written.
pub fn part_of(path: &str) -> String {
    let path = Path::new(path);
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let part = path.with_file_name(format!(".{name}.rexen-part"));
    part.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_root_and_the_last_is_not() {
        let root = std::env::temp_dir().join(format!("rexen-resolve-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/usr", root.join("abs")).unwrap();
        symlink("../../../..", root.join("usr/out")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        let disk = RealDisk::new(&root);
        assert_eq!(disk.at("lib/modules/x"), root.join("usr/lib/modules/x"));
        assert_eq!(disk.at("abs/lib/y"), root.join("usr/lib/y"));
        assert_eq!(disk.at("usr/out/etc/passwd"), root.join("etc/passwd"));
        assert_eq!(disk.at("lib"), root.join("lib"));
        assert_eq!(disk.followed("lib"), root.join("usr/lib"));
        assert_eq!(disk.at("circle/z"), root.join("circle/z"));
        assert_eq!(part_of("a/b.cfg"), "a/.b.cfg.rexen-part");
        fs::remove_dir_all(&root).unwrap();
    }
}
