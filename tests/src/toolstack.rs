//! Our own toolstack in domain 0: its root file system, the machine it runs on, and what its scripts report.
//!
//! The scripts are in tests/toolstack; a check prints `CHECK name ok|FAIL detail`, the end is `CHECKS-DONE`. The programs
//! are those that `cargo rexen build toolstack` makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rexen_installer::cache::{Cache, Inputs, sha256_file};
use rexen_installer::checks::Report;
use rexen_installer::cpio::Archive;
use rexen_installer::debian::{Kernel, fetch_busybox};
use rexen_installer::hypervisor::gzip;
use rexen_installer::initramfs::add_modules;
use rexen_installer::toolstack::{self, Programs};
use rexen_installer::xl_root::{checks_of, compiled, until};
use rexen_installer::{Consent, Error, Qemu, Result, fetch_debian_kernel, tree};

use crate::guest::image;
use crate::host::Host;
use crate::slots::Slot;
use crate::verdict;

/// The scripts of a machine on which guests come and go, in this order: each command, each ending.
pub const LIVES: [&str; 3] = ["main", "ends", "xm"];
/// Those of one where daemons and guests are ended at each step.
pub const FAULTS: [&str; 1] = ["kills"];
/// Those of one where guests work side by side, and come and go without end; not in `cargo test`.
pub const WORK: [&str; 2] = ["vars", "cycles"];
/// Bump when this file changes what it makes from the same inputs.
const RECIPE: &str = "3";
/// How long a script may take on a loaded machine. A machine at rest needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Our programs, and the names that some have besides.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("xend", &[]),
    ("xm", &[]),
    ("xenstored", &[]),
    (
        "xenstore",
        &[
            "xenstore-ls",
            "xenstore-read",
            "xenstore-write",
            "xenstore-rm",
        ],
    ),
];

/// Runs scripts of tests/toolstack/dom0 one after another in one machine, and demands that each of their checks passes. A word
/// with `=` is no script, but goes to domain 0's command line.
///
/// # Panics
/// Some check does not pass or does not report.
pub fn demand(host: Host, words: &[&str]) {
    let image = host.image();
    let (options, scripts): (Vec<&str>, Vec<&str>) = words.iter().partition(|w| w.contains('='));
    let line = format!("run={} {}", scripts.join(","), options.join(" "));
    let machine = machine(&image, &line).expect("domain 0 with our toolstack");
    let folder = tree::root().join("tests/toolstack/dom0");
    let text: String = scripts
        .iter()
        .map(|script| fs::read_to_string(folder.join(format!("{script}.sh"))).expect("the script"))
        .collect();
    let expected = checks_of(&text);
    let _slot = Slot::take();
    let run = machine
        .timeout(PATIENCE)
        .run_until(|line| until("CHECKS-DONE", line))
        .expect("QEMU runs");
    let mut report = Report::of(&run.log, &expected);
    verdict::add_end(&mut report, &run, expected.len());
    verdict::demand(&format!("{scripts:?} on {host:?}"), &report, &run, "LOG ");
}

/// The machine: two CPUs, 3 GiB, of which domain 0 has one. `words` go to domain 0's command line.
fn machine(hypervisor: &Path, words: &str) -> Result<Qemu> {
    let consent = Consent::from_env();
    let kernel = fetch_debian_kernel(consent)?;
    let root = root(&kernel, consent)?;
    Ok(Qemu::new(hypervisor)
        .memory_mib(3072)
        .append("dom0_mem=1024M,max:1024M console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all")
        .module(&kernel.image, &format!("console=hvc0 panic=5 {words}"))
        .module(&root, ""))
}

