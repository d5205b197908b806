//! Looks whether a host can take Rexen, without changing it. The first thing that it cannot do is the message.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::grub;
use crate::plan::Plan;
use crate::record::Record;

/// Domain 0, the hypervisor, and a small domain.
const MEMORY_KIB: u64 = 448 * 1024;
/// Left free on each file system: a host whose disk is full to the brim is in trouble, too.
const RESERVE: u64 = 32 << 20;
/// Of Xen's, and of Debian's packages of it: what would be in each other's way.
const XEN_PROGRAMS: [&str; 5] = [
    "usr/sbin/xl",
    "usr/sbin/xend",
    "usr/sbin/xenstored",
    "usr/lib/xen-common/bin/xl",
    "etc/default/grub.d/xen.cfg",
];

/// Checks everything but the room on its disks; says what the user should know.
///
/// # Errors
/// What the host lacks, with the remedy.
pub fn check(disk: &dyn Disk, record: Option<&Record>) -> Result<Vec<String>> {
    machine(disk)?;
    boot_loader(disk)?;
    other_xen(disk, record)?;
    dom0_kernel(disk)?;
    let mut notices = Vec::new();
    if secure_boot(disk) {
        notices.push(
            "Secure Boot is on: GRUB then loads no hypervisor. Switch it off in the firmware's setup."
                .to_owned(),
        );
    }
    if !has_systemd(disk) {
        notices.push(
            "this host has no systemd: enable the daemons with 'update-rc.d NAME defaults' (xenstored, xend, xendomains)."
                .to_owned(),
        );
    }
    Ok(notices)
}

/// Whether units can be enabled.
pub fn has_systemd(disk: &dyn Disk) -> bool {
    disk.has("lib/systemd/systemd") || disk.has("usr/lib/systemd/systemd")
}

/// Refuses to change a host as anybody but root.
///
/// # Errors
/// It is not root.
pub fn check_user() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new("only root can change this host")
        .remedy("run it with sudo, or look first with --dry-run"))
}

/// CPU and memory, as /proc says. The root of another host has no /proc, and its machine is not known.
fn machine(disk: &dyn Disk) -> Result<()> {
    if let Some(cpu) = disk.text("proc/cpuinfo") {
        let flags = cpu.lines().find(|l| l.starts_with("flags"));
        let has = |flag: &str| flags.is_some_and(|l| l.split_whitespace().any(|f| f == flag));
        for (flag, what) in [
            ("lm", "64-bit mode"),
            ("nx", "pages without a right to execute"),
        ] {
            if !has(flag) {
                return Err(Error::new(format!("this CPU has no {what}"))
                    .because(format!("/proc/cpuinfo shows no flag {flag}"))
                    .remedy("Rexen needs a 64-bit x86 CPU"));
            }
        }
    } else if disk.runs() {
        return Err(Error::new("cannot read /proc/cpuinfo").remedy("mount /proc"));
    }
    if let Some(memory) = disk.text("proc/meminfo") {
        let total = memory.lines().find_map(|l| l.strip_prefix("MemTotal:"));
        let kib = total.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(kib) = kib.filter(|k| *k < MEMORY_KIB) {
            return Err(
                Error::new(format!("this host has {} MiB of memory", kib / 1024)).because(format!(
                    "Rexen needs {} MiB: for domain 0 and a small domain",
                    MEMORY_KIB / 1024
                )),
            );
        }
    }
    let kind = disk.text("sys/hypervisor/type").unwrap_or_default();
    let caps = disk.text("proc/xen/capabilities").unwrap_or_default();
    if kind.trim() == "xen" && !caps.contains("control_d") {
        return Err(Error::new("this host is itself a domain of a Xen")
            .because("Rexen needs the machine for itself"));
    }
    Ok(())
}

fn boot_loader(disk: &dyn Disk) -> Result<()> {
    let refused = |why: String| {
        Error::new("this host does not boot through GRUB as Debian sets it up")
            .because(why)
            .remedy(
                "install it first: apt-get install grub-pc (or grub-efi-amd64), then update-grub",
            )
    };
    let paths = [
        "usr/sbin/grub-mkconfig",
        "etc/default/grub",
        grub::SCRIPT,
        grub::MENU,
    ];
    match paths.into_iter().find(|p| !disk.has(p)) {
        Some(missing) => Err(refused(format!("there is no /{missing}"))),
        None => Ok(()),
    }
}

fn other_xen(disk: &dyn Disk, record: Option<&Record>) -> Result<()> {
    let ours = |path: &str| record.is_some_and(|r| r.items.contains_key(path));
    let boot = disk.names("boot").into_iter();
    let boot = boot
        .filter(|n| n.starts_with("xen"))
        .map(|n| format!("boot/{n}"));
    let programs = XEN_PROGRAMS
        .map(str::to_owned)
        .into_iter()
        .filter(|p| disk.has(p));
    match boot.chain(programs).find(|p| !ours(p)) {
        Some(path) => Err(Error::new("another Xen is installed")
            .because(format!("/{path} is there, and is not Rexen's"))
            .remedy(
                "remove it first: apt-get purge 'xen-hypervisor-*' 'xen-utils-*' xen-system-amd64",
            )),
        None => Ok(()),
    }
}

/// A kernel of the host's that GRUB's script will take for domain 0.
fn dom0_kernel(disk: &dyn Disk) -> Result<()> {
    let able = |name: &String| {
        let release = name.strip_prefix("vmlinuz-")?;
        let config = disk.text(&format!("boot/config-{release}"))?;
        config
            .lines()
            .any(|l| l == "CONFIG_XEN_DOM0=y")
            .then_some(())
    };
    if disk.names("boot").iter().any(|n| able(n).is_some()) {
        return Ok(());
    }
    Err(Error::new("no kernel of this host can be domain 0's")
        .because("no /boot/vmlinuz-* has a /boot/config-* with CONFIG_XEN_DOM0=y")
        .remedy("install one that can: apt-get install linux-image-amd64"))
}

fn secure_boot(disk: &dyn Disk) -> bool {
    let name = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    // Four bytes of attributes, then the value.
    std::fs::read(disk.followed(name)).is_ok_and(|bytes| bytes.get(4) == Some(&1))
}

/// Checks the room on each file system.
///
/// # Errors
/// One has too little.
pub fn check_room(disk: &dyn Disk, plan: &Plan) -> Result<()> {
    let mut needed: BTreeMap<u64, (u64, u64, String)> = BTreeMap::new();
    for (path, bytes) in plan.bytes(disk) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let (device, free) = disk.free(folder)?;
        let sum = needed.entry(device).or_insert((0, free, path));
        // Whole blocks, and the folder's entry.
        sum.0 += bytes.next_multiple_of(4096) + 256;
    }
    for (bytes, free, path) in needed.into_values() {
        if bytes + RESERVE > free {
            return Err(Error::new("the disk is too full")
                .because(format!(
                    "where /{path} goes, {} MiB are needed and {} MiB are free",
                    (bytes + RESERVE).div_ceil(1 << 20),
                    free >> 20
                ))
                .remedy("make room there, for example with apt-get clean and apt-get autoremove"));
        }
    }
    Ok(())
}
