//! The operations: what each is called, takes and does. The table serves dispatch, OpenAPI and the HTML forms.

use std::sync::Arc;

use rexen_config::spec::{CpuSet, Device as DeviceSpec, DomainSpec, Rate, Vif, device_from_sxp};
use rexen_config::sxp::Sexp;
use serde_json::{Value, json};

use super::params::Params;
use super::render;
use super::reply::Reply;
use crate::blueprint::{Device, DeviceId};
use crate::devices;
use crate::error::{Error, Kind, Result};
use crate::events::Event;
use crate::node::{Command, Node, View};
use crate::plan;
use crate::state::Asked;
use crate::world::{Change, Credit, DomId};

/// An operation and its parameters.
pub struct Op {
    /// Its name, the value of `op`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Parameters: name, JSON type, whether it must be there.
    pub params: &'static [(&'static str, &'static str, bool)],
}

macro_rules! ops {
    ($($name:literal $about:literal [$($param:literal $kind:literal $must:literal),*])*) => {
        &[$(Op { name: $name, about: $about, params: &[$(($param, $kind, $must)),*] }),*]
    };
}

/// Operations on a domain.
pub const DOMAIN: &[Op] = ops! {
    "unpause" "Lets a paused domain run." []
    "pause" "Stops a domain's vcpus." []
    "shutdown" "Asks the guest to end (poweroff, halt, reboot, suspend) or sends a SysRq key." ["reason" "string" true, "key" "integer" false]
    "destroy" "Destroys a domain at once; reason reboot makes it again." ["reason" "string" false]
    "rename" "Gives a domain another name." ["name" "string" true]
    "pincpu" "Lets all vcpus run on one CPU only; -1 on all." ["cpu" "integer" true]
    "vcpu_pin" "Says where vcpus may run (cpus) and had better (soft)." ["vcpu" "integer" false, "cpus" "string" false, "soft" "string" false]
    "vcpu_set" "Asks the guest to have this many vcpus up." ["count" "integer" true]
    "mem_target_set" "Asks the guest to give back or take memory, in MiB." ["target" "integer" true]
    "maxmem_set" "Bounds a domain's memory, in MiB." ["memory" "integer" true]
    "sched" "Sets and answers the share under the credit schedulers." ["weight" "integer" false, "cap" "integer" false]
    "cpu_bvt_set" "Sets BVT parameters." ["mcuadv" "integer" true, "warpback" "integer" true, "warpvalue" "integer" true, "warpl" "integer" true, "warpu" "integer" true]
    "cpu_atropos_set" "Sets Atropos parameters." ["period" "integer" true, "slice" "integer" true, "latency" "integer" true, "xtratime" "integer" true]
    "trigger" "Sends nmi, reset, init, s3resume, power or sleep." ["trigger" "string" true, "vcpu" "integer" false]
    "device_create" "Gives a domain a device, (vbd ...) or (vif ...)." ["config" "string" true]
    "device_destroy" "Takes a device; force does not ask the guest." ["type" "string" true, "idx" "string" true, "force" "boolean" false]
    "device_configure" "Changes bridge, script, ip or rate of an interface." ["config" "string" true, "idx" "string" true]
    "device_refresh" "Looks at a disk's size again; the guest hears of it with its next request." ["type" "string" true, "idx" "string" true]
    "vif_credit_limit" "Limits what an interface may send to so many bytes in each period of so many microseconds." ["vif" "string" true, "credit" "integer" true, "period" "integer" true]
    "save" "Not offered yet." ["file" "string" true]
    "migrate" "Not offered yet." ["destination" "string" true, "live" "integer" false, "resource" "integer" false]
};

/// Operations on the host.
pub const NODE: &[Op] = ops! {
    "cpu_bvt_slice_set" "Sets BVT's context switch allowance, in ns." ["ctx_allow" "integer" true]
    "cpu_rrobin_slice_set" "Sets the round robin slice, in ns." ["slice" "integer" true]
    "debug_keys" "Presses the hypervisor's debug keys." ["keys" "string" true]
    "shutdown" "Does nothing (as in 2.0)." []
    "reboot" "Does nothing (as in 2.0)." []
};

