//! Disks and network interfaces: what stands in the store about them, and the handshake with the backend drivers.
//!
//! States are those of public/io/xenbus.h: 1 Initialising, 2 InitWait, 3 Initialised, 4 Connected, 5 Closing, 6 Closed.
//! xend runs the scripts itself; nothing here needs udev.

use std::time::{Duration, Instant};

use rexen_config::spec::{Rate, Vif};

use crate::blueprint::{Blueprint, Device, DeviceId, DeviceKind, VbdPlan, VifPlan};
use crate::carry::BACKEND_TIMEOUT;
use crate::error::{Error, Kind, Result};
use crate::journal::Facts;
use crate::world::{Change, DomId, Host, Store, World};

/// How long a guest may take to give a device back.
const GUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is asked meanwhile whether the guest is still there: the store's watch does not tell.
const ENDED_TURN: Duration = Duration::from_millis(500);

/// Makes a block device of a disk's source.
pub fn bind_block(host: &dyn Host, device: &Device, facts: &mut Facts) -> Result<()> {
    let Device::Vbd(VbdPlan {
        disk,
        script: Some((script, words)),
        ..
    }) = device
    else {
        return Ok(());
    };
    let number = disk.dev.number();
    let hint = facts.nodes.get(&number).cloned().unwrap_or_default();
    if disk.source.kind() == "file" {
        host.check_file(disk.source.params())
            .map_err(|e| e.during(format!("disk {}", disk.source)))?;
    }
    let node = host
        .block_bind(script, words, &hint, disk.mode.writable)
        .map_err(|e| e.during(format!("disk {}", disk.source)))?;
    facts.nodes.insert(number, node);
    Ok(())
}

/// Lets go of a disk's block device, unless somebody else has it meanwhile.
pub fn unbind_block(host: &dyn Host, device: &Device, facts: &mut Facts) -> Result<()> {
    let Device::Vbd(VbdPlan {
        disk,
        script: Some((script, _)),
        ..
    }) = device
    else {
        return Ok(());
    };
    let Some(node) = facts.nodes.get(&disk.dev.number()) else {
        return Ok(());
    };
    if disk.source.kind() == "file"
        && host.loop_file(node)? != Some(host.canonical(disk.source.params()))
    {
        return Ok(());
    }
    host.block_unbind(script, node)?;
    facts.nodes.remove(&disk.dev.number());
    Ok(())
}

/// The block device that is exported for a disk.
pub fn node(vbd: &VbdPlan, facts: &Facts) -> Option<String> {
    vbd.disk
        .source
        .device_path()
        .or_else(|| facts.nodes.get(&vbd.disk.dev.number()).cloned())
}

/// Refuses a disk that somebody uses in a way that does not go together with what is asked (2.0's rules).
///
/// # Errors
/// The disk is in use, or does not exist.
pub fn check(world: &World, device: &Device, facts: &Facts) -> Result<()> {
    let Device::Vbd(vbd) = device else {
        return Ok(());
    };
    if vbd.disk.mode.unchecked || vbd.backend != 0 {
        return Ok(());
    }
    let Some(node) = node(vbd, facts) else {
        return Ok(());
    };
    let source = vbd.disk.source.to_string();
    let number = physical(&*world.host, &node)?;
    let mut used = world
        .host
        .mounted(&node)?
        .map(|writable| (writable, "this host (mounted)".to_owned()));
    let store = &*world.store;
    for domid in store.list("/local/domain/0/backend/vbd")? {
        for devid in store.list(&format!("/local/domain/0/backend/vbd/{domid}"))? {
            let path = format!("/local/domain/0/backend/vbd/{domid}/{devid}");
            let same = store.read(&format!("{path}/physical-device"))?.as_deref() == Some(&number)
                || store.read(&format!("{path}/params"))?.as_deref() == Some(&source);
            let ours = Some(domid.as_str()) == facts.domid.map(|id| id.to_string()).as_deref()
                && devid == vbd.disk.dev.number().to_string();
            if same && !ours {
                let writable = store
                    .read(&format!("{path}/mode"))?
                    .is_some_and(|mode| mode.starts_with('w'));
                if writable || used.is_none() {
                    used = Some((writable, format!("domain {domid}")));
                }
            }
        }
    }
    let remedy = format!(
        "use mode {}! to share it all the same",
        if vbd.disk.mode.writable { "w" } else { "r" }
    );
    match used {
        Some((true, by)) => Err(Error::conflict(format!(
            "disk {source}: segment {node} is in writable use by {by}; {remedy}"
        ))),
        Some((false, by)) if vbd.disk.mode.writable => Err(Error::conflict(format!(
            "disk {source}: segment {node} is in read-only use by {by}; {remedy}"
        ))),
        _ => Ok(()),
    }
}

