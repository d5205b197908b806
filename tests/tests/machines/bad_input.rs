//! What the operator or the boot loader may get wrong: each gives one clear line on the console, and the machine stops.
//!
//! It must not reset itself: a loop of reboots hides the message. (QEMU runs with -no-reboot, so a reset ends it.)

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rexen_installer::{End, Flow, Qemu, Run, world::BANNER};
use rexen_tests::{host::Host, kernel_image, slots::Slot};

/// A file in this test program's own folder.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("a file in the target folder");
    path
}

fn machine() -> Qemu {
    Qemu::new(Host::Rexen.image())
        .memory_mib(256)
        .append("console=com1 com1=115200,8n1 dom0_mem=64M noreboot")
        .timeout(Duration::from_secs(60))
}

/// Demands a line after the banner that contains all the words, in any case, and no exception in the hypervisor.
fn demand_line(machine: &Qemu, words: &[&str]) -> Run {
    let _slot = Slot::take();
    let mut is_up = false;
    let mut is_said = false;
    let run = machine
        .run_until(|line| {
            is_up |= line.contains(BANNER);
            let low = line.to_lowercase();
            let is_echo = low.contains("command line:");
            if is_up && !is_echo && words.iter().all(|word| low.contains(word)) {
                is_said = true;
                return Flow::StopWithin(Duration::from_secs(8));
            }
            Flow::GoOn
        })
        .expect("QEMU runs");
    assert!(is_up, "no banner\n{}", run.log);
    assert!(is_said, "no line with {words:?}\n{}", run.log);
    let is_clean = !run.log.contains("Exception");
    assert!(is_clean, "an exception in the hypervisor\n{}", run.log);
    run
}

/// The same, and a machine that then stands still.
fn demand_stop(machine: &Qemu, words: &[&str]) {
    let run = demand_line(machine, words);
    assert_eq!(run.end, End::Stopped, "it did not stand still\n{}", run.log);
}

#[test]
fn no_kernel_module() {
    demand_stop(&machine(), &["kernel", "module"]);
}

#[test]
fn an_empty_kernel_module() {
    demand_stop(&machine().module(file("empty", b"\0"), ""), &["kernel"]);
}

#[test]
fn a_kernel_that_is_no_kernel() {
    let noise: Vec<u8> = (0..100_000u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    demand_stop(&machine().module(file("noise", &noise), ""), &["kernel"]);
}

#[test]
fn a_kernel_for_bare_machines_only() {
    demand_stop(
        &machine().module(file("elf", &kernel_image::empty_elf()), ""),
        &["kernel"],
    );
}

#[test]
fn a_kernel_with_a_payload_that_we_cannot_unpack() {
    let image =
        kernel_image::bz_image(b"BZh91AY&SY and so on: bzip2, which nobody uses for kernels");
    demand_stop(
        &machine().module(file("bzip2", &image), ""),
        &["kernel", "compress"],
    );
}

#[test]
fn a_kernel_whose_payload_is_cut_off() {
    let image = kernel_image::bz_image(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c]);
    demand_stop(&machine().module(file("cut", &image), ""), &["kernel"]);
}

#[test]
fn more_memory_for_domain_0_than_there_is() {
    let kernel = rexen_installer::build_guest("hypercall_abi").expect("the guest builds");
    let machine = machine()
        .append("console=com1 com1=115200,8n1 dom0_mem=64G noreboot")
        .module(kernel, "hypercall_abi");
    demand_stop(&machine, &["memory"]);
}

/// A misspelt option is named, and the boot goes on.
#[test]
fn an_option_that_nobody_knows() {
    let kernel = rexen_installer::build_guest("hypercall_abi").expect("the guest builds");
    let machine = machine()
        .append("console=com1 com1=115200,8n1 dom0_mem=64M noreboot dom0_men=1G")
        .module(kernel, "hypercall_abi");
    demand_line(&machine, &["dom0_men"]);
}

/// A bad value is named too.
#[test]
fn an_option_with_a_bad_value() {
    let kernel = rexen_installer::build_guest("hypercall_abi").expect("the guest builds");
    let machine = machine()
        .append("console=com1 com1=115200,8n1 dom0_mem=lots noreboot")
        .module(kernel, "hypercall_abi");
    demand_line(&machine, &["dom0_mem", "lots"]);
}
