//! Runs QEMU: a builder for the machine, and the serial line as a log with a deadline.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::ui;

/// What is typed when a run's time is over: Ctrl-A three times, then the hypervisor's debug keys for the registers of all
/// vcpus, the domains, and the run queues. A log that ends with the answers tells where a machine hangs, or who.
const QUESTION: &str = "\u{1}\u{1}\u{1}0qr";
/// How long the answers may take.
const TO_ANSWER: Duration = Duration::from_secs(10);

/// A network card on QEMU's user network (10.0.2.0/24; the host is 10.0.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// Intel 82540EM: no MSI, so it interrupts through the IO-APIC.
    E1000,
    /// Intel 82574L: MSI-X.
    E1000e,
    /// virtio: MSI-X.
    Virtio,
}

impl Nic {
    fn model(self) -> &'static str {
        match self {
            Nic::E1000 => "e1000",
            Nic::E1000e => "e1000e",
            Nic::Virtio => "virtio-net-pci",
        }
    }
}

/// What runs the machine's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accel {
    /// Software: works everywhere, and is the same everywhere.
    #[default]
    Tcg,
    /// The CPU's own virtualisation, through Linux.
    Kvm,
    /// KVM where it works, else software.
    Auto,
}

impl Accel {
    /// QEMU's word for it on this machine.
    ///
    /// # Errors
    /// `Kvm`, and it cannot be had.
    fn word(self) -> Result<&'static str> {
        let has_kvm = || {
            let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            can_virtualise(&cpuinfo) && Path::new("/dev/kvm").exists()
        };
        match self {
            Accel::Tcg => Ok("tcg"),
            Accel::Auto if !has_kvm() => Ok("tcg"),
            Accel::Kvm if !has_kvm() => Err(Error::new("this machine cannot run KVM")
                .because("no vmx or svm flag in /proc/cpuinfo, or no /dev/kvm")
                .remedy("--accel tcg: software emulation needs neither")),
            Accel::Auto | Accel::Kvm => Ok("kvm"),
        }
    }
}

