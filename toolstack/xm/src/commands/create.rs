//! `create` and `restore`: from a script or a finished configuration to a running domain.

use std::fs;

use rexen_config::sxp::parse_one;
use serde_json::{Value, json};

use super::console;
use crate::cli::Create;
use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::model::Domain;
use crate::report::{Report, emit};

/// `create`.
pub fn run(client: &Client, args: &Create) -> Result<Report> {
    if let Some(file) = &args.load {
        let value = restored(client, &super::absolute(file)?)?;
        return start(client, args, value);
    }
    let config = match &args.config {
        Some(file) => finished(file)?,
        None => {
            return Err(Error::Said(
                "create: scripts are not evaluated yet; give -F".to_owned(),
            ));
        }
    };
    if args.dryrun {
        let laid_out = parse_one(&config).map_err(|e| Error::Said(e.to_string()))?;
        return Ok(Report::new(laid_out.pretty(), json!({ "config": config })));
    }
    if args.plan {
        return plan(client, &config);
    }
    let value = client.post("domains", &json!({ "config": config }))?;
    start(client, args, value)
}

/// Reads a ready-made configuration; only that it is one expression is checked here.
fn finished(file: &str) -> Result<String> {
    let cannot = Error::io(format!("Cannot open config file \"{file}\""));
    let text = fs::read_to_string(file).map_err(cannot)?;
    match parse_one(&text) {
        Ok(_) => Ok(text),
        Err(e) => Err(Error::Said(format!("{file}: {e}"))),
    }
}

/// What xend would do.
fn plan(client: &Client, config: &str) -> Result<Report> {
    let body = json!({ "config": config, "dry_run": true });
    let value = client.post("domains", &body)?;
    let steps: Vec<String> = typed(&value["plan"])?;
    let text = steps
        .iter()
        .zip(1..)
        .map(|(step, nr)| format!("{nr:>3}. {step}\n"));
    Ok(Report::new(text.collect::<String>(), value))
}

/// Lets the created domain run, unless it is to stay paused.
fn start(client: &Client, args: &Create, value: Value) -> Result<Report> {
    let domain: Domain = typed(&value)?;
    if !args.paused {
        unpause(client, &domain)?;
    }
    let mut text = String::new();
    if !args.quiet {
        let port = domain
            .console_port
            .map_or_else(|| "none".to_owned(), |p| p.to_string());
        text = format!("Started domain {}, console on port {port}\n", domain.name);
    }
    if args.console_autoconnect {
        emit(&text)?;
        return console::attach(client, &domain, false);
    }
    Ok(Report::new(text, value))
}

/// A domain that cannot run is of no use to anybody.
fn unpause(client: &Client, domain: &Domain) -> Result<()> {
    let id = domain.id.to_string();
    let failed = match client.domain_op(&id, "unpause", json!({})) {
        Ok(_) => return Ok(()),
        Err(e) => e,
    };
    let name = &domain.name;
    let fate = match client.domain_op(&id, "destroy", json!({ "reason": "halt" })) {
        Ok(_) => "it has been destroyed".to_owned(),
        Err(e) => format!("destroying it fails, too: {e}"),
    };
    Err(Error::Said(format!(
        "Failed to unpause domain {name}: {failed}; {fate}"
    )))
}

fn restored(client: &Client, file: &str) -> Result<Value> {
    client.post("domains", &json!({ "op": "restore", "file": file }))
}

/// `restore`: the domain runs, and is printed.
pub fn restore(client: &Client, file: &str) -> Result<Report> {
    let value = restored(client, file)?;
    let domain: Domain = typed(&value)?;
    client.domain_op(&domain.id.to_string(), "unpause", json!({}))?;
    let text = crate::sxp::pretty(domain.sxp.as_deref().unwrap_or(""))?;
    Ok(Report::new(text, value))
}
