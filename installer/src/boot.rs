//! Boots a hypervisor with a kernel as domain 0 under QEMU, or that kernel alone, without a boot loader: by hand, or for domain 0
//! to check itself. What a whole image does is in [`crate::image::boot`], which shares the [`Machine`] and the verdict.

use std::fs;
use std::io::{IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache::{Cache, sha256};
use crate::checks::{Check, END, EXPECTED, Report};
use crate::error::{Error, Result};
use crate::qemu::{Accel, End, Flow, Nic, Qemu, Run};
use crate::ui;

const MIB: usize = 1 << 20;
/// The check's disk: the host writes the first 4 MiB, init those from 8 MiB on (image/dom0/init).
const DISK_MIB: usize = 64;
const PART_MIB: usize = 4;
const GUEST_PART_AT_MIB: usize = 8;
/// How long a machine may take to switch itself off after the last check.
const POWER_OFF: Duration = Duration::from_secs(30);
/// How long a panic may talk.
const LAST_WORDS: Duration = Duration::from_secs(8);
/// How far domain 0's clock may be from ours; half of that would be enough on a machine at rest.
const CLOCK_SLACK_S: u64 = 10;

/// A machine for QEMU, and words for what runs on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's machine type.
    pub board: String,
    /// QEMU's CPU model.
    pub cpu: String,
    /// Physical CPUs, which domain 0 gets as many vcpus of.
    pub smp: u32,
    /// The machine's memory in MiB.
    pub memory_mib: u32,
    /// The network card.
    pub nic: Nic,
    /// More words for the hypervisor's command line.
    pub hypervisor_options: Vec<String>,
    /// More words for domain 0's command line.
    pub append: Vec<String>,
    /// Wait for a debugger.
    pub gdb: bool,
    /// Software emulation or KVM.
    pub accel: Accel,
    /// A screen, as in QEMU's `-display`; without it there is only the serial line.
    pub display: Option<String>,
}

impl Default for Machine {
    /// The machine of the checks: q35, the plainest CPU twice, 2 GiB.
    fn default() -> Self {
        Self {
            board: "q35".to_owned(),
            cpu: "qemu64".to_owned(),
            smp: 2,
            memory_mib: 2048,
            nic: Nic::E1000,
            hypervisor_options: Vec::new(),
            append: Vec::new(),
            gdb: false,
            accel: Accel::Tcg,
            display: None,
        }
    }
}

impl Machine {
    /// Makes QEMU, which has something to boot, this machine. The words are left to what boots.
    ///
    /// # Errors
    /// KVM is demanded, and not to be had.
    pub fn onto(&self, qemu: Qemu) -> Result<Qemu> {
        let mut qemu = qemu
            .machine(&self.board)
            .cpu(&self.cpu)
            .smp(self.smp)
            .memory_mib(self.memory_mib)
            .nic(self.nic);
        qemu = qemu.accel(self.accel)?;
        if let Some(display) = &self.display {
            qemu = qemu.display(display);
        }
        if self.gdb {
            ui::note(
                "waiting for a debugger: gdb -ex 'target remote :1234' dist/install/boot/xen-syms",
            );
            qemu = qemu.gdb();
        }
        Ok(qemu)
    }
}

/// What to boot, and on which machine.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The hypervisor: a multiboot image, gzipped or not. Without one the kernel has the machine to itself.
    pub hypervisor: Option<PathBuf>,
    /// Domain 0's kernel.
    pub kernel: PathBuf,
    /// Domain 0's initramfs.
    pub initrd: PathBuf,
    /// The machine.
    pub machine: Machine,
    /// Domain 0's memory in MiB.
    pub dom0_memory_mib: u32,
    /// When to give up.
    pub timeout: Duration,
    /// What the hypervisor's banner must contain, if it is ours.
    pub banner: Option<String>,
}

impl Boot {
    /// The machine of the check; domain 0 gets one GiB of it.
    pub fn new(hypervisor: PathBuf, kernel: PathBuf, initrd: PathBuf) -> Self {
        Self {
            hypervisor: Some(hypervisor),
            ..Self::bare(kernel, initrd)
        }
    }

    /// The same machine without a hypervisor.
    pub fn bare(kernel: PathBuf, initrd: PathBuf) -> Self {
        Self {
            hypervisor: None,
            kernel,
            initrd,
            machine: Machine::default(),
            dom0_memory_mib: 1024,
            timeout: Duration::from_secs(300),
            banner: None,
        }
    }

