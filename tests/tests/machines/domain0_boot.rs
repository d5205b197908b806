//! Whole boots: Debian's kernel as domain 0 on our hypervisor, on machines that differ, checking itself.
//!
//! The kernel's own check is image/dom0/init; the harness adds what only the host can see (installer/src/boot.rs).
//!
//! Between them the machines have each of: `pc` and `q35`; the CPU models qemu64, Skylake-Server, EPYC and max; 1, 2 and 4
//! CPUs; 512 MiB, 2 GiB and 8 GiB.

use rexen_installer::{Boot, Consent, Nic, fetch_debian_kernel, initramfs, world};
use rexen_tests::{host::Host, slots::Slot};

/// Boots domain 0 and demands that every check passes.
fn demand(host: Host, change: impl FnOnce(&mut Boot)) {
    let kernel = fetch_debian_kernel(Consent::from_env()).expect("Debian's kernel");
    let initrd = initramfs(&kernel, Consent::from_env()).expect("the initramfs");
    let mut boot = Boot::new(host.image(), kernel.image, initrd);
    boot.banner = (host == Host::Rexen).then(|| world::BANNER.to_owned());
    change(&mut boot);
    let _slot = Slot::take();
    let (report, run) = boot.check().expect("QEMU runs");
    assert!(report.passed(), "{}\n{}", report.table(), run.log.tail(80));
    println!("{:.1} s\n{}", run.elapsed.as_secs_f32(), report.table());
}

/// A machine of the matrix: (machine, CPU model, CPUs, memory in MiB, domain 0's part of it), network card.
fn demand_on(machine: (&str, &str, u32, u32, u32), nic: Nic) {
    demand(Host::Rexen, |boot| {
        let (board, cpu, smp, memory_mib, dom0_memory_mib) = machine;
        boot.machine.board = board.to_owned();
        boot.machine.cpu = cpu.to_owned();
        boot.machine.smp = smp;
        boot.machine.memory_mib = memory_mib;
        boot.dom0_memory_mib = dom0_memory_mib;
        boot.machine.nic = nic;
    });
}

/// The plainest CPU.
#[test]
fn q35_qemu64_two_cpus() {
    demand_on(("q35", "qemu64", 2, 2048, 1024), Nic::E1000);
}

/// The smallest machine, and Intel's SYSCALL, which does not work from compatibility mode.
#[test]
fn pc_skylake_one_cpu_512_mib() {
    demand_on(("pc", "Skylake-Server", 1, 512, 256), Nic::E1000);
}

#[test]
fn q35_epyc_four_cpus() {
    demand_on(("q35", "EPYC", 4, 2048, 1024), Nic::E1000);
}

/// Memory above the hole below 4 GiB, all of it domain 0's but for what the hypervisor needs.
#[test]
fn q35_skylake_two_cpus_8_gib() {
    demand_on(("q35", "Skylake-Server", 2, 8192, 7168), Nic::E1000);
}

#[test]
fn pc_qemu64_four_cpus_8_gib() {
    demand_on(("pc", "qemu64", 4, 8192, 2048), Nic::E1000);
}

#[test]
fn pc_epyc_two_cpus_512_mib() {
    demand_on(("pc", "EPYC", 2, 512, 256), Nic::E1000);
}

/// Every feature that QEMU emulates, AVX's wide registers and FSGSBASE among them; SMAP as well.
#[test]
fn q35_max_two_cpus() {
    demand_on(("q35", "max", 2, 2048, 1024), Nic::E1000);
}

/// Without SMAP, for then the peer boots as well (Debian's Xen 4.17 dies under QEMU's SMAP): what runs both, runs this.
#[test]
fn q35_max_without_smap_four_cpus_8_gib() {
    demand_on(("q35", "max,-smap", 4, 8192, 4096), Nic::E1000);
}

/// As an Intel CPU: another SYSCALL, another set of MSRs.
#[test]
fn pc_intel_max_one_cpu() {
    demand_on(("pc", "max,vendor=GenuineIntel", 1, 2048, 1024), Nic::E1000);
}

/// The same check on the peer: it tests the check.
#[test]
fn the_check_passes_on_xen() {
    demand(Host::Xen, |_| {});
}
