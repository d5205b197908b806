//! `rexen.img`: a disk that boots on BIOS and UEFI through GRUB into Rexen, with all of domain 0 in an initramfs.
//!
//! [`root`] makes domain 0's root from the install tree; [`grub`] the boot loader and its menu; [`esp`] the file system that
//! has all of it; [`disk`] the partitions around it. The same inputs give the same bytes: what has to be unique, as disk
//! identifiers, is taken from the hash of the contents. `../../image` holds what is not code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Inputs;
use crate::debian::Kernel;
use crate::dist::facts::{Kind, Source};
use crate::dist::scan::{Entries, Entry};
use crate::dist::{self, Manifest, TreeOptions};
use crate::error::{Error, Result};
use crate::kernel::{Flavour, KernelChoice, build_kernel};
use crate::lock::{Package, Role};
use crate::{tree, ui};

pub mod boot;
pub mod disk;
pub mod esp;
pub mod grub;
pub mod root;

/// The image's name in `dist`.
pub const NAME: &str = "rexen.img";
/// Where the manifest is on the file system that GRUB reads; beside the image there is a copy, `rexen.img.toml`.
pub const MANIFEST: &str = "manifest.toml";

/// Domain 0's root there, an archive; the manifest names what is in it as if it were a folder.
const ROOT: &str = "boot/root.gz";

/// The files of a file system by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How to build the image.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// How to build the install tree, which domain 0's root is made from.
    pub tree: TreeOptions,
    /// Take this install tree as it is, and build none.
    pub from: Option<PathBuf>,
    /// Domain 0's kernel, and with it the guests'.
    pub kernel: KernelChoice,
}

/// Builds the image in `folder`, and before it, unless one is given, the install tree in `install` there. The image and the
/// manifest beside it appear once they are whole.
///
/// # Errors
/// A part does not build, or a package cannot be fetched; the file system's.
pub fn build_image(options: &ImageOptions, folder: &Path) -> Result<PathBuf> {
    let install = options
        .from
        .clone()
        .unwrap_or_else(|| folder.join(tree::INSTALL));
    let manifest = match &options.from {
        Some(tree) => dist::verified(tree)?,
        None => dist::build_tree(&install, &options.tree)?,
    };
    let kernels = &options.tree.kernels;
    let (kernel, guest) = match &options.kernel {
        KernelChoice::Ours => (
            build_kernel(Flavour::Xen0, kernels)?.bootable(),
            build_kernel(Flavour::XenU, kernels)?.bootable(),
        ),
        other => (other.domain0(kernels)?, other.guest(kernels)?),
    };
    let grub = grub::Grub::fetch(kernels.consent)?;
    let (busybox, busybox_package) = crate::debian::fetch_busybox(kernels.consent)?;
    ui::step(&format!("image: {}", folder.join(NAME).display()));
    let (mut files, within) = contents(&install, &manifest, &kernel, &guest, &busybox)?;
    let id = id_of(&files);
    let loaders = grub.loaders(id)?;
    files.insert("EFI/BOOT/BOOTX64.EFI".to_owned(), loaders.efi.clone());
    let mut facts = manifest.facts.clone();
    facts.sources.extend(grub.packages.iter().map(source));
    facts.sources.push(source(&busybox_package));
    facts.sources.sort();
    let mut named = entries(&files);
    named.extend(within);
    let described = Manifest::new(&facts, manifest.missing.clone(), named);
    let text = described.text()?;
    files.insert(MANIFEST.to_owned(), text.clone().into_bytes());
    let image = disk::image(&files, &loaders, id)?;
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let path = folder.join(NAME);
    // Both or neither: a full disk shall not leave a manifest of something else.
    let image = Part::write(&path, &image)?;
    let beside = folder.join(format!("{NAME}.toml"));
    let manifest = Part::write(&beside, text.as_bytes())?;
    image.put_in_place()?;
    manifest.put_in_place()?;
    Ok(path)
}

