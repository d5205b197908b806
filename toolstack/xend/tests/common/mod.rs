//! What the tests of lives and deaths share: xend on a simulated machine, a guest, and what is left of both.
#![allow(dead_code, reason = "each test uses a part")]

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rexen_config::spec::{Device, DomainSpec, device_from_sxp};
use rexen_config::sxp::parse_one;
use rexen_xend::blueprint::{DeviceId, DeviceKind};
use rexen_xend::carry::Site;
use rexen_xend::config::Config;
use rexen_xend::console::Consoles;
use rexen_xend::events::Event;
use rexen_xend::journal::Archive;
use rexen_xend::log::Log;
use rexen_xend::node::{Command, Node};
use rexen_xend::sim::Machine;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

/// A guest with two disks, one of them on a loop device, and two interfaces.
pub const GUEST: &str =
    "(vm (name a) (memory 64) (cpus 0-1) (cpu_weight 512) (uuid 6f7a1b2c-0000-4000-8000-000000000001)
    (image (linux (kernel /boot/k) (ramdisk /boot/r)))
    (device (vbd (uname file:/i/a.img) (dev sda1) (mode w)))
    (device (vbd (uname phy:vg/b) (dev sda2) (mode r)))
    (device (vif (mac aa:00:00:00:00:11) (bridge xen-br0)))
    (device (vif (mac aa:00:00:00:00:12) (bridge xen-br0))))";
/// Where nothing can be written: these guests' words are not kept.
const NO_LOGS: &str = "/proc/none";
const PATIENCE: Duration = Duration::from_secs(120);

/// All xends' tasks run here; those of a dead one end with its node.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// One life of xend on a machine.
pub struct Xend {
    pub node: Arc<Node>,
    pub events: broadcast::Receiver<Event>,
}

impl Drop for Xend {
    fn drop(&mut self) {
        // The console threads and mappings of a process end with it.
        let consoles = &self.node.site.consoles;
        for uuid in consoles.uuids() {
            consoles.close(&uuid);
        }
    }
}

/// Starts xend; it has yet to adopt what there is.
pub fn start(machine: &Arc<Machine>) -> Xend {
    let (sender, events) = broadcast::channel(64);
    let consoles = Consoles::new(NO_LOGS, None, None, sender.clone(), Log::nowhere());
    let config = Config::default();
    let site = Site {
        world: Arc::new(machine.world()),
        consoles: Arc::new(consoles),
        archive: Archive::new(&config.dbroot),
        config: Arc::new(config),
        log: Log::nowhere(),
        disks: Arc::new(Mutex::new(())),
    };
    let node = Node::new(site, sender, RUNTIME.handle().clone());
    Xend { node, events }
}

/// What is left, without what differs between any two runs.
pub fn state(machine: &Machine) -> String {
    let kept = |line: &&str| !line.contains("start_time");
    machine
        .leftovers()
        .lines()
        .filter(kept)
        .collect::<Vec<_>>()
        .join("\n")
}

pub fn guest() -> DomainSpec {
    DomainSpec::from_sxp(&parse_one(GUEST).unwrap())
        .unwrap()
        .spec
}

/// A machine on which an xend has run since it was booted.
pub fn booted() -> Arc<Machine> {
    let machine = Machine::new();
    start(&machine).node.adopt().unwrap();
    machine
}

/// A machine on which an xend has made the guest, and ended.
pub fn with_guest() -> Arc<Machine> {
    let machine = booted();
    let xend = start(&machine);
    xend.node.create(guest()).unwrap();
    xend.node.order("a", Command::Unpause).unwrap();
    machine
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn device(text: &str) -> Device {
    device_from_sxp(&parse_one(text).unwrap()).unwrap()
}

pub fn id(kind: DeviceKind, devid: u32) -> DeviceId {
    DeviceId {
        kind,
        devid,
        backend: 0,
    }
}

/// The order that puts the guest's second interface on another bridge.
pub fn rewired(bridge: &str) -> Command {
    let Device::Vif(to) = device(&format!("(vif (bridge {bridge}) (ip 10.0.0.1))")) else {
        panic!("a vif is a vif");
    };
    Command::Configure {
        id: id(DeviceKind::Vif, 1),
        to,
    }
}