fn physical(host: &dyn Host, node: &str) -> Result<String> {
    let (major, minor) = host.device_number(node)?;
    Ok(format!("{major:x}:{minor:x}"))
}

/// Both ends of a device.
///
/// # Errors
/// The block device does not exist.
pub fn entries(
    host: &dyn Host,
    device: &Device,
    blueprint: &Blueprint,
    facts: &Facts,
) -> Result<Vec<Change>> {
    let domid = facts
        .domid
        .ok_or_else(|| Error::failed("the domain was not created"))?;
    let id = device.id();
    let (front, back) = (id.frontend_path(domid), id.backend_path(domid));
    let mut frontend: Vec<(&str, String)> = vec![
        ("backend", back.clone()),
        ("backend-id", id.backend.to_string()),
        ("state", "1".into()),
    ];
    let mut backend: Vec<(&str, String)> = vec![
        ("frontend", front.clone()),
        ("frontend-id", domid.to_string()),
        ("online", "1".into()),
        ("domain", blueprint.spec.name.to_string()),
        ("state", "1".into()),
    ];
    match device {
        Device::Vbd(vbd) => block_entries(host, vbd, facts, &mut frontend, &mut backend)?,
        Device::Vif(vif) => interface_entries(vif, &mut frontend, &mut backend),
    }
    let mut changes = vec![Change::Remove(front.clone()), Change::Remove(back.clone())];
    for (path, entries, owner, reader) in [
        (&front, frontend, domid, id.backend),
        (&back, backend, id.backend, domid),
    ] {
        changes.push(Change::Write(path.clone(), String::new()));
        changes.push(Change::Owner {
            path: path.clone(),
            owner,
            reader: Some(reader),
        });
        changes.extend(
            entries
                .into_iter()
                .map(|(key, value)| Change::Write(format!("{path}/{key}"), value)),
        );
    }
    Ok(changes)
}

fn block_entries(
    host: &dyn Host,
    vbd: &VbdPlan,
    facts: &Facts,
    frontend: &mut Vec<(&str, String)>,
    backend: &mut Vec<(&str, String)>,
) -> Result<()> {
    let kind = if vbd.disk.cdrom { "cdrom" } else { "disk" };
    frontend.push(("virtual-device", vbd.disk.dev.number().to_string()));
    frontend.push(("device-type", kind.into()));
    backend.push(("dev", vbd.disk.dev.name().into()));
    backend.push(("type", "phy".into()));
    backend.push(("params", vbd.disk.source.to_string()));
    backend.push((
        "mode",
        if vbd.disk.mode.writable { "w" } else { "r" }.into(),
    ));
    backend.push(("device-type", kind.into()));
    backend.push(("removable", if vbd.disk.cdrom { "1" } else { "0" }.into()));
    backend.push(("bootable", "1".into()));
    if vbd.backend == 0 {
        let node = node(vbd, facts)
            .ok_or_else(|| Error::failed(format!("disk {}: no block device", vbd.disk.source)))?;
        backend.push(("physical-device", physical(host, &node)?));
        backend.push(("physical-device-path", node.clone()));
        backend.push(("node", node));
        backend.push(("hotplug-status", "connected".into()));
    }
    Ok(())
}

