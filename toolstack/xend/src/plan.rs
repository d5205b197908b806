//! What is done to a domain, as a list of steps: pure, printable, and the same for real and simulated hosts.
//!
//! A plan is made from a blueprint and nothing else. Each step has its undo, which is a step, too; so a domain's destruction
//! is the undoing of its creation, and an operation that was cut off is undone or finished by the same few primitives
//! (`carry`). Every step may be done twice: the second time it finds its work done.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::blueprint::{Blueprint, Device, DeviceId, DeviceKind, VifPlan};

/// One step. What it does in detail stands in the blueprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes a block device of a disk's source by a script.
    BindBlock(DeviceId),
    /// Lets go of that block device.
    UnbindBlock(DeviceId),
    /// Makes an empty, paused domain with its vcpus.
    CreateDomain,
    /// Destroys the domain and waits until it is gone.
    DestroyDomain,
    /// Says where its vcpus may run.
    PlaceVcpus,
    /// Sets its share of CPU time.
    SetShare,
    /// Gives it vcpus, memory, kernel, ramdisk, and its rings to store and console.
    BuildKernel,
    /// Writes what the guest finds about itself into the store.
    WriteDomain,
    /// Removes that from the store.
    EraseDomain,
    /// Tells the store of the domain's ring.
    Introduce,
    /// Tells the store that the domain is gone.
    Release,
    /// Starts the console service of the domain.
    OpenConsole,
    /// Ends the console service of the domain.
    CloseConsole,
    /// Writes both ends of a device into the store.
    WriteDevice(DeviceId),
    /// Removes both ends from the store and waits until the backend has let go.
    RemoveDevice(DeviceId),
    /// Waits until the backend driver has taken a device up.
    AwaitBackend(DeviceId),
    /// Runs the script that brings an interface up.
    RaiseVif(DeviceId),
    /// Runs the script that takes an interface down.
    LowerVif(DeviceId),
    /// Changes bridge, script and addresses of an interface that is down.
    ChangeVif(Box<VifPlan>),
    /// Asks a running guest to give a device back, and waits for it.
    AskBack(DeviceId),
    /// Stops the domain's vcpus.
    Pause,
    /// Lets the domain's vcpus run.
    Unpause,
    /// Writes the record of a new domain.
    Record,
    /// Removes the domain's record, or marks it when the domain is to be made again.
    Forget,
    /// Writes a domain's record anew.
    Amend,
    /// Writes a domain's record anew, without a device.
    AmendWithout(DeviceId),
}

