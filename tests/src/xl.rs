//! Debian's own `xl` in domain 0: the root file system of such a domain 0, the machine it runs on, and what it reports.
//!
//! The scripts that run in there are in tests/xl; a check prints `XL-CHECK name ok|FAIL detail`, the end is `XL-DONE`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rexen_installer::cache::{Cache, Inputs};
use rexen_installer::cmd::Cmd;
use rexen_installer::cpio::Archive;
use rexen_installer::debian::{Kernel, fetch_busybox};
use rexen_installer::debian_set::{UnpackedSet, fetch_set};
use rexen_installer::initramfs::add_modules;
use rexen_installer::lock::Role;
use rexen_installer::{
    Consent, Flow, Qemu, Result, Run, SerialLog, fetch_debian_kernel, hypervisor::gzip, tree,
};

use crate::guest;
use crate::host::Host;
use crate::slots::Slot;

/// Bump when this file changes what it makes from the same inputs.
const RECIPE: &str = "1";
/// What the packages hold and domain 0 does not need.
const LEFT_OUT: [&str; 14] = [
    "usr/share/",
    "usr/lib/debug",
    "usr/lib/mime",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/lib/xen-4.17/boot/",
    "usr/lib/xen-4.17/lib/",
    "usr/lib/xen-4.17/bin/test-",
    "usr/bin/xenalyze",
    "usr/bin/rdma",
    "usr/sbin/gdbsx",
    "usr/sbin/tc",
    "usr/sbin/devlink",
    "usr/bin/mount",
    "usr/bin/umount",
];

/// A guest's kernel, linked to where a PV guest begins.
const SPIN_FLAGS: [&str; 6] = [
    "-nostdlib",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,-z,max-page-size=4096",
    "-Wl,-Ttext-segment=0xffffffff80100000",
];

/// What a machine with Debian's toolstack boots, besides a hypervisor.
#[derive(Clone, Debug)]
pub struct Kit {
    /// Debian's kernel.
    pub kernel: PathBuf,
    /// Domain 0's root.
    pub initrd: PathBuf,
}

impl Kit {
    /// Makes it, or finds it in the cache.
    ///
    /// # Errors
    /// Debian's packages cannot be fetched.
    pub fn make() -> Result<Self> {
        let consent = Consent::from_env();
        let kernel = fetch_debian_kernel(consent)?;
        let (busybox, busybox_package) = fetch_busybox(consent)?;
        let packages = fetch_set(Role::Xl, consent)?;
        let sources = tree::root().join("tests/xl");
        let key = Inputs::of("xl-root")
            .text("recipe", RECIPE)
            .text("kernel", &kernel.key)
            .text("busybox", &busybox_package.sha256)
            .text("packages", &packages.key)
            .tree("xl", &sources)?
            .finish();
        let dir = Cache::open()?.get_or_make("xl-root", &key, |dir| {
            let busybox = read(&busybox)?;
            let guest = guest(&kernel, &busybox, &sources.join("guest"))?;
            let spin = compiled(
                &SPIN_FLAGS,
                &sources.join("guest/spin.S"),
                &dir.join("spin"),
            )?;
            let mut root = domain0(&kernel, &busybox, &packages, &sources.join("dom0"), guest)?;
            for tool in ["on-tty", "free-pages"] {
                let source = sources.join(format!("dom0/{tool}.c"));
                let program = compiled(&["-static"], &source, &dir.join(tool))?;
                root.file(&format!("/usr/bin/{tool}"), 0o755, program);
            }
            root.file("/xl/spin", 0o644, spin);
            let root = root.finish()?;
            write(&dir.join("dom0.gz"), gzip(&root)?)
        })?;
        Ok(Self {
            kernel: kernel.image,
            initrd: dir.join("dom0.gz"),
        })
    }

    /// The machine: two CPUs, 4 GiB, of which domain 0 has one. `words` go to domain 0's command line.
    pub fn machine(&self, hypervisor: &Path, words: &str) -> Qemu {
        Qemu::new(hypervisor)
            .memory_mib(4096)
            .append(
                "dom0_mem=1024M,max:1024M console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all",
            )
            .module(&self.kernel, &format!("console=hvc0 panic=5 {words}"))
            .module(&self.initrd, "")
    }
}

