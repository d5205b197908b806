//! A domain with everything decided: its specification, and for each device what the host's configuration adds.
//!
//! A blueprint is what plans are made from and what the journal and the records keep.

use std::path::Path;

use rexen_config::spec::{Disk, DomainRef, DomainSpec, Uuid, Vif};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::world::DomId;

/// A disk and how it is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VbdPlan {
    /// As configured.
    pub disk: Disk,
    /// The domain that serves it.
    pub backend: DomId,
    /// The script that yields the device, and its words; none for `phy:`.
    pub script: Option<(String, Vec<String>)>,
}

/// An interface and how it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VifPlan {
    /// As configured, with its address.
    pub vif: Vif,
    /// Its number within the domain.
    pub devid: u32,
    /// The domain that serves it.
    pub backend: DomId,
    /// The bridge, when one is configured for it or for all.
    pub bridge: Option<String>,
    /// The script to run, a whole path.
    pub script: String,
}

/// A device of either type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A disk.
    Vbd(VbdPlan),
    /// A network interface.
    Vif(VifPlan),
}

/// Which device of a domain: its type and its number in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId {
    /// Type.
    pub kind: DeviceKind,
    /// Number.
    pub devid: u32,
    /// The domain that serves it.
    pub backend: DomId,
}

/// Types of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Disks.
    Vbd,
    /// Network interfaces.
    Vif,
}

impl DeviceKind {
    /// The word in the store and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vbd => "vbd",
            Self::Vif => "vif",
        }
    }
}

impl DeviceId {
    /// The front-end's folder in the store.
    pub fn frontend_path(self, domid: DomId) -> String {
        format!(
            "/local/domain/{domid}/device/{}/{}",
            self.kind.word(),
            self.devid
        )
    }

    /// The back-end's folder in the store.
    pub fn backend_path(self, domid: DomId) -> String {
        format!(
            "/local/domain/{}/backend/{}/{domid}/{}",
            self.backend,
            self.kind.word(),
            self.devid
        )
    }
}

impl std::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.devid)
    }
}

impl Device {
    /// Which device this is.
    pub fn id(&self) -> DeviceId {
        match self {
            Self::Vbd(vbd) => DeviceId {
                kind: DeviceKind::Vbd,
                devid: vbd.disk.dev.number(),
                backend: vbd.backend,
            },
            Self::Vif(vif) => DeviceId {
                kind: DeviceKind::Vif,
                devid: vif.devid,
                backend: vif.backend,
            },
        }
    }
}

/// A domain to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    /// What was asked for, with uuid and MAC addresses drawn.
    pub spec: DomainSpec,
    /// The same handle as in `spec`.
    pub uuid: Uuid,
    /// Disks and interfaces, in order.
    pub devices: Vec<Device>,
}

impl Blueprint {
    /// Adds a device.
    pub fn add(&mut self, device: Device) {
        match &device {
            Device::Vbd(vbd) => self.spec.disks.push(vbd.disk.clone()),
            Device::Vif(vif) => self.spec.vifs.push(vif.vif.clone()),
        }
        self.devices.push(device);
    }

    /// Puts an interface in the place of the one with its number.
    pub fn replace(&mut self, plan: VifPlan) {
        let number = plan.devid;
        let same = |device: &&mut Device| matches!(device, Device::Vif(old) if old.devid == number);
        let Some(Device::Vif(old)) = self.devices.iter_mut().find(same) else {
            return;
        };
        let kept = self.spec.vifs.iter_mut().find(|vif| **vif == old.vif);
        if let Some(kept) = kept {
            *kept = plan.vif.clone();
        }
        *old = plan;
    }

    /// Removes a device.
    pub fn take(&mut self, id: &DeviceId) {
        let Some(place) = self.devices.iter().position(|device| device.id() == *id) else {
            return;
        };
        match self.devices.remove(place) {
            Device::Vbd(vbd) => self.spec.disks.retain(|disk| disk.dev != vbd.disk.dev),
            Device::Vif(vif) => self.spec.vifs.retain(|other| other.mac != vif.vif.mac),
        }
    }

    /// The number for one more interface.
    pub fn next_vif(&self) -> u32 {
        let vifs = self
            .devices
            .iter()
            .map(Device::id)
            .filter(|id| id.kind == DeviceKind::Vif);
        vifs.map(|id| id.devid + 1).max().unwrap_or(0)
    }
}

