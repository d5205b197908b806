//! The host, its messages, xend's log and events.

use serde_json::{Value, json};

use crate::Persona;
use crate::client::{Client, typed};
use crate::error::Result;
use crate::model::Console;
use crate::report::{Report, emit};

/// 2.0's fields, in its order.
const CLASSIC: [&str; 10] = [
    "system",
    "host",
    "release",
    "version",
    "machine",
    "cores",
    "hyperthreads_per_core",
    "cpu_mhz",
    "memory",
    "free_memory",
];

/// xl's, in its order; a field that xend does not know is left out.
const XL: [&str; 34] = [
    "host",
    "release",
    "version",
    "machine",
    "nr_cpus",
    "max_cpu_id",
    "nr_nodes",
    "cores_per_socket",
    "threads_per_core",
    "cpu_mhz",
    "hw_caps",
    "virt_caps",
    "total_memory",
    "free_memory",
    "sharing_freed_memory",
    "sharing_used_memory",
    "outstanding_claims",
    "free_cpus",
    "xen_major",
    "xen_minor",
    "xen_extra",
    "xen_version",
    "xen_caps",
    "xen_scheduler",
    "xen_pagesize",
    "platform_params",
    "xen_changeset",
    "xen_commandline",
    "cc_compiler",
    "cc_compile_by",
    "cc_compile_domain",
    "cc_compile_date",
    "build_id",
    "xend_config_format",
];

/// `info`: 2.0's fields, then what else there is; as xl only xl's.
pub fn info(client: &Client, persona: Persona) -> Result<Report> {
    let node = client.get("node")?;
    let mut known = node.clone();
    if let Value::Object(fields) = &mut known {
        derive(fields);
    }
    let names: Vec<&str> = match persona {
        Persona::Xl => XL.to_vec(),
        Persona::Xm => {
            let later = XL.iter().filter(|name| !CLASSIC.contains(name));
            CLASSIC.iter().chain(later).copied().collect()
        }
    };
    let text = names.iter().filter_map(|name| {
        let value = match &known[name] {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{name:<23}: {value}\n"))
    });
    Ok(Report::new(text.collect::<String>(), node))
}

/// xl's names for what 2.0 has under others, and sums of what is there.
fn derive(fields: &mut serde_json::Map<String, Value>) {
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let cpus = number("nr_cpus").or_else(|| number("cores"));
    let nodes = number("nr_nodes").unwrap_or(1).max(1);
    let threads = number("threads_per_core").or_else(|| number("hyperthreads_per_core"));
    let version = ["xen_major", "xen_minor"].map(number);
    let extra = fields
        .get("xen_extra")
        .and_then(Value::as_str)
        .unwrap_or("");
    let version = match version {
        [Some(major), Some(minor)] => Some(json!(format!("{major}.{minor}{extra}"))),
        _ => None,
    };
    let derived = [
        ("nr_cpus", cpus.map(Value::from)),
        ("max_cpu_id", cpus.map(|n| n.saturating_sub(1).into())),
        ("nr_nodes", Some(nodes.into())),
        ("threads_per_core", threads.map(Value::from)),
        (
            "cores_per_socket",
            cpus.map(|n| (n / threads.unwrap_or(1).max(1) / nodes).max(1).into()),
        ),
        ("total_memory", number("memory").map(Value::from)),
        ("free_cpus", Some(0.into())),
        ("xen_version", version),
        ("xend_config_format", Some(4.into())),
    ];
    for (name, value) in derived {
        if let (false, Some(value)) = (fields.contains_key(name), value) {
            fields.insert(name.to_owned(), value);
        }
    }
}

/// `dmesg`.
pub fn dmesg(client: &Client, clear: bool) -> Result<Report> {
    if clear {
        return client
            .post("node/dmesg", &json!({ "op": "clear" }))
            .map(Report::done);
    }
    let text = client.get_text("node/dmesg")?;
    let value = json!(text);
    Ok(Report::new(text, value))
}

/// `log`.
pub fn log(client: &Client) -> Result<Report> {
    let text = client.get_text("node/log")?;
    let value = json!(text);
    Ok(Report::new(text, value))
}

/// `consoles`.
pub fn consoles(client: &Client) -> Result<Report> {
    let value = client.get("consoles")?["consoles"].take();
    let consoles: Vec<Console> = typed(&value)?;
    Ok(Report::new(crate::table::consoles(&consoles), value))
}

/// `events`: a line for each, until the reader or xend goes away; as JSON, an object on each.
pub fn events(client: &Client, json: bool) -> Result<Report> {
    client.events(|name, data| {
        let line = match json {
            false => format!("{name} {data}\n"),
            true => {
                let value = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
                format!("{}\n", json!({ "event": name, "value": value }))
            }
        };
        emit(&line)?;
        Ok(true)
    })?;
    Ok(Report::default())
}
