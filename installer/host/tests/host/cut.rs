//! A disk whose power fails, or that is full, at a step of the test's choice.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rexen_install::disk::{Disk, Meta, RealDisk};
use rexen_install::error::{Error, Result};

use crate::fake::menu;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails in the middle of the step with this number; all that was done so far is on the disk.
    Cut(u32),
    /// The same, and nothing since the last sync is on the disk.
    Lost(u32),
    /// Writing of the step with this number, and of it alone, finds no room.
    Full(u32),
}

/// What was at a path before a step.
enum Was {
    Nothing,
    Folder,
    Link(PathBuf),
    File(Vec<u8>, fs::Metadata),
}

/// The disk.
pub struct CutDisk {
    real: RealDisk,
    fault: Option<Fault>,
    /// Steps so far.
    pub steps: Cell<u32>,
    dead: Cell<bool>,
    /// The steps since the last sync, by what they changed.
    unsynced: RefCell<Vec<(PathBuf, Was)>>,
    /// Bytes free.
    pub free: u64,
}

impl CutDisk {
    pub fn new(root: &Path) -> Self {
        Self {
            real: RealDisk::new(root),
            fault: None,
            steps: Cell::new(0),
            dead: Cell::new(false),
            unsynced: RefCell::default(),
            free: 1 << 40,
        }
    }

    pub fn with(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Whether the fault has struck.
    pub fn struck(&self) -> bool {
        match self.fault {
            Some(Fault::Full(at)) => self.steps.get() >= at,
            _ => self.dead.get(),
        }
    }

    /// Counts a step that changes `paths`; an error is the power's failing. `half` is what is done of the step then.
    fn step(&self, paths: &[PathBuf], half: impl FnOnce()) -> Result<()> {
        let off = || Error::new("the power is off");
        if self.dead.get() {
            return Err(off());
        }
        self.steps.set(self.steps.get() + 1);
        let now = self.steps.get();
        self.unsynced
            .borrow_mut()
            .extend(paths.iter().map(|p| (p.clone(), was(p))));
        match self.fault {
            Some(Fault::Cut(at)) if at == now => {
                self.dead.set(true);
                half();
                Err(off())
            }
            Some(Fault::Lost(at)) if at == now => {
                self.dead.set(true);
                for (path, was) in self.unsynced.borrow_mut().drain(..).rev() {
                    restore(&path, was);
                }
                Err(off())
            }
            Some(Fault::Full(at)) if at == now => Err(Error::new("the disk is full")),
            _ => Ok(()),
        }
    }
}

fn was(path: &Path) -> Was {
    let Ok(about) = fs::symlink_metadata(path) else {
        return Was::Nothing;
    };
    if about.is_dir() {
        Was::Folder
    } else if about.is_symlink() {
        Was::Link(fs::read_link(path).unwrap())
    } else {
        Was::File(fs::read(path).unwrap(), about)
    }
}

fn restore(path: &Path, was: Was) {
    if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        if !matches!(was, Was::Folder) {
            fs::remove_dir(path).unwrap();
        }
    } else {
        let _ = fs::remove_file(path);
    }
    match was {
        Was::Nothing => {}
        Was::Folder => fs::create_dir_all(path).unwrap(),
        Was::Link(target) => symlink(target, path).unwrap(),
        Was::File(bytes, about) => {
            fs::write(path, bytes).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(about.modified().unwrap()).unwrap();
            file.set_permissions(about.permissions()).unwrap();
        }
    }
}

impl Disk for CutDisk {
    fn root(&self) -> &Path {
        self.real.root()
    }

    fn make_folder(&self, path: &str, mode: u32) -> Result<()> {
        self.step(&[self.at(path)], || {})?;
        self.real.make_folder(path, mode)
    }

    fn write(&self, path: &str, bytes: &[u8], meta: Meta) -> Result<()> {
        let half = &bytes[..bytes.len() / 2];
        let begun = self.step(&[self.at(path)], || {
            self.real.write(path, half, meta).unwrap()
        });
        if begun.is_err() && !self.dead.get() {
            // A full disk has the first half, too.
            self.real.write(path, half, meta)?;
        }
        begun?;
        self.real.write(path, bytes, meta)
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        self.step(&[self.at(path)], || {})?;
        self.real.link(path, target)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.step(&[self.at(from), self.at(to)], || {})?;
        self.real.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<()> {
        if self.at(path).symlink_metadata().is_err() {
            return Ok(());
        }
        self.step(&[self.at(path)], || {})?;
        self.real.remove(path)
    }

    fn remove_folder(&self, path: &str) -> Result<bool> {
        self.step(&[self.at(path)], || {})?;
        self.real.remove_folder(path)
    }

    fn sync(&self) -> Result<()> {
        self.step(&[], || {})?;
        self.unsynced.borrow_mut().clear();
        Ok(())
    }

    fn runs(&self) -> bool {
        true
    }

    fn make_menu(&self, path: &str) -> Result<()> {
        let menu = menu(self.root());
        let at = self.at(path);
        let begun = self.step(std::slice::from_ref(&at), || {
            fs::write(&at, &menu[..menu.len() / 2]).unwrap();
        });
        begun?;
        fs::write(&at, menu).unwrap();
        Ok(())
    }

    fn free(&self, _: &str) -> Result<(u64, u64)> {
        Ok((1, self.free))
    }
}
