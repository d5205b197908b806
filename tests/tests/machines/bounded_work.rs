//! No guest keeps a CPU in the hypervisor for long, whatever it asks for: instructions counted, for the longest operations
//! that there are (tests/guests/domu/bounded_work). docs/bounded-work.md has the table.

use std::time::Duration;

use rexen_installer::{Flow, Qemu, SerialLog};
use rexen_tests::{guest, host::Host, slots::Slot};

/// The most instructions between two looks at what waits, or between coming in and a look or leaving.
const BOUND: u64 = 350_000;

/// One line of debug key `s`: in which step, what it was, and how many instructions.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    step: String,
    kind: String,
    instructions: u64,
}

/// What the hypervisor printed after each step of the guest.
fn stretches(log: &SerialLog) -> Vec<Stretch> {
    let mut step = None;
    let mut found = Vec::new();
    for line in log.lines() {
        if let Some((_, name)) = line.split_once("BOUNDED ") {
            step = Some(name.trim_end().to_owned());
        }
        let Some((_, rest)) = line.split_once("STRETCH ") else {
            continue;
        };
        // What came before the first step is the boot.
        let (Some(step), Some((kind, rest))) = (&step, rest.split_once(": ")) else {
            continue;
        };
        let Some((ticks, _)) = rest.split_once(" ticks") else {
            continue;
        };
        found.push(Stretch {
            step: step.clone(),
            kind: kind.to_owned(),
            instructions: ticks.parse().expect("a number of ticks"),
        });
    }
    found
}

#[test]
fn no_operation_keeps_a_cpu_beyond_the_bound() {
    let (hypervisor, image) = (Host::RexenMeasured.image(), guest::image("bounded_work"));
    let _slot = Slot::take();
    let machine = guest::counted(Qemu::new(hypervisor))
        .memory_mib(512)
        .append("console=com1 com1=115200,8n1 dom0_mem=64M noreboot")
        .module(image, "bounded_work")
        .timeout(Duration::from_secs(120));
    let run = machine.run_until(|line| match line.contains("GUEST bounded_work") {
        true => Flow::StopWithin(Duration::from_secs(1)),
        false => Flow::GoOn,
    });
    let log = run.expect("QEMU runs").log;
    assert!(log.contains("GUEST bounded_work PASS"), "{log}");
    let mut all = stretches(&log);
    assert!(all.len() > 30, "nothing was measured\n{log}");
    all.sort_by_key(|one| std::cmp::Reverse(one.instructions));
    for one in all.iter().take(20) {
        println!(
            "BOUNDED {:>8} {:<16} {}",
            one.instructions, one.kind, one.step
        );
    }
    let worst = &all[0];
    assert!(worst.instructions <= BOUND, "{worst:?}\n{log}");
}

#[test]
fn the_lines_are_read() {
    let log = SerialLog::from_lines([
        "(XEN) STRETCH exit 0: 900 ticks, operation 0x0, of 3",
        "BOUNDED memory",
        "(XEN) STRETCH hypercall 12: 500 ticks, operation 0x6, of 3",
        "(XEN) STRETCH end",
    ]);
    let memory = Stretch {
        step: "memory".to_owned(),
        kind: "hypercall 12".to_owned(),
        instructions: 500,
    };
    assert_eq!(stretches(&log), [memory]);
}
