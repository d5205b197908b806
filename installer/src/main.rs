//! The program `rexen`: a command line around the steps in the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use rexen_installer as rexen;

#[derive(Parser)]
#[command(name = "rexen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build {
        what: What,
        #[arg(long)]
        debug: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Hypervisor,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("rexen: {e}");
            ExitCode::from(e.exit.status())
        }
    }
}

fn run(c: &Command) -> rexen::Result<()> {
    match c {
        Command::Build {
            what: What::Hypervisor,
            debug,
        } => {
            let made = rexen::build_hypervisor(&rexen::Options { debug: *debug })?;
            let boot = rexen::hypervisor::install_hypervisor(&made)?;
            println!("{}", boot.join("xen.gz").display());
            println!("{}", made.xen.display());
        }
    }
    Ok(())
}
