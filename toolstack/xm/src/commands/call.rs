//! `call`: 2.0's client functions by their names, on 2.0's URLs.

use serde_json::json;

use crate::client::{Client, escape};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::sxp;

/// A function of 2.0's client.
struct Function {
    name: &'static str,
    /// The URL below the root; `{}` takes the first argument.
    path: &'static str,
    /// What `op` is; none for a GET.
    op: Option<&'static str>,
    /// The other arguments, in order; those from `optional` on may be left out.
    fields: &'static [&'static str],
    optional: usize,
}

const fn get(name: &'static str, path: &'static str) -> Function {
    Function {
        name,
        path,
        op: None,
        fields: &[],
        optional: 0,
    }
}

const fn post(
    name: &'static str,
    path: &'static str,
    op: &'static str,
    fields: &'static [&'static str],
) -> Function {
    Function {
        name,
        path,
        op: Some(op),
        fields,
        optional: fields.len(),
    }
}

const DOMAIN: &str = "domain/{}";

const FUNCTIONS: &[Function] = &[
    get("xend", ""),
    get("node", "node/"),
    post("node_shutdown", "node", "shutdown", &[]),
    post("node_restart", "node", "reboot", &[]),
    post(
        "node_cpu_bvt_slice_set",
        "node",
        "cpu_bvt_slice_set",
        &["ctx_allow"],
    ),
    post(
        "node_cpu_rrobin_slice_set",
        "node",
        "cpu_rrobin_slice_set",
        &["slice"],
    ),
    get("node_get_dmesg", "node/dmesg"),
    post("node_clear_dmesg", "node/dmesg", "clear", &[]),
    get("node_log", "node/log"),
    get("domains", "domain/"),
    post("domain_create", "domain", "create", &["config"]),
    post("domain_restore", "domain", "restore", &["file"]),
    get("domain", DOMAIN),
    get("domain_vifs", "domain/{}?op=vifs"),
    get("domain_vbds", "domain/{}?op=vbds"),
    get("domain_vif", "domain/{}?op=vif&vif={}"),
    get("domain_vbd", "domain/{}?op=vbd&vbd={}"),
    post("domain_configure", DOMAIN, "configure", &["config"]),
    post("domain_unpause", DOMAIN, "unpause", &[]),
    post("domain_pause", DOMAIN, "pause", &[]),
    Function {
        name: "domain_shutdown",
        path: DOMAIN,
        op: Some("shutdown"),
        fields: &["reason", "key"],
        optional: 1,
    },
    post("domain_destroy", DOMAIN, "destroy", &["reason"]),
    post("domain_save", DOMAIN, "save", &["file"]),
    Function {
        name: "domain_migrate",
        path: DOMAIN,
        op: Some("migrate"),
        fields: &["destination", "live", "resource"],
        optional: 1,
    },
    post("domain_pincpu", DOMAIN, "pincpu", &["cpu"]),
    post(
        "domain_cpu_bvt_set",
        DOMAIN,
        "cpu_bvt_set",
        &["mcuadv", "warpback", "warpvalue", "warpl", "warpu"],
    ),
    post(
        "domain_cpu_atropos_set",
        DOMAIN,
        "cpu_atropos_set",
        &["period", "slice", "latency", "xtratime"],
    ),
    post("domain_maxmem_set", DOMAIN, "maxmem_set", &["memory"]),
    post(
        "domain_mem_target_set",
        DOMAIN,
        "mem_target_set",
        &["target"],
    ),
    post("domain_device_create", DOMAIN, "device_create", &["config"]),
    post(
        "domain_device_destroy",
        DOMAIN,
        "device_destroy",
        &["type", "idx"],
    ),
    post(
        "domain_device_configure",
        DOMAIN,
        "device_configure",
        &["config", "idx"],
    ),
    post(
        "domain_device_refresh",
        DOMAIN,
        "device_refresh",
        &["type", "idx"],
    ),
    post(
        "domain_vif_limit",
        DOMAIN,
        "vif_credit_limit",
        &["vif", "credit", "period"],
    ),
    get("consoles", "console/"),
    get("console", "console/{}"),
    post("console_disconnect", "console/{}", "disconnect", &[]),
    get("vnets", "vnet/"),
    get("vnet", "vnet/{}"),
    post("vnet_create", "vnet", "create", &["config"]),
    post("vnet_delete", "vnet/{}", "delete", &[]),
    post("event_inject", "event", "inject", &["event"]),
];

