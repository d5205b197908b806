//! Our own kernels: xen0 as domain 0 and xenU as its guest, under Debian's unmodified `xl`, on our hypervisor and on Debian's
//! Xen 4.17 (the script is tests/xl/dom0/kernels.sh); and the check of `cargo world` for xen0 on both, and on the bare machine.

use rexen_installer::{Boot, Consent, initramfs, world};
use rexen_tests::kernels;
use rexen_tests::{host::Host, slots::Slot, xl::demand_with};

fn demand(host: Host, words: &str) {
    let kit = kernels::kit().expect("our kernels and Debian's xl");
    demand_with(&kit, host, &format!("kernels {words}"));
}

/// The Xen console is `ttyS0` in domain 0, too.
#[test]
fn xen0_and_xen_u_on_rexen() {
    demand(Host::Rexen, "xencons=ttyS");
}

/// What `xencons=` asks for is not to be had in domain 0: it goes on with `hvc0`.
#[test]
fn xen0_and_xen_u_on_xen() {
    demand(Host::Xen, "xencons=tty");
}

/// Boots xen0, under a hypervisor or without, and demands that each check of `cargo world` passes.
fn demand_check(host: Option<Host>) {
    let kernel = kernels::xen0().expect("xen0");
    let initrd = initramfs(&kernel, Consent::from_env()).expect("the initramfs");
    let mut boot = Boot::bare(kernel.image, initrd);
    boot.hypervisor = host.map(Host::image);
    boot.banner = (host == Some(Host::Rexen)).then(|| world::BANNER.to_owned());
    let _slot = Slot::take();
    let (report, run) = boot.check().expect("QEMU runs");
    assert!(report.passed(), "{}\n{}", report.table(), run.log.tail(80));
    println!(
        "{host:?}: {:.0} s\n{}",
        run.elapsed.as_secs_f32(),
        report.table()
    );
    let release = format!("release={}", kernel.release);
    let said = report.get("hypervisor").map_or("", |c| &c.detail);
    assert!(said.contains(&release), "{said}");
}

#[test]
fn xen0_without_a_hypervisor() {
    demand_check(None);
}

#[test]
fn xen0_checks_itself_on_rexen() {
    demand_check(Some(Host::Rexen));
}

#[test]
fn xen0_checks_itself_on_xen() {
    demand_check(Some(Host::Xen));
}
