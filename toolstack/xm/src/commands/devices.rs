//! Disks and network interfaces that come and go.

use rexen_config::create::{parse_disk, parse_vif};
use rexen_config::spec::{Device, SpecError, device_from_sxp};
use rexen_config::sxp::Sexp;
use serde_json::{Value, json};

use crate::cli::Disk;
use crate::client::{Client, domain_path, typed};
use crate::error::{Error, Result};
use crate::model::{self, Domain};
use crate::report::Report;
use crate::{sxp, table};

/// `vif-list`, `vbd-list`: an expression on each line.
pub fn list(client: &Client, dom: &str, kind: &str) -> Result<Report> {
    let all = client.get(&format!("{}/devices", domain_path(dom)))?["devices"].take();
    let all: Vec<Value> = typed(&all)?;
    let of_kind: Vec<Value> = all.into_iter().filter(|d| d["type"] == kind).collect();
    let mut text = String::new();
    for device in &of_kind {
        let device: model::Device = typed(device)?;
        text += &sxp::lines(device.sxp.as_deref().unwrap_or(""))?;
    }
    Ok(Report::new(text, Value::Array(of_kind)))
}

/// `block-list`.
pub fn block_table(client: &Client, doms: &[String]) -> Result<Report> {
    let (domains, value) = with_devices(client, doms, "vbd")?;
    Ok(Report::new(table::blocks(&domains), value))
}

/// `network-list`.
pub fn network_table(client: &Client, doms: &[String]) -> Result<Report> {
    let (domains, value) = with_devices(client, doms, "vif")?;
    Ok(Report::new(table::interfaces(&domains), value))
}

fn with_devices(client: &Client, doms: &[String], kind: &str) -> Result<(Vec<Domain>, Value)> {
    let values = super::domains::chosen(client, doms)?;
    let domains: Vec<Domain> = values.iter().map(typed).collect::<Result<_>>()?;
    let devices = values.iter().filter_map(|v| v["devices"].as_array());
    let devices = devices.flatten().filter(|d| d["type"] == kind);
    Ok((domains, devices.cloned().collect()))
}

/// `vbd-create`.
pub fn create_vbd(client: &Client, dom: &str, disk: &Disk) -> Result<Report> {
    let fields = [
        ("uname", &disk.uname),
        ("dev", &disk.dev),
        ("mode", &disk.mode),
    ];
    let backend = disk.backend.iter().map(|b| ("backend", b));
    let fields = fields.into_iter().chain(backend);
    let vbd = Sexp::element("vbd", fields.map(|(name, word)| Sexp::pair(name, word)));
    // Read here, so that the message is about what was typed.
    let device = device_from_sxp(&vbd).map_err(|e| refused("vbd-create", &e))?;
    create(client, dom, &device)
}

/// `block-attach`: the words of `vbd-create`, or an entry of a configuration's `disk`, in one word or several.
pub fn attach_vbd(client: &Client, dom: &str, words: &[String]) -> Result<Report> {
    let disk = parse_disk(&words.join(",")).map_err(|e| refused("block-attach", &e))?;
    create(client, dom, &Device::Disk(disk))
}

/// `network-attach`: an entry of a configuration's `vif`, in one word or several.
pub fn attach_vif(client: &Client, dom: &str, settings: &[String]) -> Result<Report> {
    let vif = parse_vif(&settings.join(",")).map_err(|e| refused("network-attach", &e))?;
    create(client, dom, &Device::Vif(vif))
}

fn refused(command: &str, why: &SpecError) -> Error {
    Error::Said(format!("{command}: {why}"))
}

fn create(client: &Client, dom: &str, device: &Device) -> Result<Report> {
    let body = json!({ "config": device.to_sxp().to_string() });
    super::slow_op(client, "connecting the device", dom, "device_create", body)
}

/// `vbd-destroy`, `block-detach`, `network-detach`.
pub fn detach(client: &Client, dom: &str, kind: &str, idx: &str, force: bool) -> Result<Report> {
    let mut body = json!({ "type": kind, "idx": idx });
    if force {
        body["force"] = true.into();
    }
    super::slow_op(
        client,
        "taking the device away",
        dom,
        "device_destroy",
        body,
    )
}