/// Whether the CPU says that it has hardware virtualisation. (/dev/kvm alone proves nothing: it may be there and not work.)
fn can_virtualise(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags
        .flat_map(str::split_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// A machine for QEMU to emulate, all in software: a multiboot kernel with its modules, or what its disk boots.
#[derive(Clone, Debug)]
pub struct Qemu {
    machine: String,
    cpu: String,
    accel: &'static str,
    display: String,
    smp: u32,
    memory_mib: u32,
    kernel: Option<PathBuf>,
    modules: Vec<(PathBuf, String)>,
    append: String,
    disks: Vec<PathBuf>,
    nic: Option<Nic>,
    reboots: bool,
    more: Vec<String>,
    timeout: Duration,
}

impl Qemu {
    /// q35 with the plainest CPU, two of them, 2 GiB, no disk, no network; five minutes to live.
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Self {
            machine: "q35".to_owned(),
            cpu: "qemu64".to_owned(),
            accel: "tcg",
            display: "none".to_owned(),
            smp: 2,
            memory_mib: 2048,
            kernel: Some(kernel.into()),
            modules: Vec::new(),
            append: String::new(),
            disks: Vec::new(),
            nic: None,
            reboots: false,
            more: Vec::new(),
            timeout: Duration::from_secs(300),
        }
    }

    /// The same machine with a disk that its firmware boots from. The image stays as it is: what is written is dropped when
    /// QEMU ends.
    pub fn from_disk(image: &Path) -> Self {
        Self {
            kernel: None,
            ..Self::new("")
        }
        .second_disk(image)
    }

    /// Adds a disk behind the one of [`Self::from_disk`], which likewise stays as it is.
    pub fn second_disk(self, image: &Path) -> Self {
        let file = image.display().to_string().replace(',', ",,");
        self.arg("-drive")
            .arg(&format!("file={file},format=raw,if=virtio,snapshot=on"))
    }

    /// A reset boots the machine again, with what is on its disks, in place of ending QEMU.
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// The machine, as in `-machine`.
    pub fn machine(mut self, machine: &str) -> Self {
        self.machine = machine.to_owned();
        self
    }

    /// The CPU, as in `-cpu`.
    pub fn cpu(mut self, cpu: &str) -> Self {
        self.cpu = cpu.to_owned();
        self
    }

    /// The number of CPUs.
    pub fn smp(mut self, cpus: u32) -> Self {
        self.smp = cpus;
        self
    }

    /// The machine's memory in MiB.
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// The hypervisor's command line.
    pub fn append(mut self, line: &str) -> Self {
        self.append = line.to_owned();
        self
    }

    /// Adds a multiboot module with its command line; module 0 is domain 0's kernel, module 1 its initramfs.
    pub fn module(mut self, path: impl Into<PathBuf>, line: &str) -> Self {
        self.modules.push((path.into(), line.to_owned()));
        self
    }

    /// Adds a raw image file as virtio disk (/dev/vda, /dev/vdb, ...).
    pub fn disk(mut self, image: impl Into<PathBuf>) -> Self {
        self.disks.push(image.into());
        self
    }

    /// Adds a network card on QEMU's user network.
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nic = Some(nic);
        self
    }

    /// Adds an argument of QEMU's own.
    pub fn arg(mut self, arg: &str) -> Self {
        self.more.push(arg.to_owned());
        self
    }

    /// Waits for a debugger on port 1234 before the first instruction.
    pub fn gdb(self) -> Self {
        self.arg("-s").arg("-S")
    }

    /// How long [`Self::run`] waits before it asks the hypervisor by its debug keys where it is, and kills
    /// QEMU.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Uses hardware virtualisation, or not.
    ///
    /// # Errors
    /// It is demanded, and not to be had.
    pub fn accel(mut self, accel: Accel) -> Result<Self> {
        self.accel = accel.word()?;
        Ok(self)
    }

    /// Adds a screen, shown as in `-display` (`gtk`, `vnc=:1`).
    pub fn display(mut self, display: &str) -> Self {
        self.display = display.to_owned();
        self.arg("-vga").arg("std")
    }

    /// The command, but for where its serial line goes.
    fn command(&self) -> Cmd {
        let mut cmd = Cmd::new("qemu-system-x86_64")
            .args([
                "-accel",
                self.accel,
                "-machine",
                &self.machine,
                "-cpu",
                &self.cpu,
            ])
            .args([
                "-smp",
                &self.smp.to_string(),
                "-m",
                &self.memory_mib.to_string(),
            ])
            .args(["-nodefaults", "-no-user-config", "-display", &self.display]);
        if !self.reboots {
            cmd = cmd.arg("-no-reboot");
        }
        if let Some(kernel) = &self.kernel {
            cmd = cmd.arg("-kernel").arg(kernel);
        }
        if !self.append.is_empty() {
            cmd = cmd.arg("-append").arg(&self.append);
        }
        if !self.modules.is_empty() {
            cmd = cmd.arg("-initrd").arg(module_list(&self.modules));
        }
        for (nr, disk) in self.disks.iter().enumerate() {
            let file = disk.display().to_string().replace(',', ",,");
            cmd = cmd
                .arg("-drive")
                .arg(format!(
                    "file={file},format=raw,if=none,id=disk{nr},cache=writeback"
                ))
                .arg("-device")
                .arg(format!("virtio-blk-pci,drive=disk{nr}"));
        }
        if let Some(nic) = self.nic {
            cmd = cmd.arg("-nic").arg(format!("user,model={}", nic.model()));
        }
        cmd.args(&self.more)
    }

    /// The command as a shell line, for people.
    pub fn shell_line(&self) -> String {
        self.command().args(["-serial", "stdio"]).shell_line()
    }

    /// Runs with the serial line on this terminal; Ctrl-A x leaves, Ctrl-A c reaches QEMU's monitor.
    ///
    /// # Errors
    /// QEMU cannot be started or fails.
    pub fn interactive(&self) -> Result<()> {
        let cmd = self.command().args(["-serial", "mon:stdio"]);
        ui::command(&cmd.shell_line());
        let status = cmd.to_std().status().map_err(|e| not_started(&e))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(format!("QEMU failed ({status})")))
    }

    /// Runs until QEMU ends or its time is over.
    ///
    /// # Errors
    /// QEMU cannot be started. A time-out is no error here but an [`End`].
    pub fn run(&self) -> Result<Run> {
        self.run_until(|_| Flow::GoOn)
    }

    /// Runs until QEMU ends, its time is over, or `see` has seen enough in the lines of the serial log.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn run_until(&self, mut see: impl FnMut(&str) -> Flow) -> Result<Run> {
        let cmd = self
            .command()
            .args(["-monitor", "none", "-serial", "stdio"]);
        ui::command(&cmd.shell_line());
        let started = Instant::now();
        let mut child = Guard(
            cmd.to_std()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|e| not_started(&e))?,
        );
        let mut keyboard = child.0.stdin.take();
        let serial = lines_of(child.0.stdout.take());
        let complaints = lines_of(child.0.stderr.take());
        let mut log = SerialLog::default();
        let mut wait = ui::Wait::start("QEMU");
        let mut deadline = started + self.timeout;
        let mut stopping = false;
        let mut asked = false;
        let end = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match serial.recv_timeout(left) {
                Ok(line) => {
                    wait.latest(&printable(&line));
                    let flow = see(&line);
                    log.push(started.elapsed(), line);
                    match flow {
                        Flow::GoOn => {}
                        Flow::Type(keys) => {
                            // Should QEMU be gone, its end is what there is to report, and comes next.
                            let sent = keyboard.as_mut().map(|k| k.write_all(keys.as_bytes()));
                            if !matches!(sent, Some(Ok(()))) {
                                keyboard = None;
                            }
                        }
                        Flow::Stop => break End::Stopped,
                        Flow::StopWithin(grace) if !stopping => {
                            stopping = true;
                            deadline = deadline.min(Instant::now() + grace);
                        }
                        Flow::StopWithin(_) => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) if stopping => break End::Stopped,
                Err(RecvTimeoutError::Timeout) if asked => break End::TimedOut,
                Err(RecvTimeoutError::Timeout) => {
                    asked = true;
                    deadline = Instant::now() + TO_ANSWER;
                    // Nobody may be there to read it.
                    let _ = keyboard.as_mut().map(|k| k.write_all(QUESTION.as_bytes()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    break End::Exited(child.0.wait().map_err(|e| not_started(&e))?);
                }
            }
        };
        // What it did only when asked counts as little as what it did not do.
        let end = if asked { End::TimedOut } else { end };
        wait.end();
        drop(child);
        // What came while we decided; the pipe is closed now, so this ends.
        for line in serial {
            log.push(started.elapsed(), line);
        }
        let complaints: Vec<String> = complaints.iter().collect();
        if let End::Exited(status) = end
            && !status.success()
            && log.is_empty()
        {
            return Err(
                Error::new(format!("QEMU failed ({status})")).because(complaints.join("\n"))
            );
        }
        Ok(Run {
            log,
            end,
            complaints,
            elapsed: started.elapsed(),
        })
    }
}

