//! What stops an installation: one message each, and nothing is changed.

use std::fs;
use std::process::Command;

use rexen_install::run::{self, Options};

use crate::fake::{Host, KERNEL, Listener, Tree, options, put};

/// Breaks a host or tree, and checks that the message says so and nothing is changed.
fn refused(what: &str, breakage: impl FnOnce(&Host, &Tree)) {
    let (host, tree) = (Host::new(), Tree::version(1));
    breakage(&host, &tree);
    let before = host.all();
    let disk = host.disk();
    let e = run::install(&disk, &options(&tree), &mut Listener::default()).unwrap_err();
    assert_eq!(e.what, what);
    assert!(e.cause.is_some(), "{e}");
    assert_eq!(disk.steps.get(), 0);
    assert_eq!(host.all(), before);
}

#[test]
fn a_host_without_a_64_bit_cpu() {
    refused("this CPU has no 64-bit mode", |host, _| {
        put(host.root(), "proc/cpuinfo", "flags : fpu sse2\n");
    });
}

#[test]
fn a_host_with_too_little_memory() {
    refused("this host has 250 MiB of memory", |host, _| {
        put(host.root(), "proc/meminfo", "MemTotal:  256000 kB\n");
    });
}

#[test]
fn a_host_without_grub() {
    let what = "this host does not boot through GRUB as Debian sets it up";
    for path in [
        "usr/sbin/grub-mkconfig",
        "etc/default/grub",
        "etc/grub.d/20_linux_xen",
        "boot/grub/grub.cfg",
    ] {
        refused(what, |host, _| {
            fs::remove_file(host.root().join(path)).unwrap()
        });
    }
}

#[test]
fn a_host_with_another_xen() {
    for path in ["boot/xen-4.17-amd64.gz", "usr/sbin/xl"] {
        refused("another Xen is installed", |host, _| {
            put(host.root(), path, "another's")
        });
    }
}

#[test]
fn a_host_that_is_a_guest_of_xen() {
    refused("this host is itself a domain of a Xen", |host, _| {
        put(host.root(), "sys/hypervisor/type", "xen\n");
    });
}

#[test]
fn a_host_whose_kernel_cannot_be_domain_0s() {
    refused("no kernel of this host can be domain 0's", |host, _| {
        put(
            host.root(),
            &format!("boot/config-{KERNEL}"),
            "CONFIG_XEN=y\n",
        );
    });
}

#[test]
fn a_damaged_file_of_the_tree() {
    let (host, tree) = (Host::new(), Tree::version(1));
    put(tree.root(), "usr/sbin/xend", "xend X");
    let before = host.all();
    let e = host.install(&tree).unwrap_err();
    assert!(
        e.what
            .ends_with("is not what its manifest says (differences: 1)"),
        "{e}"
    );
    assert_eq!(e.cause.unwrap(), "changed  usr/sbin/xend: other content");
    assert_eq!(host.all(), before);
}

#[test]
fn a_folder_where_a_file_goes() {
    let (host, tree) = (Host::new(), Tree::version(1));
    fs::create_dir(host.root().join("usr/sbin/xend")).unwrap();
    let e = host.install(&tree).unwrap_err();
    // The look for another Xen finds it first.
    assert_eq!(e.what, "another Xen is installed");
    fs::remove_dir(host.root().join("usr/sbin/xend")).unwrap();
    fs::create_dir_all(host.root().join("usr/share/doc/rexen/README.md")).unwrap();
    let e = host.install(&tree).unwrap_err();
    assert!(e.what.contains("is neither a file nor a link"), "{e}");
}

#[test]
fn a_disk_without_room() {
    let (host, tree) = (Host::new(), Tree::version(1));
    let mut disk = host.disk();
    disk.free = 1 << 20;
    let e = run::install(&disk, &options(&tree), &mut Listener::default()).unwrap_err();
    assert_eq!(e.what, "the disk is too full");
    assert_eq!(disk.steps.get(), 0);
}

#[test]
fn a_dry_run_changes_nothing() {
    let (host, tree) = (Host::new(), Tree::version(1));
    let dry = Options {
        dry_run: true,
        ..options(&tree)
    };
    let mut listener = Listener::default();
    let disk = host.disk();
    run::install(&disk, &dry, &mut listener).unwrap();
    assert_eq!(disk.steps.get(), 0);
    assert!(
        listener.0[0].contains("will be installed"),
        "{:?}",
        listener.0
    );
    host.install(&tree).unwrap();
    let disk = host.disk();
    run::uninstall(&disk, &dry, &mut listener).unwrap();
    assert_eq!(disk.steps.get(), 0);
}

/// The program itself, on a host in a folder.
#[test]
fn the_program_asks_or_is_told_and_knows_its_options() {
    let (host, tree) = (Host::new(), Tree::version(1));
    let before = host.all();
    let program = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rexen-install"))
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (root, from) = (host.root().to_str().unwrap(), tree.root().to_str().unwrap());
    let (status, said) = program(&["--root", root, "--tree", from]);
    assert!(
        status == Some(1) && said.contains("nobody to ask"),
        "{said}"
    );
    let (status, said) = program(&["--roof", root]);
    assert!(status == Some(2) && said.contains("--root"), "{said}");
    let (status, said) = program(&["--root", root]);
    assert!(
        status == Some(1) && said.contains("no install tree"),
        "{said}"
    );
    assert_eq!(host.all(), before);
    let (status, said) = program(&["--root", root, "--tree", from, "--yes"]);
    assert!(status == Some(0) && said.contains("update-grub"), "{said}");
    assert_eq!(host.text("boot/xen.gz"), "hypervisor 1");
    let (status, said) = program(&["--root", root, "--uninstall", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(host.all(), before);
}