/// Operations on the folder of domains.
pub const DOMAINS: &[Op] = ops! {
    "create" "Makes a domain from (vm ...) and leaves it paused; dry_run answers the plan." ["config" "string" true, "paused" "boolean" false, "dry_run" "boolean" false]
    "restore" "Not offered yet." ["file" "string" true]
};

const NOT_YET: &str = "saving, restoring and migrating domains is not offered yet";

fn not_yet(what: impl Into<String>) -> Error {
    Error::new(Kind::NotImplemented, what)
}

fn unknown(op: &str) -> Error {
    not_yet(format!("unknown operation: {op}"))
}

/// Operations on the folder of domains.
///
/// # Errors
/// What the operation says.
pub fn domains(node: &Arc<Node>, op: &str, params: &Params) -> Result<Reply> {
    match op {
        "create" => create(node, params),
        "restore" => Err(not_yet(NOT_YET)),
        _ => Err(unknown(op)),
    }
}

fn create(node: &Arc<Node>, params: &Params) -> Result<Reply> {
    let read =
        DomainSpec::from_sxp(&params.sxp("config")?).map_err(|e| Error::invalid(e.to_string()))?;
    for warning in &read.warnings {
        node.site
            .log
            .warning(&format!("create {}: {warning}", read.spec.name));
    }
    if params.switch("dry_run", false)? {
        let blueprint = node.resolve(read.spec)?;
        let steps: Vec<String> = plan::create(&blueprint)
            .iter()
            .map(|step| match step.undo() {
                Some(undo) => format!("{step} (undo: {undo})"),
                None => step.to_string(),
            })
            .collect();
        let sxp = Sexp::element("plan", steps.iter().map(Sexp::atom));
        return Ok(Reply::new(json!({ "plan": steps }), sxp));
    }
    let mut view = node.create(read.spec)?;
    if !params.switch("paused", true)? {
        if let Err(error) = node.order(&view.name, Command::Unpause) {
            node.order(&view.name, Command::Destroy { again: false })?;
            return Err(error);
        }
        view = node.view(&view.name)?;
    }
    let location = format!("/xend/domain/{}", view.name);
    Ok(Reply::new(
        render::domain_json(node, &view)?,
        render::domain_sxp(node, &view)?,
    )
    .created(location))
}

/// Operations on a domain.
///
/// # Errors
/// What the operation says.
pub fn domain(node: &Arc<Node>, wanted: &str, op: &str, params: &Params) -> Result<Reply> {
    let view = node.view(wanted)?;
    let order = |command| node.order(wanted, command).map(|_| Reply::zero());
    match op {
        "unpause" => order(Command::Unpause),
        "pause" => order(Command::Pause),
        "shutdown" => order(shutdown(params)?).map(Reply::accepted),
        "destroy" => match params.maybe("reason")?.unwrap_or("halt") {
            "halt" => order(Command::Destroy { again: false }),
            "reboot" => order(Command::Destroy { again: true }),
            other => Err(Error::invalid(format!(
                "invalid reason: {other}; use halt or reboot"
            ))),
        },
        "rename" => order(Command::Rename(params.text("name")?.to_owned())),
        "device_create" => device_create(node, wanted, params),
        "device_destroy" => {
            let id = find_device(&view, params.text("type")?, params.text("idx")?)?.id();
            order(Command::Detach {
                id,
                force: params.switch("force", false)?,
            })
        }
        "device_configure" => device_configure(node, wanted, &view, params),
        "device_refresh" => device_refresh(node, &view, params),
        "vif_credit_limit" => vif_credit_limit(node, wanted, &view, params),
        "save" | "migrate" => Err(not_yet(NOT_YET)),
        "suspend" | "configure" => Err(not_yet(NOT_YET)),
        "cpu_bvt_set" | "cpu_atropos_set" => Err(no_such_scheduler(node, op)),
        _ => direct(node, &view, op, params),
    }
}

