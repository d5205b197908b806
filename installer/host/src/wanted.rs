//! What goes onto a host: the install tree, but for what a host has itself.
//!
//! - Domain 0 runs the host's own kernel, so ours for domain 0 and its modules stay away.
//! - `/boot` gets `xen.gz` and nothing else of ours that GRUB's scripts would take for something to boot: they make an
//!   entry of each `/boot/vmlinuz-*`, with the newest as the default, and of each `/boot/xen*`. The guests' kernel and
//!   the symbols go to `/boot/rexen`.
//! - Units are enabled by the links that `systemctl enable` makes, so that they go with the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hash::sha256;
use crate::manifest::{MANIFEST, Manifest};
use crate::scan::{self, Entry};
use crate::{compare, grub};

/// Where units are enabled: the link's folder, below which is a folder per target.
const ENABLED: &str = "etc/systemd/system";
const UNITS: &str = "usr/lib/systemd/system";

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// These.
    Text(String),
    /// Nowhere: it is a link.
    None,
}

/// A file or link that shall be on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub entry: Entry,
    /// From where.
    pub source: Source,
}

/// All that shall be there, by path.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The version.
    pub version: String,
    /// The commit.
    pub commit: String,
    /// What files are dated, seconds since 1970.
    pub time: u64,
    /// Folders and their modes.
    pub folders: BTreeMap<String, u32>,
    /// Files and links.
    pub things: BTreeMap<String, Thing>,
}

/// Reads and checks a tree.
///
/// # Errors
/// It is not what its manifest says, which is named in full.
pub fn checked_tree(tree: &Path) -> Result<Manifest> {
    let remedy = "get the tarball again; from a clone: cargo rexen build tree";
    let manifest = Manifest::read(tree).map_err(|e| e.remedy(remedy))?;
    let mut found = scan::scan(tree)?;
    found.remove(MANIFEST);
    let differences = compare::compare(&manifest.entries, &found);
    if differences.is_empty() {
        return Ok(manifest);
    }
    let lines: Vec<String> = differences
        .iter()
        .take(5)
        .map(ToString::to_string)
        .collect();
    Err(Error::new(format!(
        "{} is not what its manifest says (differences: {})",
        tree.display(),
        differences.len()
    ))
    .because(lines.join("\n"))
    .remedy(remedy))
}

impl Wanted {
    /// What a tree brings to a host. With `systemd`, its units are enabled; with `default`, the boot menu starts it.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn of(tree: &Path, manifest: &Manifest, systemd: bool, default: bool) -> Result<Self> {
        let facts = &manifest.facts;
        let mut wanted = Self {
            version: facts.version.clone(),
            commit: facts.commit.clone(),
            time: facts.time,
            ..Self::default()
        };
        for (from, entry) in &manifest.entries {
            let Some(path) = place(from) else { continue };
            match entry {
                Entry::Folder { mode } => {
                    wanted.folders.insert(path, *mode);
                }
                Entry::Link { .. } => wanted.put(&path, entry.clone(), Source::None),
                _ => wanted.put(&path, entry.clone(), Source::File(tree.join(from))),
            }
        }
        let own = scan::entry(&tree.join(MANIFEST))?;
        wanted.put(MANIFEST, own, Source::File(tree.join(MANIFEST)));
        wanted.put_text(grub::SETTINGS, grub::settings(default));
        if systemd {
            wanted.enable_units()?;
        }
        Ok(wanted)
    }

    fn put(&mut self, path: &str, entry: Entry, source: Source) {
        let above = Path::new(path).ancestors().skip(1);
        for folder in above.filter(|f| !f.as_os_str().is_empty()) {
            let folder = folder.to_string_lossy().into_owned();
            self.folders.entry(folder).or_insert(0o755);
        }
        self.things.insert(path.to_owned(), Thing { entry, source });
    }

    fn put_text(&mut self, path: &str, text: String) {
        let entry = Entry::File {
            mode: 0o644,
            size: text.len() as u64,
            sha256: sha256(text.as_bytes()),
        };
        self.put(path, entry, Source::Text(text));
    }

    /// Makes the links that each unit's `WantedBy=` asks for.
    fn enable_units(&mut self) -> Result<()> {
        let units: Vec<PathBuf> = self
            .things
            .iter()
            .filter(|(path, _)| path.starts_with(UNITS))
            .filter_map(|(_, thing)| match &thing.source {
                Source::File(file) => Some(file.clone()),
                _ => None,
            })
            .collect();
        for unit in units {
            let text = fs::read_to_string(&unit).map_err(Error::io("read", &unit))?;
            let name = unit.file_name().unwrap_or_default().to_string_lossy();
            let lines = text.lines().filter_map(|l| l.strip_prefix("WantedBy="));
            for target in lines.flat_map(str::split_whitespace) {
                let link = format!("{ENABLED}/{target}.wants/{name}");
                let target = format!("/{UNITS}/{name}");
                self.put(&link, Entry::Link { target }, Source::None);
            }
        }
        Ok(())
    }

    /// The bytes that all files have together.
    pub fn bytes(&self) -> u64 {
        let size = |thing: &Thing| match thing.entry {
            Entry::File { size, .. } => size,
            _ => 0,
        };
        self.things.values().map(size).sum()
    }
}

/// Where an entry of the tree goes on a host; nowhere, if the host has its own.
fn place(path: &str) -> Option<String> {
    let is_xen0 = |name: &str| name == "vmlinuz-xen0" || name.ends_with("-xen0");
    let kept = Some(path.to_owned());
    if let Some(name) = path.strip_prefix("boot/") {
        return match name {
            "xen.gz" => kept,
            // In the tree a link to boot itself, so that one path does for trees and hosts.
            "rexen" => None,
            _ if is_xen0(name) => None,
            _ => Some(format!("boot/rexen/{name}")),
        };
    }
    if let Some(below) = path.strip_prefix("lib/modules/") {
        let release = below.split('/').next().unwrap_or_default();
        return if is_xen0(release) { None } else { kept };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hypervisor_goes_where_grub_looks() {
        let at = |path: &str| place(path).unwrap_or_default();
        assert_eq!(at("boot/xen.gz"), "boot/xen.gz");
        assert_eq!(at("boot/xen-syms"), "boot/rexen/xen-syms");
        assert_eq!(at("boot/vmlinuz-xenU"), "boot/rexen/vmlinuz-xenU");
        assert_eq!(at("boot/config-6.1.2-xenU"), "boot/rexen/config-6.1.2-xenU");
        assert_eq!(at("boot/vmlinuz-6.1.2-xen0"), "");
        assert_eq!(at("boot/vmlinuz-xen0"), "");
        assert_eq!(at("lib/modules/6.1.2-xen0/modules.dep"), "");
        assert_eq!(at("lib/modules/6.1.2-xenU"), "lib/modules/6.1.2-xenU");
        assert_eq!(at("lib/modules"), "lib/modules");
        assert_eq!(at("usr/sbin/xm"), "usr/sbin/xm");
    }
}
