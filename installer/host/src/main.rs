//! `rexen-install`: the command line around [`rexen_install`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rexen_install::cli::{Arguments, EXAMPLES, work};
use rexen_install::error::{Error, Result};
use rexen_install::run;

/// Installs Rexen on this host, with the host's own kernel for domain 0
#[derive(Parser)]
#[command(name = "rexen-install", version, after_help = EXAMPLES)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    match work(Line::parse().arguments, own_tree) {
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