fn no_such_scheduler(node: &Node, op: &str) -> Error {
    let scheduler = node
        .site
        .world
        .hypervisor
        .node()
        .map(|info| info.scheduler)
        .unwrap_or_default();
    not_yet(format!(
        "{op}: the hypervisor's scheduler is {scheduler}; use sched (weight, cap)"
    ))
}

fn shutdown(params: &Params) -> Result<Command> {
    Ok(Command::Shutdown(match params.text("reason")? {
        "poweroff" => Asked::Poweroff,
        "halt" => Asked::Halt,
        "reboot" => Asked::Reboot,
        "suspend" => Asked::Suspend,
        "sysrq" => {
            let key: u8 = params.number("key")?;
            return Ok(Command::Sysrq(char::from(key)));
        }
        other => {
            return Err(Error::invalid(format!(
                "invalid reason: {other}; use poweroff, halt, reboot, suspend or sysrq"
            )));
        }
    }))
}

/// Only interfaces can change at run time.
fn device_configure(node: &Arc<Node>, wanted: &str, view: &View, params: &Params) -> Result<Reply> {
    let device =
        device_from_sxp(&params.sxp("config")?).map_err(|e| Error::invalid(e.to_string()))?;
    let DeviceSpec::Vif(to) = device else {
        return Err(Error::invalid("only a vif can be configured at run time"));
    };
    let id = find_device(view, "vif", params.text("idx")?)?.id();
    let made = node.order(wanted, Command::Configure { id, to })?;
    let made = made.ok_or_else(|| Error::failed("no device was changed"))?;
    device_reply(node, wanted, &made)
}

fn device_refresh(node: &Node, view: &View, params: &Params) -> Result<Reply> {
    let device = find_device(view, params.text("type")?, params.text("idx")?)?;
    let (Device::Vbd(vbd), Some(status)) = (device, &view.status) else {
        return Err(Error::invalid("only a vbd can be refreshed"));
    };
    devices::refresh(&*node.site.world.host, vbd, &status.record.facts)?;
    Ok(Reply::zero())
}

fn vif_credit_limit(node: &Arc<Node>, wanted: &str, view: &View, params: &Params) -> Result<Reply> {
    let id = find_device(view, "vif", params.text("vif")?)?.id();
    let (credit, period): (u64, u32) = (params.number("credit")?, params.number("period")?);
    let to = Vif {
        rate: Some(Rate::of(credit, period).map_err(|e| Error::invalid(e.to_string()))?),
        ..Vif::default()
    };
    let made = node.order(wanted, Command::Configure { id, to })?;
    let made = made.ok_or_else(|| Error::failed("no device was changed"))?;
    device_reply(node, wanted, &made)
}

fn device_create(node: &Arc<Node>, wanted: &str, params: &Params) -> Result<Reply> {
    let device =
        device_from_sxp(&params.sxp("config")?).map_err(|e| Error::invalid(e.to_string()))?;
    if matches!(device, DeviceSpec::Pci(_)) {
        return Err(not_yet("pci devices are not offered yet"));
    }
    let made = node
        .order(wanted, Command::Attach(device))?
        .ok_or_else(|| Error::failed("no device was made"))?;
    device_reply(node, wanted, &made)
}

/// A device as an answer.
fn device_reply(node: &Node, wanted: &str, made: &Device) -> Result<Reply> {
    let view = node.view(wanted)?;
    let facts = view
        .status
        .as_ref()
        .map(|status| status.record.facts.clone())
        .unwrap_or_default();
    let index = view.status.as_ref().map_or(0, |status| {
        let same = status
            .record
            .blueprint
            .devices
            .iter()
            .filter(|device| device.id().kind == made.id().kind);
        same.take_while(|device| device.id() != made.id()).count()
    });
    Ok(Reply::new(
        render::device_json(node, made, index, &facts)?,
        render::device_sxp(made, index, &facts),
    ))
}

