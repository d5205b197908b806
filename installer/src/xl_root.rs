//! A domain 0 with Debian's own `xl`: its root file system, the machine it runs on, and what its scripts report.
//!
//! The scripts are in tests/xl; a check prints `XL-CHECK name ok|FAIL detail`, the end is `XL-DONE`. Only
//! tests run them: what users get is our own toolstack.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{Cache, Inputs};
use crate::checks::Report;
use crate::cmd::Cmd;
use crate::cpio::Archive;
use crate::debian::{Consent, Kernel, fetch_busybox};
use crate::debian_set::{UnpackedSet, fetch_set};
use crate::error::{Error, Result};
use crate::initramfs::add_modules;
use crate::lock::Role;
use crate::qemu::{Flow, Qemu, Run};
use crate::{hypervisor::gzip, toolstack, tree, ui};

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
    /// Domain 0's kernel.
    pub kernel: PathBuf,
    /// Domain 0's root.
    pub initrd: PathBuf,
}

impl Kit {
    /// Makes it for these two kernels, domain 0's and its guests', or finds it in the cache.
    ///
    /// # Errors
    /// Debian's packages cannot be fetched, or a kernel lacks a module.
    pub fn make(kernel: &Kernel, guests: &Kernel, consent: Consent) -> Result<Self> {
        let (busybox, busybox_package) = fetch_busybox(consent)?;
        let packages = fetch_set(Role::Xl, consent)?;
        let sources = tree::root().join("tests/xl");
        let key = Inputs::of("xl-root")
            .text("recipe", RECIPE)
            .text("kernel", &kernel.key)
            .text("guests", &guests.key)
            .text("busybox", &busybox_package.sha256)
            .text("packages", &packages.key)
            .tree("xl", &sources)?
            .finish();
        let dir = Cache::open()?.get_or_make("xl-root", &key, |dir| {
            ui::step(&format!(
                "domain 0 with Debian's xl, for {} and guests with {}",
                kernel.release, guests.release
            ));
            let busybox = read(&busybox)?;
            let guest = Guest {
                release: guests.release.clone(),
                kernel: read(&guests.image)?,
                initrd: guest(guests, &busybox, &sources.join("guest"))?,
            };
            let spin = compiled(
                &SPIN_FLAGS,
                &sources.join("guest/spin.S"),
                &dir.join("spin"),
            )?;
            let mut root = domain0(kernel, &busybox, &packages, &sources.join("dom0"), guest)?;
            for tool in ["on-tty", "hv"] {
                let source = sources.join(format!("dom0/{tool}.c"));
                let program = compiled(&["-static"], &source, &dir.join(tool))?;
                root.file(&format!("/usr/bin/{tool}"), 0o755, program);
            }
            root.file("/xl/spin", 0o644, spin);
            let root = root.finish()?;
            write(&dir.join("dom0.gz"), gzip(&root)?)
        })?;
        Ok(Self {
            kernel: kernel.image.clone(),
            initrd: dir.join("dom0.gz"),
        })
    }

    /// The same, with the toolstack's own programs in domain 0's /usr/lib/rexen, beside Debian's.
    ///
    /// # Errors
    /// The toolstack does not build.
    pub fn with_toolstack(&self) -> Result<Self> {
        let programs = toolstack::build()?;
        let key = Inputs::of("xl-root-own")
            .file("debian", &self.initrd)?
            .tree("own", programs.folder())?
            .finish();
        let dir = Cache::open()?.get_or_make("xl-root-own", &key, |dir| {
            let mut own = Archive::new();
            own.tree(programs.folder(), &|name| {
                Some(format!("usr/lib/rexen/{name}"))
            })?;
            // The kernel unpacks one archive after the other.
            let both = [read(&self.initrd)?, gzip(&own.finish()?)?].concat();
            write(&dir.join("dom0.gz"), both)
        })?;
        Ok(Self {
            kernel: self.kernel.clone(),
            initrd: dir.join("dom0.gz"),
        })
    }