/// What the host adds to a specification.
pub struct Defaults<'a> {
    /// xend's configuration.
    pub config: &'a Config,
    /// Finds a back-end domain by name.
    pub domain_named: &'a dyn Fn(&str) -> Option<DomId>,
    /// Draws random bytes.
    pub random: &'a dyn Fn() -> [u8; 16],
}

impl Defaults<'_> {
    /// Decides everything a specification leaves open.
    ///
    /// # Errors
    /// A backend domain does not exist, a disk type has no script, or something is asked for that is not offered.
    pub fn resolve(&self, mut spec: DomainSpec) -> Result<Blueprint> {
        if !spec.pci.is_empty() {
            return Err(Error::new(
                Kind::NotImplemented,
                "pci devices are not offered yet: remove pci= from the configuration",
            ));
        }
        let uuid = spec
            .uuid
            .unwrap_or_else(|| Uuid::from_random((self.random)()));
        spec.uuid = Some(uuid);
        spec.fill_macs(|| {
            let bytes = (self.random)();
            [bytes[0], bytes[1], bytes[2]]
        });
        let mut devices = Vec::new();
        for disk in &spec.disks {
            devices.push(Device::Vbd(self.vbd(disk.clone())?));
        }
        for (devid, vif) in (0u32..).zip(&spec.vifs) {
            devices.push(Device::Vif(self.vif(vif.clone(), devid)?));
        }
        let mut ids: Vec<DeviceId> = devices.iter().map(Device::id).collect();
        ids.sort_unstable();
        if let Some([twice, _]) = ids
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .and_then(|pair| pair.first_chunk::<2>())
        {
            return Err(Error::invalid(format!(
                "the configuration names {twice} twice"
            )));
        }
        Ok(Blueprint {
            spec,
            uuid,
            devices,
        })
    }

    /// Decides what a disk leaves open.
    ///
    /// # Errors
    /// As `resolve`.
    pub fn vbd(&self, disk: Disk) -> Result<VbdPlan> {
        let backend = self.backend(disk.backend.as_ref())?;
        let source = &disk.source;
        let script = if source.is_phy() {
            None
        } else {
            let named = disk
                .script
                .clone()
                .or_else(|| self.config.block_script(source.kind()));
            let name = named.ok_or_else(|| {
                Error::invalid(format!(
                    "disk {source}: no script for disks of type {0}: set (block-{0} SCRIPT) in {1}",
                    source.kind(),
                    self.config.path
                ))
            })?;
            let words = if source.kind() == "file" {
                if !source.params().starts_with('/') {
                    return Err(Error::invalid(format!(
                        "disk {source}: needs a whole path, such as file:/images/a.img"
                    )));
                }
                vec![source.params().to_owned()]
            } else {
                source.params().split(':').map(str::to_owned).collect()
            };
            Some((self.config.script_path(&name), words))
        };
        Ok(VbdPlan {
            disk,
            backend,
            script,
        })
    }

    /// Decides what an interface leaves open.
    ///
    /// # Errors
    /// As `resolve`.
    pub fn vif(&self, mut vif: Vif, devid: u32) -> Result<VifPlan> {
        let backend = self.backend(vif.backend.as_ref())?;
        vif.mac.get_or_insert_with(|| {
            let bytes = (self.random)();
            rexen_config::spec::Mac::from_random([bytes[0], bytes[1], bytes[2]])
        });
        let script = vif
            .script
            .clone()
            .unwrap_or_else(|| self.config.vif_script.clone());
        let bridged = Path::new(&script)
            .file_name()
            .is_some_and(|name| name == "vif-bridge");
        let bridge = vif
            .bridge
            .clone()
            .or_else(|| bridged.then(|| self.config.vif_bridge.clone()));
        Ok(VifPlan {
            vif,
            devid,
            backend,
            bridge,
            script: self.config.script_path(&script),
        })
    }

    fn backend(&self, wanted: Option<&DomainRef>) -> Result<DomId> {
        match wanted {
            None => Ok(0),
            Some(DomainRef::Id(domid)) => Ok(*domid),
            Some(DomainRef::Name(name)) => (self.domain_named)(name.as_str()).ok_or_else(|| {
                Error::not_found(format!("invalid domain:{name} (named as a backend)"))
            }),
        }
    }
}