impl Step {
    /// What takes this step back, if anything is left of it that does not go with the domain.
    pub fn undo(&self) -> Option<Self> {
        Some(match *self {
            Self::BindBlock(id) => Self::UnbindBlock(id),
            Self::CreateDomain => Self::DestroyDomain,
            Self::WriteDomain => Self::EraseDomain,
            Self::Introduce => Self::Release,
            Self::OpenConsole => Self::CloseConsole,
            Self::WriteDevice(id) => Self::RemoveDevice(id),
            Self::RaiseVif(id) => Self::LowerVif(id),
            Self::Record => Self::Forget,
            _ => return None,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BindBlock(id) => write!(f, "bind a block device for {id}"),
            Self::UnbindBlock(id) => write!(f, "let go of the block device of {id}"),
            Self::CreateDomain => f.write_str("create the domain"),
            Self::DestroyDomain => f.write_str("destroy the domain"),
            Self::PlaceVcpus => f.write_str("place its vcpus"),
            Self::SetShare => f.write_str("set its share of CPU time"),
            Self::BuildKernel => f.write_str("load the kernel"),
            Self::WriteDomain => f.write_str("write the domain into the store"),
            Self::EraseDomain => f.write_str("erase the domain from the store"),
            Self::Introduce => f.write_str("introduce the domain to the store"),
            Self::Release => f.write_str("release the domain from the store"),
            Self::OpenConsole => f.write_str("open the console"),
            Self::CloseConsole => f.write_str("close the console"),
            Self::WriteDevice(id) => write!(f, "write {id} into the store"),
            Self::RemoveDevice(id) => write!(f, "remove {id} from the store"),
            Self::AwaitBackend(id) => write!(f, "wait for the backend of {id}"),
            Self::RaiseVif(id) => write!(f, "bring {id} up"),
            Self::LowerVif(id) => write!(f, "take {id} down"),
            Self::ChangeVif(plan) => write!(f, "change vif {}", plan.devid),
            Self::AskBack(id) => write!(f, "ask the guest to give {id} back"),
            Self::Pause => f.write_str("pause the domain"),
            Self::Unpause => f.write_str("let the domain run"),
            Self::Record => f.write_str("write the record"),
            Self::Forget => f.write_str("remove the record"),
            Self::Amend => f.write_str("write the record anew"),
            Self::AmendWithout(id) => write!(f, "write the record anew without {id}"),
        }
    }
}

/// The steps that make a domain. It is left paused.
pub fn create(blueprint: &Blueprint) -> Vec<Step> {
    let mut steps = Vec::new();
    for device in &blueprint.devices {
        bind(device, &mut steps);
    }
    steps.extend([Step::CreateDomain, Step::BuildKernel]);
    if !blueprint.spec.cpus.is_empty() || blueprint.spec.cpu.is_some() {
        steps.push(Step::PlaceVcpus);
    }
    if blueprint.spec.cpu_weight.is_some() {
        steps.push(Step::SetShare);
    }
    steps.extend([Step::WriteDomain, Step::Introduce, Step::OpenConsole]);
    for device in &blueprint.devices {
        connect(device, &mut steps);
    }
    steps.push(Step::Record);
    steps
}

/// The steps that make a domain again and let it run. The record comes last: once it is written, nothing is left to do.
pub fn create_again(blueprint: &Blueprint) -> Vec<Step> {
    let mut steps = create(blueprint);
    steps.insert(steps.len() - 1, Step::Unpause);
    steps
}

/// The steps that end a domain: its creation undone, after it was stopped.
pub fn destroy(blueprint: &Blueprint) -> Vec<Step> {
    let mut steps = vec![Step::Pause];
    steps.extend(
        create(blueprint)
            .iter()
            .rev()
            .filter_map(Step::undo)
            .filter(|step| *step != Step::Forget),
    );
    steps.push(Step::Forget);
    steps
}

/// The steps that end a domain of which only the devices in the store are known.
pub fn destroy_foreign(devices: &[DeviceId]) -> Vec<Step> {
    let mut steps = vec![Step::Pause];
    steps.extend(devices.iter().map(|id| Step::RemoveDevice(*id)));
    steps.extend([Step::Release, Step::EraseDomain, Step::DestroyDomain]);
    steps
}

/// The steps that give a domain one more device.
pub fn attach(device: &Device) -> Vec<Step> {
    let mut steps = Vec::new();
    bind(device, &mut steps);
    connect(device, &mut steps);
    steps.push(Step::Amend);
    steps
}

/// The steps that give an interface another bridge, script, addresses or rate.
pub fn configure(id: DeviceId, from: &VifPlan, to: VifPlan) -> Vec<Step> {
    // A rate alone is the driver's business: it watches the store.
    let is_rate_alone =
        (&from.bridge, &from.script, &from.vif.ip) == (&to.bridge, &to.script, &to.vif.ip);
    let change = Step::ChangeVif(Box::new(to));
    match is_rate_alone {
        true => vec![change, Step::Amend],
        false => vec![Step::LowerVif(id), change, Step::RaiseVif(id), Step::Amend],
    }
}

/// The steps that take a device from a running domain; with `force` the guest is not asked.
pub fn detach(device: &Device, force: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if !force {
        steps.push(Step::AskBack(device.id()));
    }
    steps.extend(attach(device).iter().rev().filter_map(Step::undo));
    steps.push(Step::AmendWithout(device.id()));
    steps
}

fn bind(device: &Device, steps: &mut Vec<Step>) {
    if let Device::Vbd(vbd) = device
        && vbd.script.is_some()
        && vbd.backend == 0
    {
        steps.push(Step::BindBlock(device.id()));
    }
}

fn connect(device: &Device, steps: &mut Vec<Step>) {
    let id = device.id();
    steps.push(Step::WriteDevice(id));
    if id.backend != 0 {
        return; // A driver domain has its own scripts.
    }
    steps.push(Step::AwaitBackend(id));
    if id.kind == DeviceKind::Vif {
        steps.push(Step::RaiseVif(id));
    }
}
