//! The lock file `image/packages.lock.toml`: which Debian packages Rexen is built and tested with.
//!
//! Several versions may be locked for one role; the first that Debian still offers is used. (Security updates
//! take their predecessors out of the archive; point releases stay.)

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Domain 0's kernel and its modules.
    Kernel,
    /// The one program in domain 0's initramfs.
    Busybox,
    /// Debian's Xen: the peer that tests compare with. Nothing of it is ever shipped.
    Xen,
    /// Debian's own `xl` and what it needs in domain 0, for tests: not one package but all those of this role.
    Xl,
    /// GRUB, which boots the image, and what its tool needs to run here: all packages of this role.
    Grub,
}

impl Role {
    /// The package whose newest version stands for this role; for a kernel it names the real one in its Depends.
    /// For a role of many packages it is the first of them.
    pub fn newest(self) -> &'static str {
        match self {
            Role::Kernel => "linux-image-amd64",
            Role::Busybox => "busybox-static",
            Role::Xen => "xen-hypervisor-4.17-amd64",
            Role::Xl => "xen-utils-4.17",
            Role::Grub => "grub-common",
        }
    }

    /// Whether the role wants every package that is locked for it, not one of them.
    pub fn is_set(self) -> bool {
        matches!(self, Role::Xl | Role::Grub)
    }
}

/// One package, pinned by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What it is for.
    pub role: Role,
    /// Debian's package name.
    pub name: String,
    /// Debian's version.
    pub version: String,
    /// SHA-256 of the .deb file, in hex.
    pub sha256: String,
}

/// All locked packages, in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The packages.
    #[serde(rename = "package", default)]
    pub packages: Vec<Package>,
}

/// The words above the entries when we write the file.
const HEADER: &str = "\
# Debian packages that Rexen is built and tested with; the first of a role that Debian still offers is used.
# Written by `cargo rexen world --accept-new-packages`; apt's signed index vouches for new content.
";

impl Lock {
    /// Where the lock file is.
    pub fn path() -> PathBuf {
        crate::tree::root().join("image/packages.lock.toml")
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// It cannot be read, or an entry is malformed (the cause names the line).
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text).map_err(|e| e.in_file(path))
    }

    fn parse(text: &str) -> Result<Self> {
        let lock: Lock =
            toml::from_str(text).map_err(|e| Error::new("malformed lock file").because(e))?;
        for p in &lock.packages {
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            if p.sha256.len() != 64 || !p.sha256.chars().all(hex) {
                return Err(Error::new("malformed lock file").because(format!(
                    "sha256 of {} is not 64 lower-case hex digits",
                    p.name
                )));
            }
        }
        Ok(lock)
    }

    /// The packages locked for a role, the preferred one first.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |p| p.role == role)
    }

    /// The packages of a role that wants many, by name; of each the preferred version first.
    pub fn set_of(&self, role: Role) -> Vec<Vec<&Package>> {
        let mut set: Vec<Vec<&Package>> = Vec::new();
        for package in self.of(role) {
            match set.iter_mut().find(|s| s[0].name == package.name) {
                Some(versions) => versions.push(package),
                None => set.push(vec![package]),
            }
        }
        set
    }

    /// Puts a package first in its role (and under its name, where the role has many) and drops the one it takes the
    /// place of; older fall-backs stay.
    pub fn prefer(&mut self, package: Package) {
        let takes_place =
            |p: &Package| p.role == package.role && (!p.role.is_set() || p.name == package.name);
        let first = self.packages.iter().position(takes_place);
        match first {
            Some(at) => self.packages[at] = package,
            None => self.packages.push(package),
        }
    }

    /// Writes the lock file.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, path: &Path) -> Result<()> {
        let body = toml::to_string(self).map_err(|e| Error::new("cannot write").because(e))?;
        fs::write(path, format!("{HEADER}\n{body}")).map_err(Error::io("write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(role: Role, version: &str) -> Package {
        let name = "p".to_owned();
        Package {
            role,
            name,
            version: version.to_owned(),
            sha256: "0a".repeat(32),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let lock = Lock {
            packages: vec![package(Role::Kernel, "6.1.2-1"), package(Role::Xen, "4.17")],
        };
        let path = std::env::temp_dir().join(format!("rexen-lock-{}", std::process::id()));
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_accepted_package_replaces_the_preferred_one_and_keeps_the_fall_back() {
        let mut lock = Lock {
            packages: vec![package(Role::Kernel, "2"), package(Role::Kernel, "1")],
        };
        lock.prefer(package(Role::Kernel, "3"));
        lock.prefer(package(Role::Xen, "4.17"));
        let versions: Vec<_> = lock.of(Role::Kernel).map(|p| p.version.as_str()).collect();
        assert_eq!(versions, ["3", "1"]);
        assert_eq!(lock.of(Role::Xen).count(), 1);
    }

    #[test]
    fn in_a_role_of_many_packages_each_name_has_its_versions() {
        let named = |name: &str, version: &str| Package {
            name: name.to_owned(),
            ..package(Role::Xl, version)
        };
        let mut lock = Lock {
            packages: vec![named("a", "2"), named("a", "1"), named("b", "2")],
        };
        lock.prefer(named("b", "3"));
        let set = lock.set_of(Role::Xl);
        let versions: Vec<Vec<_>> = set
            .iter()
            .map(|s| s.iter().map(|p| p.version.as_str()).collect())
            .collect();
        assert_eq!(versions, [vec!["2", "1"], vec!["3"]]);
    }

    #[test]
    fn malformed_entries_are_refused_with_their_place() {
        let entry = |sha: &str, more: &str| {
            format!(
                "[[package]]\nrole = \"kernel\"\nname = \"n\"\nversion = \"1\"\nsha256 = \"{sha}\"\n{more}"
            )
        };
        assert!(Lock::parse(&entry(&"0a".repeat(32), "")).is_ok());
        assert!(Lock::parse(&entry(&"0A".repeat(32), "")).is_err());
        assert!(Lock::parse(&entry("0a", "")).is_err());
        let unknown = Lock::parse(&entry(&"0a".repeat(32), "colour = 1\n")).unwrap_err();
        assert!(unknown.cause.unwrap().contains("line 6"));
    }

    #[test]
    fn the_lock_file_in_the_tree_names_every_role() {
        let lock = Lock::read(&Lock::path()).unwrap();
        for role in [Role::Kernel, Role::Busybox, Role::Xen, Role::Xl, Role::Grub] {
            assert!(lock.of(role).next().is_some(), "{role:?}");
        }
    }
}
