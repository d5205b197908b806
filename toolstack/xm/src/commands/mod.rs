//! What each command does: ask xend, and put its answer into 2.0's words.

mod call;
mod console;
mod create;
mod devices;
mod domains;
mod host;
mod scheduling;
mod shutdown;
mod top;

use domains::Form;
use serde_json::{Value, json};

use crate::Persona;
use crate::cli::{Cli, Command};
use crate::client::{Client, domain_path};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::{completion, help, manual};

/// Carries out a command.
///
/// # Errors
/// Whatever went wrong, in the user's words.
pub fn run(client: &Client, persona: Persona, cli: Cli) -> Result<Report> {
    match cli.command {
        Command::Help { command } => help::report(persona, command.as_deref()),
        Command::Completion { shell } => completion::script(&shell),
        Command::CompleteWords { kind } => Ok(completion::words(client, &kind)),
        Command::Manual { page } => manual::report(&page),
        Command::Call { words, debug, .. } => call::run(client, &words, debug),
        Command::Create(create) => create::run(client, persona, &create, cli.json),

        Command::Destroy { reboot, dom, .. } => {
            let body = json!({ "reason": if reboot { "reboot" } else { "halt" } });
            slow_op(client, "ending the domain", &dom.dom, "destroy", body)
        }
        Command::Shutdown(args) => shutdown::run(client, &args),
        Command::Reboot { all, doms } => shutdown::reboot(client, all, &doms.doms),
        Command::Sysrq { dom, letter } => {
            let key = letter.bytes().next().filter(u8::is_ascii);
            let key =
                key.ok_or_else(|| said("sysrq: Invalid argument(s): LETTER is one letter"))?;
            let body = json!({ "reason": "sysrq", "key": key });
            op(client, &dom.dom, "shutdown", body)
        }
        Command::Trigger { dom, trigger, vcpu } => {
            let body = json!({ "trigger": trigger, "vcpu": vcpu });
            op(client, &dom.dom, "trigger", body)
        }
        Command::Save { dom, file } => {
            let body = json!({ "file": absolute(&file)? });
            slow_op(client, "saving the domain", &dom.dom, "save", body)
        }
        Command::Restore { file } => create::restore(client, &absolute(&file)?),
        Command::Migrate {
            live,
            resource,
            dom,
            host,
        } => {
            if matches!(dom.dom.as_str(), "0" | "Domain-0") {
                return Err(said("Cannot migrate Domain-0"));
            }
            let body = json!({ "destination": host, "live": live, "resource": resource });
            slow_op(client, "moving the domain", &dom.dom, "migrate", body)
        }
        Command::Pause { doms } => {
            each(&doms.doms, |dom| client.domain_op(dom, "pause", json!({})))
        }
        Command::Unpause { doms } => each(&doms.doms, |dom| {
            client.domain_op(dom, "unpause", json!({}))
        }),
        Command::Rename { dom, name } => op(client, &dom.dom, "rename", json!({ "name": name })),
        Command::Maxmem(m) => op(client, &m.dom, "maxmem_set", json!({ "memory": m.mib })),
        Command::Balloon(m) => op(client, &m.dom, "mem_target_set", json!({ "target": m.mib })),
        Command::Pincpu { dom, cpu } => op(client, &dom.dom, "pincpu", json!({ "cpu": cpu })),
        Command::VcpuPin {
            dom,
            vcpu,
            cpus,
            soft,
        } => domains::vcpu_pin(client, &dom.dom, &vcpu, &cpus, soft.as_deref()),
        Command::VcpuSet { dom, count } => {
            op(client, &dom.dom, "vcpu_set", json!({ "count": count }))
        }
        Command::VcpuList { doms } => domains::vcpu_list(client, &doms.doms),
        Command::Domid { dom } => domains::domid(client, &dom.dom),
        Command::Domname { dom } => domains::domname(client, &dom.dom),
        Command::List {
            long,
            verbose,
            doms,
        } => {
            let form = match (long, verbose) {
                (true, _) => Form::Long,
                (false, true) => Form::Verbose,
                (false, false) => Form::Short,
            };
            domains::list(client, persona, form, &doms.doms, cli.json)
        }
        Command::Uptime { short, doms } => domains::uptime(client, short, &doms.doms),
        Command::Top(args) => top::run(client, &args, cli.json),

        Command::Console { watch, dom, .. } => console::run(client, &dom.dom, watch),
        Command::Consoles => host::consoles(client),
        Command::Info => host::info(client, persona),
        Command::Dmesg { clear } => host::dmesg(client, clear),
        Command::Log => host::log(client),
        Command::Events => host::events(client, cli.json),
        Command::DebugKeys { keys } => node_op(client, json!({ "op": "debug_keys", "keys": keys })),

        Command::Bvt(b) => scheduling::bvt(client, &b),
        Command::BvtCtxallow { ctx_allow } => node_op(
            client,
            json!({ "op": "cpu_bvt_slice_set", "ctx_allow": ctx_allow }),
        ),
        Command::Atropos(a) => scheduling::atropos(client, &a),
        Command::Rrobin { slice } => node_op(
            client,
            json!({ "op": "cpu_rrobin_slice_set", "slice": slice }),
        ),
        Command::SchedCredit {
            domain,
            weight,
            cap,
        } => scheduling::credit(client, domain.as_deref(), weight, cap),

        Command::VifList { dom } => devices::list(client, &dom.dom, "vif"),
        Command::VbdList { dom } => devices::list(client, &dom.dom, "vbd"),
        Command::NetworkList { doms } => devices::network_table(client, &doms.doms),
        Command::BlockList { doms } => devices::block_table(client, &doms.doms),
        Command::NetworkAttach { dom, settings } => {
            devices::attach_vif(client, &dom.dom, &settings)
        }
        Command::NetworkDetach { dom, idx } => {
            devices::detach(client, &dom.dom, "vif", &idx, false)
        }
        Command::VbdCreate { dom, disk } => devices::create_vbd(client, &dom.dom, &disk),
        Command::BlockAttach { dom, words } => devices::attach_vbd(client, &dom.dom, &words),
        Command::VbdDestroy { dom, idx } => devices::detach(client, &dom.dom, "vbd", &idx, false),
        Command::BlockDetach { dom, idx, force } => {
            devices::detach(client, &dom.dom, "vbd", &idx, force)
        }
        Command::VbdRefresh { dom, idx } => {
            let body = json!({ "type": "vbd", "idx": idx });
            op(client, &dom.dom, "device_refresh", body)
        }
        Command::VifLimit {
            dom,
            vif,
            credit,
            period,
        } => {
            let body = json!({ "vif": vif, "credit": credit, "period": period });
            op(client, &dom.dom, "vif_credit_limit", body)
        }
    }
}

