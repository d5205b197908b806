//! `rexen-install`: the command line around [`rexen_install`].

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rexen_install::disk::{Disk, RealDisk};
use rexen_install::error::{Error, Result};
use rexen_install::host;
use rexen_install::run::{self, Options, User};

const EXAMPLES: &str = "\
Examples:
  ./install.sh --dry-run          from the unpacked tarball: what would be done?
  ./install.sh --yes              install, or upgrade what is installed; ask nothing
  rexen-install --uninstall       take it away: every file is as it was before
  rexen-install --root /mnt ...   do it to the system mounted there; run update-grub in it afterwards

The boot menu's default stays what it is, unless --default is given. Configuration below /etc that you changed stays;
the new one goes beside it as FILE.rexen-new. A run that was cut short, by a power failure, say, leaves a host that
boots: run it again to finish, or with --uninstall to undo.";

/// Installs Rexen on this host, with the host's own kernel for domain 0
#[derive(Parser)]
#[command(name = "rexen-install", version, after_help = EXAMPLES)]
struct Arguments {
    /// The install tree [default: the one that this program is in]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// The root folder of the host
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
    /// Say what would be done, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Make Rexen the boot menu's default
    #[arg(long, overrides_with = "no_default")]
    default: bool,
    /// Give the default back to Linux
    #[arg(long)]
    no_default: bool,
    /// Take Rexen away, and give back what it replaced
    #[arg(long, conflicts_with_all = ["tree", "default", "no_default"])]
    uninstall: bool,
}

struct Terminal;

impl User for Terminal {
    fn say(&mut self, line: &str) {
        // Whoever reads this may be gone; the work goes on.
        let _ = writeln!(io::stdout(), "{line}");
    }

    fn agrees(&mut self, question: &str) -> Result<bool> {
        if !io::stdin().is_terminal() {
            return Err(Error::new("nobody to ask").remedy("run it in a terminal, or with --yes"));
        }
        print!("{question} [y/N] ");
        let _ = io::stdout().flush();
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|e| Error::new("cannot read the answer").because(e))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
    }
}

fn main() -> ExitCode {
    match work(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "rexen-install: {e}");
            ExitCode::from(e.exit.status())
        }
    }
}

fn work(arguments: Arguments) -> Result<()> {
    let root = &arguments.root;
    let root = root.canonicalize().map_err(Error::io("read", root))?;
    let disk = RealDisk::new(root);
    let mut options = Options {
        yes: arguments.yes,
        dry_run: arguments.dry_run,
        ..Options::default()
    };
    if disk.runs() && !options.dry_run {
        host::check_user()?;
    }
    let _alone = run::alone(&disk)?;
    if arguments.uninstall {
        return run::uninstall(&disk, &options, &mut Terminal);
    }
    options.default = match (arguments.default, arguments.no_default) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    options.tree = match arguments.tree {
        Some(tree) => tree,
        None => own_tree()?,
    };
    run::install(&disk, &options, &mut Terminal)
}

fn own_tree() -> Result<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    run::tree_of(Path::new(&program)).ok_or_else(|| {
        Error::new("no install tree to install from")
            .because(format!("{} is in none", program.display()))
            .remedy("run install.sh from the unpacked tarball, or name a tree with --tree DIR")
    })
}
