//! Every variable of a configuration, from the file to what the guest is given: its specification, its part of the store,
//! its place among the others, its devices. What a guest makes of it is looked at in tests/toolstack/dom0/xm.sh.

mod common;

use std::collections::BTreeSet;

use common::start;
use rexen_config::create::{Source, Style, load};
use rexen_config::script::{Host, Ipv4Config};
use rexen_config::vars::{VARIABLES, refusals};
use rexen_xend::sim::Machine;

struct NoMachine;

impl Host for NoMachine {
    fn ipv4(&self, _: &str) -> Option<Ipv4Config> {
        None
    }

    fn print(&self, _: &str) {}
}

/// What a guest with these lines is given, or why there is none.
fn made(text: &str) -> Result<String, String> {
    let text = format!("kernel = '/boot/k'\nname = 'a'\n{text}\n");
    let source = Source {
        file: "f",
        text: &text,
        words: &[],
        directory: "/root",
        style: Style::Xm,
    };
    let spec = load(&source, &NoMachine).map_err(|error| error.to_string())?;
    let machine = Machine::new();
    let xend = start(&machine);
    let view = xend.node.create(spec.clone());
    let view = view.map_err(|error| error.to_string())?;
    let domid = view.domid.unwrap();
    Ok(format!(
        "{}\n{}{}",
        spec.to_sxp(),
        machine.leftovers(),
        machine.share(domid)
    ))
}