/// An operation on a domain that prints nothing.
fn op(client: &Client, dom: &str, name: &str, fields: Value) -> Result<Report> {
    client.domain_op(dom, name, fields).map(Report::done)
}

/// The same, for one that takes its time; `what` is shown to a user who waits.
fn slow_op(
    client: &Client,
    what: &str,
    dom: &str,
    name: &str,
    mut fields: Value,
) -> Result<Report> {
    fields["op"] = name.into();
    client
        .post_slowly(what, &domain_path(dom), &fields)
        .map(Report::done)
}

/// An operation on the host that prints nothing.
fn node_op(client: &Client, body: Value) -> Result<Report> {
    client.post("node", &body).map(Report::done)
}

/// The same for several domains: all are tried; the first error is returned, naming its domain when there are several.
fn each(doms: &[String], mut act: impl FnMut(&str) -> Result<Value>) -> Result<Report> {
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for dom in doms {
        match act(dom) {
            Ok(value) => done.push(value),
            Err(e @ Error::Unreachable { .. }) => return Err(e),
            Err(e) if doms.len() == 1 => return Err(e),
            Err(e) => failed.push(format!("{dom}: {e}")),
        }
    }
    if failed.is_empty() {
        return Ok(Report::done(match <[Value; 1]>::try_from(done) {
            Ok([one]) => one,
            Err(all) => Value::Array(all),
        }));
    }
    Err(Error::Said(failed.join("\nError: ")))
}

fn said(text: &str) -> Error {
    Error::Said(text.to_owned())
}

/// xend has another working directory.
fn absolute(file: &str) -> Result<String> {
    let path = std::path::absolute(file).map_err(Error::io(format!("cannot find {file}")))?;
    let path = path.into_os_string().into_string();
    path.map_err(|_| Error::Said(format!("{file}: not UTF-8")))
}
