//! A stock Debian ([`debian_stock`](crate::debian_stock)) that gets Rexen by its tarball's `install.sh`, runs a guest,
//! loses its power on the way, and gives Rexen back.
//!
//! All is one QEMU with several boots: each runs the next step of tests/debian/kit/steps, and its disk is dropped in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rexen_installer::cache::Cache;
use rexen_installer::checks::Report;
use rexen_installer::cpio::Archive;
use rexen_installer::debian::{Kernel, fetch_busybox};
use rexen_installer::dist::{self, TreeOptions, tarball};
use rexen_installer::hypervisor::gzip;
use rexen_installer::initramfs::add_modules;
use rexen_installer::kernel::{Flavour, KernelOptions, build_kernel};
use rexen_installer::qemu::{Flow, Run};
use rexen_installer::xl_root::until;
use rexen_installer::{Consent, Error, Qemu, Result, tree};

use crate::debian_stock::{self, file_system};
use crate::slots::Slot;
use crate::verdict;

/// How long all boots together may take on a loaded machine. At rest they need a quarter of it.
const PATIENCE: Duration = Duration::from_secs(2400);
/// And how much longer for each cut more.
const PER_CUT: Duration = Duration::from_secs(600);
/// How long systemd may take to switch the machine off.
const POWER_OFF: Duration = Duration::from_secs(180);
/// The second disk: tarball, what is unpacked from it, and the guest.
const KIT_MIB: u64 = 512;

/// Installs, cuts, boots, removes; demands that each check passes.
///
/// # Panics
/// Some check does not pass or does not report; something cannot be made.
pub fn demand() {
    let steps = tree::root().join("tests/debian/kit/steps");
    let steps = fs::read_to_string(steps).expect("the steps");
    let lines = steps.lines().map(str::trim_start);
    let checks = lines.filter_map(|l| l.strip_prefix("check "));
    let expected: Vec<&str> = checks.filter_map(|c| c.split(' ').next()).collect();
    let run = run("", |_| ()).expect("a stock Debian");
    let mut report = Report::of(&run.log, &expected);
    verdict::add_end(&mut report, &run, expected.len());
    verdict::demand("a stock Debian", &report, &run, "LOG ");
}

/// Runs the steps; with `cuts`, in place of all but the first one boot for each of its lines
/// (`install|uninstall SECONDS TEXT`), with a power cut so long after the installer says the text. `see` gets each line of
/// the serial log.
///
/// # Errors
/// Something cannot be made; QEMU cannot be started.
pub fn run(cuts: &str, mut see: impl FnMut(&str)) -> Result<Run> {
    let stock = debian_stock::disk()?;
    let work = Cache::open()?.scratch("debian-host")?;
    let kit = kit(work.path(), cuts)?;
    let nr_cuts = u32::try_from(cuts.lines().count()).unwrap_or_default();
    let _slot = Slot::take();
    Qemu::from_disk(&stock)
        .second_disk(&kit)
        .reboots()
        .timeout(PATIENCE + PER_CUT * nr_cuts)
        .run_until(|line| {
            see(line);
            watch(line)
        })
}

/// Until the steps are done; switching a systemd off takes longer than a script's end elsewhere.
fn watch(line: &str) -> Flow {
    match line.contains("CHECKS-DONE") {
        true => Flow::StopWithin(POWER_OFF),
        false => until("CHECKS-DONE", line),
    }
}

/// The second disk.
fn kit(work: &Path, cuts: &str) -> Result<PathBuf> {
    let folder = work.join("kit");
    fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
    let sources = tree::root().join("tests/debian");
    for name in ["steps", "lib", "guest.cfg"] {
        write(&folder.join(name), read(&sources.join("kit").join(name))?)?;
    }
    write(&folder.join("next"), "before\n")?;
    write(&folder.join("cuts"), cuts)?;
    write(&folder.join("counts"), "0 0\n")?;
    let tree = work.join("tree");
    dist::build_tree(&tree, &TreeOptions::default())?;
    let packed = tarball::pack(&tree, work)?;
    let to = folder.join("rexen.tar.gz");
    fs::rename(&packed, &to).map_err(Error::io("create", &to))?;
    let kernels = KernelOptions::default();
    let kernel = build_kernel(Flavour::XenU, &kernels)?.bootable();
    write(
        &folder.join("guest.gz"),
        guest(&kernel, &sources.join("guest"))?,
    )?;
    let mut disk = b"a disk of domain 0\n".to_vec();
    disk.resize(1 << 20, 0);
    write(&folder.join("guest.img"), disk)?;
    let image = work.join("kit.img");
    file_system(&folder, &image, KIT_MIB, &[])?;
    Ok(image)
}

/// The guest's initramfs: busybox, its init, its modules.
fn guest(kernel: &Kernel, sources: &Path) -> Result<Vec<u8>> {
    let (busybox, _) = fetch_busybox(Consent::from_env())?;
    let mut root = Archive::new();
    root.file("/init", 0o755, read(&sources.join("init"))?);
    root.file("/bin/busybox", 0o755, read(&busybox)?);
    root.symlink("/bin/sh", "busybox");
    // Before devtmpfs is mounted the kernel opens these for init.
    root.char_device("/dev/console", 5, 1);
    root.char_device("/dev/null", 1, 3);
    let modules = read(&sources.join("modules"))?;
    let modules = String::from_utf8_lossy(&modules);
    add_modules(&mut root, "/lib/modules", kernel, &modules)?;
    gzip(&root.finish()?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).map_err(Error::io("write", path))
}
