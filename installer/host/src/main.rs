//! `rexen-install`: the command line around [`rexen_install`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rexen_install::cli::{Arguments, EXAMPLES, work};
use rexen_install::error::{Error, Result};
use rexen_install::run;

mod manual;

/// Installs Rexen on this host, with the host's own kernel for domain 0
#[derive(Parser)]
#[command(name = "rexen-install", version, after_help = EXAMPLES)]
struct Line {
    /// Print the manual page
    #[arg(long, hide = true)]
    manual: bool,
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    let line = Line::parse();
    if line.manual {
        // Whoever reads this may be gone.
        let _ = io::stdout().write_all(manual::page(&Line::command()).as_bytes());
        return ExitCode::SUCCESS;
    }
    match work(line.arguments, own_tree) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "rexen-install: {e}");
            ExitCode::from(e.exit.status())
        }
    }
}

fn own_tree() -> Result<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    run::tree_of(Path::new(&program)).ok_or_else(|| {
        Error::new("no install tree to install from")
            .because(format!("{} is in none", program.display()))
            .remedy("run install.sh from the unpacked tarball, or name a tree with --tree DIR")
    })
}
