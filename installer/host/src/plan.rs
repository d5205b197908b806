//! What an installation would do, found out without doing it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::disk::{Disk, part_of};
use crate::error::{Error, Result};
use crate::grub;
use crate::record::{Item, Menu, Record, Saved, State, mark};
use crate::scan::Entry;
use crate::wanted::{Thing, Wanted};

/// What is added to the name of our configuration beside the administrator's.
pub const BESIDE: &str = ".rexen-new";

/// A file or link that will be put at a path.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where.
    pub path: String,
    /// What.
    pub thing: Thing,
}

/// What will be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The record from the moment it begins: of what is there and of what comes.
    pub record: Record,
    /// What was recorded before.
    pub old: Option<Record>,
    /// Folders that shall be there.
    pub wanted: BTreeSet<String>,
    /// Those of them to make, those above first, with their modes.
    pub folders: Vec<(String, u32)>,
    /// Paths whose present content is saved first.
    pub saves: Vec<String>,
    /// What is put in place, the boot menu's parts last.
    pub puts: Vec<Put>,
    /// Paths of an older version that go, or get back what was there before it.
    pub drops: Vec<String>,
    /// Files of the administrator's that stay, with ours beside.
    pub kept: Vec<String>,
    /// Whether the boot menu is made anew.
    pub menu: bool,
    /// The files' time, seconds since 1970.
    pub time: u64,
}

/// What becomes of one path.
enum Fate {
    Put,
    Same,
    /// It stays as it is.
    Leave,
    /// It stays, and ours goes beside it.
    Beside,
    Gone,
}

impl Plan {
    /// Compares what is wanted with what a host has.
    ///
    /// # Errors
    /// Something is in the way; a file cannot be read.
    pub fn make(
        disk: &dyn Disk,
        wanted: &Wanted,
        old: Option<Record>,
        default: bool,
    ) -> Result<Self> {
        let mut record = old
            .clone()
            .unwrap_or_else(|| Record::new(&wanted.version, &wanted.commit));
        let whole = record.state == State::Installed;
        record.state = State::Installing;
        record.version.clone_from(&wanted.version);
        record.commit.clone_from(&wanted.commit);
        record.default = default;
        let mut plan = Self {
            record,
            old,
            wanted: wanted.folders.keys().cloned().collect(),
            folders: Vec::new(),
            saves: Vec::new(),
            puts: Vec::new(),
            drops: Vec::new(),
            kept: Vec::new(),
            menu: false,
            time: wanted.time,
        };
        let mut named = BTreeSet::new();
        for (path, thing) in &wanted.things {
            plan.thing(disk, path, thing, whole, &mut named)?;
        }
        let items = plan.record.items.keys();
        plan.drops = items.filter(|p| !named.contains(*p)).cloned().collect();
        plan.folders(disk, wanted)?;
        // What the boot menu is made from comes last of all files: until it is there, nothing is booted.
        plan.puts
            .sort_by_key(|put| (rank(&put.path), put.path.clone()));
        plan.menu(disk, whole)?;
        Ok(plan)
    }

    fn thing(
        &mut self,
        disk: &dyn Disk,
        path: &str,
        thing: &Thing,
        whole: bool,
        named: &mut BTreeSet<String>,
    ) -> Result<()> {
        let found = disk.entry(path)?;
        let want = mark(&thing.entry);
        let known = self.record.items.get(path);
        let fate = fate(path, &thing.entry, found.as_ref(), known, whole);
        named.insert(path.to_owned());
        let new = known.is_none();
        let item = self.record.items.entry(path.to_owned()).or_default();
        item.ours.retain(|m| *m != want);
        item.ours.push(want);
        match fate {
            Fate::Same => {}
            Fate::Put => {
                item.gone = false;
                if new && found.is_some() {
                    item.before = Some(Saved::of(disk, path)?);
                    self.saves.push(path.to_owned());
                }
                self.puts.push(Put {
                    path: path.to_owned(),
                    thing: thing.clone(),
                });
            }
            Fate::Leave | Fate::Beside => {
                item.foreign |= new;
                let beside = format!("{path}{BESIDE}");
                if matches!(fate, Fate::Beside) {
                    self.kept.push(path.to_owned());
                    self.beside(disk, &beside, thing)?;
                }
                named.insert(beside);
            }
            Fate::Gone => item.gone = true,
        }
        Ok(())
    }

