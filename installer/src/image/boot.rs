//! Boots the image as a machine would, through its firmware and GRUB, and has domain 0 check itself (`rexen.check`).
//!
//! What is checked is in `../../../image/root/usr/share/rexen/check`; a line reads `CHECK name ok|FAIL detail`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{disk, root};
use crate::cache::Cache;
use crate::checks::Report;
use crate::error::{Error, Result};
use crate::qemu::{Nic, Qemu, Run};
use crate::xl_root::{checks_of, until};
use crate::{tree, ui};

/// Debian's UEFI for QEMU, package ovmf.
const OVMF: &str = "/usr/share/OVMF/OVMF_CODE.fd";
/// How long a boot and the checks may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(900);
/// The machine's memory: domain 0's 256, the demo guest's 64, and some more.
const MEMORY_MIB: u32 = 768;

/// Which firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, QEMU's own.
    Bios,
    /// OVMF.
    Uefi,
}

/// Boots it by BIOS, and by UEFI where OVMF is installed, and prints what domain 0 found.
///
/// # Errors
/// A check does not pass; QEMU cannot be started.
pub fn check(image: &Path) -> Result<()> {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        if firmware == Firmware::Uefi && !Path::new(OVMF).exists() {
            ui::note("no boot by UEFI: the package ovmf is not installed");
            continue;
        }
        ui::step(&format!(
            "booting the image by {firmware:?}; domain 0 checks itself"
        ));
        let (report, run) = run_check(image, firmware)?;
        if !report.passed() {
            ui::error(&run.log.tail(60));
        }
        ui::result(report.table().trim_end());
        report.verdict()?;
    }
    Ok(())
}

/// Boots a copy of the image whose menu has chosen already, and reports on each check and on the power-off.
///
/// # Errors
/// The image cannot be read; QEMU cannot be started. Failed checks are in the report, and no error here.
pub fn run_check(image: &Path, firmware: Firmware) -> Result<(Report, Run)> {
    let script = tree::root().join("image/root/usr/share/rexen/check");
    let script = String::from_utf8_lossy(&root::read(&script)?).into_owned();
    let expected = checks_of(&script);
    let work = Cache::open()?.scratch("image")?;
    let copy = work.path().join("disk.img");
    let mut bytes = fs::read(image).map_err(Error::io("read", image))?;
    let choice = "set default=serial\nset timeout=0\nset linux_words=rexen.check\n";
    disk::add_file(&mut bytes, "boot/grub/custom.cfg", choice.as_bytes())?;
    super::write(&copy, &bytes)?;
    let run = machine(&copy, firmware)
        .timeout(PATIENCE)
        .run_until(|line| until("CHECKS-DONE", line))?;
    let mut report = Report::of(&run.log, &expected);
    let end = format!("CHECKS-DONE {} ok 0 failed", expected.len());
    let done = run.log.find("CHECKS-DONE").unwrap_or("did not report");
    report.add("end", run.log.contains(&end), done.trim());
    report.add("power-off", run.powered_off(), format!("{:?}", run.end));
    Ok((report, run))
}

/// A machine with the image as its disk, two CPUs and a network card.
fn machine(image: &Path, firmware: Firmware) -> Qemu {
    let machine = Qemu::from_disk(image)
        .memory_mib(MEMORY_MIB)
        .nic(Nic::E1000);
    match firmware {
        Firmware::Bios => machine,
        Firmware::Uefi => machine
            .arg("-drive")
            .arg(&format!("if=pflash,format=raw,readonly=on,file={OVMF}")),
    }
}