/// A guest's initramfs: busybox, its init, its modules.
fn guest(kernel: &Kernel, busybox: &[u8], sources: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.file("/init", 0o755, read(&sources.join("init"))?);
    archive.file("/bin/busybox", 0o755, busybox);
    archive.symlink("/bin/sh", "busybox");
    devices(&mut archive);
    let modules = read(&sources.join("modules"))?;
    add_modules(
        &mut archive,
        "/lib/modules",
        kernel,
        &String::from_utf8_lossy(&modules),
    )?;
    gzip(&archive.finish()?)
}

/// Domain 0's root: Debian's packages with `/bin`, `/sbin` and `/lib` merged into `/usr`, busybox for the rest, our
/// scripts in `/xl`, and there the guests' kernel and initramfs, too.
fn domain0(
    kernel: &Kernel,
    busybox: &[u8],
    packages: &UnpackedSet,
    sources: &Path,
    guest: Vec<u8>,
) -> Result<Archive> {
    let mut archive = Archive::new();
    archive.tree(&packages.root, &place)?;
    for dir in ["bin", "sbin", "lib"] {
        archive.symlink(dir, &format!("usr/{dir}"));
    }
    archive.symlink("/var/run", "/run");
    archive.symlink("/var/lock", "/run/lock");
    archive.file("/usr/bin/busybox", 0o755, busybox);
    archive.symlink("/usr/bin/sh", "busybox");
    archive.dir("/root");
    for dir in ["proc", "sys", "dev", "tmp", "run"] {
        archive.dir(dir);
    }
    archive.file("/etc/hosts", 0o644, "127.0.0.1 localhost\n");
    devices(&mut archive);
    let modules = read(&sources.join("modules"))?;
    add_modules(
        &mut archive,
        "/usr/lib/modules",
        kernel,
        &String::from_utf8_lossy(&modules),
    )?;
    archive.file("/init", 0o755, read(&sources.join("init"))?);
    archive.tree(sources, &|name| {
        let apart = ["init", "modules"].contains(&name) || name.ends_with(".c");
        (!apart).then(|| format!("xl/{name}"))
    })?;
    archive.file("/xl/guest.gz", 0o644, guest);
    archive.file("/xl/vmlinuz", 0o644, read(&kernel.image)?);
    Ok(archive)
}

/// A program, made by the host's C compiler.
fn compiled(flags: &[&str], source: &Path, program: &Path) -> Result<Vec<u8>> {
    Cmd::new("gcc")
        .args(flags)
        .args(["-O2", "-s", "-Wall", "-o"])
        .args([program, source])
        .run()?;
    read(program)
}

/// Where a file of a package goes in domain 0's root, if anywhere.
fn place(path: &str) -> Option<String> {
    let merged = ["bin/", "sbin/", "lib/"]
        .iter()
        .any(|d| path.starts_with(d));
    let path = match merged {
        true => format!("usr/{path}"),
        false => path.to_owned(),
    };
    // Names that end in `/` or `-` stand for all that begins so, the others for themselves alone.
    let out = LEFT_OUT.iter().any(|out| match out.ends_with(['/', '-']) {
        true => path.starts_with(out),
        false => path == *out,
    });
    (!out).then_some(path)
}

/// Before devtmpfs is mounted the kernel opens these for init.
fn devices(archive: &mut Archive) {
    archive.char_device("/dev/console", 5, 1);
    archive.char_device("/dev/null", 1, 3);
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(rexen_installer::Error::io("read", path))
}

fn write(path: &Path, content: Vec<u8>) -> Result<()> {
    fs::write(path, content).map_err(rexen_installer::Error::io("write", path))
}