/// Domain 0's root, from the cache if it was made before.
fn root(kernel: &Kernel, consent: Consent) -> Result<PathBuf> {
    let (busybox, busybox_package) = fetch_busybox(consent)?;
    let programs = toolstack::build()?;
    let sources = tree::root().join("tests/toolstack/dom0");
    let guest = tree::root().join("tests/xl/guest");
    let etc = tree::root().join("etc/xen");
    let tiny = image("tiny");
    let mut inputs = Inputs::of("toolstack-root")
        .text("recipe", RECIPE)
        .text("kernel", &kernel.key)
        .text("busybox", &busybox_package.sha256)
        .tree("dom0", &sources)?
        .tree("guest", &guest)?
        .tree("etc", &etc)?
        .text("tiny", &sha256_file(&tiny)?);
    for (name, _) in PROGRAMS {
        inputs = inputs.text(name, &sha256_file(&program(&programs, name)?)?);
    }
    let dir = Cache::open()?.get_or_make("toolstack-root", &inputs.finish(), |dir| {
        let busybox = read(&busybox)?;
        let mut root = Archive::new();
        for folder in ["bin", "sbin", "lib"] {
            root.symlink(folder, &format!("usr/{folder}"));
        }
        root.symlink("/var/run", "/run");
        root.dir("/var/log");
        root.dir("/var/lib");
        for folder in ["root", "proc", "sys", "dev", "tmp", "run"] {
            root.dir(folder);
        }
        devices(&mut root);
        root.file("/usr/bin/busybox", 0o755, busybox.clone());
        root.symlink("/usr/bin/sh", "busybox");
        for (name, others) in PROGRAMS {
            root.file(
                &format!("/usr/sbin/{name}"),
                0o755,
                read(&program(&programs, name)?)?,
            );
            for other in others {
                root.symlink(&format!("/usr/sbin/{other}"), name);
            }
        }
        root.tree(&etc, &|name| Some(format!("etc/xen/{name}")))?;
        modules(&mut root, "/usr/lib/modules", kernel, &sources)?;
        root.file("/init", 0o755, read(&sources.join("init"))?);
        root.tree(&sources, &|name| {
            (!["init", "modules", "doom.c"].contains(&name)).then(|| format!("toolstack/{name}"))
        })?;
        let doom = compiled(&["-static"], &sources.join("doom.c"), &dir.join("doom"))?;
        root.file("/usr/sbin/doom", 0o755, doom);
        root.file(
            "/toolstack/guest.gz",
            0o644,
            guest_root(kernel, busybox, &guest)?,
        );
        root.file("/toolstack/vmlinuz", 0o644, read(&kernel.image)?);
        root.file("/toolstack/tiny", 0o644, read(&tiny)?);
        let packed = gzip(&root.finish()?)?;
        let path = dir.join("dom0.gz");
        fs::write(&path, packed).map_err(Error::io("write", &path))
    })?;
    Ok(dir.join("dom0.gz"))
}

/// A guest's initramfs: busybox, its init, its modules.
fn guest_root(kernel: &Kernel, busybox: Vec<u8>, sources: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.file("/init", 0o755, read(&sources.join("init"))?);
    archive.file("/bin/busybox", 0o755, busybox);
    archive.symlink("/bin/sh", "busybox");
    devices(&mut archive);
    modules(&mut archive, "/lib/modules", kernel, sources)?;
    gzip(&archive.finish()?)
}

/// The kernel modules that the file `modules` of `sources` names.
fn modules(archive: &mut Archive, folder: &str, kernel: &Kernel, sources: &Path) -> Result<()> {
    let names = read(&sources.join("modules"))?;
    add_modules(archive, folder, kernel, &String::from_utf8_lossy(&names)).map(|_| ())
}

/// Before devtmpfs is mounted the kernel opens these for init.
fn devices(archive: &mut Archive) {
    archive.char_device("/dev/console", 5, 1);
    archive.char_device("/dev/null", 1, 3);
}

fn program(programs: &Programs, name: &str) -> Result<PathBuf> {
    programs
        .path(name)
        .ok_or_else(|| Error::new(format!("the toolstack has no program {name}")))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}
