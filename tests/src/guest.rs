//! The bare guests of tests/guests: their names, how one is booted, and the verdict that it prints.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use rexen_installer::{End, Flow, Qemu, Run, build_guests, tree};

use crate::host::Host;
use crate::slots::Slot;

/// How long a guest may take, with the boot of the hypervisor: a loaded machine needs some patience.
const DEADLINE: Duration = Duration::from_secs(60);
/// What either hypervisor says when it is broken itself.
pub(crate) const PANIC: &str = "Panic on CPU";

/// What came of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All its checks hold.
    Pass(String),
    /// Some check does not hold; each such check has a line of its own in the log.
    Fail(String),
    /// The test does not apply to this machine; why.
    Skip(String),
    /// The guest says that what it does next must crash it, and nothing else; what that is.
    Crashing(String),
    /// The guest printed no verdict: it or the hypervisor died, or time ran out.
    Broken,
}

impl Verdict {
    /// Reads the verdict of guest `name` from a serial line.
    pub fn parse(name: &str, line: &str) -> Option<Self> {
        let rest = line.split_once("GUEST ")?.1.strip_prefix(name)?;
        let (verdict, detail) = rest.strip_prefix(' ')?.split_once(' ')?;
        let detail = detail.trim_end().to_owned();
        match verdict {
            "PASS" => Some(Self::Pass(detail)),
            "FAIL" => Some(Self::Fail(detail)),
            "SKIP" => Some(Self::Skip(detail)),
            "CRASHING" => Some(Self::Crashing(detail)),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(detail) => write!(f, "pass: {detail}"),
            Self::Fail(detail) => write!(f, "fail: {detail}"),
            Self::Skip(why) => write!(f, "skip: {why}"),
            Self::Crashing(what) => write!(f, "not crashed: {what}"),
            Self::Broken => write!(f, "broken: no verdict"),
        }
    }
}

/// The names of all guests that are booted as domain 0: the folders of tests/guests that have a `main.rs`.
///
/// # Panics
/// The folder cannot be read.
pub fn names() -> Vec<String> {
    names_in("tests/guests")
}

/// The names of those that the warden runs as other domains, and its own: the folders of tests/guests/domu.
///
/// # Panics
/// The folder cannot be read.
pub fn domu_names() -> Vec<String> {
    names_in("tests/guests/domu")
}