/// What GRUB loads: hypervisor, kernel, root and menu; and what is in the root.
fn contents(
    install: &Path,
    manifest: &Manifest,
    kernel: &Kernel,
    guest: &Kernel,
    busybox: &Path,
) -> Result<(Files, Entries)> {
    let sources = tree::root().join("image");
    let busybox = root::read(busybox)?;
    let root = root::domain0(install, manifest, kernel, guest, &busybox, &sources)?;
    let menu = root::read(&sources.join("grub.cfg"))?;
    let within = root.below(ROOT).collect();
    let files = Files::from([
        (
            "boot/xen.gz".to_owned(),
            root::read(&install.join("boot/xen.gz"))?,
        ),
        ("boot/vmlinuz".to_owned(), root::read(&kernel.image)?),
        (ROOT.to_owned(), root.gzipped),
        (
            "boot/grub/grub.cfg".to_owned(),
            grub::menu(&String::from_utf8_lossy(&menu)).into_bytes(),
        ),
    ]);
    Ok((files, within))
}

/// A Debian package in the manifest.
fn source(package: &Package) -> Source {
    let licence = match package.role {
        Role::Busybox => "GPL-2.0-only",
        _ if package.name.starts_with("lib") => "LGPL-2.1-only",
        _ => "GPL-3.0-or-later",
    };
    Source {
        kind: Kind::Debian,
        name: package.name.clone(),
        version: Some(package.version.clone()),
        sha256: package.sha256.clone(),
        licence: licence.to_owned(),
    }
}

/// What tells this image from all others: from the hash of what is in it.
fn id_of(files: &Files) -> u128 {
    let mut inputs = Inputs::of("rexen.img");
    for (path, content) in files {
        inputs = inputs.text(path, &crate::cache::sha256(content));
    }
    let hash = inputs.finish();
    u128::from_str_radix(&hash[..32], 16).unwrap_or_default()
}

/// Files and folders as the manifest names them. FAT knows no modes: they are what a mount shows.
fn entries(files: &Files) -> Entries {
    let mut entries = Entries::new();
    for (path, content) in files {
        for (at, _) in path.match_indices('/') {
            entries.insert(path[..at].to_owned(), Entry::Folder { mode: 0o755 });
        }
        let entry = Entry::File {
            mode: 0o644,
            size: content.len() as u64,
            sha256: crate::cache::sha256(content),
        };
        entries.insert(path.clone(), entry);
    }
    entries
}

/// Whether a file is an image and no tarball.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "img")
}

/// Reads what an image holds, to be verified: its manifest, and every entry of its file system. What is in the root is left out
/// of both: the root's hash stands for it.
///
/// # Errors
/// It is no image of ours, or a damaged one.
pub fn read(path: &Path) -> Result<(Manifest, Entries)> {
    let remedy = "get the image again, or make it: cargo rexen image";
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let files = disk::files(bytes).map_err(|e| e.in_file(path).remedy(remedy))?;
    let none = || Error::new(format!("{} holds no {MANIFEST}", path.display())).remedy(remedy);
    let text = files.get(MANIFEST).ok_or_else(none)?;
    let mut manifest = Manifest::parse(text).map_err(|e| e.in_file(path).remedy(remedy))?;
    let is_within = |name: &str| name.strip_prefix(ROOT).is_some_and(|rest| !rest.is_empty());
    manifest.entries.retain(|name, _| !is_within(name));
    let mut entries = entries(&files);
    entries.remove(MANIFEST);
    Ok((manifest, entries))
}

/// A file that is written beside its place, and goes away unless it is put there.
pub(crate) struct Part<'a> {
    part: PathBuf,
    path: &'a Path,
}

impl<'a> Part<'a> {
    /// Writes it, with holes where there is nothing.
    pub(crate) fn write(path: &'a Path, content: &[u8]) -> Result<Self> {
        use std::io::{Seek, SeekFrom, Write};
        const BLOCK: usize = 1 << 16;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let part = path.with_file_name(name);
        let whole = Self { part, path };
        let written = fs::File::create(&whole.part).and_then(|mut file| {
            file.set_len(content.len() as u64)?;
            for (nr, block) in content.chunks(BLOCK).enumerate() {
                if block.iter().any(|&byte| byte != 0) {
                    file.seek(SeekFrom::Start((nr * BLOCK) as u64))?;
                    file.write_all(block)?;
                }
            }
            file.sync_all()
        });
        written.map_err(Error::io("write", path))?;
        Ok(whole)
    }

    pub(crate) fn put_in_place(self) -> Result<()> {
        fs::rename(&self.part, self.path).map_err(Error::io("write", self.path))
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part);
    }
}
