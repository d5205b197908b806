//! What the schedulers of 2.0 and of today take.

use serde_json::{Value, json};

use super::op;
use crate::cli::{Atropos, Bvt};
use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::model::Domain;
use crate::report::Report;

/// `bvt`.
pub fn bvt(client: &Client, b: &Bvt) -> Result<Report> {
    let body = json!({
        "mcuadv": b.mcuadv, "warpback": b.warpback, "warpvalue": b.warpvalue,
        "warpl": b.warpl, "warpu": b.warpu,
    });
    op(client, &b.dom, "cpu_bvt_set", body)
}

/// `atropos`.
pub fn atropos(client: &Client, a: &Atropos) -> Result<Report> {
    let body = json!({
        "period": a.period, "slice": a.slice, "latency": a.latency, "xtratime": a.xtratime,
    });
    op(client, &a.dom, "cpu_atropos_set", body)
}

/// `sched-credit`: a table, or one domain's new share.
pub fn credit(
    client: &Client,
    dom: Option<&str>,
    weight: Option<u32>,
    cap: Option<u32>,
) -> Result<Report> {
    if weight.is_none() && cap.is_none() {
        let doms: Vec<String> = dom.iter().map(|&d| d.to_owned()).collect();
        return table(client, &super::domains::chosen(client, &doms)?);
    }
    let Some(dom) = dom else {
        let text = "sched-credit: Missing domain: say which with -d";
        return Err(Error::Said(text.to_owned()));
    };
    let mut body = json!({});
    for (name, value) in [("weight", weight), ("cap", cap)] {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    op(client, dom, "sched", body)
}

fn table(client: &Client, domains: &[Value]) -> Result<Report> {
    let mut text = format!("{:<33} {:>4} {:>6} {:>4}\n", "Name", "ID", "Weight", "Cap");
    let mut values = Vec::new();
    for domain in domains {
        let domain: Domain = typed(domain)?;
        let mut share = client.domain_op(&domain.id.to_string(), "sched", json!({}))?;
        let shown = |name: &str| match &share[name] {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let (weight, cap) = (shown("weight"), shown("cap"));
        text += &format!(
            "{:<33} {:>4} {weight:>6} {cap:>4}\n",
            domain.name, domain.id
        );
        share["id"] = domain.id.into();
        share["name"] = domain.name.into();
        values.push(share);
    }
    Ok(Report::new(text, Value::Array(values)))
}
