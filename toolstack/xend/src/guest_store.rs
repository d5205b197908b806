//! What a guest finds about itself in the store: the layout that Linux and xl's users expect.
//!
//! # Source
//! docs/misc/xenstore-paths.pandoc of Xen 4.17; what Debian's xl writes.

use crate::blueprint::Blueprint;
use crate::journal::Facts;
use crate::world::{Change, DomId};

/// Kind of console in the store: not `xenconsoled`, so that Debian's daemon leaves the ring to xend.
const CONSOLE_TYPE: &str = "xend";

/// Paths below the domain's that the guest may write.
const GUESTS_OWN: [&str; 10] = [
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "device/suspend/event-channel",
    "data",
    "drivers",
    "feature",
    "attr",
];

/// Everything about a new domain but its devices.
pub fn domain(blueprint: &Blueprint, facts: &Facts, domid: DomId) -> Vec<Change> {
    let spec = &blueprint.spec;
    let (home, vm) = (
        format!("/local/domain/{domid}"),
        format!("/vm/{}", blueprint.uuid),
    );
    let mut changes = vec![
        Change::Remove(home.clone()), // A dead domain of this number may have left something.
        Change::Write(home.clone(), String::new()),
        Change::Owner {
            path: home.clone(),
            owner: 0,
            reader: Some(domid),
        },
        Change::Write(vm.clone(), String::new()),
        Change::Owner {
            path: vm.clone(),
            owner: 0,
            reader: Some(domid),
        },
    ];
    let mut write = |path: String, value: String| changes.push(Change::Write(path, value));
    write(format!("{vm}/name"), spec.name.to_string());
    write(format!("{vm}/uuid"), blueprint.uuid.to_string());
    write(format!("{vm}/start_time"), facts.start_time.to_string());
    write(format!("{vm}/image/ostype"), "linux".into());
    write(format!("{vm}/image/kernel"), spec.image.kernel.clone());
    write(format!("{vm}/image/cmdline"), spec.image.cmdline());
    if let Some(ramdisk) = &spec.image.ramdisk {
        write(format!("{vm}/image/ramdisk"), ramdisk.clone());
    }
    write(format!("{home}/vm"), vm);
    write(format!("{home}/name"), spec.name.to_string());
    write(format!("{home}/domid"), domid.to_string());
    write(
        format!("{home}/memory/static-max"),
        (spec.maxmem_mib() * 1024).to_string(),
    );
    write(
        format!("{home}/memory/target"),
        (spec.memory_mib * 1024).to_string(),
    );
    for vcpu in 0..spec.max_vcpus() {
        let word = if vcpu < spec.vcpus {
            "online"
        } else {
            "offline"
        };
        write(format!("{home}/cpu/{vcpu}/availability"), word.into());
    }
    write(
        format!("{home}/store/port"),
        facts.built.store_port.to_string(),
    );
    write(
        format!("{home}/store/ring-ref"),
        facts.built.store_mfn.to_string(),
    );
    write(format!("{home}/device"), String::new());
    write(format!("{home}/control"), String::new());
    console(&home, domid, facts, &mut write);
    // A back-end writes into its own folder what its drivers can.
    let backends = [
        ("backend/vbd", spec.backends.blkif),
        ("backend/vif", spec.backends.netif),
    ];
    let served = backends.iter().filter(|(_, serves)| *serves);
    for path in served.map(|(path, _)| *path).chain(GUESTS_OWN) {
        let path = format!("{home}/{path}");
        changes.push(Change::Write(path.clone(), String::new()));
        changes.push(Change::Owner {
            path,
            owner: domid,
            reader: None,
        });
    }
    changes
}

fn console(home: &str, domid: DomId, facts: &Facts, write: &mut impl FnMut(String, String)) {
    let backend = format!("/local/domain/0/backend/console/{domid}/0");
    write(format!("{backend}/frontend"), format!("{home}/console"));
    write(format!("{backend}/frontend-id"), domid.to_string());
    write(format!("{backend}/online"), "1".into());
    write(format!("{backend}/state"), "1".into());
    write(format!("{backend}/protocol"), "vt100".into());
    write(format!("{home}/console/backend"), backend);
    write(format!("{home}/console/backend-id"), "0".into());
    write(format!("{home}/console/type"), CONSOLE_TYPE.into());
    write(format!("{home}/console/output"), "pty".into());
    write(format!("{home}/console/limit"), "65536".into());
    write(
        format!("{home}/console/port"),
        facts.built.console_port.to_string(),
    );
    write(
        format!("{home}/console/ring-ref"),
        facts.built.console_mfn.to_string(),
    );
}

/// Removes everything about a domain, devices included.
pub fn erase(domid: DomId, uuid: &str) -> Vec<Change> {
    let mut changes = vec![
        Change::Remove(format!("/local/domain/{domid}")),
        Change::Remove(format!("/vm/{uuid}")),
        Change::Remove(format!("/libxl/{domid}")),
    ];
    for kind in ["console", "vbd", "vif"] {
        changes.push(Change::Remove(format!(
            "/local/domain/0/backend/{kind}/{domid}"
        )));
    }
    changes
}
