//! rexen-install(8), made from the command line's definition: `rexen-install --manual`.

use clap::Command;
use rexen_install::cli::EXAMPLES;
use rexen_manual::Block::{self, Heading, Item, Lines, Paragraph};
use rexen_manual::{is_switch, roff, spelled, text};

/// What the program keeps, and what it leaves alone.
const FILES: [(&str, &str); 4] = [
    (
        "/var/lib/rexen-install/record.toml",
        "what was installed, and what was in its place: written before anything changes",
    ),
    (
        "/etc/default/grub.d/rexen.cfg",
        "the boot menu's settings; /etc/default/grub stays as it is",
    ),
    (
        "FILE.rexen-new",
        "new configuration beside the one that you changed",
    ),
    (
        "/usr/share/rexen/manifest.toml",
        "each installed file with its hash",
    ),
];

/// The page, as roff.
pub fn page(program: &Command) -> String {
    let mut page: Vec<Block> = vec![
        Heading("Synopsis".into()),
        Lines("rexen-install [SWITCHES]\nrexen-install --uninstall [SWITCHES]\n".into()),
        Heading("Description".into()),
    ];
    let about = program.get_about().map(ToString::to_string);
    page.push(Paragraph(format!("{}.", about.unwrap_or_default())));
    page.push(Paragraph(
        "It looks at the host first (CPU, memory, disk, boot loader, another Xen), prints what it would do, and asks. The \
         tarball's install.sh does the same where this program is not installed yet."
            .into(),
    ));
    page.push(Heading("Options".into()));
    let options = program.get_arguments().filter(|arg| is_switch(arg));
    page.extend(options.map(|arg| Item(spelled(arg), text(arg))));
    page.push(Lines(format!("{EXAMPLES}\n")));
    page.push(Heading("Files".into()));
    page.extend(FILES.map(|(path, what)| Item(path.into(), what.into())));
    page.push(Heading("Exit status".into()));
    page.push(Paragraph(
        "0 when it is done, or there is nothing to do; 1 when it cannot, with the reason on standard error; 2 for a command \
         line that it does not understand."
            .into(),
    ));
    page.push(Heading("See also".into()));
    page.push(Paragraph("xm(1), xend(1)".into()));
    let what = "rexen-install \\- installs Rexen on a host, and takes it away again";
    roff("rexen-install", "REXEN-INSTALL", 8, what, &page)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_switch_has_its_words() {
        let program = crate::Line::command();
        let page = super::page(&program);
        let switches: Vec<_> = program
            .get_arguments()
            .filter(|a| super::is_switch(a))
            .collect();
        assert!(switches.len() > 5);
        for switch in switches {
            assert!(!super::text(switch).is_empty(), "{switch}");
            let name = rexen_manual::escaped(&super::spelled(switch));
            assert!(page.contains(&format!("\\fB{name}\\fR")), "{name}");
        }
        assert!(!page.contains("\\-\\-manual"));
    }
}
