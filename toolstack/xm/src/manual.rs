//! Manual pages, as roff and as Markdown, made from the definitions in `cli`.
//!
//! A page is built once and written twice: `xm manual xm.1` and `xm manual xm.md` cannot disagree with `--help`.

use rexen_config::create::predefined;
use rexen_config::vars::{VARIABLES, refusals};
use rexen_manual::Block::{self, Heading, Item, Lines, Paragraph};
use rexen_manual::{described, markdown, roff, spelled, text};
use serde_json::json;

use crate::Persona;
use crate::cli::groups::GROUPS;
use crate::error::{Error, Result};
use crate::help::definitions;
use crate::report::Report;

/// The pages that can be asked for.
pub const PAGES: [&str; 3] = ["xm.1", "xm.md", "xmdomain.cfg.5"];

/// `manual PAGE`.
///
/// # Errors
/// There is no such page.
pub fn report(page: &str) -> Result<Report> {
    let text = match page {
        "xm.1" => roff("xm", "XM", 1, "xm \\- manages domains from domain 0", &xm()),
        "xm.md" => markdown("xm", &xm()),
        "xmdomain.cfg.5" => roff(
            "xm",
            "XMDOMAIN.CFG",
            5,
            "xmdomain.cfg \\- configurations of domains",
            &configuration(),
        ),
        other => return Err(Error::Said(format!("manual: no page {other}"))),
    };
    let value = json!(text);
    Ok(Report::new(text, value))
}

fn xm() -> Vec<Block> {
    let all = definitions(Persona::Xm);
    let mut page = vec![
        Heading("Synopsis".into()),
        Lines("xm [--json] [-x ADDRESS] COMMAND [SWITCHES] [ARGUMENTS] [NAME=VALUE...]\n".into()),
        Heading("Description".into()),
    ];
    let about = all
        .get_long_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    page.extend(about.split("\n\n").map(|p| Paragraph(p.to_owned())));
    page.extend([
        Paragraph("DOM is a domain's name or its id.".into()),
        Heading("Options".into()),
    ]);
    page.extend(
        all.get_arguments()
            .filter(|a| !a.is_hide_set())
            .map(|a| Item(spelled(a), text(a))),
    );
    for group in &GROUPS {
        let title = group.title.unwrap_or("Commands:").trim_end_matches(':');
        page.push(Heading(title.to_owned()));
        for name in group.commands() {
            if let Some(command) = all.find_subcommand(name) {
                page.extend(described(command));
            }
        }
    }
    page.push(Heading("As xl".into()));
    page.push(Paragraph(
        "Called as xl, the program differs in what it prints and accepts, not in what it does:"
            .into(),
    ));
    for (what, how) in AS_XL {
        page.push(Item(what.into(), how.into()));
    }
    page.push(Heading("Environment".into()));
    for (name, what) in ENVIRONMENT {
        page.push(Item(name.into(), what.into()));
    }
    page.extend([
        Heading("Exit status".into()),
        Paragraph(
            "0 when everything was done; 1 after a line 'Error: ...' on standard error.".into(),
        ),
        Heading("Files".into()),
        Item(
            "/etc/xen".into(),
            "where configurations are looked for after the present folder".into(),
        ),
        Item("/run/xend/api.sock".into(), "xend's socket".into()),
    ]);
    page
}

/// The variables of a configuration: 2.0's, today's, and those that are refused.
fn configuration() -> Vec<Block> {
    let mut page = vec![
        Heading("Description".into()),
        Paragraph(
            "A configuration is a script in a subset of Python that sets variables. 'xm create FILE NAME=VALUE...' \
             runs it once; a variable given there wins over the script. A variable that does not exist, or a value of \
             the wrong type, is an error that names the file and the line."
                .into(),
        ),
        Paragraph(format!("A script finds these names: {}.", predefined().join(", "))),
    ];
    for (title, is_xen2) in [("Variables of Xen 2.0", true), ("Variables of xl", false)] {
        page.push(Heading(title.into()));
        let variables = VARIABLES.iter().filter(|v| v.is_xen2 == is_xen2);
        page.extend(variables.map(|v| {
            let term = format!("{} ({})", v.name, v.kind.name());
            Item(term, format!("{} Default: {}.", v.help, v.default))
        }));
    }
    page.push(Heading("Variables that are refused".into()));
    page.extend(refusals().map(|(name, refusal)| Item(name.to_owned(), refusal.reason.to_owned())));
    page
}

const AS_XL: [(&str, &str); 6] = [
    (
        "list",
        "six columns, by id; the state has a sixth letter d, which stands alone",
    ),
    (
        "list --long",
        "(domain (domid N) (name NAME) ... (state SSSSSS) (status N) (cpu_time S)), facts only",
    ),
    ("info", "xl's names, such as total_memory and nr_cpus"),
    (
        "create",
        "-e, -F, -V and -A change nothing: xend watches over domains; NAME=\"VALUE\" loses its quotes",
    ),
    ("shutdown, reboot", "-F changes nothing"),
    (
        "xl -N create",
        "create --dryrun; -v, -f, -t and -T before the command change nothing",
    ),
];

const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "XEND",
        "where xend is: a socket's path, unix:PATH, HOST or HOST:PORT; --xend wins",
    ),
    (
        "XEND_ROOT",
        "the URL root of the 2.0 API, /xend/ by default; the JSON API is beside it, in api/v1/",
    ),
    (
        "XEND_TOKEN",
        "the token to show when xend is reached over TCP",
    ),
];

#[cfg(test)]
mod tests {
    use rexen_manual::{escaped, is_switch};

    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_definitions_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/xm.md");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        let made = report("xm.md").unwrap().text;
        assert!(
            there == made,
            "do: cargo run -p rexen-xm -- manual xm.md > docs/xm.md"
        );
    }

    #[test]
    fn the_page_of_configurations_has_every_variable() {
        let text = report("xmdomain.cfg.5").unwrap().text;
        for variable in VARIABLES {
            assert!(text.contains(&escaped(variable.name)), "{}", variable.name);
        }
    }

    #[test]
    fn pages_have_every_command_and_option() {
        let all = definitions(Persona::Xm);
        for page in ["xm.1", "xm.md"] {
            let text = report(page).unwrap().text.replace("\\-", "-");
            for command in all.get_subcommands().filter(|c| !c.is_hide_set()) {
                assert!(
                    text.contains(command.get_name()),
                    "{page}: {}",
                    command.get_name()
                );
                for alias in command.get_visible_aliases() {
                    assert!(text.contains(alias), "{page}: {alias}");
                }
                for option in command.get_arguments().filter(|a| is_switch(a)) {
                    assert!(
                        text.contains(&spelled(option)),
                        "{page}: {}",
                        spelled(option)
                    );
                }
            }
        }
    }
}
