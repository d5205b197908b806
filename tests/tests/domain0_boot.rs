//! Whole boots: Debian's kernel as domain 0 on our hypervisor, on machines that differ, checking itself.
//!
//! The kernel's own check is image/dom0/init; the harness adds what only the host can see (installer/src/boot.rs).

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
}

#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn q35_with_two_cpus() {
    demand(Host::Rexen, |_| {});
}

#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn q35_with_one_cpu() {
    demand(Host::Rexen, |boot| boot.smp = 1);
}

#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn q35_with_four_cpus_and_every_feature_but_smap() {
    demand(Host::Rexen, |boot| {
        boot.smp = 4;
        boot.cpu = "max,-smap".to_owned();
        boot.nic = Nic::E1000e;
    });
}

#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn pc_with_two_cpus() {
    demand(Host::Rexen, |boot| {
        boot.machine = "pc".to_owned();
        boot.nic = Nic::Virtio;
    });
}

#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn intel_cpu_with_every_feature() {
    demand(Host::Rexen, |boot| {
        boot.cpu = "max,vendor=GenuineIntel".to_owned()
    });
}

#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn memory_above_four_gib() {
    demand(Host::Rexen, |boot| boot.memory_mib = 5120);
}

/// The same check on the peer: it tests the check.
#[test]
#[ignore = "boots QEMU: cargo test -p rexen-tests -- --ignored"]
fn the_check_passes_on_xen() {
    demand(Host::Xen, |_| {});
}
