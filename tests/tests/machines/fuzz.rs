//! Guests that do everything at random (tests/guests/domu/fuzz), on the hypervisor with its debug checks.
//!
//! Such a guest may end its own life. The hypervisor may not: no panic, no hang, no wrong count, nothing left behind.
//! `REXEN_FUZZ_SECONDS` says for how long each shape runs, `REXEN_FUZZ_SEED` with which seed it begins.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rexen_installer::{End, Flow, Qemu, SerialLog};
use rexen_tests::{guest, host::Host, slots::Slot, warden::Ring};

/// How long one seed runs.
const ROUND_SECONDS: u64 = 20;
/// How QEMU ends when an assertion of its own fails.
const SIGABRT: i32 = 6;
/// Machines begun until one lives for a while.
const MOST_BEGINNINGS: u64 = 5;
/// Boot, the creation of domains, a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a log says of the hypervisor.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Hypercalls that the guests counted.
    calls: u64,
    /// Recounts of all references.
    recounts: usize,
    /// Guests that ended before their time.
    deaths: usize,
}

/// Reads a log; the line that tells of a hypervisor gone wrong is the error.
fn judge(log: &SerialLog) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut calls: Vec<(u64, u64)> = Vec::new();
    for line in log.lines() {
        let is_recount = line.contains("check_world: ") && !line.contains("try again");
        if line.contains("Panic on CPU")
            || line.contains("BUG:")
            || (is_recount && !line.contains("check_world: 0 mismatches"))
            || (line.contains("GUEST-CHECK warden") && !is_the_guests_own(line))
        {
            return Err(line.to_owned());
        }
        tally.recounts += usize::from(is_recount);
        tally.deaths += usize::from(line.contains("GUEST fuzz FAIL") || is_death(line));
        if let (Some(seed), Some(count)) = (number(line, "seed="), number(line, "calls=")) {
            match calls.iter_mut().find(|(of, _)| *of == seed) {
                Some((_, most)) => *most = count.max(*most),
                None => calls.push((seed, count)),
            }
        }
    }
    tally.calls = calls.iter().map(|(_, count)| count).sum();
    Ok(tally)
}

/// Whether the warden complains of what a guest may bring about: that it failed, or that it stays until another that maps
/// its pages ends, too.
fn is_the_guests_own(line: &str) -> bool {
    line.contains("has not passed") || line.contains("dying gives")
}

/// Whether the hypervisor says that it ended a domain, or that domain 0 ended the machine. With two vcpus the one may write
/// over the argument by which the other names whom to shut down.
fn is_death(line: &str) -> bool {
    line.contains("ending domain")
        || line.contains("Domain 0 powered off")
        || line.contains("Domain 0 shut down")
}

/// Whether the hypervisor answered its debug keys when the time was over, and the CPU that runs vcpu 0 did, too.
fn is_running(log: &SerialLog) -> bool {
    let answers = log
        .lines()
        .skip_while(|line| !line.contains("Serial input to Xen"));
    let answers: Vec<&str> = answers.collect();
    let has = |text| answers.iter().any(|line| line.contains(text));
    has("d0v0 on CPU") && has("scheduler ")
}