fn interface_entries<'a>(
    plan: &VifPlan,
    frontend: &mut Vec<(&'a str, String)>,
    backend: &mut Vec<(&'a str, String)>,
) {
    let mac = plan.vif.mac.map_or_else(String::new, |mac| mac.to_string());
    for end in [&mut *frontend, &mut *backend] {
        end.push(("handle", plan.devid.to_string()));
        end.push(("mac", mac.clone()));
    }
    backend.push(("script", plan.script.clone()));
    backend.push(("type", "vif".into()));
    let optional = [
        ("bridge", plan.bridge.clone()),
        (
            "ip",
            (!plan.vif.ip.is_empty()).then(|| plan.vif.ip.join(" ")),
        ),
        ("rate", rate(&plan.vif)),
        ("vifname", plan.vif.vifname.clone()),
        ("gatewaydev", plan.vif.gatewaydev.clone()),
    ];
    backend.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, value))),
    );
}

/// An interface's rate as its driver reads it: bytes, and microseconds.
fn rate(vif: &Vif) -> Option<String> {
    let text = |rate: Rate| format!("{},{}", rate.bytes_per_interval(), rate.interval_us);
    vif.rate.map(text)
}

/// Writes what may change of an interface into its backend's folder.
pub fn change_vif(to: &VifPlan, domid: DomId) -> Vec<Change> {
    let id = DeviceId {
        kind: DeviceKind::Vif,
        devid: to.devid,
        backend: to.backend,
    };
    let path = id.backend_path(domid);
    let ip = (!to.vif.ip.is_empty()).then(|| to.vif.ip.join(" "));
    let entries = [
        ("script", Some(to.script.clone())),
        ("bridge", to.bridge.clone()),
        ("ip", ip),
        ("rate", rate(&to.vif)),
    ];
    let change = |(key, value): (&str, Option<String>)| {
        let path = format!("{path}/{key}");
        match value {
            Some(value) => Change::Write(path, value),
            None => Change::Remove(path),
        }
    };
    entries.into_iter().map(change).collect()
}

/// Makes a disk's block device look at the size of what is behind it; the backend driver notices by itself, at the next
/// request, and tells the guest. A `phy:` device always has its size.
///
/// # Errors
/// The script fails, or does not know how.
pub fn refresh(host: &dyn Host, vbd: &VbdPlan, facts: &Facts) -> Result<()> {
    match (&vbd.script, node(vbd, facts)) {
        (Some((script, _)), Some(node)) if vbd.backend == 0 => {
            let args = ["refresh".to_owned(), node];
            host.run_script(script, &args, &[]).map(drop)
        }
        _ => Ok(()),
    }
}

/// Waits until the backend driver has a device ready for its guest.
///
/// # Errors
/// There is no driver, it reports an error, or it does not answer in time.
pub fn await_backend(world: &World, id: &DeviceId, domid: DomId) -> Result<()> {
    let module = match id.kind {
        DeviceKind::Vbd => "xen-blkback",
        DeviceKind::Vif => "xen-netback",
    };
    if !world.host.has_driver(id.kind.word())? {
        return Err(Error::failed(format!(
            "{id}: this kernel has no backend driver loaded: run `modprobe {module}`"
        )));
    }
    let path = id.backend_path(domid);
    let mut seen = None;
    let ready = world
        .store
        .follow(&format!("{path}/state"), BACKEND_TIMEOUT, &mut || {
            seen = world.store.read(&format!("{path}/state"))?;
            Ok(!matches!(seen.as_deref(), None | Some("0" | "1")))
        })?;
    if ready && matches!(seen.as_deref(), Some("2" | "3" | "4")) {
        return Ok(());
    }
    let reported = world.store.read(&format!(
        "/local/domain/{}/error/backend/{}/{domid}/{}/error",
        id.backend,
        id.kind.word(),
        id.devid
    ))?;
    let why = reported.unwrap_or_else(|| {
        format!(
            "no answer in {} s; the kernel's messages (dmesg) may say why",
            BACKEND_TIMEOUT.as_secs()
        )
    });
    let kind = if ready { Kind::Failed } else { Kind::Timeout };
    Err(Error::new(
        kind,
        format!(
            "{id}: backend in state {}: {why}",
            seen.as_deref().unwrap_or("none")
        ),
    ))
}

