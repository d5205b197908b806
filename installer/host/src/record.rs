//! What is installed: the record, which is the journal, too.
//!
//! It is written before anything is changed, and says of every path what was there, what is ours, and which folders are
//! ours. With it a run that was cut short can be finished or undone, from whatever it left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Meta, part_of};
use crate::error::{Error, Result};
use crate::grub::MENU;
use crate::hash::sha256;
use crate::scan::Entry;

/// Where the installer keeps what it must remember; root's alone.
pub const STATE: &str = "var/lib/rexen-install";
const RECORD: &str = "var/lib/rexen-install/record.toml";
/// Where replaced files are.
pub const BACKUPS: &str = "var/lib/rexen-install/backup";
const FORMAT: u32 = 1;
/// Files of ours that nobody else reads.
pub const PRIVATE: Meta = Meta {
    mode: 0o600,
    owner: None,
    time: 0,
};

/// How far an installation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Begun, and not finished: what is there may be of this version, of the one before, or not there at all.
    Installing,
    /// Whole.
    Installed,
    /// On its way out.
    Removing,
}

/// The record itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u32,
    /// How far it is.
    pub state: State,
    /// The version that is or will be there.
    pub version: String,
    /// Its commit.
    pub commit: String,
    /// Whether the boot menu's default is ours.
    pub default: bool,
    /// Folders that we made.
    #[serde(default)]
    pub folders: BTreeSet<String>,
    /// The boot menu, once we have made one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub menu: Option<Menu>,
    /// Every path that we put something at.
    #[serde(default)]
    pub items: BTreeMap<String, Item>,
}

/// One path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Marks of what we put there: the last one is this version's.
    pub ours: Vec<String>,
    /// What was there before us, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Saved>,
    /// Somebody else's configuration was there before ours: it stays, now and when we go.
    #[serde(default, skip_serializing_if = "is_false")]
    pub foreign: bool,
    /// The administrator removed our configuration: it stays away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gone: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The boot menu, which the host's own program makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Menu {
    /// Marks of the menus that we had made.
    pub ours: Vec<String>,
    /// The one from before us; none if others have made theirs since, and it is out of date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Saved>,
}

/// A file or link that we replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// What it is: see [`mark`].
    pub mark: String,
    /// Its permissions.
    pub mode: u32,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Its time, seconds since 1970.
    pub time: u64,
}

impl Saved {
    /// What the file is given back with.
    pub fn meta(&self) -> Meta {
        Meta {
            mode: self.mode,
            owner: Some((self.user, self.group)),
            time: self.time,
        }
    }

    /// Describes what is at `path` now.
    ///
    /// # Errors
    /// It is neither file nor link, or cannot be read.
    pub fn of(disk: &dyn Disk, path: &str) -> Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let at = disk.at(path);
        let about = fs::symlink_metadata(&at).map_err(Error::io("read", &at))?;
        let entry = crate::scan::entry(&at)?;
        if !matches!(entry, Entry::File { .. } | Entry::Link { .. }) {
            return Err(Error::new(format!(
                "{} is neither a file nor a link, and a file of ours goes there",
                at.display()
            ))
            .remedy("move it away, and run this again"));
        }
        Ok(Self {
            mark: mark(&entry),
            mode: about.mode() & 0o7777,
            user: about.uid(),
            group: about.gid(),
            time: u64::try_from(about.mtime()).unwrap_or_default(),
        })
    }
}

/// What an entry is, in one word: a file's SHA-256, `-> TARGET` for a link.
pub fn mark(entry: &Entry) -> String {
    match entry {
        Entry::File { sha256, .. } => sha256.clone(),
        Entry::Link { target } => format!("-> {target}"),
        Entry::Folder { .. } => "folder".to_owned(),
        Entry::Special => "special".to_owned(),
    }
}

/// Where the backup of a path is.
pub fn backup_of(path: &str) -> String {
    format!("{BACKUPS}/{:.32}", sha256(path.as_bytes()))
}

impl Record {
    /// A record of nothing yet.
    pub fn new(version: &str, commit: &str) -> Self {
        Self {
            format: FORMAT,
            state: State::Installing,
            version: version.to_owned(),
            commit: commit.to_owned(),
            default: false,
            folders: BTreeSet::new(),
            menu: None,
            items: BTreeMap::new(),
        }
    }

    /// Reads a host's record, if it has one.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>> {
        let at = disk.at(RECORD);
        if disk.entry(RECORD)?.is_none() {
            return Ok(None);
        }
        let text = fs::read_to_string(&at).map_err(Error::io("read", &at))?;
        let damaged = |why: String| {
            Error::new(format!("{} is damaged", at.display()))
                .because(why)
                .remedy("give it back from a backup: without it nothing can be upgraded or removed")
        };
        let record: Self = toml::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if record.format != FORMAT {
            return Err(damaged(format!(
                "format {}, not {FORMAT}: a newer rexen-install wrote it",
                record.format
            )));
        }
        Ok(Some(record))
    }

    /// Writes it, so that a power cut leaves the old one or the new one.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, disk: &dyn Disk) -> Result<()> {
        let text =
            toml::to_string(self).map_err(|e| Error::new("cannot write the record").because(e))?;
        let part = part_of(RECORD);
        disk.write(&part, text.as_bytes(), PRIVATE)?;
        disk.sync()?;
        disk.rename(&part, RECORD)?;
        disk.sync()
    }

    /// Removes it: from now on nothing of ours is installed.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(disk: &dyn Disk) -> Result<()> {
        disk.remove(RECORD)?;
        disk.sync()?;
        sweep(disk, None)
    }

    /// Where the backups are that it may need.
    fn backups(&self) -> BTreeSet<String> {
        let saved = |(path, item): (&String, &Item)| item.before.as_ref().map(|_| backup_of(path));
        let menu = self.menu.as_ref().and_then(|m| m.before.as_ref());
        let items = self.items.iter().filter_map(saved);
        items.chain(menu.map(|_| backup_of(MENU))).collect()
    }
}

/// Removes backups that no record needs; without a record, our folder, too.
///
/// # Errors
/// The file system's.
pub fn sweep(disk: &dyn Disk, record: Option<&Record>) -> Result<()> {
    let needed = record.map(Record::backups).unwrap_or_default();
    for name in disk.names(BACKUPS) {
        let path = format!("{BACKUPS}/{name}");
        if !needed.contains(&path) {
            disk.remove(&path)?;
        }
    }
    disk.remove(&part_of(RECORD))?;
    if record.is_none() {
        disk.remove_folder(BACKUPS)?;
        disk.remove_folder(STATE)?;
    }
    Ok(())
}