/// How long a script may take on a loaded machine. A machine at rest needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Runs one of tests/xl/dom0's scripts on a hypervisor and demands that each of its checks passes.
///
/// # Panics
/// Some check does not pass or does not report.
pub fn demand(host: Host, script: &str) {
    let kit = Kit::make().expect("domain 0 with Debian's xl");
    let machine = kit
        .machine(&host.image(), &format!("xl.run={script}"))
        .timeout(PATIENCE);
    let _slot = Slot::take();
    let run = machine.run_until(watch).expect("QEMU runs");
    let report: Vec<&str> = run.log.lines().filter(|l| l.contains("XL-")).collect();
    println!("{}", report.join("\n"));
    println!("{script} on {host:?}: {:.0} s", run.elapsed.as_secs_f32());
    let path = tree::root().join(format!("tests/xl/dom0/{script}.sh"));
    let text = fs::read_to_string(path).expect("the script can be read");
    judge(&run, &checks_of(&text));
}

/// Runs the script `costs` where QEMU counts instructions; what it said.
///
/// # Panics
/// As [`demand`], but for checks that fail: they are in what it said.
pub fn costs(host: Host) -> SerialLog {
    let kit = Kit::make().expect("domain 0 with Debian's xl");
    let machine = guest::counted(kit.machine(&host.image(), "xl.run=costs")).timeout(2 * PATIENCE);
    let _slot = Slot::take();
    machine.run_until(watch).expect("QEMU runs").log
}

/// The names of a script's checks. One that never reports has failed.
fn checks_of(script: &str) -> Vec<&str> {
    let checks = script.lines().filter_map(|l| l.strip_prefix("check "));
    checks.filter_map(|c| c.split(' ').next()).collect()
}

fn judge(run: &Run, expected: &[&str]) {
    let tail = || run.log.tail(60);
    let reports: Vec<(&str, &str)> = run.log.lines().filter_map(report_of).collect();
    let said = |verdict: &str| -> Vec<&str> {
        let of = reports.iter().filter(|(_, v)| *v == verdict);
        of.map(|(name, _)| *name).collect()
    };
    assert_eq!(said("FAIL"), Vec::<&str>::new(), "\n{}", tail());
    assert_eq!(
        said("ok"),
        expected,
        "not as the script has them\n{}",
        tail()
    );
    let end = format!("XL-DONE {} ok 0 failed", expected.len());
    assert!(run.log.contains(&end), "no {end:?}\n{}", tail());
    assert!(run.powered_off(), "{:?}\n{}", run.end, tail());
}

/// The name and the verdict of a check, if a serial line has one.
fn report_of(line: &str) -> Option<(&str, &str)> {
    let (_, check) = line.split_once("XL-CHECK ")?;
    let mut words = check.split(' ');
    Some((words.next()?, words.next()?))
}

/// Stops what cannot come to its end.
fn watch(line: &str) -> Flow {
    let hopeless = [
        "Panic on CPU",
        "Dom0 crashed",
        "Domain 0 crashed",
        "Kernel panic",
    ];
    if line.contains("XL-DONE") {
        Flow::StopWithin(Duration::from_secs(30))
    } else if hopeless.iter().any(|h| line.contains(h)) && !line.contains("(d") {
        Flow::StopWithin(Duration::from_secs(8))
    } else {
        Flow::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_checks_and_a_line_its_verdict() {
        let script = "x info\ncheck info \"a=b\"\n    check not-this\ncheck list\n";
        assert_eq!(checks_of(script), ["info", "list"]);
        let line = "(XEN) noise XL-CHECK list FAIL some detail [3.2 s]";
        assert_eq!(report_of(line), Some(("list", "FAIL")));
        assert_eq!(report_of("XL-LOG list dmesg: text"), None);
    }

    #[test]
    fn packages_are_merged_into_usr_and_what_is_large_stays_out() {
        assert_eq!(place("sbin/losetup").as_deref(), Some("usr/sbin/losetup"));
        assert_eq!(place("etc/xen/xl.conf").as_deref(), Some("etc/xen/xl.conf"));
        assert_eq!(place("lib64/ld.so").as_deref(), Some("lib64/ld.so"));
        assert_eq!(place("bin/mount"), None);
        assert_eq!(place("usr/share/doc/bash/README"), None);
        assert!(place("usr/bin/xenstore-ls").is_some());
    }
}
