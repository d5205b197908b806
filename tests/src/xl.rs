//! Runs the scripts of tests/xl in a domain 0 with Debian's own `xl`; the installer makes that domain 0.

use std::time::Duration;

use rexen_installer::{Consent, Qemu, Result, SerialLog, fetch_debian_kernel, xl_root::Kit};

use crate::guest;
use crate::host::Host;
use crate::slots::Slot;
use crate::verdict;

/// Domain 0 and guests with Debian's stock kernel.
///
/// # Errors
/// Debian's packages cannot be fetched.
pub fn debian_kit() -> Result<Kit> {
    let consent = Consent::from_env();
    let kernel = fetch_debian_kernel(consent)?;
    Kit::make(&kernel, &kernel, consent)
}

/// Runs one of tests/xl/dom0's scripts on a hypervisor, with Debian's kernel, and demands that each of its checks passes.
///
/// # Panics
/// Some check does not pass or does not report.
pub fn demand(host: Host, script: &str) {
    demand_with(
        &debian_kit().expect("domain 0 with Debian's xl"),
        host,
        script,
    );
}

/// As [`demand`], with our xenstored in the place of Debian's.
///
/// # Panics
/// As [`demand`].
pub fn demand_on_our_store(host: Host, script: &str) {
    let kit = debian_kit().and_then(|kit| kit.with_toolstack());
    let kit = kit.expect("domain 0 with Debian's xl and our xenstored");
    let words = format!("{script} xl.store=../lib/rexen/sbin/xenstored");
    demand_with(&kit, host, &words);
}

/// As [`demand`], with other kernels.
///
/// # Panics
/// As [`demand`].
pub fn demand_with(kit: &Kit, host: Host, script: &str) {
    let image = host.image();
    let _slot = Slot::take();
    let (report, run) = kit
        .run(&image, script, |machine| machine)
        .expect("QEMU runs");
    verdict::demand(&format!("{script} on {host:?}"), &report, &run, "XL-");
}

/// Runs the script `costs` where QEMU counts instructions; what it said.
///
/// # Panics
/// As [`demand`], but for checks that fail: they are in what it said.
pub fn costs(host: Host) -> SerialLog {
    let kit = debian_kit().expect("domain 0 with Debian's xl");
    run_with(&kit, host, "costs", guest::counted)
}

/// As [`costs`], with another script, and with our toolstack's programs in the root, too.
///
/// # Panics
/// As [`costs`].
pub fn toolstack_costs(host: Host, script: &str) -> SerialLog {
    let kit = debian_kit().and_then(|kit| kit.with_toolstack());
    let kit = kit.expect("domain 0 with Debian's xl and our toolstack");
    run_with(&kit, host, script, guest::counted_without_rest)
}

fn run_with(kit: &Kit, host: Host, script: &str, counted: fn(Qemu) -> Qemu) -> SerialLog {
    let image = host.image();
    let _slot = Slot::take();
    let slow = |machine| counted(machine).timeout(Duration::from_secs(7200));
    let (_, run) = kit.run(&image, script, slow).expect("QEMU runs");
    run.log
}
