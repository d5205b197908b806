//! Resources as JSON and as 2.0's expressions.

use rexen_config::sxp::Sexp;
use serde_json::{Value, json};

use crate::blueprint::{Device, VbdPlan, VifPlan};
use crate::console::Console;
use crate::devices::{self, Ends};
use crate::error::Result;
use crate::journal::Facts;
use crate::node::{Node, View};
use crate::state::Phase;
use crate::world::{DomId, DomainInfo, Exit, NodeInfo, VcpuInfo};

const NS: f64 = 1e9;

/// The state as letters: 2.0's `rbpsc`, and today's `d` for dying after them.
pub fn letters(info: &DomainInfo) -> String {
    let crashed = info.shutdown.is_some_and(Exit::is_crash);
    let flags = [
        ('r', info.running),
        ('b', info.blocked),
        ('p', info.paused),
        ('s', info.shutdown.is_some() && !crashed),
        ('c', crashed),
        ('d', info.dying),
    ];
    flags
        .iter()
        .map(|(letter, set)| if *set { *letter } else { '-' })
        .collect()
}

/// A domain as JSON.
///
/// # Errors
/// The store cannot be asked.
pub fn domain_json(node: &Node, view: &View) -> Result<Value> {
    let target = match view.domid {
        Some(domid) => {
            let path = format!("/local/domain/{domid}/memory/target");
            let kib = node.site.world.store.read(&path)?;
            kib.and_then(|kib| kib.parse::<u64>().ok())
        }
        None => None,
    };
    let spec = view
        .status
        .as_ref()
        .map(|status| &status.record.blueprint.spec);
    let mut domain = domain_brief(node, view);
    domain["memory_target"] = json!(target.map(|kib| kib / 1024));
    domain["devices"] = devices_json(node, view)?;
    domain["config"] = json!(spec.map(|spec| spec.to_sxp().to_string()));
    domain["sxp"] = json!(domain_sxp(node, view)?.to_string());
    Ok(domain)
}

/// What a list says of a domain: all that takes no store, and no long text.
pub fn domain_brief(node: &Node, view: &View) -> Value {
    let info = view.info.as_ref();
    let status = view.status.as_ref();
    let record = status.map(|status| &status.record);
    let spec = record.map(|record| &record.blueprint.spec);
    let state = info.map_or_else(|| "------".to_owned(), letters);
    let start = record
        .map(|record| record.facts.start_time)
        .filter(|start| *start > 0);
    json!({
        "id": view.domid,
        "name": view.name,
        "uuid": view.uuid.to_string(),
        "memory": info.map_or(0, |info| info.memory_kib / 1024),
        "memory_kib": info.map_or(0, |info| info.memory_kib),
        "maxmem": info.map(|info| info.max_kib / 1024),
        "maxmem_kib": info.map(|info| info.max_kib),
        "vcpus": info.map_or_else(|| spec.map_or(0, |spec| spec.max_vcpus()), |info| info.vcpus),
        "vcpus_online": info.map_or(0, |info| info.online_vcpus),
        "cpu": info.map(|info| info.cpu),
        "pool": "Pool-0",
        "state": state,
        "state2": state.get(..5),
        "phase": phase(view),
        "shutdown_reason": info.and_then(|info| info.shutdown).map(Exit::word),
        "cpu_time": info.map_or(0.0, |info| info.cpu_time_ns as f64 / NS),
        "cpu_time_ns": info.map_or(0, |info| info.cpu_time_ns),
        "start_time": start,
        "up_time": start.map(|start| (node.site.world.host.now() - start as f64).max(0.0)),
        "console_port": record.and_then(|record| record.facts.tcp_port),
        "restart": spec.map(|spec| spec.restart.map_or_else(|| "onreboot".to_owned(), |mode| mode.to_string())),
        "on_poweroff": spec.and_then(|spec| spec.on_poweroff).map(|action| action.to_string()),
        "on_reboot": spec.and_then(|spec| spec.on_reboot).map(|action| action.to_string()),
        "on_crash": spec.and_then(|spec| spec.on_crash).map(|action| action.to_string()),
        "restart_state": restart_state(view),
        "restart_time": record.map(|record| record.restart.last).filter(|last| *last > 0),
        "managed": status.is_some(),
    })
}

fn phase(view: &View) -> &'static str {
    match (&view.status, &view.info) {
        (Some(status), _) => status.phase.word(),
        (None, Some(info)) => Phase::of(info).word(),
        (None, None) => "none",
    }
}

fn restart_state(view: &View) -> Option<&'static str> {
    let status = view
        .status
        .as_ref()
        .filter(|status| status.phase == Phase::Restarting)?;
    Some(
        if status
            .due
            .is_some_and(|due| due > std::time::Instant::now())
        {
            "pending"
        } else {
            "booting"
        },
    )
}

