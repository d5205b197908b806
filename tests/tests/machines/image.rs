//! The image, booted as machines boot it: by BIOS and by UEFI, through GRUB, in the least memory that is promised.
//!
//! What domain 0 and its demo guest look at is in image/root/usr/share/rexen/check; installer/src/image/boot.rs adds what only
//! the host can see.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rexen_installer::image::boot::{Firmware, ImageBoot};
use rexen_installer::image::{ImageOptions, build_image};
use rexen_installer::{dist, hypervisor};
use rexen_tests::slots::Slot;

/// What a machine must have: domain 0 has half of it.
const MEMORY_MIB: u32 = 512;
/// What a download may have, packed.
const MOST: usize = 64_000_000;

static IMAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    build_image(&ImageOptions::default(), &folder).expect("the image")
});

fn demand(firmware: Firmware) {
    let mut boot = ImageBoot::new(&IMAGE);
    boot.firmware = firmware;
    boot.machine.memory_mib = MEMORY_MIB;
    let _slot = Slot::take();
    let (report, run) = boot.check().expect("QEMU runs");
    assert!(report.passed(), "{}\n{}", report.table(), run.log.tail(80));
    println!("{:.1} s\n{}", run.elapsed.as_secs_f32(), report.table());
}

#[test]
fn boots_by_bios() {
    demand(Firmware::Bios);
}

#[test]
fn boots_by_uefi() {
    demand(Firmware::Uefi);
}

#[test]
fn is_small_and_as_its_manifest_says() {
    dist::verify(&IMAGE).expect("each byte as the manifest says");
    let packed = hypervisor::gzip(&fs::read(&*IMAGE).unwrap()).unwrap();
    assert!(packed.len() < MOST, "{} bytes, packed", packed.len());
}
