//! Carries a plan out, so that the power may fail anywhere and the disk may be full anywhere.
//!
//! The record goes first. Then everything is written beside its place: only here can a disk be full, and all of it can be
//! taken back. Then it is renamed into place, which needs no room, and the boot menu comes last.

use std::collections::BTreeSet;
use std::fs;

use crate::disk::{Disk, Meta, part_of};
use crate::error::{Error, Result};
use crate::grub;
use crate::hash::sha256;
use crate::plan::{Plan, Put};
use crate::record::{self, BACKUPS, PRIVATE, Record, STATE, Saved, State, backup_of, mark};
use crate::remove;
use crate::scan::Entry;
use crate::wanted::Source;

/// Carries it out; `say` is told what is being done.
///
/// # Errors
/// A file of the tree changed meanwhile; GRUB makes no menu; the file system's. What was there before is then there
/// again, except where an upgrade fails in its very last steps: the message says so.
pub fn install(disk: &dyn Disk, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<()> {
    if let Err(e) = prepare(disk, plan, say) {
        // The remedy must not hide what was wrong.
        return match take_back(disk, plan) {
            Ok(()) => Err(noted(e, "nothing was changed")),
            Err(second) => Err(noted(e, &format!("{second}\n{UNFINISHED}"))),
        };
    }
    if let Err(e) = put_in_place(disk, plan, say) {
        if plan.old.is_some() {
            return Err(noted(e, UNFINISHED));
        }
        let undone = remove::remove(disk, plan.record.clone(), &mut |_| {});
        return Err(match undone {
            Ok(_) => noted(e, "everything is as it was before"),
            Err(second) => noted(e, &format!("{second}\n{UNFINISHED}")),
        });
    }
    Ok(())
}

const UNFINISHED: &str = "the host boots as before; mend that, then run this again to finish, or with --uninstall to undo";

/// Adds a line to what an error says to do.
fn noted(mut e: Error, note: &str) -> Error {
    let remedy = e
        .remedy
        .take()
        .map(|r| format!("{r}\n"))
        .unwrap_or_default();
    e.remedy(format!("{remedy}{note}"))
}

/// Everything up to the point from which it is finished rather than undone.
fn prepare(disk: &dyn Disk, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<()> {
    disk.make_folder(STATE, 0o700)?;
    disk.make_folder(BACKUPS, 0o700)?;
    for path in &plan.saves {
        say(&format!("backup of /{path}"));
        save(disk, path)?;
    }
    disk.sync()?;
    plan.record.write(disk)?;
    for part in plan.parts() {
        disk.remove(&part)?;
    }
    for (path, mode) in &plan.folders {
        disk.make_folder(path, *mode)?;
    }
    say(&format!(
        "writing {} files beside their places",
        plan.puts.len()
    ));
    for put in &plan.puts {
        stage(disk, plan, put)?;
    }
    disk.sync()
}

/// Copies a file to the backups. A link's target is in the record.
fn save(disk: &dyn Disk, path: &str) -> Result<()> {
    let at = disk.at(path);
    if at.is_symlink() {
        return Ok(());
    }
    let bytes = fs::read(&at).map_err(Error::io("read", &at))?;
    disk.write(&backup_of(path), &bytes, PRIVATE)
}

/// Writes what belongs at a path beside it.
fn stage(disk: &dyn Disk, plan: &Plan, put: &Put) -> Result<()> {
    let part = part_of(&put.path);
    let bytes = match (&put.thing.entry, &put.thing.source) {
        (Entry::Link { target }, _) => return disk.link(&part, target),
        (_, Source::Text(text)) => text.clone().into_bytes(),
        (_, Source::File(file)) => fs::read(file).map_err(Error::io("read", file))?,
        (_, Source::None) => Vec::new(),
    };
    let Entry::File {
        mode, sha256: sum, ..
    } = &put.thing.entry
    else {
        return Err(Error::new(format!("/{} is no file", put.path)));
    };
    if sha256(&bytes) != *sum {
        return Err(
            Error::new(format!("/{} changed while it was read", put.path))
                .remedy("get the tarball again"),
        );
    }
    let meta = Meta {
        mode: *mode,
        owner: None,
        time: plan.time,
    };
    disk.write(&part, &bytes, meta)
}

/// Undoes [`prepare`].
fn take_back(disk: &dyn Disk, plan: &Plan) -> Result<()> {
    for part in plan.parts() {
        disk.remove(&part)?;
    }
    let before = plan.old.as_ref().map(|o| &o.folders);
    let made = |path: &&String| !before.is_some_and(|b| b.contains(*path));
    for (path, _) in plan.folders.iter().rev() {
        if made(&path) {
            disk.remove_folder(path)?;
        }
    }
    match &plan.old {
        Some(old) => {
            old.write(disk)?;
            for path in &plan.saves {
                disk.remove(&backup_of(path))?;
            }
            Ok(())
        }
        None => Record::remove(disk),
    }
}

fn put_in_place(disk: &dyn Disk, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<()> {
    say("putting them in their places");
    for put in &plan.puts {
        disk.rename(&part_of(&put.path), &put.path)?;
    }
    let mut record = plan.record.clone();
    for path in &plan.drops {
        remove::give_back(disk, &record, path)?;
    }
    disk.sync()?;
    if plan.menu {
        say("making the boot menu");
        menu(disk, &mut record)?;
    }
    settle(disk, plan, record)
}

/// Makes the boot menu beside its place, looks whether it is good, and puts it there.
fn menu(disk: &dyn Disk, record: &mut Record) -> Result<()> {
    let old = disk.text(grub::MENU).unwrap_or_default();
    let made = make_menu(disk)?;
    if let Err(e) = grub::check(&old, &made.text, record.default) {
        disk.remove(grub::MENU_PART)?;
        return Err(e);
    }
    if let Some(menu) = &mut record.menu {
        menu.ours.retain(|m| *m != made.mark);
        menu.ours.push(made.mark);
    }
    // Whoever comes after a cut must know this menu for ours.
    record.write(disk)?;
    disk.rename(grub::MENU_PART, grub::MENU)?;
    disk.sync()
}

/// A menu beside its place.
pub(crate) struct Made {
    text: String,
    mark: String,
}

/// Makes a menu beside its place, with the permissions of the present one.
pub(crate) fn make_menu(disk: &dyn Disk) -> Result<Made> {
    let made = disk.make_menu(grub::MENU_PART);
    if made.is_err() {
        disk.remove(&format!("{}.new", grub::MENU_PART))?;
        disk.remove(grub::MENU_PART)?;
    }
    made?;
    let at = disk.at(grub::MENU_PART);
    let bytes = fs::read(&at).map_err(Error::io("read", &at))?;
    if disk.entry(grub::MENU)?.is_some() {
        let now = Saved::of(disk, grub::MENU)?;
        let time = Saved::of(disk, grub::MENU_PART)?.time;
        disk.write(grub::MENU_PART, &bytes, Meta { time, ..now.meta() })?;
    }
    disk.sync()?;
    Ok(Made {
        mark: sha256(&bytes),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Writes down that it is done, and forgets what no longer counts.
fn settle(disk: &dyn Disk, plan: &Plan, mut record: Record) -> Result<()> {
    // A file of an older version that the administrator changed stays in the record as it stays on the disk.
    let mut left = BTreeSet::new();
    for path in &plan.drops {
        let item = &record.items[path];
        let is = disk.entry(path)?.as_ref().map(mark);
        let before = item.before.as_ref().map(|b| b.mark.clone());
        if is == before {
            left.insert(path.clone());
        }
    }
    record.items.retain(|path, _| !left.contains(path));
    for item in record.items.values_mut() {
        item.ours.drain(..item.ours.len().saturating_sub(1));
    }
    if let Some(menu) = &mut record.menu {
        menu.ours.drain(..menu.ours.len().saturating_sub(1));
    }
    // Folders of an older version, now empty.
    for folder in record.folders.clone().iter().rev() {
        if !plan.wanted.contains(folder) && disk.remove_folder(folder)? {
            record.folders.remove(folder);
        }
    }
    record.state = State::Installed;
    record.write(disk)?;
    record::sweep(disk, Some(&record))
}

/// Removes what a run that was cut short at its very end left behind.
///
/// # Errors
/// The file system's.
pub fn tidy(disk: &dyn Disk) -> Result<()> {
    if !disk.has(STATE) {
        return Ok(());
    }
    record::sweep(disk, Record::read(disk)?.as_ref())
}