/// The variable, lines with it, and what they come to.
const EFFECTS: &[(&str, &str, &[&str])] = &[
    ("name", "name = 'b'", &["store /local/domain/1/name = b\n"]),
    (
        "kernel",
        "kernel = '/boot/other'",
        &["/image/kernel = /boot/other\n"],
    ),
    (
        "ramdisk",
        "ramdisk = '/boot/r'",
        &["/image/ramdisk = /boot/r\n"],
    ),
    ("builder", "builder = 'linux'", &["(image (linux "]),
    ("type", "type = 'pv'", &["(image (linux "]),
    (
        "memory",
        "memory = 96",
        &["memory 98304 of 98304 KiB", "/memory/target = 98304\n"],
    ),
    (
        "maxmem",
        "memory = 96\nmaxmem = 128",
        &[
            "memory 98304 of 131072 KiB",
            "/memory/static-max = 131072\n",
        ],
    ),
    ("cpu", "cpu = 6", &["soft {0: [2]}\n", "hard {}\n"]),
    // Domain 0 is on 0 and 1.
    ("cpu", "cpu = -1", &["soft {0: [2]}\n"]),
    ("cpu_weight", "cpu_weight = 512", &["weight Some(512)\n"]),
    ("cpu_weight", "cpu_weight = 0.5", &["weight Some(128)\n"]),
    ("console", "console = 0", &["/console/port = 2\n"]),
    ("restart", "restart = 'always'", &["(restart always)"]),
    (
        "blkif",
        "blkif = 1",
        &["store /local/domain/1/backend/vbd = \n"],
    ),
    (
        "netif",
        "netif = 1",
        &["store /local/domain/1/backend/vif = \n"],
    ),
    (
        "disk",
        "disk = ['phy:vg/a,xvda,w', 'file:/i/b.img,xvdb,r']",
        &[
            "/backend/vbd/1/51712/mode = w\n",
            "/backend/vbd/1/51712/params = phy:vg/a\n",
            "/backend/vbd/1/51728/mode = r\n",
            "loops {\"/dev/loop0\": \"/i/b.img\"}\n",
        ],
    ),
    (
        "vif",
        "vif = ['mac=aa:00:00:00:00:11, bridge=br1, ip=10.0.0.1, rate=8Mb/s, vifname=a.lan, script=vif-nat, gatewaydev=eth1']",
        &[
            "/device/vif/0/mac = aa:00:00:00:00:11\n",
            "/vif/1/0/bridge = br1\n",
            "/vif/1/0/ip = 10.0.0.1\n",
            "/vif/1/0/rate = 50000,50000\n",
            "/vif/1/0/vifname = a.lan\n",
            "/vif/1/0/gatewaydev = eth1\n",
            "/vif/1/0/script = /etc/xen/scripts/vif-nat\n",
        ],
    ),
    (
        "nics",
        "nics = 2",
        &[
            "/device/vif/0/mac = aa:00:00:",
            "/device/vif/1/mac = aa:00:00:",
        ],
    ),
    // Accepted, without effect: the reference says so.
    ("ipaddr", "ipaddr = ['10.0.0.1']", &["(vm (name a) "]),
    (
        "root",
        "root = '/dev/xvda1 ro'",
        &["/image/cmdline =  root=/dev/xvda1 ro\n"],
    ),
    (
        "extra",
        "extra = 'quiet 4'",
        &["/image/cmdline =  quiet 4\n"],
    ),
    (
        "ip",
        "ip = '10.0.0.2'",
        &["cmdline =  ip=10.0.0.2:1.2.3.4::::eth0:off\n"],
    ),
    (
        "gateway",
        "ip = '10.0.0.2'\ngateway = '10.0.0.1'",
        &["cmdline =  ip=10.0.0.2:1.2.3.4:10.0.0.1:::eth0:off\n"],
    ),
    (
        "netmask",
        "ip = '10.0.0.2'\nnetmask = '255.0.0.0'",
        &["cmdline =  ip=10.0.0.2:1.2.3.4::255.0.0.0::eth0:off\n"],
    ),
    (
        "hostname",
        "ip = '10.0.0.2'\nhostname = 'h'",
        &["cmdline =  ip=10.0.0.2:1.2.3.4:::h:eth0:off\n"],
    ),
    (
        "interface",
        "ip = '10.0.0.2'\ninterface = 'eth1'",
        &["cmdline =  ip=10.0.0.2:1.2.3.4::::eth1:off\n"],
    ),
    (
        "dhcp",
        "dhcp = 'dhcp'",
        &["cmdline =  ip=:1.2.3.4::::eth0:dhcp\n"],
    ),
    (
        "nfs_server",
        "ip = '10.0.0.2'\nnfs_server = '10.0.0.9'",
        &["cmdline =  ip=10.0.0.2:10.0.0.9::::eth0:off\n"],
    ),
    (
        "nfs_root",
        "nfs_root = '/x'\nnfs_server = '10.0.0.9'\nextra = 'rw'",
        &["cmdline =  nfsroot=10.0.0.9:/x rw\n"],
    ),
    (
        "uuid",
        "uuid = '6f7a1b2c-0000-4000-8000-000000000009'",
        &["/vm = /vm/6f7a1b2c-0000-4000-8000-000000000009\n"],
    ),
    (
        "vcpus",
        "vcpus = 3",
        &["vcpus 3 of 3\n", "/cpu/2/availability = online\n"],
    ),
    (
        "maxvcpus",
        "vcpus = 1\nmaxvcpus = 2",
        &[
            "vcpus 1 of 2\n",
            "/cpu/0/availability = online\n",
            "/cpu/1/availability = offline\n",
        ],
    ),
    ("cpus", "cpus = '1-3,^2'", &["hard {0: [1, 3]}\n"]),
    (
        "cpus",
        "vcpus = 2\ncpus = ['0', '3']",
        &["hard {0: [0], 1: [3]}\n"],
    ),
    (
        "cmdline",
        "cmdline = 'all of it'",
        &["/image/cmdline =  all of it\n"],
    ),
    (
        "on_poweroff",
        "on_poweroff = 'preserve'",
        &["(on_poweroff preserve)"],
    ),
    (
        "on_reboot",
        "on_reboot = 'destroy'",
        &["(on_reboot destroy)"],
    ),
    (
        "on_crash",
        "on_crash = 'rename-restart'",
        &["(on_crash rename-restart)"],
    ),
    (
        "on_watchdog",
        "on_watchdog = 'restart'",
        &["(on_watchdog restart)"],
    ),
    ("localtime", "localtime = 1", &["clock 7200 s\n"]),
    ("rtc_timeoffset", "rtc_timeoffset = -60", &["clock -60 s\n"]),
];

/// Variables that are read, and refused by xend.
const NOT_YET: &[(&str, &str, &str)] = &[(
    "pci",
    "pci = ['00:1d.7']",
    "pci devices are not offered yet",
)];

#[test]
fn every_variable_reaches_the_guest_or_is_refused() {
    for (_, text, parts) in EFFECTS {
        let made = made(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for part in *parts {
            assert!(made.contains(part), "{text}: no {part} in\n{made}");
        }
    }
    for (_, text, reason) in NOT_YET {
        let error = made(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
    let effects = EFFECTS.iter().map(|(name, ..)| *name);
    let tried: BTreeSet<&str> = effects
        .chain(NOT_YET.iter().map(|(name, ..)| *name))
        .collect();
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(tried, known);
    for (name, refusal) in refusals() {
        let error = made(&format!("{name} = 'something'")).expect_err(name);
        let hint = format!("f:3: '{name}' is not supported");
        assert!(
            error.starts_with(&hint) && error.contains(refusal.reason),
            "{name}: {error}"
        );
    }
}