    /// Puts our version of a configuration file beside the administrator's.
    fn beside(&mut self, disk: &dyn Disk, path: &str, thing: &Thing) -> Result<()> {
        let want = mark(&thing.entry);
        let found = disk.entry(path)?;
        let new = !self.record.items.contains_key(path);
        let item = self.record.items.entry(path.to_owned()).or_default();
        item.ours.retain(|m| *m != want);
        item.ours.push(want);
        if new && found.is_some() {
            item.before = Some(Saved::of(disk, path)?);
            self.saves.push(path.to_owned());
        }
        if found.as_ref() != Some(&thing.entry) {
            self.puts.push(Put {
                path: path.to_owned(),
                thing: thing.clone(),
            });
        }
        Ok(())
    }

    /// Folders above what will be put, and those of the tree.
    fn folders(&mut self, disk: &dyn Disk, wanted: &Wanted) -> Result<()> {
        for (path, mode) in &wanted.folders {
            let at = disk.followed(path);
            if at.is_dir() {
                continue;
            }
            if disk.entry(path)?.is_some() {
                return Err(Error::new(format!("{} is no folder", at.display()))
                    .because("files of ours go there")
                    .remedy("move it away, and run this again"));
            }
            self.folders.push((path.clone(), *mode));
            self.record.folders.insert(path.clone());
        }
        Ok(())
    }

    fn menu(&mut self, disk: &dyn Disk, whole: bool) -> Result<()> {
        let booted = |put: &Put| rank(&put.path) == 2;
        let menu = disk.text(grub::MENU).unwrap_or_default();
        self.menu =
            disk.runs() && (!whole || !grub::has_entry(&menu) || self.puts.iter().any(booted));
        if !self.menu || disk.entry(grub::MENU)?.is_none() {
            return Ok(());
        }
        let is = Saved::of(disk, grub::MENU)?;
        match &mut self.record.menu {
            None => {
                self.record.menu = Some(Menu {
                    ours: Vec::new(),
                    before: Some(is),
                });
                self.saves.push(grub::MENU.to_owned());
            }
            Some(Menu { ours, before }) => {
                let known = |b: &Saved| b.mark == is.mark || ours.contains(&is.mark);
                if !before.as_ref().is_some_and(known) {
                    *before = None;
                }
            }
        }
        Ok(())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let whole = |old: &Record| {
            old.state == State::Installed
                && old.commit == self.record.commit
                && old.default == self.record.default
        };
        self.old.as_ref().is_some_and(whole)
            && self.puts.is_empty()
            && self.drops.is_empty()
            && self.folders.is_empty()
            && !self.menu
    }

    /// The bytes that it writes, with those of backups, by path.
    pub fn bytes(&self, disk: &dyn Disk) -> Vec<(String, u64)> {
        let size = |put: &Put| match put.thing.entry {
            Entry::File { size, .. } => size,
            _ => 0,
        };
        let saved = |path: &String| {
            let length = disk.at(path).metadata().map_or(0, |m| m.len());
            (crate::record::BACKUPS.to_owned(), length)
        };
        let puts = self.puts.iter().map(|p| (p.path.clone(), size(p)));
        puts.chain(self.saves.iter().map(saved)).collect()
    }

    /// Every name beside its place that a run cut short may have left.
    pub fn parts(&self) -> Vec<String> {
        self.record.items.keys().map(|p| part_of(p)).collect()
    }
}

/// In which order files come: the hypervisor after all others, then what makes it bootable.
fn rank(path: &str) -> u8 {
    match path {
        grub::XEN => 1,
        grub::SETTINGS => 2,
        _ => 0,
    }
}

/// Whether a path is the administrator's to change.
pub fn is_configuration(path: &str) -> bool {
    Path::new(path).starts_with("etc")
}

/// Decides about one path. Below `/etc`, what the administrator made of it stays.
fn fate(
    path: &str,
    want: &Entry,
    found: Option<&Entry>,
    known: Option<&Item>,
    whole: bool,
) -> Fate {
    let conf = is_configuration(path);
    let wanted = mark(want);
    match (found.map(mark), known) {
        // Without its settings the boot menu would not be what was asked for.
        (None, Some(item)) if conf && path != grub::SETTINGS && (item.gone || whole) => Fate::Gone,
        (None, _) => Fate::Put,
        (Some(is), None) if conf && is == wanted => Fate::Leave,
        (Some(_), None) if conf => Fate::Beside,
        (Some(_), None) => Fate::Put,
        (Some(is), Some(item)) if conf && item.foreign => {
            if is == wanted || (whole && item.ours == [wanted]) {
                Fate::Leave
            } else {
                Fate::Beside
            }
        }
        (Some(is), Some(_)) if conf && is == wanted => Fate::Same,
        (Some(is), Some(item)) if conf && !item.ours.contains(&is) => {
            if whole && item.ours == [wanted] {
                Fate::Leave
            } else {
                Fate::Beside
            }
        }
        (Some(_), Some(_)) if !conf && found == Some(want) => Fate::Same,
        (Some(_), Some(_)) => Fate::Put,
    }
}
