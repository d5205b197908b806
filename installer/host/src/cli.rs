//! The command line, which `rexen-install` and the orchestrator's `install` share.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::host;
use crate::run::{self, Options, User};

/// What `--help` ends with.
pub const EXAMPLES: &str = "\
Examples:
  ./install.sh --dry-run          from the unpacked tarball: what would be done?
  ./install.sh --yes              install, or upgrade what is installed; ask nothing
  rexen-install --uninstall       take it away: every file is as it was before
  rexen-install --root /mnt ...   do it to the system mounted there; run update-grub in it afterwards

The boot menu's default stays what it is, unless --default is given. Configuration below /etc that you changed stays;
the new one goes beside it as FILE.rexen-new. A run that was cut short, by a power failure, say, leaves a host that
boots: run it again to finish, or with --uninstall to undo.";

/// What can be asked for.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The install tree [default: the one at hand]
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

/// Does what is asked for, with `own_tree` where no tree is named.
///
/// # Errors
/// There is no such tree; those of [`run::install`] and [`run::uninstall`].
pub fn work(arguments: Arguments, own_tree: impl FnOnce() -> Result<PathBuf>) -> Result<()> {
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