/// The number behind `name`.
fn number(line: &str, name: &str) -> Option<u64> {
    let (_, rest) = line.split_once("FUZZ ")?;
    let (_, rest) = rest.split_once(name)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn variable(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs rounds with one seed after the other until the time is over; `round` boots a machine for a seed.
fn rounds(shape: &str, round: impl Fn(u64) -> SerialLog) {
    let begin = Instant::now();
    let time = Duration::from_secs(variable("REXEN_FUZZ_SECONDS", ROUND_SECONDS));
    let mut seed = variable("REXEN_FUZZ_SEED", 1);
    let mut all = Tally::default();
    let mut nr_rounds = 0;
    // One that ended at once shows little: then another begins.
    while (all.calls == 0 && nr_rounds < MOST_BEGINNINGS) || begin.elapsed() < time {
        let log = round(seed);
        let tally =
            judge(&log).unwrap_or_else(|line| panic!("{shape}, seed {seed}: {line}\n{log}"));
        println!("{shape}, seed {seed}: {tally:?}");
        all.calls += tally.calls;
        all.recounts += tally.recounts;
        all.deaths += tally.deaths;
        nr_rounds += 1;
        seed += 10;
    }
    println!("FUZZED {shape}: {nr_rounds} machines, {all:?}");
    assert!(all.calls > 1000, "{shape}: {all:?}");
    assert!(all.recounts > 0, "{shape}: nobody counted again");
}

/// The guest as domain 0, which may do more than others.
fn as_domain_0(seed: u64, vcpus: u32) -> SerialLog {
    let (hypervisor, image) = (Host::RexenDebug.image(), guest::image("fuzz"));
    let _slot = Slot::take();
    let machine = Qemu::new(hypervisor)
        .memory_mib(256)
        .append("console=com1 com1=115200,8n1 dom0_mem=64M noreboot")
        .module(
            image,
            &format!("fuzz seed={seed} seconds={ROUND_SECONDS} vcpus={vcpus}"),
        )
        .timeout(PATIENCE + Duration::from_secs(ROUND_SECONDS));
    let run = machine.run_until(|line| {
        let is_end = line.contains("Panic on CPU") || line.contains("GUEST fuzz") || is_death(line);
        match is_end {
            true => Flow::StopWithin(Duration::from_secs(1)),
            false => Flow::GoOn,
        }
    });
    let run = run.expect("QEMU runs");
    if run.end == End::TimedOut {
        // It may have jumped into its own data and run in circles there; that it can be interrupted is what counts.
        assert!(is_running(&run.log), "seed {seed} hangs\n{}", run.log);
        println!("seed {seed}: the guest goes in circles");
    }
    if let End::Exited(status) = run.end {
        // A guest with devices may run code beside their registers, where QEMU's translator gives up ("phys_page != -1").
        let is_emulators_own = status.signal() == Some(SIGABRT);
        assert!(
            is_emulators_own || run.log.lines().any(is_death),
            "seed {seed} resets the machine: {status}\n{}",
            run.log
        );
        if is_emulators_own {
            println!("seed {seed}: QEMU aborted");
        }
    }
    run.log
}

/// Guests under the warden: `guests` of them at once, with these vcpus each.
fn as_domus(seed: u64, guests: u64, vcpus: u32) -> SerialLog {
    let milliseconds = (ROUND_SECONDS + 40) * 1000;
    let plan: Vec<String> = (0..guests)
        .map(|n| {
            let seed = seed + n;
            format!(
                ": fuzz{n} image=fuzz seed={seed} seconds={ROUND_SECONDS} vcpus={vcpus} pages=2560"
            )
        })
        .collect();
    let ring = Ring::new(Host::RexenDebug)
        .round(&format!(
            "timeout={milliseconds} heap=256 {}",
            plan.join(" ")
        ))
        .deadline(3 * PATIENCE + Duration::from_secs(3 * ROUND_SECONDS));
    let (_, log) = ring.run();
    assert!(log.contains("GUEST warden"), "seed {seed} hangs\n{log}");
    log
}

#[test]
fn domain_0_on_one_vcpu() {
    rounds("domain 0, one vcpu", |seed| as_domain_0(seed, 1));
}

#[test]
fn domain_0_on_two_vcpus() {
    rounds("domain 0, two vcpus", |seed| as_domain_0(seed, 2));
}

#[test]
fn three_domains_on_one_vcpu_each() {
    rounds("three domains, one vcpu", |seed| as_domus(seed, 3, 1));
}

#[test]
fn two_domains_on_two_vcpus_each() {
    rounds("two domains, two vcpus", |seed| as_domus(seed, 2, 2));
}

#[test]
fn a_guest_in_circles_is_told_from_a_hang() {
    let asked = "(XEN) *** Serial input to Xen (type 'CTRL-a' three times to switch input)";
    let queues = "(XEN) scheduler bvt: {}";
    let is = |lines: &[&str]| is_running(&SerialLog::from_lines(lines.iter().copied()));
    assert!(is(&[asked, "(XEN) d0v0 on CPU 1:", queues]));
    assert!(!is(&["(XEN) d0v0 on CPU 1:", queues]));
    assert!(!is(&[asked, "(XEN) d0v0 on CPU 1:"]));
    assert!(!is(&[asked, "(XEN)   not running: rip 0x1000", queues]));
}

#[test]
fn a_log_is_judged() {
    let good = [
        "FUZZ seed=1 calls=5 errors=1 traps=0 upcalls=0",
        "FUZZ seed=1 calls=9 errors=1 traps=0 upcalls=0",
        "x FUZZ end seed=2 calls=4 errors=1 traps=0 upcalls=0",
        "(XEN) check_world: page tables are being changed, try again",
        "(XEN) check_world: 0 mismatches",
        "(XEN) d0v0: BadStack for vector 0xe error 0x2 in guest kernel mode: ending domain 0",
        "GUEST-CHECK warden: d1 fuzz0 has not passed: Crashed",
        "(XEN) Domain 0 powered off: powering off",
    ];
    let tally = Tally {
        calls: 13,
        recounts: 1,
        deaths: 2,
    };
    assert_eq!(judge(&SerialLog::from_lines(good)), Ok(tally));
    for bad in [
        "Panic on CPU 1: an exception in the hypervisor",
        "(XEN) BUG: a count: Mfn(3)",
        "(XEN) check_world: 2 mismatches",
        "GUEST-CHECK warden: after run 2: Account { free_pages: 1 }",
    ] {
        assert!(judge(&SerialLog::from_lines([bad])).is_err(), "{bad}");
    }
}
