//! The runs of the program, in order: look, plan, show, ask, do.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::plan::{BESIDE, Plan};
use crate::record::{Record, State};
use crate::wanted::{Wanted, checked_tree};
use crate::{apply, grub, host, remove};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The install tree.
    pub tree: PathBuf,
    /// Nobody is asked.
    pub yes: bool,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Whether the boot menu starts Rexen by default; as it was, or no, if this is not said.
    pub default: Option<bool>,
}

/// Whoever is told, and asked.
pub trait User {
    /// A line for people.
    fn say(&mut self, line: &str);
    /// Whether to go on.
    ///
    /// # Errors
    /// There is nobody to ask.
    fn agrees(&mut self, question: &str) -> Result<bool>;
}

/// Installs or upgrades; with nothing to do, says so.
///
/// # Errors
/// What the host or the tree lacks; see [`apply::install`].
pub fn install(disk: &dyn Disk, options: &Options, user: &mut dyn User) -> Result<()> {
    let manifest = checked_tree(&options.tree)?;
    let old = Record::read(disk)?;
    let notices = host::check(disk, old.as_ref())?;
    if !options.dry_run {
        apply::tidy(disk)?;
    }
    let default = options
        .default
        .or(old.as_ref().map(|r| r.default))
        .unwrap_or(false);
    let wanted = Wanted::of(&options.tree, &manifest, host::has_systemd(disk), default)?;
    let plan = Plan::make(disk, &wanted, old, default)?;
    if plan.is_empty() {
        user.say(&format!(
            "Rexen {} is installed already: nothing to do.",
            wanted.version
        ));
        return Ok(());
    }
    host::check_room(disk, &plan)?;
    show(disk, &plan, user);
    for notice in &notices {
        user.say(&format!("Note: {notice}"));
    }
    if options.dry_run {
        user.say("Nothing was changed (--dry-run).");
        return Ok(());
    }
    if !options.yes && !user.agrees("Install?")? {
        user.say("Nothing was changed.");
        return Ok(());
    }
    apply::install(disk, &plan, &mut |line| user.say(&format!("  {line}")))?;
    farewell(disk, &plan, user);
    Ok(())
}

/// Says what would be done.
fn show(disk: &dyn Disk, plan: &Plan, user: &mut dyn User) {
    let version = &plan.record.version;
    let root = disk.root().display();
    user.say(&match &plan.old {
        None => format!("Rexen {version} will be installed in {root}."),
        Some(old) if old.state != State::Installed => {
            format!("A run before this was cut short. Rexen {version} will be installed in {root}.")
        }
        Some(old) => format!(
            "Rexen {} in {root} will be upgraded to {version}.",
            old.version
        ),
    });
    let bytes: u64 = plan.bytes(disk).iter().map(|(_, bytes)| bytes).sum();
    user.say(&format!(
        "  {} files to write ({} MiB), {} folders to make, {} files of an older version to remove",
        plan.puts.len(),
        bytes.div_ceil(1 << 20),
        plan.folders.len(),
        plan.drops.len()
    ));
    for path in &plan.saves {
        user.say(&format!(
            "  /{path} is there: it is kept, and comes back with --uninstall"
        ));
    }
    for path in &plan.kept {
        user.say(&format!(
            "  /{path} is yours: it stays, and ours goes to /{path}{BESIDE}"
        ));
    }
    if plan.menu {
        user.say(&format!(
            "  the boot menu gets entries for Rexen with this host's kernels; the default {}",
            if plan.record.default {
                "becomes Rexen"
            } else {
                "stays as it is"
            }
        ));
    }
}

fn farewell(disk: &dyn Disk, plan: &Plan, user: &mut dyn User) {
    user.say(&format!("Rexen {} is installed.", plan.record.version));
    if disk.runs() {
        user.say(
            "Boot it: in GRUB's menu, the entry '... with Xen hypervisor'; then, as root: xm list",
        );
    } else {
        user.say("It boots once update-grub has been run on that host.");
    }
    user.say("Remove it: rexen-install --uninstall");
}

/// Removes it; with nothing installed, says so.
///
/// # Errors
/// See [`remove::remove`].
pub fn uninstall(disk: &dyn Disk, options: &Options, user: &mut dyn User) -> Result<()> {
    let Some(record) = Record::read(disk)? else {
        if !options.dry_run {
            apply::tidy(disk)?;
        }
        user.say("Rexen is not installed: nothing to do.");
        return Ok(());
    };
    user.say(&format!(
        "Rexen {} will be removed from {}: {} files; what it replaced comes back.",
        record.version,
        disk.root().display(),
        record.items.len()
    ));
    if options.dry_run {
        user.say("Nothing was changed (--dry-run).");
        return Ok(());
    }
    if !options.yes && !user.agrees("Remove?")? {
        user.say("Nothing was changed.");
        return Ok(());
    }
    let kept = remove::remove(disk, record, &mut |line| user.say(&format!("  {line}")))?;
    for path in kept {
        user.say(&format!(
            "  /{path} stays: it was changed since, or holds files that came since"
        ));
    }
    user.say("Rexen is removed.");
    Ok(())
}

/// One run at a time: the lock goes with the process.
///
/// # Errors
/// Another is at work.
pub fn alone(disk: &dyn Disk) -> Result<File> {
    // A folder that is surely there, so that looking changes nothing.
    let at = disk.followed("etc");
    let folder = File::open(&at).map_err(Error::io("read", &at))?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(_) => Err(Error::new("another rexen-install is at work on this host")
            .remedy("wait until it is done")),
    }
}

/// The tree that a program is in, if it is in one: TREE/usr/sbin/rexen-install.
pub fn tree_of(program: &Path) -> Option<PathBuf> {
    let tree = program.ancestors().nth(3)?;
    let is_host = tree == Path::new("/");
    let is_tree = tree.join(crate::manifest::MANIFEST).is_file() && tree.join(grub::XEN).is_file();
    (is_tree && !is_host).then(|| tree.to_owned())
}