    /// Runs a script of tests/xl/dom0, on [`Self::machine`] with a change; reports on each of its checks and on the end.
    /// More words after the script's name are for domain 0's command line.
    ///
    /// # Errors
    /// There is no such script, or QEMU cannot be started. Failed checks are in the report, and no error here.
    pub fn run(
        &self,
        hypervisor: &Path,
        script: &str,
        change: impl FnOnce(Qemu) -> Qemu,
    ) -> Result<(Report, Run)> {
        let name = script.split(' ').next().unwrap_or_default();
        let path = tree::root().join(format!("tests/xl/dom0/{name}.sh"));
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let expected = checks_of(&text);
        let machine = self
            .machine(hypervisor, &format!("xl.run={script}"))
            .timeout(PATIENCE);
        let run = change(machine).run_until(|line| until("XL-DONE", line))?;
        let mut report = Report::of(&run.log, &expected);
        // It counts checks that the script has besides, and those that came twice.
        let end = format!("XL-DONE {} ok 0 failed", expected.len());
        let done = run.log.find("XL-DONE").unwrap_or("did not report");
        report.add("end", run.log.contains(&end), done.trim());
        report.add("power-off", run.powered_off(), format!("{:?}", run.end));
        Ok((report, run))
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

/// What guests boot, and what `uname -r` says then.
struct Guest {
    release: String,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
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
    guest: Guest,
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
    for dir in ["proc", "sys", "dev", "tmp", "run", "mnt"] {
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
    // An index, as ours have it and Debian's package has not, is for modprobe, which may ask for any of them.
    if kernel.modules.join("modules.dep").exists() {
        let folder = format!("usr/lib/modules/{}", kernel.release);
        archive.tree(&kernel.modules, &|name| Some(format!("{folder}/{name}")))?;
    }
    archive.file("/init", 0o755, read(&sources.join("init"))?);
    archive.tree(sources, &|name| {
        let apart = ["init", "modules"].contains(&name) || name.ends_with(".c");
        (!apart).then(|| format!("xl/{name}"))
    })?;
    archive.file("/xl/release", 0o644, guest.release);
    archive.file("/xl/guest.gz", 0o644, guest.initrd);
    archive.file("/xl/vmlinuz", 0o644, guest.kernel);
    Ok(archive)
}

/// A program, made by the host's C compiler.
/// A small program for domain 0 or a guest, from one file of C.
///
/// # Errors
/// It does not compile.
pub fn compiled(flags: &[&str], source: &Path, program: &Path) -> Result<Vec<u8>> {
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
    fs::read(path).map_err(Error::io("read", path))
}

fn write(path: &Path, content: Vec<u8>) -> Result<()> {
    fs::write(path, content).map_err(Error::io("write", path))
}

/// How long a script may take on a loaded machine. A machine at rest needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The names of a script's checks. One that never reports has failed.
pub fn checks_of(script: &str) -> Vec<&str> {
    let checks = script.lines().filter_map(|l| l.strip_prefix("check "));
    checks.filter_map(|c| c.split(' ').next()).collect()
}

/// Waits for the line with which a script of domain 0 says that it has ended, and stops what cannot come to its end.
pub fn until(end: &str, line: &str) -> Flow {
    let hopeless = [
        "Panic on CPU",
        "Dom0 crashed",
        "Domain 0 crashed",
        "Kernel panic",
    ];
    if line.contains(end) {
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
    use crate::checks::Check;

    #[test]
    fn a_script_names_its_checks_and_a_line_its_verdict() {
        let script = "x info\ncheck info \"a=b\"\n    check not-this\ncheck list\n";
        assert_eq!(checks_of(script), ["info", "list"]);
        let line = "(XEN) noise XL-CHECK list FAIL some detail [3.2 s]";
        let check = Check::parse(line).unwrap();
        assert_eq!((&*check.name, check.passed), ("list", false));
        assert_eq!(Check::parse("XL-LOG list dmesg: text"), None);
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
