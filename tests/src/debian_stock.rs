//! A stock Debian 12 on a disk: made by debootstrap, with its own kernel, systemd and GRUB, which it installs itself.
//!
//! Needs root, as debootstrap does. Which versions come is Debian's business: the host is what a user has today.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rexen_installer::cache::{Cache, Inputs};
use rexen_installer::cmd::Cmd;
use rexen_installer::xl_root::until;
use rexen_installer::{Error, Qemu, Result, tree, ui};

use crate::slots::Slot;

/// Bump when this file changes what it makes from the same inputs.
const RECIPE: &str = "1";
const SUITE: &str = "bookworm";
/// What the host has besides debootstrap's smallest variant: what it boots with, and what a bridge is made with.
const PACKAGES: &str = "linux-image-amd64,grub-pc,systemd-sysv,udev,kmod,iproute2";
/// The root file system's, which the boot menu and fstab name.
const UUID: &str = "7265786e-0000-4000-8000-000000000001";
const MIB: u64 = 1 << 20;
/// The partition's first byte, and the length that it and the file system in it have.
const PARTITION_AT: u64 = MIB;
const PARTITION: u64 = 1900 * MIB;
/// How long the first boot may take on a loaded machine; at rest it is a minute.
const PATIENCE: Duration = Duration::from_secs(900);

/// The host's disk, from the cache if it was made before. It boots on BIOS machines, and then runs `steps` of the file
/// system on the second disk.
///
/// # Errors
/// Debian cannot be reached, or this is not root; the first boot fails.
pub fn disk() -> Result<PathBuf> {
    let sources = tree::root().join("tests/debian/stock");
    let key = Inputs::of("debian-stock")
        .text("recipe", RECIPE)
        .text("suite", SUITE)
        .text("packages", PACKAGES)
        .tree("stock", &sources)?
        .finish();
    let cache = Cache::open()?;
    let dir = cache.get_or_make("debian-stock", &key, |dir| {
        ui::step("a stock Debian host, by debootstrap");
        let work = cache.scratch("debian-stock")?;
        let root = work.path().join("root");
        debootstrap(&root)?;
        administer(&root, &sources)?;
        let disk = dir.join("disk.img");
        partitioned(&root, &work.path().join("part.img"), &disk)?;
        first_boot(&root, &disk, &sources, work.path())
    })?;
    Ok(dir.join("disk.img"))
}

/// A file system with what is in a folder; its length is `mib`.
pub fn file_system(folder: &Path, image: &Path, mib: u64, more: &[&str]) -> Result<()> {
    sparse(image, mib * MIB)?;
    Cmd::new("mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .arg(folder)
        .args(more)
        .arg(image)
        .run()
        .map_err(|e| e.remedy("apt-get install e2fsprogs (ci/packages.txt lists what we need)"))
}

fn debootstrap(root: &Path) -> Result<()> {
    let mut cmd = Cmd::new("debootstrap")
        .arg("--variant=minbase")
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(root);
    // The archive and the proxy that this machine's apt uses; otherwise debootstrap's own choice.
    let format = "$(CREATED_BY) $(CODENAME) $(COMPONENT) $(REPO_URI)";
    let indices = Cmd::new("apt-get")
        .args(["indextargets", "--format", format])
        .output()?;
    let wanted = format!("Packages {SUITE} main ");
    let archives = indices.lines().filter_map(|l| l.strip_prefix(&wanted));
    if let Some(archive) = archives.into_iter().find(|uri| uri.starts_with("http")) {
        cmd = cmd.arg(archive);
    }
    let proxy = Cmd::new("apt-config")
        .args(["dump", "--format", "%v%n", "Acquire::http::Proxy"])
        .output()?;
    if let Some(proxy) = proxy.lines().find(|line| !line.is_empty()) {
        cmd = cmd.env("http_proxy", proxy);
    }
    cmd.run().map_err(|e| {
        e.remedy("it needs root and a network; apt-get install debootstrap (see root/debootstrap/debootstrap.log)")
    })
}

/// What whoever sets a host up does.
fn administer(root: &Path, sources: &Path) -> Result<()> {
    let etc = root.join("etc");
    write(
        &etc.join("fstab"),
        &format!("UUID={UUID} / ext4 errors=remount-ro 0 1\n"),
    )?;
    write(&etc.join("hostname"), "debian\n")?;
    let grub = etc.join("default/grub");
    let both = [read(&grub)?, read(&sources.join("grub"))?].concat();
    write(&grub, &both)?;
    let unit = "rexen-test.service";
    let units = etc.join("systemd/system");
    write(&units.join(unit), &read(&sources.join(unit))?)?;
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).map_err(Error::io("create", &wants))?;
    let link = wants.join(unit);
    symlink(format!("/etc/systemd/system/{unit}"), &link).map_err(Error::io("create", &link))?;
    // Packages that are installed already.
    for dir in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        let dir = root.join(dir);
        for entry in fs::read_dir(&dir)
            .map_err(Error::io("read", &dir))?
            .flatten()
        {
            if entry.path().is_file() {
                fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
            }
        }
    }
    Ok(())
}