/// The device a client means: by number, by the disk's name in the guest, or by MAC address.
///
/// # Errors
/// The domain has no such device.
pub fn find_device<'a>(view: &'a View, kind: &str, idx: &str) -> Result<&'a Device> {
    let fits = |id: DeviceId, device: &Device| {
        id.kind.word() == kind
            && (idx == id.devid.to_string()
                || match device {
                    Device::Vbd(vbd) => vbd.disk.dev.name() == idx.trim_start_matches("/dev/"),
                    Device::Vif(plan) => plan
                        .vif
                        .mac
                        .is_some_and(|mac| mac.to_string().eq_ignore_ascii_case(idx)),
                })
    };
    let devices = view
        .status
        .as_ref()
        .map(|status| status.record.blueprint.devices.as_slice())
        .unwrap_or_default();
    devices
        .iter()
        .find(|device| fits(device.id(), device))
        .ok_or_else(|| Error::not_found(format!("{} has no {kind} {idx}", view.name)))
}

/// Operations that are one call to the hypervisor or the store, on any domain.
fn direct(node: &Node, view: &View, op: &str, params: &Params) -> Result<Reply> {
    let domid = view.domid.filter(|_| view.info.is_some());
    let domid = domid
        .ok_or_else(|| Error::conflict(format!("{} is not there at the moment", view.name)))?;
    let info = view.info.as_ref();
    let hypervisor = &node.site.world.hypervisor;
    match op {
        "pincpu" => {
            let cpu: i64 = params.number("cpu")?;
            let cpus = if cpu < 0 {
                "all".to_owned()
            } else {
                cpu.to_string()
            };
            let vcpus = 0..info.map_or(0, |info| info.vcpus);
            pin(node, domid, vcpus, Some(&cpus), None)?;
        }
        "vcpu_pin" => {
            let count = info.map_or(0, |info| info.vcpus);
            let vcpus = match params.maybe("vcpu")? {
                None | Some("all") => 0..count,
                Some(_) => {
                    let vcpu: u32 = params.number("vcpu")?;
                    if vcpu >= count {
                        let last = count.saturating_sub(1);
                        return Err(Error::invalid(format!(
                            "vcpu {vcpu}: {} has vcpus 0 to {last}",
                            view.name
                        )));
                    }
                    vcpu..vcpu + 1
                }
            };
            let given = |key| Ok::<_, Error>(params.maybe(key)?.filter(|cpus| *cpus != "-"));
            let (hard, soft) = (given("cpus")?, given("soft")?);
            if hard.is_none() && soft.is_none() {
                return Err(Error::invalid("Missing parameter: cpus or soft"));
            }
            pin(node, domid, vcpus, hard, soft)?;
        }
        "vcpu_set" => vcpu_set(
            node,
            domid,
            info.map_or(0, |info| info.vcpus),
            params.number("count")?,
        )?,
        "mem_target_set" => {
            let mib: u64 = params.number("target")?;
            let max = info.map_or(0, |info| info.max_kib) / 1024;
            if mib == 0 || (domid != 0 && mib > max) {
                return Err(Error::invalid(format!(
                    "target {mib} MiB: {} may have 1 to {max} MiB",
                    view.name
                )));
            }
            let path = format!("/local/domain/{domid}/memory/target");
            node.site
                .world
                .store
                .apply(&[Change::Write(path, (mib * 1024).to_string())])?;
        }
        "maxmem_set" => {
            let mib: u64 = params.number("memory")?;
            hypervisor.set_max_mem(
                domid,
                mib.checked_mul(1024)
                    .ok_or_else(|| Error::invalid("memory is too large"))?,
            )?;
        }
        "sched" | "sched_credit_set" => {
            let mut credit = hypervisor.credit(domid)?;
            if params.has("weight") || params.has("cap") {
                let Credit { weight, cap } = &mut credit;
                if params.has("weight") {
                    *weight = params.number("weight")?;
                }
                if params.has("cap") {
                    *cap = params.number("cap")?;
                }
                hypervisor.set_credit(domid, credit)?;
            }
            let sxp = Sexp::element(
                "sched",
                [
                    Sexp::pair("weight", credit.weight),
                    Sexp::pair("cap", credit.cap),
                ],
            );
            return Ok(Reply::new(
                json!({ "weight": credit.weight, "cap": credit.cap }),
                sxp,
            ));
        }
        "trigger" => {
            let vcpu = if params.has("vcpu") {
                params.number("vcpu")?
            } else {
                0
            };
            hypervisor.trigger(domid, params.text("trigger")?, vcpu)?;
        }
        _ => return Err(unknown(op)),
    }
    Ok(Reply::zero())
}