/// What the watcher of a serial line wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More lines.
    GoOn,
    /// More lines, and these keys typed into the serial line.
    Type(&'static str),
    /// Kill QEMU now.
    Stop,
    /// Kill QEMU if it does not end by itself within this time.
    StopWithin(Duration),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// QEMU ended: the guest switched the machine off or reset it, or an error.
    Exited(ExitStatus),
    /// We killed it because the watcher had seen enough.
    Stopped,
    /// We killed it because its time was over. What the hypervisor answered to its debug keys then ends the log.
    TimedOut,
}

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct Run {
    /// The serial line.
    pub log: SerialLog,
    /// How it ended.
    pub end: End,
    /// What QEMU itself wrote to stderr.
    pub complaints: Vec<String>,
    /// Wall time.
    pub elapsed: Duration,
}

impl Run {
    /// Whether QEMU ended by itself and well: the guest powered the machine off.
    pub fn powered_off(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.success())
    }
}

/// The serial line's text with the time each line was complete.
#[derive(Clone, Debug, Default)]
pub struct SerialLog(Vec<(Duration, String)>);

impl SerialLog {
    /// A log from lines, as if all came at once.
    pub fn from_lines<S: Into<String>>(lines: impl IntoIterator<Item = S>) -> Self {
        Self(
            lines
                .into_iter()
                .map(|l| (Duration::ZERO, l.into()))
                .collect(),
        )
    }

