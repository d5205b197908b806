//! The image, booted as machines boot it: by BIOS and by UEFI, through GRUB, in the least memory that is promised.
//!
//! What domain 0 and its demo guest look at is in image/root/usr/share/rexen/check; installer/src/image/boot.rs adds what only
//! the host can see.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rexen_installer::image::boot::{Firmware, ImageBoot};
use rexen_installer::image::{ImageOptions, build_image, disk};
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

/// `screen` is what Linux says of the one that it finds.
fn demand(firmware: Firmware, screen: &str) {
    let mut boot = ImageBoot::new(&IMAGE);
    boot.firmware = firmware;
    boot.machine.memory_mib = MEMORY_MIB;
    // A VGA card that nobody looks at.
    boot.machine.display = Some("none".to_owned());
    let _slot = Slot::take();
    let (mut report, run) = boot.check().expect("QEMU runs");
    let found = run.log.find(screen);
    report.add("screen", found.is_some(), found.unwrap_or("none").trim());
    assert!(report.passed(), "{}\n{}", report.table(), run.log.tail(80));
    println!("{:.1} s\n{}", run.elapsed.as_secs_f32(), report.table());
}

#[test]
fn boots_by_bios() {
    demand(Firmware::Bios, "Console: colour VGA+ 80x25");
}

#[test]
fn boots_by_uefi() {
    demand(
        Firmware::Uefi,
        "Console: switching to colour frame buffer device",
    );
}

#[test]
fn is_small_and_as_its_manifest_says() {
    dist::verify(&IMAGE).expect("each byte as the manifest says");
    let manifest = fs::read_to_string(IMAGE.with_extension("img.toml")).unwrap();
    for path in ["usr/sbin/xm", "boot/demo.gz/init"] {
        assert!(
            manifest.contains(&format!("\"boot/root.gz/{path}\"")),
            "{path}"
        );
    }
    let mut image = fs::read(&*IMAGE).unwrap();
    let packed = hypervisor::gzip(&image).unwrap();
    assert!(packed.len() < MOST, "{} bytes, packed", packed.len());

    disk::add_file(&mut image, "boot/grub/grub.cfg", b"# damaged").unwrap();
    let damaged = IMAGE.with_file_name("damaged.img");
    fs::write(&damaged, image).unwrap();
    dist::verify(&damaged).expect_err("the menu is not as the manifest says");
    fs::remove_file(damaged).unwrap();
}
