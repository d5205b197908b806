//! Domain 0 under load, and what it does when it ends badly.
//!
//! image/dom0/init makes the load and says what came of it. When domain 0 has become quiet, the debug key `C` lets the
//! hypervisor count every frame's references again.

use std::time::Duration;

use rexen_installer::qemu::Run;
use rexen_installer::{
    Boot, Consent, End, Flow, Options, build_hypervisor, fetch_debian_kernel, initramfs,
};
use rexen_tests::{host::Host, slots::Slot};

/// Who must report, and how often.
const KINDS: [(&str, usize); 8] = [
    ("mm", 1),
    ("fork", 1),
    ("signals", 1),
    ("clock", 1),
    ("busy", 4),
    ("disk", 1),
    ("exec", 1),
    ("log", 1),
];
/// Ctrl-A three times hands the serial line's input over to the debug keys, and back.
const COUNT_REFERENCES: &str = "\x01\x01\x01C";
const GO_ON: &str = "\x01\x01\x01\n";

fn machine(host: Host) -> Boot {
    let kernel = fetch_debian_kernel(Consent::from_env()).expect("Debian's kernel");
    let initrd = initramfs(&kernel, Consent::from_env()).expect("the initramfs");
    Boot::new(host.image(), kernel.image, initrd)
}

/// Runs the machine with a disk; `words` go to domain 0's command line.
fn run(boot: &Boot, words: &[&str], see: impl FnMut(&str) -> Flow) -> Run {
    let _slot = Slot::take();
    let words: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
    boot.run(&words, see).expect("QEMU runs")
}

fn stress(mut boot: Boot, seconds: u32, counts: bool) {
    boot.timeout = Duration::from_secs(400 + 4 * u64::from(seconds));
    let word = format!("rexen.stress={seconds}");
    let run = run(&boot, &[&word, "panic=5"], |line| {
        if line.contains("STRESSES end") {
            return Flow::Type(if counts { COUNT_REFERENCES } else { "\n" });
        }
        if line.contains("check_world:") && line.contains("try again") {
            return Flow::Type("C");
        }
        if line.contains("check_world:") && line.contains("mismatches") {
            return Flow::Type(GO_ON);
        }
        let is_end = ["Kernel panic", "Panic on CPU", "Dom0 crashed"];
        match is_end.iter().any(|s| line.contains(s)) {
            true => Flow::StopWithin(Duration::from_secs(10)),
            false => Flow::GoOn,
        }
    });
    let tail = run.log.tail(60);
    println!("{:.1} s\n{tail}", run.elapsed.as_secs_f32());
    for (kind, times) in KINDS {
        let said = |verdict| {
            let line = format!("STRESS {kind} {verdict}");
            run.log.lines().filter(|l| l.contains(&line)).count()
        };
        assert_eq!((said("ok"), said("FAIL")), (times, 0), "{kind}\n{tail}");
    }
    for bad in ["BUG:", "Oops", "soft lockup", "rcu_sched", "unknown NMI"] {
        assert!(!run.log.contains(bad), "{bad}\n{tail}");
    }
    if counts {
        assert!(run.log.contains("check_world: 0 mismatches"), "{tail}");
    }
    assert!(run.powered_off(), "{:?}\n{tail}", run.end);
}

#[test]
fn twelve_processes_on_two_cpus() {
    stress(machine(Host::Rexen), 20, true);
}

/// With the hypervisor's debug checks, which stop the machine at the first thing that cannot be.
#[test]
fn a_debug_build_on_two_cpus() {
    let built = build_hypervisor(&Options {
        debug: true,
        ..Options::default()
    })
    .expect("the hypervisor");
    let mut boot = machine(Host::Rexen);
    boot.hypervisor = Some(built.xen);
    stress(boot, 20, true);
}

#[test]
fn a_minute_on_two_cpus() {
    stress(machine(Host::Rexen), 60, true);
}

#[test]
fn a_minute_on_one_cpu_with_little_memory() {
    let mut boot = machine(Host::Rexen);
    boot.machine.smp = 1;
    boot.machine.board = "pc".to_owned();
    boot.machine.memory_mib = 512;
    boot.dom0_memory_mib = 256;
    stress(boot, 60, true);
}

/// AVX state, an Intel CPU, more CPUs than the host of this test is likely to have.
#[test]
fn a_minute_on_four_cpus_with_every_feature() {
    let mut boot = machine(Host::Rexen);
    boot.machine.smp = 4;
    boot.machine.cpu = "max,vendor=GenuineIntel".to_owned();
    stress(boot, 60, true);
}

/// The same on the peer: it tests the stress.
#[test]
fn the_stress_passes_on_xen() {
    stress(machine(Host::Xen), 20, false);
}

/// What init does with `rexen.end=WORD`, what the machine says, and whether it then resets (or stays).
fn ends(word: &str, noreboot: bool, says: &[&str], resets: bool) {
    let mut boot = machine(Host::Rexen);
    if noreboot {
        boot.machine.hypervisor_options.push("noreboot".to_owned());
    }
    boot.timeout = Duration::from_secs(120);
    let word = format!("rexen.end={word}");
    let last = *says.last().expect("something to say");
    let run = run(&boot, &[&word], |line| match line.contains(last) {
        true => Flow::StopWithin(Duration::from_secs(12)),
        false => Flow::GoOn,
    });
    let tail = run.log.tail(60);
    for text in says {
        assert!(run.log.contains(text), "nobody said {text:?}\n{tail}");
    }
    match resets {
        // QEMU runs with -no-reboot: a reset ends it.
        true => assert!(run.powered_off(), "{:?}\n{tail}", run.end),
        false => assert_eq!(run.end, End::Stopped, "{tail}"),
    }
}

#[test]
fn domain_0_reboots_the_machine() {
    ends("reboot", false, &["reboot: Restarting system"], true);
}

#[test]
fn a_crash_of_domain_0_reboots_the_machine() {
    let says = [
        "Kernel panic - not syncing: sysrq",
        "RIP e033:",
        "Dom0 crashed: rebooting machine in 5 seconds.",
    ];
    ends("crash", false, &says, true);
}

#[test]
fn a_crash_of_domain_0_leaves_the_machine_standing_if_told_so() {
    let says = [
        "Kernel panic - not syncing: sysrq",
        "RIP e033:",
        "Dom0 crashed: 'noreboot' set - not rebooting.",
    ];
    ends("crash", true, &says, false);
}
