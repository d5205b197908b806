//! The specification itself.

use super::{
    CpuSet, Disk, DomainName, ExitAction, ExitReason, Image, InitialCpu, Mac, PciAddress, Restart,
    Uuid, Vif,
};
use serde::{Deserialize, Serialize};

/// All that is asked of a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainSpec {
    /// Unique among domains.
    pub name: DomainName,
    /// The lasting identity; when there is none, whoever creates the domain draws one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Memory at the start, in MiB.
    pub memory_mib: u64,
    /// The most memory it may ever have, in MiB; `memory_mib` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxmem_mib: Option<u64>,
    /// Vcpus that are online at the start; not 0.
    #[serde(default = "one")]
    pub vcpus: u32,
    /// The most vcpus it may ever have; `vcpus` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxvcpus: Option<u32>,
    /// Where it is placed at first, without being bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<InitialCpu>,
    /// CPUs it may run on: none for all, one set for all vcpus, or a set for each vcpu in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<CpuSet>,
    /// The scheduler's weight. 2.0's BVT has 1 as the usual weight, today's credit scheduler 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<f64>,
    /// Which back-ends it may be.
    #[serde(default)]
    pub backends: Backends,
    /// 2.0's restart mode; `onreboot` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// After a poweroff; before `restart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_poweroff: Option<ExitAction>,
    /// After a reboot; before `restart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_reboot: Option<ExitAction>,
    /// After a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_crash: Option<ExitAction>,
    /// After its watchdog expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_watchdog: Option<ExitAction>,
    /// TCP port of the console: 9600 + domid when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_port: Option<u16>,
    /// The clock it is shown.
    #[serde(default)]
    pub clock: Clock,
    /// What runs in it.
    pub image: Image,
    /// Its discs, in order.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// PCI functions given to it.
    #[serde(default)]
    pub pci: Vec<PciAddress>,
    /// Its network interfaces, in order.
    #[serde(default)]
    pub vifs: Vec<Vif>,
}

fn one() -> u32 {
    1
}

/// Back-ends a domain may be for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backends {
    /// Of block devices.
    #[serde(default)]
    pub blkif: bool,
    /// Of network interfaces.
    #[serde(default)]
    pub netif: bool,
}

/// The wall clock a domain is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Local time of domain 0 instead of UTC.
    #[serde(default)]
    pub localtime: bool,
    /// Seconds added.
    #[serde(default)]
    pub offset_s: i32,
}

/// A device that can come and go while a domain runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// A disc.
    Disk(Disk),
    /// A network interface.
    Vif(Vif),
    /// A PCI function.
    Pci(PciAddress),
}

impl DomainSpec {
    /// The smallest specification: one vcpu, no devices.
    pub fn new(name: DomainName, memory_mib: u64, kernel: impl Into<String>) -> Self {
        Self {
            name,
            uuid: None,
            memory_mib,
            maxmem_mib: None,
            vcpus: 1,
            maxvcpus: None,
            cpu: None,
            cpus: Vec::new(),
            cpu_weight: None,
            backends: Backends::default(),
            restart: None,
            on_poweroff: None,
            on_reboot: None,
            on_crash: None,
            on_watchdog: None,
            console_port: None,
            clock: Clock::default(),
            image: Image {
                kernel: kernel.into(),
                ..Image::default()
            },
            disks: Vec::new(),
            pci: Vec::new(),
            vifs: Vec::new(),
        }
    }

    /// The most memory it may ever have, in MiB.
    pub fn maxmem_mib(&self) -> u64 {
        self.maxmem_mib.unwrap_or(self.memory_mib)
    }

    /// The most vcpus it may ever have.
    pub fn max_vcpus(&self) -> u32 {
        self.maxvcpus.unwrap_or(self.vcpus)
    }

    /// The CPUs one vcpu may run on; nothing when all.
    pub fn affinity(&self, vcpu: u32) -> Option<&CpuSet> {
        match &self.cpus[..] {
            [all] => Some(all),
            each => each.get(usize::try_from(vcpu).ok()?),
        }
    }

    /// What to do after an exit: the action for it, or else what the restart mode says.
    pub fn exit_action(&self, reason: ExitReason) -> ExitAction {
        let explicit = match reason {
            ExitReason::Poweroff => self.on_poweroff,
            ExitReason::Reboot => self.on_reboot,
            ExitReason::Crash => self.on_crash,
            ExitReason::Watchdog => self.on_watchdog,
        };
        explicit.unwrap_or_else(|| self.restart.unwrap_or(Restart::OnReboot).action(reason))
    }

    /// Draws an address for each interface that has none; `random` gives three bytes at a time.
    pub fn fill_macs(&mut self, mut random: impl FnMut() -> [u8; 3]) {
        for vif in &mut self.vifs {
            vif.mac.get_or_insert_with(|| Mac::from_random(random()));
        }
    }
}