/// A disk with one partition, which holds the root.
fn partitioned(root: &Path, part: &Path, disk: &Path) -> Result<()> {
    file_system(root, part, PARTITION / MIB, &["-L", "root", "-U", UUID])?;
    sparse(disk, PARTITION_AT + PARTITION)?;
    let io = |e| Error::io("write", disk)(e);
    let mut file = File::options().write(true).open(disk).map_err(io)?;
    // The table of a BIOS disk at byte 446: active, of type Linux, first sector and number of sectors; its signature.
    let sector = |byte: u64| u32::try_from(byte / 512).unwrap_or_default().to_le_bytes();
    let mut table = [0; 66];
    table[0] = 0x80;
    table[4] = 0x83;
    table[8..12].copy_from_slice(&sector(PARTITION_AT));
    table[12..16].copy_from_slice(&sector(PARTITION));
    table[64..].copy_from_slice(&[0x55, 0xaa]);
    file.seek(SeekFrom::Start(446)).map_err(io)?;
    file.write_all(&table).map_err(io)?;
    let mut from = File::open(part).map_err(Error::io("read", part))?;
    copy_with_holes(&mut from, &mut file).map_err(io)?;
    fs::remove_file(part).map_err(Error::io("remove", part))
}

/// Copies to the partition and leaves out what is zero.
fn copy_with_holes(from: &mut File, to: &mut File) -> io::Result<()> {
    use std::io::Read;
    let mut block = vec![0; MIB as usize];
    let mut at = PARTITION_AT;
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            return to.sync_all();
        }
        if block[..count].iter().any(|&byte| byte != 0) {
            to.seek(SeekFrom::Start(at))?;
            to.write_all(&block[..count])?;
        }
        at += count as u64;
    }
}

/// Boots it without a boot loader, so that it installs its own.
fn first_boot(root: &Path, disk: &Path, sources: &Path, work: &Path) -> Result<()> {
    let kit = work.join("kit");
    fs::create_dir(&kit).map_err(Error::io("create", &kit))?;
    write(&kit.join("steps"), &read(&sources.join("setup"))?)?;
    let second = work.join("kit.img");
    file_system(&kit, &second, 16, &[])?;
    let _slot = Slot::take();
    let run = Qemu::new(root.join("vmlinuz"))
        .module(root.join("initrd.img"), "")
        .append("root=/dev/vda1 rw console=ttyS0")
        .disk(disk)
        .disk(&second)
        .timeout(PATIENCE)
        .run_until(|line| until("SETUP-", line))?;
    if run.log.contains("SETUP-DONE") && run.powered_off() {
        return Ok(());
    }
    Err(Error::new("the stock Debian does not set itself up").because(run.log.tail(40)))
}

fn sparse(path: &Path, length: u64) -> Result<()> {
    File::create(path)
        .and_then(|file| file.set_len(length))
        .map_err(Error::io("write", path))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io("read", path))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))
}
