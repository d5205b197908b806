//! Domain 0's root in the image: the install tree without what only developers read, busybox, and `../../../image/root`.
//!
//! It is an initramfs, so it needs no driver and no mount, and it is lost when the machine ends
//! (docs/decisions/0011-the-image-lives-in-memory.md).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cpio::Archive;
use crate::debian::Kernel;
use crate::dist::Manifest;
use crate::dist::scan::{self, Entries, Entry};
use crate::error::{Error, Result};
use crate::hypervisor::gzip;
use crate::initramfs::add_modules;

/// What of the install tree stays out: kernels are chosen apart, and there is no compiler, man or systemd.
const LEFT_OUT: [&str; 8] = [
    "boot",
    "lib",
    "usr/include",
    "usr/lib",
    "usr/share/man",
    "usr/share/bash-completion",
    "usr/share/fish",
    "usr/share/zsh",
];

/// An archive, gzipped, and what it holds.
pub struct Packed {
    /// The bytes.
    pub gzipped: Vec<u8>,
    /// Its entries, and those of archives in it.
    pub entries: Entries,
}

impl Packed {
    fn of(archive: &Archive, mut entries: Entries) -> Result<Self> {
        entries.extend(archive.entries());
        Ok(Self {
            gzipped: gzip(&archive.finish()?)?,
            entries,
        })
    }

    /// The entries, as what a manifest has of an archive at `path`.
    pub fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (String, Entry)> + 'a {
        let named =
            move |(name, entry): (&String, &Entry)| (format!("{path}/{name}"), entry.clone());
        self.entries.iter().map(named)
    }
}

/// The root for this kernel, with the demo guest on that one.
///
/// # Errors
/// A kernel lacks a module; something cannot be read.
pub fn domain0(
    install: &Path,
    manifest: &Manifest,
    kernel: &Kernel,
    guest: &Kernel,
    busybox: &[u8],
    sources: &Path,
) -> Result<Packed> {
    let mut root = Archive::new();
    installed(&mut root, install, manifest)?;
    common(&mut root, busybox, sources)?;
    below(&mut root, &sources.join("root"))?;
    modules(
        &mut root,
        "/lib/modules/boot",
        kernel,
        &sources.join("modules"),
    )?;
    // With an index, as ours have it, modprobe finds the drivers of any machine.
    if kernel.modules.join("modules.dep").exists() {
        let folder = format!("lib/modules/{}", kernel.release);
        root.tree(&kernel.modules, &|name| Some(format!("{folder}/{name}")))?;
    }
    let name = format!("vmlinuz-{}", guest.release);
    root.file(&format!("/boot/{name}"), 0o644, read(&guest.image)?);
    // What the examples call the guests' kernel.
    root.symlink("/boot/vmlinuz-xenU", &name);
    // As on a host, where GRUB's scripts must not find it in /boot.
    root.symlink("/boot/rexen", ".");
    let demo = demo(guest, busybox, sources)?;
    let within = demo.below("boot/demo.gz").collect();
    root.file("/boot/demo.gz", 0o644, demo.gzipped);
    Packed::of(&root, within)
}

/// The demo guest's root.
fn demo(kernel: &Kernel, busybox: &[u8], sources: &Path) -> Result<Packed> {
    let mut root = Archive::new();
    common(&mut root, busybox, sources)?;
    let sources = sources.join("demo");
    root.file("/init", 0o755, read(&sources.join("init"))?);
    modules(&mut root, "/lib/modules", kernel, &sources.join("modules"))?;
    Packed::of(&root, Entries::new())
}

/// What every root has.
fn common(root: &mut Archive, busybox: &[u8], sources: &Path) -> Result<()> {
    root.file("/bin/busybox", 0o755, busybox);
    root.symlink("/bin/sh", "busybox");
    let script = read(&sources.join("dom0/udhcpc.script"))?;
    root.file("/etc/udhcpc.script", 0o755, script);
    // Before devtmpfs is mounted the kernel opens these for init.
    root.char_device("/dev/console", 5, 1);
    root.char_device("/dev/null", 1, 3);
    Ok(())
}

fn modules(root: &mut Archive, folder: &str, kernel: &Kernel, list: &Path) -> Result<()> {
    let list = String::from_utf8_lossy(&read(list)?).into_owned();
    add_modules(root, folder, kernel, &list).map(|_| ())
}

/// The install tree, by its manifest.
fn installed(root: &mut Archive, install: &Path, manifest: &Manifest) -> Result<()> {
    for (path, entry) in &manifest.entries {
        if LEFT_OUT.iter().any(|out| Path::new(path).starts_with(out)) {
            continue;
        }
        match entry {
            Entry::Folder { .. } => root.dir(path),
            Entry::Link { target } => root.symlink(path, target),
            Entry::File { mode, .. } => root.file(path, *mode, read(&install.join(path))?),
            Entry::Special => {}
        }
    }
    Ok(())
}

/// All that is below a folder. Of a file's mode only the right to execute counts, because the rest depends on who checked the
/// sources out.
fn below(root: &mut Archive, folder: &Path) -> Result<()> {
    scan::walk(folder, &mut |path, file| {
        if file.is_file() {
            let found = fs::metadata(file).map_err(Error::io("read", file))?;
            let mode = match found.permissions().mode() & 0o111 {
                0 => 0o644,
                _ => 0o755,
            };
            root.file(&path, mode, read(file)?);
        }
        Ok(())
    })
}

/// A file's content.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}