/// Removes both ends of a device and waits until the host's kernel has let go of it.
///
/// # Errors
/// The kernel still has the backend after a while.
pub fn remove(world: &World, id: &DeviceId, domid: DomId) -> Result<()> {
    world.store.apply(&[
        Change::Remove(id.frontend_path(domid)),
        Change::Remove(id.backend_path(domid)),
    ])?;
    let deadline = Instant::now() + BACKEND_TIMEOUT;
    while id.backend == 0 && world.host.has_backend(id.kind.word(), domid, id.devid)? {
        if Instant::now() > deadline {
            return Err(Error::new(
                Kind::Timeout,
                format!("{id} of domain {domid}: the backend driver does not let go"),
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Asks a running guest to give a device back.
///
/// # Errors
/// It does not within a while; the device then stays.
pub fn ask_back(world: &World, id: &DeviceId, domid: DomId) -> Result<()> {
    let path = id.backend_path(domid);
    let ask = |online: &str, state: Option<&str>| {
        let mut changes = vec![Change::Write(format!("{path}/online"), online.into())];
        changes.extend(state.map(|state| Change::Write(format!("{path}/state"), state.into())));
        world.store.apply(&changes)
    };
    if world.store.read(&format!("{path}/state"))?.is_none() {
        return Ok(());
    }
    ask("0", Some("5"))?;
    let deadline = Instant::now() + GUEST_TIMEOUT;
    let mut closed = false;
    while !closed && Instant::now() < deadline {
        let mut look = || {
            let state = world.store.read(&format!("{path}/state"))?;
            Ok(matches!(state.as_deref(), None | Some("6")) || has_ended(world, domid)?)
        };
        closed = world
            .store
            .follow(&format!("{path}/state"), ENDED_TURN, &mut look)?;
    }
    if closed {
        return Ok(());
    }
    ask("1", None)?;
    Err(Error::conflict(format!(
        "{id}: the guest does not give it back (is it mounted?); force takes it all the same"
    )))
}

/// Whether a domain can no longer answer.
fn has_ended(world: &World, domid: DomId) -> Result<bool> {
    let info = world.hypervisor.domain(domid)?;
    Ok(info.is_none_or(|info| info.dying || info.shutdown.is_some()))
}

/// The name of an interface in domain 0.
pub fn vif_name(plan: &VifPlan, domid: DomId) -> String {
    plan.vif
        .vifname
        .clone()
        .unwrap_or_else(|| driver_name(plan, domid))
}

/// The name that the backend driver gives an interface.
fn driver_name(plan: &VifPlan, domid: DomId) -> String {
    format!("vif{domid}.{}", plan.devid)
}

/// Brings an interface up: its script, then the word to the driver that it may connect.
///
/// # Errors
/// The script fails.
pub fn raise_vif(
    world: &World,
    device: &Device,
    blueprint: &Blueprint,
    domid: DomId,
) -> Result<()> {
    let Device::Vif(plan) = device else {
        return Ok(());
    };
    await_interface(world, plan, domid)?;
    run_vif_script(&*world.host, "up", plan, blueprint, domid)?;
    let path = device.id().backend_path(domid);
    world.store.apply(&[Change::Write(
        format!("{path}/hotplug-status"),
        "connected".into(),
    )])
}

/// Waits until the driver has made the interface, which it does just after it says that it is ready; then names it.
fn await_interface(world: &World, plan: &VifPlan, domid: DomId) -> Result<()> {
    let drivers = driver_name(plan, domid);
    let wanted = vif_name(plan, domid);
    let deadline = Instant::now() + GUEST_TIMEOUT;
    while !world.host.has_interface(&wanted)? {
        if wanted != drivers && world.host.has_interface(&drivers)? {
            let args = ["link", "set", "dev", &drivers, "name", &wanted].map(str::to_owned);
            world.host.run_script("ip", &args, &[])?;
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!("the backend driver has not made the interface {drivers}");
            return Err(Error::new(Kind::Timeout, text));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Takes an interface down. A device that is gone is no error.
///
/// # Errors
/// The script fails.
pub fn lower_vif(
    world: &World,
    device: &Device,
    blueprint: &Blueprint,
    domid: DomId,
) -> Result<()> {
    let Device::Vif(plan) = device else {
        return Ok(());
    };
    run_vif_script(&*world.host, "down", plan, blueprint, domid)
}

fn run_vif_script(
    host: &dyn Host,
    verb: &str,
    plan: &VifPlan,
    blueprint: &Blueprint,
    domid: DomId,
) -> Result<()> {
    let name = vif_name(plan, domid);
    let mut words = vec![
        ("vif".to_owned(), name.clone()),
        ("domain".to_owned(), blueprint.spec.name.to_string()),
        (
            "mac".to_owned(),
            plan.vif.mac.map_or_else(String::new, |mac| mac.to_string()),
        ),
    ];
    words.extend(
        plan.bridge
            .clone()
            .map(|bridge| ("bridge".to_owned(), bridge)),
    );
    if !plan.vif.ip.is_empty() {
        words.push(("ip".to_owned(), plan.vif.ip.join(" ")));
    }
    words.extend(
        plan.vif
            .gatewaydev
            .clone()
            .map(|dev| ("gatewaydev".to_owned(), dev)),
    );
    let mut args = vec![verb.to_owned()];
    args.extend(words.iter().map(|(key, value)| format!("{key}={value}")));
    let id = DeviceId {
        kind: DeviceKind::Vif,
        devid: plan.devid,
        backend: plan.backend,
    };
    let relative = id
        .backend_path(domid)
        .trim_start_matches("/local/domain/0/")
        .to_owned();
    words.push(("XENBUS_TYPE".into(), "vif".into()));
    words.push(("XENBUS_PATH".into(), relative));
    words.push(("XENBUS_BASE_PATH".into(), "backend".into()));
    words.push(("default_name".into(), driver_name(plan, domid)));
    host.run_script(&plan.script, &args, &words).map(drop)
}

/// What the two ends of a device say about themselves, as far as they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// State of the backend.
    pub backend: Option<u32>,
    /// State of the frontend.
    pub frontend: Option<u32>,
    /// The guest's event channel.
    pub evtchn: Option<u32>,
    /// Grant references of the guest's rings: one for a disk, transmit and receive for an interface.
    pub rings: Vec<u32>,
}

/// Reads what the two ends of a device say.
///
/// # Errors
/// The store cannot be asked.
pub fn ends(store: &dyn Store, id: &DeviceId, domid: DomId) -> Result<Ends> {
    let (back, front) = (id.backend_path(domid), id.frontend_path(domid));
    // What a guest writes may be anything; what is no number is not there.
    let number = |path: &str, key: &str| -> Result<Option<u32>> {
        let text = store.read(&format!("{path}/{key}"))?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    let mut rings = Vec::new();
    for key in ["ring-ref", "tx-ring-ref", "rx-ring-ref"] {
        rings.extend(number(&front, key)?);
    }
    let split = number(&front, "event-channel-tx")?;
    Ok(Ends {
        backend: number(&back, "state")?,
        frontend: number(&front, "state")?,
        evtchn: number(&front, "event-channel")?.or(split),
        rings,
    })
}
