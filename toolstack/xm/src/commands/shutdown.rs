//! `shutdown` and `reboot`, and waiting for the end.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::{each, said};
use crate::cli::Shutdown;
use crate::client::{Client, typed};
use crate::error::Result;
use crate::model::Domain;
use crate::progress::Progress;
use crate::report::{Report, emit};

/// How often to look whether they have ended.
const POLL: Duration = Duration::from_millis(250);

/// `shutdown`.
pub fn run(client: &Client, args: &Shutdown) -> Result<Report> {
    if args.wait && args.reboot {
        return Err(said("Can't specify wait and reboot"));
    }
    if args.halt && args.reboot {
        return Err(said("Can't specify halt and reboot"));
    }
    let reason = match () {
        () if args.wait || args.halt => "halt",
        () if args.reboot => "reboot",
        () => "poweroff",
    };
    let targets = targets(client, args.all, &args.doms, "shutdown")?;
    let asked = ask(client, reason, &targets);
    if args.wait {
        asked?;
        return wait(client, targets);
    }
    asked
}

/// `reboot`.
pub fn reboot(client: &Client, all: bool, doms: &[String]) -> Result<Report> {
    ask(client, "reboot", &targets(client, all, doms, "reboot")?)
}

/// A domain to act on: found once, so that its name and id are known even after it ended.
struct Target {
    id: String,
    name: String,
}

fn targets(client: &Client, all: bool, doms: &[String], command: &str) -> Result<Vec<Target>> {
    let domains: Vec<Domain> = match (all, doms) {
        (false, []) => return Err(said(&format!("{command}: Missing domain"))),
        (true, _) => typed(&client.domains()?)?,
        (false, doms) => {
            let values = super::domains::chosen(client, doms)?;
            values.iter().map(typed).collect::<Result<_>>()?
        }
    };
    let chosen = domains.into_iter().filter(|d| !all || !d.is_dom0());
    Ok(chosen
        .map(|d| Target {
            id: d.id.to_string(),
            name: d.name,
        })
        .collect())
}

fn ask(client: &Client, reason: &str, targets: &[Target]) -> Result<Report> {
    let ids: Vec<String> = targets.iter().map(|t| t.id.clone()).collect();
    each(&ids, |id| {
        let answer = client.domain_op(id, "shutdown", json!({ "reason": reason }));
        match answer {
            // It ended by itself in the meantime.
            Err(e) if e.status() == Some(404) => Ok(json!({})),
            answer => answer,
        }
    })
}

/// Says of each domain when it has ended: its id is gone.
fn wait(client: &Client, mut targets: Vec<Target>) -> Result<Report> {
    let mut progress = Progress::new("waiting for the domains to end");
    while !targets.is_empty() {
        let alive: Vec<Domain> = typed(&client.domains()?)?;
        let lives = |t: &Target| alive.iter().any(|d| d.id.to_string() == t.id);
        let (still, ended): (Vec<_>, Vec<_>) = targets.into_iter().partition(lives);
        if !ended.is_empty() {
            progress.hide();
        }
        for target in ended {
            emit(&format!("Domain {} terminated\n", target.name))?;
        }
        targets = still;
        if !targets.is_empty() {
            progress.show();
            sleep(POLL);
        }
    }
    Ok(Report::new("All domains terminated\n", json!({})))
}
