//! Looking at domains and their vcpus.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::{Client, domain_path, typed};
use crate::error::{Error, Result};
use crate::model::{Domain, Vcpu};
use crate::report::Report;
use crate::{Persona, sxp, table, xl};

/// The domains asked for, in that order; all of them when none is.
pub fn chosen(client: &Client, doms: &[String]) -> Result<Vec<Value>> {
    match doms {
        [] => typed(&client.domains()?),
        _ => doms.iter().map(|dom| client.domain(dom)).collect(),
    }
}

fn domains(values: &[Value]) -> Result<Vec<Domain>> {
    values.iter().map(typed).collect()
}

/// How much `list` says of each domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A row.
    Short,
    /// A longer row.
    Verbose,
    /// An S-expression.
    Long,
}

/// `list`; `json`: all that is known of each is wanted.
pub fn list(
    client: &Client,
    persona: Persona,
    form: Form,
    doms: &[String],
    json: bool,
) -> Result<Report> {
    let values: Vec<Value> = match doms {
        [] if form != Form::Long && !json => typed(&client.domains_in_brief()?)?,
        _ => chosen(client, doms)?,
    };
    let mut domains = domains(&values)?;
    if doms.is_empty() && persona == Persona::Xm {
        domains.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let verbose = form == Form::Verbose;
    let text = match (persona, form) {
        (Persona::Xm, Form::Long) => {
            let all = domains.iter();
            let all = all.map(|d| sxp::pretty(d.sxp.as_deref().unwrap_or("")));
            all.collect::<Result<Vec<_>>>()?.concat()
        }
        (Persona::Xl, Form::Long) => domains.iter().map(|d| xl::domain(d).pretty()).collect(),
        (Persona::Xm, _) => table::list(&domains, verbose),
        (Persona::Xl, _) => table::xl_list(&domains, verbose),
    };
    Ok(Report::new(text, Value::Array(values)))
}

/// `domid`.
pub fn domid(client: &Client, dom: &str) -> Result<Report> {
    let domain: Domain = typed(&client.domain(dom)?)?;
    Ok(Report::new(format!("{}\n", domain.id), json!(domain.id)))
}

/// `domname`.
pub fn domname(client: &Client, dom: &str) -> Result<Report> {
    let domain: Domain = typed(&client.domain(dom)?)?;
    Ok(Report::new(
        format!("{}\n", domain.name),
        json!(domain.name),
    ))
}

/// `uptime`.
pub fn uptime(client: &Client, short: bool, doms: &[String]) -> Result<Report> {
    let values = chosen(client, doms)?;
    let domains = domains(&values)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = short.then(|| now.map_or(0, |d| d.as_secs()));
    let brief = domains
        .iter()
        .map(|d| json!({ "id": d.id, "name": d.name, "up_time": d.up_time }));
    Ok(Report::new(table::uptime(&domains, now), brief.collect()))
}

/// `vcpu-list`.
pub fn vcpu_list(client: &Client, doms: &[String]) -> Result<Report> {
    let domains = domains(&chosen(client, doms)?)?;
    let mut all = Vec::new();
    let mut values = Vec::new();
    for domain in domains {
        let path = format!("{}/vcpus", domain_path(&domain.id.to_string()));
        let answer = match client.get(&path) {
            // It ended after it was listed.
            Err(e) if doms.is_empty() && e.status() == Some(404) => continue,
            answer => answer?["vcpus"].take(),
        };
        let vcpus: Vec<Vcpu> = typed(&answer)?;
        values.push(json!({ "id": domain.id, "name": domain.name, "vcpus": answer }));
        all.push((domain, vcpus));
    }
    let node = client.get("node")?;
    let cpus = node["nr_cpus"].as_u64().or(node["cores"].as_u64());
    let cpus = cpus.and_then(|n| u32::try_from(n).ok());
    Ok(Report::new(table::vcpus(&all, cpus), Value::Array(values)))
}

/// `vcpu-pin`.
pub fn vcpu_pin(
    client: &Client,
    dom: &str,
    vcpu: &str,
    cpus: &str,
    soft: Option<&str>,
) -> Result<Report> {
    let vcpu: Option<u32> = match vcpu {
        "all" => None,
        number => Some(number.parse().map_err(|_| {
            Error::Said(format!(
                "vcpu-pin: Invalid argument(s): VCPU is '{number}': write a number, or all"
            ))
        })?),
    };
    let check = |set: &str| -> Result<()> {
        let read = set.parse::<rexen_config::spec::CpuSet>();
        read.map(|_| ())
            .map_err(|e| Error::Said(format!("vcpu-pin: {e}")))
    };
    let mut body = json!({ "vcpu": vcpu });
    for (name, set) in [("cpus", Some(cpus)), ("soft", soft)] {
        match set {
            None | Some("-") => {} // xl's word for "as it is"
            Some(set) => {
                check(set)?;
                body[name] = set.into();
            }
        }
    }
    client.domain_op(dom, "vcpu_pin", body).map(Report::done)
}
