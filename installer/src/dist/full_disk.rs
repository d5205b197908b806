//! What a full disk leaves of tree, tarball and image: what was there before, and one message.
//!
//! A limit on the size of files stands for the disk: writing fails in the middle of a file. It cannot be set for one test alone,
//! so each test runs itself once more below a shell that sets it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::scan::scan;
use super::tarball;
use super::tests::Workshop;
use crate::image;

/// 2 MiB, in the shell's blocks.
const LIMIT: &str = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" --exact \"$1\"";
/// More than that.
const TOO_MUCH: usize = 3 << 20;

/// Whether this is the run within the limit; else makes it, and demands that it passes. `test` is this test's name.
fn is_within_limit(test: &str) -> bool {
    const INNER: &str = "REXEN_TEST_WITHIN_LIMIT";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    // Where the signal is ignored, the write fails.
    let run = Command::new("sh")
        .args(["-c", LIMIT])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("dist::full_disk::{test}"))
        .env(INNER, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(said.contains("1 passed") && run.status.success(), "{said}");
    false
}

/// Bytes that do not shrink.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..TOO_MUCH).map(next).collect()
}

#[test]
fn a_tree_is_the_old_one() {
    if !is_within_limit("a_tree_is_the_old_one") {
        return;
    }
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    let before = scan(&workshop.path("tree")).unwrap();
    // This program is larger than any file that may be written now.
    let large = workshop.parts.hypervisor.join("xen-syms");
    fs::remove_file(&large).unwrap();
    symlink("/proc/self/exe", &large).unwrap();
    let failed = workshop.lay_out("tree").unwrap_err();
    assert!(failed.what.starts_with("cannot copy"), "{failed}");
    assert!(failed.cause.unwrap().contains("too large"));
    assert_eq!(scan(&workshop.path("tree")).unwrap(), before);
    assert_eq!(workshop.names(), ["tree"]);
}

#[test]
fn a_tarball_is_not_there() {
    if !is_within_limit("a_tarball_is_not_there") {
        return;
    }
    let workshop = Workshop::new();
    let noise = noise();
    for (nr, half) in noise.chunks(TOO_MUCH / 2).enumerate() {
        let name = ["xen-syms", "xen.gz"][nr];
        fs::write(workshop.parts.hypervisor.join(name), half).unwrap();
    }
    workshop.lay_out("tree").unwrap();
    let failed = tarball::pack(&workshop.path("tree"), &workshop.dir).unwrap_err();
    assert!(failed.what.starts_with("cannot write"), "{failed}");
    assert!(failed.cause.unwrap().contains("too large"));
    assert_eq!(workshop.names(), ["tree"]);
}

#[test]
fn an_image_is_the_old_one() {
    if !is_within_limit("an_image_is_the_old_one") {
        return;
    }
    let workshop = Workshop::new();
    let place = workshop.path("rexen.img");
    let old = image::Part::write(&place, b"old").unwrap();
    old.put_in_place().unwrap();
    let failed = image::Part::write(&place, &noise()).err().unwrap();
    assert!(failed.what.starts_with("cannot write"), "{failed}");
    assert!(failed.cause.unwrap().contains("too large"));
    assert_eq!(fs::read(&place).unwrap(), b"old");
    assert_eq!(workshop.names(), ["rexen.img"]);
}