/// A domain as 2.0's expression.
///
/// # Errors
/// The store cannot be asked.
pub fn domain_sxp(node: &Node, view: &View) -> Result<Sexp> {
    let mut parts = Vec::new();
    parts.extend(view.domid.map(|domid| Sexp::pair("id", domid)));
    parts.push(Sexp::pair("name", &view.name));
    parts.push(Sexp::pair("uuid", view.uuid));
    if let Some(info) = &view.info {
        parts.push(Sexp::pair("memory", info.memory_kib / 1024));
        parts.push(Sexp::pair("maxmem", info.max_kib / 1024));
        parts.push(Sexp::pair("vcpus", info.vcpus));
        parts.push(Sexp::pair(
            "state",
            letters(info).get(..5).unwrap_or("-----"),
        ));
        parts.extend(
            info.shutdown
                .map(|exit| Sexp::pair("shutdown_reason", exit.word())),
        );
        parts.push(Sexp::pair("cpu", info.cpu));
        parts.push(Sexp::pair(
            "cpu_time",
            format!("{:.9}", info.cpu_time_ns as f64 / NS),
        ));
    }
    let mut list = Vec::new();
    if let Some(status) = &view.status {
        let record = &status.record;
        if record.facts.start_time > 0 {
            let up = (node.site.world.host.now() - record.facts.start_time as f64).max(0.0);
            parts.push(Sexp::pair("up_time", format!("{up:.3}")));
            parts.push(Sexp::pair("start_time", record.facts.start_time));
        }
        if let Some(console) = node.site.consoles.get(&view.uuid) {
            parts.push(console_sxp(&console, &record.facts));
        }
        parts.extend(restart_state(view).map(|state| Sexp::pair("restart_state", state)));
        if record.restart.last > 0 {
            parts.push(Sexp::pair("restart_time", record.restart.last));
        }
        list = numbered(&record.blueprint.devices)
            .map(|(index, device)| device_sxp(device, index, &record.facts))
            .collect();
    }
    parts.push(Sexp::element("devices", list));
    parts.extend(
        view.status
            .as_ref()
            .map(|status| Sexp::element("config", [status.record.blueprint.spec.to_sxp()])),
    );
    Ok(Sexp::element("domain", parts))
}

/// Devices with their position among those of their type.
fn numbered(devices: &[Device]) -> impl Iterator<Item = (usize, &Device)> {
    let (mut vbds, mut vifs) = (0.., 0..);
    devices.iter().map(move |device| match device {
        Device::Vbd(_) => (vbds.next().unwrap_or_default(), device),
        Device::Vif(_) => (vifs.next().unwrap_or_default(), device),
    })
}

/// A device as 2.0's expression; `idx` is the handle that `device_destroy` takes.
pub fn device_sxp(device: &Device, index: usize, facts: &Facts) -> Sexp {
    let id = device.id();
    let mut parts = vec![Sexp::pair("idx", id.devid)];
    match device {
        Device::Vbd(vbd) => {
            parts.push(Sexp::pair("vdev", id.devid));
            parts.push(Sexp::pair("device", id.devid));
            parts.push(Sexp::pair("mode", vbd.disk.mode));
            parts.push(Sexp::pair("dev", vbd.disk.dev.name()));
            parts.push(Sexp::pair("uname", &vbd.disk.source));
            parts.extend(devices::node(vbd, facts).map(|node| Sexp::pair("node", node)));
        }
        Device::Vif(VifPlan { vif, bridge, .. }) => {
            parts.push(Sexp::pair("vif", id.devid));
            parts.extend(vif.mac.map(|mac| Sexp::pair("mac", mac)));
            parts.extend(bridge.as_ref().map(|bridge| Sexp::pair("bridge", bridge)));
            parts.extend(
                vif.script
                    .as_ref()
                    .map(|script| Sexp::pair("script", script)),
            );
            parts.extend(vif.ip.iter().map(|ip| Sexp::pair("ip", ip)));
        }
    }
    parts.push(Sexp::pair("index", index));
    Sexp::element(id.kind.word(), parts)
}

/// All devices of a domain as JSON.
///
/// # Errors
/// The store cannot be asked.
pub fn devices_json(node: &Node, view: &View) -> Result<Value> {
    let Some(status) = &view.status else {
        return Ok(json!([]));
    };
    let record = &status.record;
    let list: Result<Vec<Value>> = numbered(&record.blueprint.devices)
        .map(|(index, device)| device_json(node, device, index, &record.facts))
        .collect();
    Ok(Value::Array(list?))
}