fn pin(
    node: &Node,
    domid: DomId,
    mut vcpus: std::ops::Range<u32>,
    hard: Option<&str>,
    soft: Option<&str>,
) -> Result<()> {
    let count = node.site.world.hypervisor.node()?.cpus;
    let hard = hard.map(|cpus| there(cpus, count)).transpose()?;
    let soft = soft.map(|cpus| there(cpus, count)).transpose()?;
    vcpus.try_for_each(|vcpu| {
        let hypervisor = &node.site.world.hypervisor;
        hypervisor.set_affinity(domid, vcpu, hard.as_deref(), soft.as_deref())
    })
}

/// The CPUs of a set that this machine has.
fn there(cpus: &str, count: u32) -> Result<Vec<u32>> {
    let set: CpuSet = cpus
        .parse()
        .map_err(|e: rexen_config::spec::SpecError| Error::invalid(e.to_string()))?;
    let wanted: Vec<u32> = (0..count).filter(|cpu| set.contains(*cpu)).collect();
    if wanted.is_empty() {
        return Err(Error::invalid(format!(
            "cpus {cpus}: this machine has CPUs 0 to {}",
            count.saturating_sub(1)
        )));
    }
    Ok(wanted)
}

fn vcpu_set(node: &Node, domid: DomId, vcpus: u32, count: u32) -> Result<()> {
    if count == 0 || count > vcpus {
        return Err(Error::invalid(format!(
            "count {count}: the domain was made with {vcpus} vcpus; 1 to {vcpus} can be up"
        )));
    }
    let changes: Vec<Change> = (0..vcpus)
        .map(|vcpu| {
            let word = if vcpu < count { "online" } else { "offline" };
            Change::Write(
                format!("/local/domain/{domid}/cpu/{vcpu}/availability"),
                word.into(),
            )
        })
        .collect();
    node.site.world.store.apply(&changes)
}

/// Operations on the host.
///
/// # Errors
/// What the operation says.
pub fn node(node: &Node, op: &str, params: &Params) -> Result<Reply> {
    match op {
        "debug_keys" => node
            .site
            .world
            .hypervisor
            .debug_keys(params.text("keys")?)
            .map(|()| Reply::zero()),
        "cpu_bvt_slice_set" | "cpu_rrobin_slice_set" => Err(no_such_scheduler(node, op)),
        "shutdown" | "reboot" => Ok(Reply::zero()),
        _ => Err(unknown(op)),
    }
}

/// Publishes an event that a client made.
///
/// # Errors
/// It has no name.
pub fn inject(node: &Node, params: &Params) -> Result<Reply> {
    let event = params.sxp("event")?;
    let name = event
        .name()
        .ok_or_else(|| Error::invalid("an event is an expression (NAME VALUE...)"))?;
    let values: Vec<Value> = event
        .children()
        .iter()
        .map(|value| Value::String(value.to_string()))
        .collect();
    let _ = node.events.send(Event::new(name, Value::Array(values)));
    Ok(Reply::zero())
}