fn names_in(folder: &str) -> Vec<String> {
    let folder = tree::root().join(folder);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("main.rs").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The image of one guest; all of them are built together, once.
///
/// # Panics
/// There is no such guest, or one does not build.
pub fn image(name: &str) -> PathBuf {
    static IMAGES: OnceLock<Vec<(String, PathBuf)>> = OnceLock::new();
    let images = IMAGES.get_or_init(|| {
        let names = [names(), domu_names()].concat();
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        match build_guests(&borrowed) {
            Ok(paths) => names.into_iter().zip(paths).collect(),
            Err(error) => panic!("building the guests: {error}"),
        }
    });
    let found = images.iter().find(|(guest, _)| guest == name);
    found
        .unwrap_or_else(|| panic!("there is no guest {name} in tests/guests"))
        .1
        .clone()
}

/// Whether a line of either hypervisor says that domain 0 was crashed.
pub(crate) fn tells_crash(line: &str) -> bool {
    let line = line.to_lowercase();
    line.contains("domain 0") && line.contains("crashed")
}

/// The lines of a log that tell what went wrong, to be read before the log.
pub(crate) fn complaints(log: &str) -> String {
    let lines = log
        .lines()
        .filter(|line| line.contains("GUEST-CHECK") || line.contains(PANIC) || tells_crash(line));
    lines
        .take(20)
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Boots one guest as domain 0 and waits for its verdict; also the serial log.
///
/// # Panics
/// Something does not build, or QEMU cannot be started.
pub fn boot(host: Host, name: &str) -> (Verdict, String) {
    boot_on(host, name, |machine| machine)
}

/// As [`boot`], on one CPU and counting instructions: a tick of the TSC is one of them.
///
/// # Panics
/// As [`boot`].
pub fn boot_counted(host: Host, name: &str) -> (Verdict, String) {
    boot_on(host, name, |machine| counted(machine.memory_mib(2048)))
}

/// Makes `machine` one with one CPU where a tick of the TSC is an executed instruction.
pub fn counted(machine: Qemu) -> Qemu {
    with_icount(machine, "shift=0")
}

/// As [`counted`], for what idles much: such time counts, and passes at once.
pub fn counted_without_rest(machine: Qemu) -> Qemu {
    with_icount(machine, "shift=0,sleep=off")
}

fn with_icount(machine: Qemu, icount: &str) -> Qemu {
    machine
        .smp(1)
        .cpu("max,-smap,-erms,-rdrand")
        .arg("-icount")
        .arg(icount)
}

/// Whether a verdict came only when its time was over and the hypervisor was asked what it does: then a wake-up was lost.
/// The peer is let off: emulated on a loaded host it loses a timer now and then.
pub fn is_late(host: Host, run: &Run) -> bool {
    host != Host::Xen && run.end == End::TimedOut
}

fn boot_on(host: Host, name: &str, change: impl FnOnce(Qemu) -> Qemu) -> (Verdict, String) {
    let (hypervisor, guest) = (host.image(), image(name));
    let _slot = Slot::take();
    let machine = Qemu::new(hypervisor)
        .memory_mib(256)
        .append("console=com1 com1=115200,8n1 dom0_mem=64M noreboot loglvl=all")
        .module(guest, name)
        .timeout(DEADLINE);
    let machine = change(machine);
    let mut verdict = Verdict::Broken;
    let run = machine.run_until(|line| {
        if let Some(parsed) = Verdict::parse(name, line) {
            verdict = parsed;
        } else if line.contains(PANIC) {
            verdict = Verdict::Broken;
            return Flow::StopWithin(Duration::from_secs(1));
        } else if tells_crash(line) {
            // A moment more shows whether the hypervisor lives.
            verdict = match &verdict {
                Verdict::Crashing(what) => Verdict::Pass(format!("crashed by {what}")),
                _ => Verdict::Broken,
            };
            return Flow::StopWithin(Duration::from_millis(500));
        }
        match verdict {
            Verdict::Crashing(_) | Verdict::Broken => Flow::GoOn,
            _ => Flow::StopWithin(Duration::from_millis(100)),
        }
    });
    match run {
        Ok(run) if is_late(host, &run) => (Verdict::Broken, run.log.to_string()),
        Ok(run) => (verdict, run.log.to_string()),
        Err(error) => panic!("running QEMU: {error}"),
    }
}

/// Boots one guest and demands that it passes. None may skip: the machine here has what each asks for.
///
/// # Panics
/// It does not.
pub fn demand(host: Host, name: &str) {
    let (verdict, log) = boot(host, name);
    match verdict {
        Verdict::Pass(_) => {}
        Verdict::Skip(_) | Verdict::Fail(_) | Verdict::Crashing(_) | Verdict::Broken => {
            panic!(
                "guest {name} on {host:?}: {verdict}\n{}\n{log}",
                complaints(&log)
            )
        }
    }
}

/// Defines one test per guest on one hypervisor, and one that holds the list against the folders.
#[macro_export]
macro_rules! guest_tests {
    ($host:expr) => {
        $crate::guest_tests! {
            $host;
            control_registers
            costs
            cpuid
            crash_iret_frame_unreadable
            crash_iret_without_user_table
            crash_null_handler
            crash_stack_in_hypervisor
            debug_registers
            descriptors
            domain_life
            event_channels
            exceptions
            grant_table
            grant_table_v2
            hypercall_abi
            io_ports
            iret
            long_operations
            memory_reservation
            model_specific_registers
            multicall
            page_table_writes
            pinning
            start_info
            syscall_entry
            timer
            user_address_space
            vcpus
            versions
            writable_page_tables
        }
    };
    ($host:expr; $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $crate::guest::demand($host, stringify!($name));
            }
        )+

        #[test]
        fn every_guest_has_its_test() {
            let mut listed = vec![$(stringify!($name)),+];
            listed.sort_unstable();
            assert_eq!(listed, $crate::guest::names());
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_wherever_it_starts_on_the_line() {
        let pass = Some(Verdict::Pass("12 checks".to_owned()));
        assert_eq!(Verdict::parse("timer", "GUEST timer PASS 12 checks"), pass);
        assert_eq!(
            Verdict::parse("timer", "(d0) GUEST timer PASS 12 checks\r"),
            pass
        );
        assert_eq!(
            Verdict::parse("timer", "GUEST timer FAIL 1 of 12 checks"),
            Some(Verdict::Fail("1 of 12 checks".to_owned()))
        );
        assert_eq!(
            Verdict::parse("vcpus", "GUEST vcpus SKIP one vcpu only"),
            Some(Verdict::Skip("one vcpu only".to_owned()))
        );
    }

    #[test]
    fn what_is_no_verdict_of_this_guest_is_none() {
        for line in [
            "GUEST timer_two PASS 12 checks",
            "GUEST iret PASS 12 checks",
            "GUEST timer PASS",
            "GUEST timer MAYBE 1",
            "GUEST-CHECK timer: got 1, expected 2",
            "(XEN) Guest Loglevel: Nothing",
            "",
        ] {
            assert_eq!(Verdict::parse("timer", line), None, "{line}");
        }
    }

    #[test]
    fn a_crash_is_read_from_either_hypervisor() {
        assert!(tells_crash("(XEN) Domain 0 (vcpu#0) crashed on cpu#0:"));
        assert!(tells_crash(
            "(XEN) d0v0: trap without handler: domain 0 crashed"
        ));
        assert!(!tells_crash("(XEN) Domain 1 (vcpu#0) crashed on cpu#0:"));
        assert_eq!(
            Verdict::parse("crash_x", "GUEST crash_x CRASHING this and that"),
            Some(Verdict::Crashing("this and that".to_owned()))
        );
    }

    #[test]
    fn a_guest_is_a_folder_with_a_main() {
        let names = names();
        assert!(names.contains(&"hypercall_abi".to_owned()), "{names:?}");
        assert!(!names.contains(&"src".to_owned()));
    }
}