    fn push(&mut self, at: Duration, line: String) {
        self.0.push((at, line));
    }

    /// The lines, without line ends.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(|(_, line)| line.as_str())
    }

    /// The lines with their times since QEMU was started.
    pub fn timed_lines(&self) -> impl Iterator<Item = (Duration, &str)> {
        self.0.iter().map(|(at, line)| (*at, line.as_str()))
    }

    /// Whether a line contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.find(text).is_some()
    }

    /// The first line that contains `text`.
    pub fn find(&self, text: &str) -> Option<&str> {
        self.lines().find(|l| l.contains(text))
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last `nr` lines.
    pub fn tail(&self, nr: usize) -> String {
        let skip = self.0.len().saturating_sub(nr);
        self.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for SerialLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Kills its child when dropped, so that no QEMU outlives an error or a panic.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Multiboot modules in QEMU's spelling: `file args,file args`, with every comma of their own doubled.
fn module_list(modules: &[(PathBuf, String)]) -> String {
    let one = |(path, line): &(PathBuf, String)| {
        format!("{} {line}", path.display())
            .trim_end()
            .replace(',', ",,")
    };
    modules.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Reads a pipe line by line on a thread of its own; a last line without end is a line, too.
fn lines_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut rest: Vec<u8> = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(nr @ 1..) = pipe.read(&mut chunk) {
            rest.extend_from_slice(&chunk[..nr]);
            while let Some(at) = rest.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = rest.drain(..=at).collect();
                if sender.send(text(&line)).is_err() {
                    return;
                }
            }
        }
        if !rest.is_empty() {
            let _ = sender.send(text(&rest));
        }
    });
    receiver
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end_matches(['\r', '\n'])
        .to_owned()
}

/// A line as a spinner may show it.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

fn not_started(cause: &std::io::Error) -> Error {
    Error::new("cannot run qemu-system-x86_64")
        .because(cause)
        .remedy("apt-get install qemu-system-x86 (ci/packages.txt lists what we need)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cpus_own_word_counts_for_virtualisation() {
        let cpu = |flags: &str| {
            format!("processor : 0\nmodel name : vmx svm\nflags\t\t: fpu {flags} sse\n")
        };
        assert!(can_virtualise(&cpu("vmx")) && can_virtualise(&cpu("svm")));
        assert!(!can_virtualise(&cpu("svm_lock vmx_x hypervisor")));
        assert!(!can_virtualise(""));
    }

    #[test]
    fn commas_in_module_lines_are_doubled() {
        let modules = [
            (PathBuf::from("/k"), "console=hvc0 a=1,2".to_owned()),
            (PathBuf::from("/x,y"), String::new()),
        ];
        assert_eq!(module_list(&modules), "/k console=hvc0 a=1,,2,/x,,y");
    }

    #[test]
    fn lines_lose_their_ends_and_the_last_needs_none() {
        let lines: Vec<_> = lines_of(Some(&b"one\r\ntwo\n\nthr\xffee"[..]))
            .iter()
            .collect();
        assert_eq!(lines, ["one", "two", "", "thr\u{fffd}ee"]);
    }

    #[test]
    fn software_emulation_unless_asked() {
        let line = Qemu::new("/xen")
            .smp(3)
            .nic(Nic::E1000)
            .disk("/d")
            .shell_line();
        assert!(
            line.contains("-accel tcg -machine q35 -cpu qemu64 -smp 3 -m 2048"),
            "{line}"
        );
        assert!(
            line.contains("model=e1000") && line.contains("file=/d,format=raw"),
            "{line}"
        );
    }

    #[test]
    fn a_disk_is_booted_without_a_kernel_and_not_written_to() {
        let line = Qemu::from_disk(Path::new("/d,1")).shell_line();
        assert!(
            line.contains("file=/d,,1,format=raw,if=virtio,snapshot=on"),
            "{line}"
        );
        assert!(!line.contains("-kernel"), "{line}");
    }

    #[test]
    fn a_log_can_be_asked() {
        let log = SerialLog::from_lines(["a", "b c", "d"]);
        assert_eq!(log.find("c"), Some("b c"));
        assert!(!log.contains("x"));
        assert_eq!(log.tail(2), "b c\nd");
    }
}
