//! xend's manual pages, from its command line and the keys of its configuration.

use clap::Command;
use rexen_manual::Block::{self, Heading, Item, Lines, Paragraph};
use rexen_manual::{described, roff, spelled, text};

use crate::config::KEYS;

/// The pages that can be asked for.
pub const PAGES: [&str; 2] = ["xend.1", "xend-config.sxp.5"];

/// A page as roff; none of that name is `None`.
pub fn page(name: &str, program: &Command) -> Option<String> {
    Some(match name {
        "xend.1" => {
            let what = "xend \\- the node daemon: makes domains, watches over them, ends them";
            roff("xend", "XEND", 1, what, &daemon(program))
        }
        "xend-config.sxp.5" => {
            let what = "xend-config.sxp \\- configuration of xend";
            roff("xend", "XEND-CONFIG.SXP", 5, what, &configuration())
        }
        _ => return None,
    })
}

fn paragraph(text: &str) -> Block {
    Paragraph(text.into())
}

fn daemon(program: &Command) -> Vec<Block> {
    let mut page = vec![
        Heading("Synopsis".into()),
        Lines(
            "xend start|trace_start|stop|restart|status\nxend --simulate [--socket PATH]\n".into(),
        ),
        Heading("Description".into()),
    ];
    let about = program.get_long_about().map(ToString::to_string);
    page.extend(about.unwrap_or_default().split("\n\n").map(paragraph));
    page.push(paragraph(
        "Domains do not depend on xend: killed at any moment and started again, it finds them, finishes or undoes what was \
         half done, and goes on.",
    ));
    page.push(Heading("Commands".into()));
    let commands = program.get_subcommands();
    page.extend(commands.filter(|c| !c.is_hide_set()).flat_map(described));
    page.push(Heading("Options".into()));
    let options = program.get_arguments().filter(|a| !a.is_hide_set());
    page.extend(options.map(|a| Item(spelled(a), text(a))));
    page.push(Heading("Exit status".into()));
    page.push(paragraph(
        "0 when it is done; 1 when it cannot, with the reason on standard error; 3 from status when xend does not run.",
    ));
    page.push(Heading("Files".into()));
    let files = [
        (
            "/etc/xen/xend-config.sxp",
            "the configuration, unless XEND_CONFIG names another file",
        ),
        ("/run/xend/api.sock", "the API's socket"),
        ("/var/run/xend.pid", "the pid"),
        (
            "/var/lib/xen/xend-db",
            "records of domains, journals of what is under way, and a lock",
        ),
        ("/var/log/xend.log", "the log"),
        ("/var/log/xen/console-NAME.log", "all a guest printed"),
    ];
    page.extend(files.map(|(path, what)| Item(path.into(), what.into())));
    page.push(Heading("See also".into()));
    page.push(paragraph("xend-config.sxp(5), xm(1)"));
    page
}

fn configuration() -> Vec<Block> {
    let mut page = vec![
        Heading("Description".into()),
        paragraph(
            "Expressions (KEY VALUE), one after another; a # begins a remark. A key that does not exist, or a value that \
             makes no sense, stops the start of xend with file and line. Without the file the defaults hold. After a \
             change: xend restart; domains go on running.",
        ),
        Heading("Keys".into()),
    ];
    page.extend(KEYS.iter().map(|key| {
        let default = match key.default {
            "" => "none",
            default => default,
        };
        Item(
            key.name.into(),
            format!("{} Default: {default}.", key.meaning),
        )
    }));
    page.push(Heading("See also".into()));
    page.push(paragraph("xend(1), xm(1)"));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_every_key_and_verb() {
        let program = Command::new("xend").subcommand(Command::new("start").about("Starts"));
        assert!(page("xend.1", &program).unwrap().contains(".SS start"));
        let keys = page("xend-config.sxp.5", &program)
            .unwrap()
            .replace("\\-", "-");
        for key in KEYS {
            assert!(
                keys.contains(&format!("\\fB{}\\fR", key.name)),
                "{}",
                key.name
            );
        }
        assert!(page("xend.2", &program).is_none());
    }
}