    /// The QEMU machine; `words` go to domain 0's command line.
    pub fn qemu(&self, disk: &Path, words: &[String]) -> Result<Qemu> {
        let more: Vec<&str> = words
            .iter()
            .chain(&self.machine.append)
            .map(|w| &**w)
            .collect();
        let more = more.join(" ");
        let qemu = match &self.hypervisor {
            Some(image) => {
                let memory = format!("dom0_mem={0}M,max:{0}M", self.dom0_memory_mib);
                let mut options = vec![&*memory, "console=com1 com1=115200,8n1 loglvl=all"];
                options.extend(self.machine.hypervisor_options.iter().map(|w| &**w));
                Qemu::new(crate::debian::gunzipped(image)?)
                    .append(&options.join(" "))
                    .module(
                        &self.kernel,
                        &format!("console=hvc0 earlyprintk=xen {more}"),
                    )
            }
            None => Qemu::new(&self.kernel).append(&format!("console=ttyS0 {more}")),
        };
        let qemu = qemu.module(&self.initrd, "").disk(disk);
        Ok(self.machine.onto(qemu)?.timeout(self.timeout))
    }

    /// Hands the serial line over to the terminal: domain 0's shell.
    ///
    /// # Errors
    /// QEMU cannot be started or fails.
    pub fn interactive(&self) -> Result<()> {
        let dir = Cache::open()?.scratch("run")?;
        let disk = dir.path().join("disk");
        make_disk(&disk)?;
        ui::step("booting; Ctrl-A x leaves QEMU, Ctrl-A c switches to its monitor and back");
        self.qemu(&disk, &[])?.interactive()
    }

    /// Boots with the check's disk; `words` go to domain 0's command line, `see` watches the serial line.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn run(&self, words: &[String], see: impl FnMut(&str) -> Flow) -> Result<Run> {
        let dir = Cache::open()?.scratch("run")?;
        let disk = dir.path().join("disk");
        make_disk(&disk)?;
        self.qemu(&disk, words)?.run_until(see)
    }

    /// Domain 0's shell where there is a terminal, else the check, whose verdict goes to the user.
    ///
    /// # Errors
    /// QEMU fails, or a check does.
    pub fn go(&self, only_check: bool) -> Result<()> {
        if is_interactive() && !only_check {
            return self.interactive();
        }
        ui::step("booting; domain 0 checks itself");
        let (report, run) = self.check()?;
        conclude(&report, &run, "serial.log", "domain 0 is up")
    }

    /// Boots, lets domain 0 check itself, and checks from outside what it cannot know.
    ///
    /// # Errors
    /// QEMU cannot be started. Failed checks are in the report, and no error here.
    pub fn check(&self) -> Result<(Report, Run)> {
        let dir = Cache::open()?.scratch("run")?;
        let disk = dir.path().join("disk");
        let host_part = make_disk(&disk)?;
        let words = [
            "rexen.check".to_owned(),
            format!("rexen.vcpus={}", self.machine.smp),
            match self.hypervisor {
                Some(_) => format!("rexen.memory={}", self.dom0_memory_mib),
                None => format!("rexen.bare rexen.memory={}", self.machine.memory_mib),
            },
            format!("rexen.disk={host_part}"),
            // A kernel that cannot go on should say so and end, not wait for our deadline.
            "panic=5".to_owned(),
        ];
        let mut off = None;
        let run = self.qemu(&disk, &words)?.run_until(|line| {
            off = clock_off(line).or(off);
            if line.contains(END) {
                Flow::StopWithin(POWER_OFF)
            } else if hopeless(line) {
                Flow::StopWithin(LAST_WORDS)
            } else {
                Flow::GoOn
            }
        })?;
        let mut report = Report::of(&run.log, &EXPECTED);
        if let Some(banner) = &self.banner {
            add_banner(&mut report, &run, banner);
        }
        let wrote = report
            .get("disk-write")
            .and_then(|c| c.value("sha256"))
            .map(str::to_owned);
        let found = part_sha256(&disk, GUEST_PART_AT_MIB)?;
        report.add(
            "disk-on-host",
            wrote.as_deref() == Some(&*found),
            format!("sha256={found}"),
        );
        add_clock(&mut report, off);
        add_power_off(&mut report, &run, END);
        Ok((report, run))
    }
}

/// Whether the hypervisor has said what it is.
pub(crate) fn add_banner(report: &mut Report, run: &Run, banner: &str) {
    let line = run.log.find(banner);
    let said = line.unwrap_or("not seen on the serial line");
    report.add("banner", line.is_some(), said.trim());
}

