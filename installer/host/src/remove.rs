//! Takes everything away again: the boot menu first, so that it never names what is not there.

use std::fs;

use crate::apply::make_menu;
use crate::disk::{Disk, part_of};
use crate::error::{Error, Result};
use crate::grub;
use crate::record::{Item, Record, Saved, State, backup_of, mark};
use crate::scan::Entry;

/// What the daemons made in this folder, if it is ours: copies of kernels, and records of domains, which end with the boot
/// that `boot` names.
const STATE_OF_XEND: &str = "var/lib/xen";
const COPIES: &str = "var/lib/xen/kernels";
const RECORDS: &str = "var/lib/xen/xend-db";
const BOOT: &str = "var/lib/xen/xend-db/boot";
const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is as it was before us.
    No,
    /// It is not as we left it, so it stays.
    Changed,
}

/// Removes what a record says is ours, and gives back what was there. Says what stays.
///
/// # Errors
/// The file system's; GRUB makes no menu. The next run goes on from there.
pub fn remove(
    disk: &dyn Disk,
    mut record: Record,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    record.state = State::Removing;
    record.write(disk)?;
    say("taking the boot menu back");
    let again = menu(disk, &record)?;
    say(&format!("removing {} files", record.items.len()));
    let mut items: Vec<&String> = record.items.keys().collect();
    // The hypervisor last, as it came.
    items.sort_by_key(|p| (*p == grub::XEN, *p));
    for path in items {
        if give_back(disk, &record, path)? == Kept::Changed {
            kept.push(path.clone());
        }
    }
    disk.sync()?;
    if again {
        say("making the boot menu");
        new_menu(disk)?;
    }
    if record.folders.contains(STATE_OF_XEND) {
        clear(disk, COPIES)?;
        let id = |path| disk.text(path).map(|text| text.trim().to_owned());
        let of_domains = id(BOOT);
        if of_domains.is_some() && of_domains != id(BOOT_ID) {
            clear(disk, RECORDS)?;
        }
    }
    for folder in record.folders.iter().rev() {
        if !disk.remove_folder(folder)? {
            kept.push(format!("{folder}/"));
        }
    }
    // What holds a kept file is not worth a word of its own.
    let of_files = kept.clone();
    kept.retain(|k| {
        !k.ends_with('/') || !of_files.iter().any(|f| f != k && f.starts_with(k.as_str()))
    });
    disk.sync()?;
    Record::remove(disk)?;
    Ok(kept)
}

/// Removes a folder with all that is in it.
fn clear(disk: &dyn Disk, folder: &str) -> Result<()> {
    for name in disk.names(folder) {
        let path = format!("{folder}/{name}");
        match disk.at(&path).symlink_metadata() {
            Ok(found) if found.is_dir() => clear(disk, &path)?,
            _ => disk.remove(&path)?,
        }
    }
    disk.remove_folder(folder).map(|_| ())
}

/// Puts the menu from before us back; says whether it must be made anew once our files are gone.
fn menu(disk: &dyn Disk, record: &Record) -> Result<bool> {
    disk.remove(grub::MENU_PART)?;
    disk.remove(&format!("{}.new", grub::MENU_PART))?;
    let text = disk.text(grub::MENU).unwrap_or_default();
    let now = disk
        .entry(grub::MENU)?
        .as_ref()
        .map(mark)
        .unwrap_or_default();
    if let Some(menu) = &record.menu
        && let Some(before) = &menu.before
    {
        if before.mark == now {
            return Ok(false);
        }
        if menu.ours.contains(&now) {
            give_saved(disk, grub::MENU, before)?;
            disk.sync()?;
            return Ok(false);
        }
    }
    if !disk.runs() || !grub::has_entry(&text) {
        return Ok(false);
    }
    // Others made theirs since. Without our settings the default is theirs; our entry goes with our files.
    if record.items.contains_key(grub::SETTINGS) {
        give_back(disk, record, grub::SETTINGS)?;
        disk.sync()?;
        new_menu(disk)?;
    }
    Ok(true)
}

fn new_menu(disk: &dyn Disk) -> Result<()> {
    make_menu(disk)?;
    disk.rename(grub::MENU_PART, grub::MENU)?;
    disk.sync()
}

/// Gives one path back what was there before us, if what is there is ours.
///
/// # Errors
/// The file system's.
pub(crate) fn give_back(disk: &dyn Disk, record: &Record, path: &str) -> Result<Kept> {
    let item = &record.items[path];
    disk.remove(&part_of(path))?;
    let is = disk.entry(path)?;
    if item.foreign || !is_ours(item, is.as_ref()) {
        let before = item.before.as_ref().map(|b| &b.mark);
        let same = item.foreign || is.as_ref().map(mark).as_ref() == before;
        return Ok(if same { Kept::No } else { Kept::Changed });
    }
    match &item.before {
        Some(before) => give_saved(disk, path, before)?,
        None => disk.remove(path)?,
    }
    Ok(Kept::No)
}

/// Whether what is at a path is ours to remove or replace.
fn is_ours(item: &Item, is: Option<&Entry>) -> bool {
    match is {
        None => item.before.is_some(),
        Some(is) => item.ours.contains(&mark(is)),
    }
}

/// Puts a backup in its place.
fn give_saved(disk: &dyn Disk, path: &str, saved: &Saved) -> Result<()> {
    let part = part_of(path);
    if let Some(target) = saved.mark.strip_prefix("-> ") {
        disk.remove(&part)?;
        disk.link(&part, target)?;
    } else {
        let from = disk.at(&backup_of(path));
        let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
        if crate::hash::sha256(&bytes) != saved.mark {
            return Err(Error::new(format!("{} is damaged", from.display()))
                .because(format!("it is the backup of /{path}"))
                .remedy(format!(
                    "put that file there by hand, remove {}, and run this again",
                    from.display()
                )));
        }
        disk.write(&part, &bytes, saved.meta())?;
    }
    disk.sync()?;
    disk.rename(&part, path)
}
