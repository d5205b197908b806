//! `/metrics` in Prometheus's text format (version 0.0.4).

use std::fmt::Write;

use super::render::letters;
use crate::error::Result;
use crate::node::{Node, View};

/// All metrics.
///
/// # Errors
/// Hypervisor or store cannot be asked.
pub fn text(node: &Node) -> Result<String> {
    let info = node.site.world.hypervisor.node()?;
    let views = node.views()?;
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: Vec<(String, f64)>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let one = |value: f64| vec![(String::new(), value)];
    metric(
        "xend_uptime_seconds",
        "gauge",
        "Time since this xend started.",
        one(node.started.elapsed().as_secs_f64()),
    );
    metric(
        "xend_node_cpus",
        "gauge",
        "Physical CPUs.",
        one(f64::from(info.cpus)),
    );
    metric(
        "xend_node_memory_bytes",
        "gauge",
        "Memory of the host.",
        one((info.memory_mib << 20) as f64),
    );
    metric(
        "xend_node_memory_free_bytes",
        "gauge",
        "Memory that no domain has.",
        one((info.free_mib << 20) as f64),
    );
    metric(
        "xend_domains",
        "gauge",
        "Domains, domain 0 among them.",
        one(views.len() as f64),
    );
    metric(
        "xend_tasks",
        "gauge",
        "Domains that have a task of this xend.",
        one(node.tasks() as f64),
    );
    let each = |value: &dyn Fn(&crate::world::DomainInfo) -> f64| -> Vec<(String, f64)> {
        views
            .iter()
            .filter_map(|view| Some((labels(view), value(view.info.as_ref()?))))
            .collect()
    };
    metric(
        "xend_domain_cpu_seconds_total",
        "counter",
        "CPU time of a domain.",
        each(&|info| info.cpu_time_ns as f64 / 1e9),
    );
    metric(
        "xend_domain_memory_bytes",
        "gauge",
        "Memory of a domain.",
        each(&|info| (info.memory_kib << 10) as f64),
    );
    metric(
        "xend_domain_memory_max_bytes",
        "gauge",
        "Bound of a domain's memory.",
        each(&|info| (info.max_kib << 10) as f64),
    );
    metric(
        "xend_domain_vcpus_online",
        "gauge",
        "Vcpus that are up.",
        each(&|info| f64::from(info.online_vcpus)),
    );
    let states = views.iter().filter_map(|view| {
        let labels = labels(view);
        let state = letters(view.info.as_ref()?);
        Some((
            format!("{},state=\"{state}\"}}", labels.trim_end_matches('}')),
            1.0,
        ))
    });
    metric(
        "xend_domain_state",
        "gauge",
        "State letters as in xm list.",
        states.collect(),
    );
    Ok(text)
}

fn labels(view: &View) -> String {
    let name = view
        .name
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!(
        "{{id=\"{}\",name=\"{name}\"}}",
        view.domid
            .map_or_else(String::new, |domid| domid.to_string())
    )
}