/// How far domain 0's clock is from ours, in seconds, by a check's `date=`.
pub(crate) fn clock_off(line: &str) -> Option<u64> {
    let date = Check::parse(line)?.value("date")?.parse().ok()?;
    Some(now_s().abs_diff(date))
}

/// Whether that is near enough.
pub(crate) fn add_clock(report: &mut Report, clock_off: Option<u64>) {
    let off = clock_off.map_or("no date".to_owned(), |s| format!("{s} s from the host's"));
    let near = clock_off.is_some_and(|s| s <= CLOCK_SLACK_S);
    report.add("clock-on-host", near, off);
}

/// Whether the machine switched itself off after the last check.
pub(crate) fn add_power_off(report: &mut Report, run: &Run, end: &str) {
    let seconds = run.elapsed.as_secs_f32();
    let how = match run.end {
        End::Exited(status) => format!("QEMU ended after {seconds:.1} s ({status})"),
        End::Stopped => format!("still on after {seconds:.1} s"),
        End::TimedOut => format!("no end within {seconds:.0} s"),
    };
    report.add("power-off", run.powered_off() && run.log.contains(end), how);
}

/// Whether there is somebody to hand a console to.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Says what came of a check, and keeps its serial log under a name; `well` is what all is when all checks passed.
///
/// # Errors
/// A check did not pass.
pub(crate) fn conclude(report: &Report, run: &Run, log: &str, well: &str) -> Result<()> {
    let kept = Cache::open()?.root().join(log);
    fs::write(&kept, run.log.to_string()).map_err(Error::io("write", &kept))?;
    if !report.passed() {
        ui::error(&format!(
            "--- the last lines of the serial log ---\n{}\n---",
            run.log.tail(40)
        ));
        run.complaints.iter().for_each(|line| ui::note(line));
    }
    ui::result(report.table().trim_end());
    report
        .verdict()
        .map_err(|e| e.remedy(format!("read {}", kept.display())))?;
    let all = report.checks.len();
    ui::result(&format!("{well}: all {all} checks passed"));
    Ok(())
}

/// Whether a line says that nothing more will come of this boot: the hypervisor's panic, or domain 0's end.
fn hopeless(line: &str) -> bool {
    [
        "Panic on CPU",
        "Domain 0 crashed",
        "Kernel panic - not syncing",
    ]
    .iter()
    .any(|s| line.contains(s))
}

/// Makes the check's disk and returns the SHA-256 of the part that domain 0 is to read.
fn make_disk(path: &Path) -> Result<String> {
    let part: Vec<u8> = (0..PART_MIB * MIB)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[4])
        .collect();
    let fill = || {
        let mut file = fs::File::create(path)?;
        file.set_len(u64::try_from(DISK_MIB * MIB).unwrap_or(u64::MAX))?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&part)
    };
    fill().map_err(Error::io("write", path))?;
    Ok(sha256(&part))
}

fn part_sha256(path: &Path, at_mib: usize) -> Result<String> {
    let disk = fs::read(path).map_err(Error::io("read", path))?;
    let part = disk.get(at_mib * MIB..(at_mib + PART_MIB) * MIB);
    Ok(sha256(part.ok_or_else(|| {
        Error::new("the check's disk has shrunk")
    })?))
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_holds_the_part_it_names_and_nothing_else() {
        let path = std::env::temp_dir().join(format!("rexen-disk-{}", std::process::id()));
        let named = make_disk(&path).unwrap();
        assert_eq!(part_sha256(&path, 0).unwrap(), named);
        let empty = sha256(&vec![0; PART_MIB * MIB]);
        assert_eq!(part_sha256(&path, GUEST_PART_AT_MIB).unwrap(), empty);
        assert_ne!(named, empty);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_panic_ends_the_wait_but_warnings_do_not() {
        assert!(hopeless("(XEN) Panic on CPU 0:"));
        assert!(hopeless("[    1.0] Kernel panic - not syncing: VFS"));
        assert!(!hopeless("[    1.0] unchecked MSR access error") && !hopeless("panic=5"));
    }

    #[test]
    fn kernel_and_initramfs_are_modules_zero_and_one() {
        let mut boot = Boot::new("/dev/null".into(), "/vmlinuz".into(), "/initrd".into());
        boot.machine.append.push("quiet".to_owned());
        let line = boot
            .qemu(Path::new("/d"), &["rexen.check".to_owned()])
            .unwrap()
            .shell_line();
        assert!(
            line.contains("'/vmlinuz console=hvc0 earlyprintk=xen rexen.check quiet,/initrd'"),
            "{line}"
        );
        assert!(line.contains("dom0_mem=1024M,max:1024M"), "{line}");
    }
}
