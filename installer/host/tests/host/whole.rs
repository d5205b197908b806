//! Whole runs: what is where afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fake::{CONFIG, ENABLED, EXAMPLE, Host, SETTINGS, Tree, install, put};

#[test]
fn everything_is_in_its_place_and_uninstalling_gives_every_file_back() {
    let (host, tree) = (Host::new(), Tree::version(1));
    let before = host.all();
    let said = host.install(&tree).unwrap().join("\n");
    assert_eq!(host.text("boot/xen.gz"), "hypervisor 1");
    assert_eq!(host.text("usr/sbin/xm"), "xm 1");
    assert_eq!(host.text("boot/rexen/vmlinuz-xenU"), "guest kernel");
    assert_eq!(host.text("usr/lib/modules/6.1.1-xenU/a.ko"), "module");
    assert!(host.has(ENABLED) && host.has(SETTINGS));
    let boot: Vec<_> = host
        .all()
        .into_keys()
        .filter(|p| p.contains("xen0"))
        .collect();
    assert!(boot.is_empty(), "domain 0 has the host's kernel: {boot:?}");
    let mode = |path: &str| {
        fs::metadata(host.root().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("var/lib/rexen-install"), 0o700);
    // The administrator had an example of that name.
    assert_eq!(host.text(EXAMPLE), "my own first domain\n");
    assert_eq!(host.text(&format!("{EXAMPLE}.rexen-new")), "example 1\n");
    assert!(said.contains(&format!("/{EXAMPLE} is yours")), "{said}");
    assert!(said.contains("/usr/sbin/xm is there"), "{said}");
    let menu = host.text("boot/grub/grub.cfg");
    assert!(
        menu.contains("boot/xen.gz") && menu.contains("set default=\"0\""),
        "{menu}"
    );
    host.assert_boots("installed");
    host.uninstall().unwrap();
    assert_eq!(host.all(), before);
}

#[test]
fn a_second_run_changes_nothing() {
    let (host, tree) = (Host::new(), Tree::version(1));
    host.install(&tree).unwrap();
    let once = host.all();
    let disk = host.disk();
    let said = install(&disk, &tree, None).unwrap();
    assert_eq!(disk.steps.get(), 0, "{said:?}");
    assert!(said[0].contains("nothing to do"), "{said:?}");
    assert_eq!(host.all(), once);
    host.uninstall().unwrap();
    assert!(host.uninstall().unwrap()[0].contains("not installed"));
}

#[test]
fn an_upgrade_takes_the_old_away_and_keeps_what_the_administrator_made() {
    let host = Host::new();
    let before = host.all();
    host.install(&Tree::version(1)).unwrap();
    put(host.root(), CONFIG, "(mine)\n");
    fs::remove_file(host.root().join("etc/xen/xmexample2")).unwrap();
    fs::remove_file(host.root().join(ENABLED)).unwrap();
    let second = Tree::version(2);
    host.install(&second).unwrap();
    assert_eq!(host.text("boot/xen.gz"), "hypervisor 2");
    assert_eq!(host.text("etc/init.d/xend"), "#!/bin/sh\n# 2\n");
    assert_eq!(host.text(CONFIG), "(mine)\n");
    assert_eq!(host.text(&format!("{CONFIG}.rexen-new")), "(version 2)\n");
    for gone in [
        "etc/xen/xmexample2",
        ENABLED,
        "usr/lib/modules/6.1.1-xenU",
        "usr/share/doc/rexen/new-in-1.md",
    ] {
        assert!(!host.has(gone), "{gone}");
    }
    let again = host.install(&second).unwrap();
    assert!(again[0].contains("nothing to do"), "{again:?}");
    // Merged: ours beside it goes with the next version.
    put(host.root(), CONFIG, "(version 2)\n");
    host.install(&Tree::version(3)).unwrap();
    assert_eq!(host.text(CONFIG), "(version 3)\n");
    assert!(!host.has(&format!("{CONFIG}.rexen-new")));
    put(host.root(), CONFIG, "(mine again)\n");
    put(host.root(), "var/log/xen/xend.log", "what happened\n");
    put(host.root(), "var/lib/xen/kernels/boot/1", "a copy");
    put(host.root(), "var/lib/xen/xend-db/boot", "an earlier one");
    put(host.root(), "var/lib/xen/xend-db/domain/3", "{}");
    let said = host.uninstall().unwrap().join("\n");
    assert!(said.contains(&format!("/{CONFIG} stays")), "{said}");
    assert!(said.contains("/var/log/xen/ stays"), "{said}");
    let mut left = host.all();
    for kept in [CONFIG, "var/log/xen", "var/log/xen/xend.log"] {
        assert!(left.remove(kept).is_some(), "{kept}");
    }
    assert_eq!(left, before);
}

#[test]
fn records_of_domains_that_may_be_alive_stay() {
    let host = Host::new();
    host.install(&Tree::version(1)).unwrap();
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    put(host.root(), "proc/sys/kernel/random/boot_id", &id);
    put(host.root(), "var/lib/xen/xend-db/boot", id.trim());
    put(host.root(), "var/lib/xen/xend-db/domain/3", "{}");
    let said = host.uninstall().unwrap().join("\n");
    assert!(said.contains("/var/lib/xen/xend-db/ stays"), "{said}");
    assert_eq!(host.text("var/lib/xen/xend-db/domain/3"), "{}");
}

#[test]
fn rexen_is_the_default_only_while_it_is_asked_for() {
    let (host, tree) = (Host::new(), Tree::version(1));
    let chosen = |host: &Host| {
        host.text("boot/grub/grub.cfg")
            .contains("set default=\"xen")
    };
    host.install(&tree).unwrap();
    assert!(!chosen(&host));
    install(&host.disk(), &tree, Some(true)).unwrap();
    assert!(chosen(&host));
    host.install(&Tree::version(2)).unwrap();
    assert!(chosen(&host), "an upgrade keeps the choice");
    install(&host.disk(), &Tree::version(2), Some(false)).unwrap();
    assert!(!chosen(&host));
    host.assert_boots("back");
}

#[test]
fn a_menu_that_others_made_since_is_made_anew_without_us() {
    let host = Host::new();
    host.install(&Tree::version(1)).unwrap();
    host.update_kernel();
    assert!(
        host.text("boot/grub/grub.cfg")
            .contains("Xen vmlinuz-6.1.0-42")
    );
    host.uninstall().unwrap();
    let menu = host.text("boot/grub/grub.cfg");
    assert!(menu.contains("6.1.0-42") && !menu.contains("xen"), "{menu}");
}
