//! What is different when the program is called `xl`: how its command lines look, and what cluster managers read.
//!
//! Ganeti parses `list` (six columns), `info`, `uptime` and the S-expressions of `list --long`; Pacemaker's agent looks
//! for a line with `status` or `state`. Neither knows quotes or nested parentheses, so this form has facts only.

use rexen_config::sxp::Sexp;

use crate::error::{Error, Result};
use crate::model::Domain;

/// Options of xl itself, before the command, that change nothing here.
const IGNORED: [&str; 5] = ["-v", "-f", "-t", "-T", "-vvv"];
/// Options of `xl create` that change nothing here: domains are xend's children, not this program's.
const IGNORED_BY_CREATE: [&str; 5] = ["-e", "-F", "-V", "--vncviewer", "-A"];

/// Turns xl's arguments, without the program's name, into xm's.
///
/// # Errors
/// An option that cannot be honoured.
pub fn arguments(args: Vec<String>) -> Result<Vec<String>> {
    let mut args: Vec<String> = args;
    let mut dry_run = false;
    while let Some(first) = args.first() {
        match first.as_str() {
            "-N" => dry_run = true,
            word if IGNORED.contains(&word) => {}
            _ => break,
        }
        args.remove(0);
    }
    let Some(at) = crate::cli::find::position(&args) else {
        return Ok(args);
    };
    let command = crate::cli::find::command(&args[at])?;
    if dry_run && command != "create" {
        return Err(Error::Usage(format!(
            "{command}: Invalid argument(s): -N is only known to create"
        )));
    }
    let (head, tail) = args.split_at(at + 1);
    let tail: Vec<String> = tail.to_vec();
    let mut out = head.to_vec();
    match command.as_str() {
        "create" => {
            if dry_run {
                out.push("-n".to_owned());
            }
            out.extend(
                tail.into_iter()
                    .filter(|a| !IGNORED_BY_CREATE.contains(&a.as_str()))
                    .map(unquoted),
            );
        }
        // xl falls back to ACPI events with -F; there are none for paravirtualised domains.
        "shutdown" | "reboot" => out.extend(tail.into_iter().filter(|a| a != "-F")),
        _ => out.extend(tail),
    }
    Ok(out)
}

/// `name="web"` as xl's users write it is the variable with the value `web`.
fn unquoted(word: String) -> String {
    if let Some((name, value)) = word.split_once('=') {
        let (name, value) = (name.trim(), value.trim().trim_end_matches(';').trim());
        for quote in ['"', '\''] {
            let inner = value
                .strip_prefix(quote)
                .and_then(|v| v.strip_suffix(quote));
            if let Some(inner) = inner
                && !inner.contains(quote)
            {
                return format!("{name}={inner}");
            }
        }
    }
    word
}

/// A domain as `xl list --long` shows it.
pub fn domain(domain: &Domain) -> Sexp {
    let state = dying_alone(&domain.state);
    let status = match state.as_str() {
        s if s.contains(['s', 'c', 'd']) => 0,
        s if s.contains('p') => 1,
        _ => 2,
    };
    let mut fields = vec![
        Sexp::pair("domid", domain.id),
        Sexp::pair("name", &domain.name),
        Sexp::pair("uuid", &domain.uuid),
        Sexp::pair("memory", domain.memory),
    ];
    fields.extend(domain.maxmem.map(|m| Sexp::pair("maxmem", m)));
    fields.extend([
        Sexp::pair("vcpus", domain.vcpus),
        Sexp::pair("online_vcpus", domain.vcpus_online.unwrap_or(domain.vcpus)),
        Sexp::pair("state", state),
        Sexp::pair("status", status),
        Sexp::pair("cpu_time", domain.cpu_time),
    ]);
    if let Some(reason) = &domain.shutdown_reason {
        fields.push(Sexp::pair("shutdown_reason", reason));
    }
    if let Some(port) = domain.console_port {
        fields.push(Sexp::pair("console_port", port));
    }
    Sexp::element("domain", fields)
}

/// A dying domain is nothing else any more: that is the only state with `d` that Ganeti knows.
pub fn dying_alone(state: &str) -> String {
    if state.contains('d') && !state.contains('s') {
        "-----d".to_owned()
    } else {
        state.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(text: &str) -> String {
        let args = text.split(' ').map(str::to_owned).collect();
        arguments(args).unwrap().join(" ")
    }

    #[test]
    fn options_that_mean_nothing_here_are_dropped() {
        assert_eq!(turned("-v -f create -e -p web.cfg"), "create -p web.cfg");
        assert_eq!(turned("-N create web.cfg"), "create -n web.cfg");
        assert_eq!(turned("shutdown -F -w web"), "shutdown -w web");
        assert_eq!(turned("list -l"), "list -l");
        assert!(arguments(vec!["-N".into(), "destroy".into()]).is_err());
    }

    #[test]
    fn overrides_lose_their_quotes() {
        assert_eq!(turned("create web.cfg name=\"a\""), "create web.cfg name=a");
        assert_eq!(turned("create web.cfg name='a';"), "create web.cfg name=a");
        assert_eq!(
            turned("create web.cfg memory=64"),
            "create web.cfg memory=64"
        );
        assert_eq!(unquoted("extra='a' 'b'".to_owned()), "extra='a' 'b'");
    }

    #[test]
    fn a_dying_domain_is_nothing_else_unless_it_is_shut_down() {
        assert_eq!(dying_alone("rb---d"), "-----d");
        assert_eq!(dying_alone("---s-d"), "---s-d");
        assert_eq!(dying_alone("-b----"), "-b----");
    }
}
