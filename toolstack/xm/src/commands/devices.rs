//! Disks and network interfaces that come and go.

use rexen_config::spec::device_from_sxp;
use rexen_config::sxp::Sexp;
use serde_json::{Value, json};

use crate::cli::Disk;
use crate::client::{Client, domain_path, typed};
use crate::error::{Error, Result};
use crate::model::{Device, Domain};
use crate::report::Report;
use crate::{sxp, table};

/// `vif-list`, `vbd-list`: an expression on each line.
pub fn list(client: &Client, dom: &str, kind: &str) -> Result<Report> {
    let all = client.get(&format!("{}/devices", domain_path(dom)))?["devices"].take();
    let all: Vec<Value> = typed(&all)?;
    let of_kind: Vec<Value> = all.into_iter().filter(|d| d["type"] == kind).collect();
    let mut text = String::new();
    for device in &of_kind {
        let device: Device = typed(device)?;
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
    let words = [&disk.uname, &disk.dev, &disk.mode];
    let words = words.into_iter().chain(&disk.backend);
    create(
        client,
        dom,
        vbd(&words.map(String::as_str).collect::<Vec<_>>()),
    )
}

/// `block-attach`: the words of `vbd-create`, or all in one with commas between.
pub fn attach_vbd(client: &Client, dom: &str, words: &[String]) -> Result<Report> {
    let words: Vec<&str> = match words {
        [one] => one.split(',').map(str::trim).collect(),
        words => words.iter().map(String::as_str).collect(),
    };
    if !(2..=4).contains(&words.len()) {
        let text = format!(
            "block-attach: Invalid disk specifier: {}: write UNAME,DEV,MODE, such as phy:vg/disk,xvdb,w",
            words.join(",")
        );
        return Err(Error::Said(text));
    }
    create(client, dom, vbd(&words))
}

fn vbd(words: &[&str]) -> Sexp {
    let names = ["uname", "dev", "mode", "backend"];
    let fields = names.iter().zip(words).filter(|(_, word)| !word.is_empty());
    Sexp::element("vbd", fields.map(|(name, word)| Sexp::pair(name, word)))
}

/// `network-attach`: `key=value` words, with or without commas.
pub fn attach_vif(client: &Client, dom: &str, settings: &[String]) -> Result<Report> {
    let mut fields = Vec::new();
    for setting in settings.iter().flat_map(|s| s.split(',')).map(str::trim) {
        let known = [
            "mac",
            "bridge",
            "script",
            "backend",
            "ip",
            "vifname",
            "rate",
            "gatewaydev",
        ];
        match setting.split_once('=') {
            _ if setting.is_empty() => {}
            Some((key, value)) if known.contains(&key.trim()) => {
                fields.push(Sexp::pair(key.trim(), value.trim()));
            }
            _ => {
                let known = known.join("=, ");
                let text =
                    format!("network-attach: Invalid vif specifier: {setting}: write {known}=");
                return Err(Error::Said(text));
            }
        }
    }
    create(client, dom, Sexp::element("vif", fields))
}

/// Checks the device here, so that the message is about what was typed.
fn create(client: &Client, dom: &str, device: Sexp) -> Result<Report> {
    let checked = device_from_sxp(&device).map_err(|e| Error::Said(e.to_string()))?;
    let body = json!({ "config": checked.to_sxp().to_string() });
    super::op(client, dom, "device_create", body)
}

/// `vbd-destroy`, `block-detach`, `network-detach`.
pub fn detach(client: &Client, dom: &str, kind: &str, idx: &str, force: bool) -> Result<Report> {
    let mut body = json!({ "type": kind, "idx": idx });
    if force {
        body["force"] = true.into();
    }
    super::op(client, dom, "device_destroy", body)
}