/// One device as JSON.
///
/// # Errors
/// The store cannot be asked.
pub fn device_json(node: &Node, device: &Device, index: usize, facts: &Facts) -> Result<Value> {
    let id = device.id();
    let ends = match facts.domid {
        Some(domid) => devices::ends(&*node.site.world.store, &id, domid)?,
        None => Ends::default(),
    };
    let mut value = json!({
        "type": id.kind.word(), "idx": id.devid.to_string(), "devid": id.devid, "index": index, "backend": id.backend,
        "state": ends.frontend, "backend_state": ends.backend, "evtchn": ends.evtchn, "rings": ends.rings, "sxp": device_sxp(device, index, facts).to_string(),
    });
    let more = match device {
        Device::Vbd(vbd) => vbd_json(vbd, facts),
        Device::Vif(vif) => vif_json(vif, facts.domid),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    Ok(value)
}

fn vbd_json(vbd: &VbdPlan, facts: &Facts) -> Value {
    json!({
        "uname": vbd.disk.source.to_string(), "dev": vbd.disk.dev.name(), "vdev": vbd.disk.dev.number(),
        "mode": vbd.disk.mode.to_string(), "node": devices::node(vbd, facts),
    })
}

fn vif_json(plan: &VifPlan, domid: Option<DomId>) -> Value {
    json!({
        "mac": plan.vif.mac.map(|mac| mac.to_string()), "bridge": plan.bridge, "script": plan.vif.script, "ip": plan.vif.ip,
        "vifname": domid.map(|domid| devices::vif_name(plan, domid)), "rate": plan.vif.rate.map(|rate| rate.to_string()),
    })
}

/// The word for a console's state.
fn console_status(console: &Console) -> &'static str {
    match (console.is_live(), console.watchers().is_empty()) {
        (false, _) => "closed",
        (true, true) => "listening",
        (true, false) => "connected",
    }
}

/// A console as JSON.
pub fn console_json(console: &Console) -> Value {
    let domid = console.domid();
    let watchers: Vec<String> = console.watchers().iter().map(ToString::to_string).collect();
    json!({
        "id": domid, "domain": domid, "name": console.name(), "port": console.port(), "console_port": console.port(),
        "status": console_status(console), "connected": watchers,
    })
}

/// A console as 2.0's expression.
pub fn console_sxp(console: &Console, facts: &Facts) -> Sexp {
    let domid = console.domid();
    let mut parts = vec![
        Sexp::pair("status", console_status(console)),
        Sexp::pair("id", domid),
        Sexp::pair("domain", domid),
        Sexp::pair("local_port", facts.built.console_port),
        Sexp::pair("remote_port", facts.built.console_port),
    ];
    parts.extend(console.port().map(|port| Sexp::pair("console_port", port)));
    parts.extend(
        console
            .watchers()
            .first()
            .map(|to| Sexp::element("connected", [Sexp::atom(to.ip()), Sexp::atom(to.port())])),
    );
    Sexp::element("console", parts)
}

/// A vcpu as JSON.
pub fn vcpu_json(number: u32, vcpu: &VcpuInfo) -> Value {
    let letters = format!(
        "{}{}-",
        if vcpu.running { 'r' } else { '-' },
        if vcpu.blocked { 'b' } else { '-' }
    );
    json!({
        "vcpu": number, "cpu": vcpu.online.then_some(vcpu.cpu), "state": letters, "online": vcpu.online,
        "cpu_time": vcpu.cpu_time_ns as f64 / NS, "affinity": vcpu.affinity, "soft_affinity": vcpu.soft_affinity,
    })
}

fn proc(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/kernel/{name}"))
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// 2.0's fields of the host, in its order.
pub fn node_fields(info: &NodeInfo) -> Vec<(&'static str, Value)> {
    vec![
        ("system", proc("ostype").into()),
        ("host", proc("hostname").into()),
        ("release", proc("osrelease").into()),
        ("version", proc("version").into()),
        ("machine", std::env::consts::ARCH.into()),
        ("cores", info.cpus.into()),
        ("hyperthreads_per_core", info.threads_per_core.into()),
        ("cpu_mhz", (info.cpu_khz / 1000).into()),
        ("memory", info.memory_mib.into()),
        ("free_memory", info.free_mib.into()),
    ]
}

/// The host as JSON: 2.0's fields and those of `xl info`.
pub fn node_json(node: &Node, info: &NodeInfo) -> Value {
    let mut value: serde_json::Map<String, Value> = node_fields(info)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let (major, minor, extra) = &info.version;
    let [compiler, by, domain, date] = &info.compile;
    let more = json!({
        "nr_cpus": info.cpus, "nr_nodes": info.nodes, "cores_per_socket": info.cores_per_socket,
        "threads_per_core": info.threads_per_core, "max_cpu_id": info.cpus.saturating_sub(1),
        "total_memory": info.memory_mib,
        "xen_major": major, "xen_minor": minor, "xen_extra": extra, "xen_version": format!("{major}.{minor}{extra}"),
        "xen_caps": info.caps, "xen_scheduler": info.scheduler, "xen_pagesize": 4096,
        "xen_changeset": info.changeset, "xen_commandline": info.command_line, "cc_compiler": compiler,
        "cc_compile_by": by, "cc_compile_domain": domain, "cc_compile_date": date,
        "uptime_seconds": node.started.elapsed().as_secs(), "xend_config_format": 4,
        "xend_version": env!("CARGO_PKG_VERSION"),
    });
    if let Value::Object(more) = more {
        value.extend(more);
    }
    Value::Object(value)
}