/// `call [FN ARG...]`.
pub fn run(client: &Client, words: &[String], debug: bool) -> Result<Report> {
    let (name, args) = match words.split_first() {
        Some((name, args)) => (name.strip_prefix("xend_").unwrap_or(name), args),
        None => ("xend", words),
    };
    let Some(function) = FUNCTIONS.iter().find(|f| f.name == name) else {
        let names: Vec<_> = FUNCTIONS.iter().map(|f| f.name).collect();
        return Err(Error::Said(format!(
            "call: there is no function {name}; there are {}",
            names.join(", ")
        )));
    };
    let (path, fields) = request(function, args)?;
    if debug {
        eprintln!("{} {fields:?}", path);
    }
    let text = client.call(&path, &fields).map_err(|e| match e {
        Error::Server { text, .. } => Error::Said(format!("ERROR: {text}")),
        other => other,
    })?;
    if let Some(error) = sxp::error_text(&text) {
        return Err(Error::Said(format!("ERROR: {error}")));
    }
    // dmesg and the log are no expressions.
    let laid_out = match function.path {
        "node/dmesg" | "node/log" if function.op.is_none() => text.clone(),
        _ => sxp::pretty(&text)?,
    };
    Ok(Report::new(laid_out, json!(text)))
}

/// Puts the arguments where they belong: into the path first, then into the form.
fn request<'a>(
    function: &Function,
    args: &'a [String],
) -> Result<(String, Vec<(&'static str, &'a str)>)> {
    let holes = function.path.matches("{}").count();
    let wanted = holes + function.optional..=holes + function.fields.len();
    if !wanted.contains(&args.len()) {
        return Err(Error::Said(format!(
            "call: {} takes {} argument(s): {}",
            function.name,
            wanted.start(),
            std::iter::repeat_n("ID", holes)
                .chain(function.fields.iter().copied())
                .collect::<Vec<_>>()
                .join(" ")
        )));
    }
    let (parts, values) = args.split_at(holes);
    let mut path = function.path.to_owned();
    for part in parts {
        path = path.replacen("{}", &escape(part), 1);
    }
    let op = function.op.map(|op| ("op", op));
    let fields = function.fields.iter().copied();
    let fields = fields.zip(values.iter().map(String::as_str));
    Ok((path, op.into_iter().chain(fields).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> String {
        let function = FUNCTIONS.iter().find(|f| f.name == words[0]).unwrap();
        let args: Vec<String> = words[1..].iter().map(|&w| w.to_owned()).collect();
        match request(function, &args) {
            Ok((path, fields)) => format!("{path} {fields:?}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn arguments_go_into_the_path_and_the_form() {
        assert_eq!(asked(&["domains"]), "domain/ []");
        assert_eq!(
            asked(&["domain_vif", "a/b", "0"]),
            "domain/a%2Fb?op=vif&vif=0 []"
        );
        assert_eq!(
            asked(&["domain_pincpu", "web", "1"]),
            r#"domain/web [("op", "pincpu"), ("cpu", "1")]"#
        );
        assert_eq!(
            asked(&["domain_shutdown", "web", "halt"]),
            r#"domain/web [("op", "shutdown"), ("reason", "halt")]"#
        );
        assert_eq!(
            asked(&["domain_pincpu", "web"]),
            "call: domain_pincpu takes 2 argument(s): ID cpu"
        );
    }
}
