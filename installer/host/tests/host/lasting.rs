//! The power is cut, or the disk full, at every step there is: nobody chose the steps.

use std::fs;

use rexen_install::scan::Entries;

use crate::cut::{CutDisk, Fault};
use crate::fake::{CONFIG, Host, Tree, install, put, uninstall};

/// More steps than any run here has.
const MANY: u32 = 1000;

/// One kind of run, from a host in a known state.
struct Case {
    name: &'static str,
    prepare: fn(&Trees) -> Host,
    run: fn(&CutDisk, &Trees) -> rexen_install::error::Result<Vec<String>>,
}

struct Trees {
    first: Tree,
    second: Tree,
}

fn trees() -> Trees {
    Trees {
        first: Tree::version(1),
        second: Tree::version(2),
    }
}

/// With the first version, and configuration changed and removed.
fn used(trees: &Trees) -> Host {
    let host = Host::new();
    host.install(&trees.first).unwrap();
    put(host.root(), CONFIG, "(mine)\n");
    fs::remove_file(host.root().join("etc/xen/xmexample2")).unwrap();
    put(host.root(), "var/lib/xen/kernels/boot/1", "a copy");
    host
}

const INSTALL: Case = Case {
    name: "install",
    prepare: |_| Host::new(),
    run: |disk, trees| install(disk, &trees.first, None),
};
const DEFAULT: Case = Case {
    name: "install --default",
    prepare: |_| Host::new(),
    run: |disk, trees| install(disk, &trees.first, Some(true)),
};
const UPGRADE: Case = Case {
    name: "upgrade",
    prepare: used,
    run: |disk, trees| install(disk, &trees.second, None),
};
const UNINSTALL: Case = Case {
    name: "uninstall",
    prepare: used,
    run: |disk, _| uninstall(disk),
};
const LATE_UNINSTALL: Case = Case {
    name: "uninstall after a kernel update",
    prepare: |trees| {
        let host = Host::new();
        install(&host.disk(), &trees.first, Some(true)).unwrap();
        host.update_kernel();
        host
    },
    run: |disk, _| uninstall(disk),
};

impl Case {
    /// What is there after a run that nothing stopped, and after an uninstall of that.
    fn uncut(&self, trees: &Trees) -> (Entries, Entries) {
        let host = (self.prepare)(trees);
        (self.run)(&host.disk(), trees).unwrap();
        let done = host.all();
        host.uninstall().unwrap();
        (done, host.all())
    }

    /// Runs with a fault at each step, and calls `after` on what that leaves.
    fn each_step(&self, trees: &Trees, fault: fn(u32) -> Fault, after: &dyn Fn(&Host, &str)) {
        let prepared = (self.prepare)(trees);
        for step in 1..MANY {
            let host = prepared.copy();
            let disk = host.disk().with(fault(step));
            let ended = (self.run)(&disk, trees);
            if !disk.struck() {
                ended.unwrap();
                assert!(step > 20, "{} has only {step} steps", self.name);
                return;
            }
            let at = format!("{}, {:?}", self.name, fault(step));
            host.assert_boots(&at);
            after(&host, &at);
        }
        panic!("{} has no end", self.name);
    }

    /// After each cut the host boots, and running again ends as if nothing had been; or uninstalling does.
    fn survives_cuts(&self) {
        let trees = trees();
        let (done, undone) = self.uncut(&trees);
        for fault in [Fault::Cut, Fault::Lost] {
            self.each_step(&trees, fault, &|host, at| {
                let other = host.copy();
                (self.run)(&host.disk(), &trees).unwrap_or_else(|e| panic!("{at}: {e}"));
                host.assert_boots(at);
                assert_same(&host.all(), &done, at);
                other.uninstall().unwrap_or_else(|e| panic!("{at}: {e}"));
                other.assert_boots(at);
                assert_same(&other.all(), &undone, at);
            });
        }
    }
}

fn assert_same(is: &Entries, should: &Entries, at: &str) {
    let found = rexen_install::compare::compare(should, is);
    assert!(found.is_empty(), "{at}: {found:#?}");
}

#[test]
fn an_install_may_be_cut_anywhere() {
    INSTALL.survives_cuts();
}

#[test]
fn an_install_as_the_default_may_be_cut_anywhere() {
    DEFAULT.survives_cuts();
}

#[test]
fn an_upgrade_may_be_cut_anywhere() {
    UPGRADE.survives_cuts();
}

#[test]
fn an_uninstall_may_be_cut_anywhere() {
    UNINSTALL.survives_cuts();
    LATE_UNINSTALL.survives_cuts();
}

#[test]
fn a_cut_removal_can_be_followed_by_an_installation() {
    let trees = trees();
    let pristine = Host::new().all();
    UNINSTALL.each_step(&trees, Fault::Cut, &|host, at| {
        host.install(&trees.second)
            .unwrap_or_else(|e| panic!("{at}: {e}"));
        host.assert_boots(at);
        assert_eq!(host.text(CONFIG), "(mine)\n", "{at}");
        assert_eq!(host.text("boot/xen.gz"), "hypervisor 2", "{at}");
        host.uninstall().unwrap_or_else(|e| panic!("{at}: {e}"));
        let mut left = host.all();
        assert!(left.remove(CONFIG).is_some(), "{at}");
        assert_same(&left, &pristine, at);
    });
}

#[test]
fn a_full_disk_leaves_a_first_install_undone() {
    let trees = trees();
    let before = Host::new().all();
    INSTALL.each_step(&trees, Fault::Full, &|host, at| {
        if !host.has("var/lib/rexen-install/record.toml") {
            return assert_same(&host.all(), &before, at);
        }
        // The very last steps: everything is there, or the next run puts it there.
        host.uninstall().unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_same(&host.all(), &before, at);
    });
}

#[test]
fn a_full_disk_leaves_the_old_version_of_an_upgrade_or_the_new() {
    let trees = trees();
    let old = used(&trees).all();
    let (done, _) = UPGRADE.uncut(&trees);
    UPGRADE.each_step(&trees, Fault::Full, &|host, at| {
        let is = host.all();
        if host.text("usr/sbin/xend") == "xend 1"
            && host.text("boot/xen.gz") == "hypervisor 1"
            && is.len() == old.len()
        {
            assert_same(&is, &old, at);
        }
        host.install(&trees.second)
            .unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_same(&host.all(), &done, at);
    });
}
