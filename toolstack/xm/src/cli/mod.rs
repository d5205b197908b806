//! Every command, argument and option: the one definition that parsing, `--help`, the man pages, the completions and
//! docs/xm.md are made from.

pub mod find;
pub mod groups;
mod usage;

use clap::{Args, Parser, Subcommand};

pub use usage::explain;

/// Manages domains from domain 0.
///
/// xm asks xend to create, look at and end domains. Any unambiguous beginning of a command's name will do.
#[derive(Debug, Parser)]
#[command(
    name = "xm",
    version,
    disable_help_subcommand = true,
    subcommand_required = true
)]
pub struct Cli {
    /// Prints what xend said as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Where xend is: a socket's path, or HOST:PORT
    #[arg(short = 'x', long, global = true, value_name = "ADDRESS")]
    pub xend: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// A command, by the name that Xen 2.0 gave it where it had it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print help, of one command or of all
    Help {
        /// The command
        #[arg(value_name = "CMD")]
        command: Option<String>,
    },
    /// Call a function of xend's 2.0 API directly
    #[command(after_help = CALL_HELP)]
    Call {
        /// Accepted for 2.0's sake: an answer is waited for anyway
        #[arg(short, long)]
        asynch: bool,
        /// Print what is asked before it is
        #[arg(short, long)]
        debug: bool,
        /// Function and arguments; none means the function xend
        #[arg(value_name = "FN ARG", num_args = 0.., allow_negative_numbers = true)]
        words: Vec<String>,
    },

    /// Create a domain
    #[command(disable_help_flag = true, after_help = CREATE_HELP)]
    Create(Box<Create>),
    /// End a domain at once
    Destroy {
        /// Build it anew afterwards
        #[arg(short = 'R', long)]
        reboot: bool,
        /// Accepted for xl's sake: also end domain 0
        #[arg(short, long, hide = true)]
        force: bool,
        #[command(flatten)]
        dom: Dom,
    },
    /// Ask a domain to shut down
    Shutdown(Shutdown),
    /// Ask a domain to reboot (shutdown -R)
    Reboot {
        /// All domains but Domain-0
        #[arg(short, long)]
        all: bool,
        #[command(flatten)]
        doms: MaybeDoms,
    },
    /// Send a SysRq key to a domain
    Sysrq {
        #[command(flatten)]
        dom: Dom,
        /// The key
        letter: String,
    },
    /// Send a trigger to a domain: nmi, reset, init, s3resume, power, sleep
    Trigger {
        #[command(flatten)]
        dom: Dom,
        /// Which
        #[arg(value_name = "TRIGGER", value_parser = ["nmi", "reset", "init", "s3resume", "power", "sleep"])]
        trigger: String,
        /// The vcpu that gets it
        vcpu: Option<u32>,
    },
    /// Save a domain's state to a file
    Save {
        #[command(flatten)]
        dom: Dom,
        /// The file
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: String,
    },
    /// Create a domain from a saved state
    Restore {
        /// The file
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: String,
    },
    /// Move a domain to another host
    Migrate {
        /// Keep it running while it moves
        #[arg(short, long)]
        live: bool,
        /// Rate to start with in Mbit/s, 0 for no limit
        #[arg(short, long, value_name = "N", default_value_t = 0)]
        resource: u32,
        #[command(flatten)]
        dom: Dom,
        /// Where to
        #[arg(value_name = "HOST")]
        host: String,
    },
    /// Stop domains from running
    Pause {
        #[command(flatten)]
        doms: Doms,
    },
    /// Let paused domains run
    Unpause {
        #[command(flatten)]
        doms: Doms,
    },
    /// Give a domain another name
    Rename {
        #[command(flatten)]
        dom: Dom,
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Set how much memory a domain may have
    #[command(visible_alias = "mem-max")]
    Maxmem(Memory),
    /// Ask a domain to take or give back memory
    #[command(visible_alias = "mem-set")]
    Balloon(Memory),
    /// Pin a domain to a physical CPU
    Pincpu {
        #[command(flatten)]
        dom: Dom,
        /// The CPU; -1 for any
        #[arg(value_name = "CPU", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
        cpu: i32,
    },
    /// List the vcpus of domains
    VcpuList {
        #[command(flatten)]
        doms: MaybeDoms,
    },
    /// Say which physical CPUs a vcpu may run on
    VcpuPin {
        #[command(flatten)]
        dom: Dom,
        /// The vcpu's number, or all
        #[arg(value_name = "VCPU")]
        vcpu: String,
        /// CPUs, such as 0-3,^2, or all
        #[arg(value_name = "CPUS")]
        cpus: String,
        /// CPUs that are preferred
        #[arg(value_name = "SOFT-CPUS")]
        soft: Option<String>,
    },
    /// Set how many vcpus of a domain are in use
    VcpuSet {
        #[command(flatten)]
        dom: Dom,
        /// How many
        #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
    /// Print a domain's id
    Domid {
        #[command(flatten)]
        dom: Dom,
    },
    /// Print a domain's name
    Domname {
        #[command(flatten)]
        dom: Dom,
    },
    /// List domains
    List {
        /// Everything about each, as S-expressions
        #[arg(short, long)]
        long: bool,
        /// Also the UUID of each, and why it shut down
        #[arg(short, long)]
        verbose: bool,
        #[command(flatten)]
        doms: MaybeDoms,
    },
    /// Print how long domains have been up
    Uptime {
        /// Without a heading, with the time of day
        #[arg(short, long)]
        short: bool,
        #[command(flatten)]
        doms: MaybeDoms,
    },
    /// Watch what domains use
    Top(Top),

    /// Attach to a domain's console
    #[command(after_help = CONSOLE_HELP)]
    Console {
        /// Only look: send nothing
        #[arg(long)]
        watch: bool,
        /// Kind of console, for xl's sake: pv
        #[arg(short = 't', long = "type", hide = true, value_parser = ["pv"])]
        kind: Option<String>,
        /// Number of the console, for xl's sake: 0
        #[arg(short = 'n', long = "num", hide = true, value_parser = ["0"])]
        num: Option<String>,
        #[command(flatten)]
        dom: Dom,
    },
    /// List the consoles of domains
    Consoles,

    /// Print what is known of this host
    Info,
    /// Print the hypervisor's messages
    Dmesg {
        /// Forget them instead
        #[arg(short, long)]
        clear: bool,
    },
    /// Print xend's log
    Log,
    /// Follow what happens to domains, a line each
    Events,
    /// Press keys on the hypervisor's console
    DebugKeys {
        /// The keys; h lists them in dmesg
        #[arg(value_name = "KEYS")]
        keys: String,
    },
    /// Print a completion script: bash, zsh or fish
    Completion {
        /// The shell
        #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Print the words that a completion may end with
    #[command(hide = true)]
    CompleteWords {
        /// What is sought
        #[arg(value_parser = ["domains", "keys"])]
        kind: String,
    },
    /// Print a manual page, as it is installed
    #[command(hide = true)]
    Manual {
        /// Which
        #[arg(value_name = "PAGE", value_parser = crate::manual::PAGES)]
        page: String,
    },

    /// Set a domain's BVT parameters
    #[command(visible_alias = "sched-bvt", allow_negative_numbers = true)]
    Bvt(Bvt),
    /// Set how long BVT lets a domain run at least
    #[command(name = "bvt_ctxallow", visible_alias = "sched-bvt-ctxallow")]
    BvtCtxallow {
        /// In nanoseconds
        #[arg(value_name = "CTX_ALLOW")]
        ctx_allow: u64,
    },
    /// Set a domain's Atropos parameters
    #[command(visible_alias = "sched-atropos")]
    Atropos(Atropos),
    /// Set the time slice of the round robin scheduler
    #[command(visible_alias = "sched-rrobin")]
    Rrobin {
        /// In nanoseconds
        #[arg(value_name = "SLICE")]
        slice: u64,
    },
    /// Print or set a domain's share of the CPUs
    #[command(visible_aliases = ["sched-credit2"])]
    SchedCredit {
        /// The domain; all of them are printed without it
        #[arg(short, long, value_name = "DOM")]
        domain: Option<String>,
        /// Its weight against the others
        #[arg(short, long, value_name = "WEIGHT")]
        weight: Option<u32>,
        /// The most it may use, in per cent of a CPU; 0 for no limit
        #[arg(short, long, value_name = "CAP")]
        cap: Option<u32>,
    },

    /// List a domain's network interfaces
    VifList {
        #[command(flatten)]
        dom: Dom,
    },
    /// List the network interfaces of domains as a table
    NetworkList {
        #[command(flatten)]
        doms: Doms,
    },
    /// Give a domain a network interface
    NetworkAttach {
        #[command(flatten)]
        dom: Dom,
        /// mac=, bridge=, script=, backend=, ip=
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Take a network interface from a domain
    NetworkDetach {
        #[command(flatten)]
        dom: Dom,
        /// Its number, or its MAC address
        #[arg(value_name = "IDX|MAC")]
        idx: String,
    },
    /// Limit how fast a domain may send
    VifLimit {
        #[command(flatten)]
        dom: Dom,
        /// The interface's number
        #[arg(value_name = "VIF")]
        vif: u32,
        /// Bytes in each period
        #[arg(value_name = "CREDIT")]
        credit: u64,
        /// Microseconds
        #[arg(value_name = "PERIOD")]
        period: u64,
    },

    /// List a domain's disks
    VbdList {
        #[command(flatten)]
        dom: Dom,
    },
    /// List the disks of domains as a table
    BlockList {
        #[command(flatten)]
        doms: Doms,
    },
    /// Give a domain a disk
    VbdCreate {
        #[command(flatten)]
        dom: Dom,
        #[command(flatten)]
        disk: Disk,
    },
    /// Give a domain a disk: UNAME DEV MODE, or one word 'UNAME,DEV,MODE'
    BlockAttach {
        #[command(flatten)]
        dom: Dom,
        /// phy:vg/disk xvdb w, or phy:vg/disk,xvdb,w
        #[arg(value_name = "DISK", required = true, num_args = 1..=4)]
        words: Vec<String>,
    },
    /// Take a disk from a domain, by the number that vbd-list shows
    #[command(name = "vbd-destroy")]
    VbdDestroy {
        #[command(flatten)]
        dom: Dom,
        /// Its number
        #[arg(value_name = "IDX")]
        idx: String,
    },
    /// Take a disk from a domain, by its number or its name in the domain
    BlockDetach {
        #[command(flatten)]
        dom: Dom,
        /// Its number, or its name in the domain
        #[arg(value_name = "IDX|DEV")]
        idx: String,
        /// Do not wait for the domain to let go of it
        #[arg(short, long)]
        force: bool,
    },
    /// Make a domain look at a disk's size again
    VbdRefresh {
        #[command(flatten)]
        dom: Dom,
        /// Its number
        #[arg(value_name = "IDX")]
        idx: String,
    },
}

/// A domain.
#[derive(Debug, Args)]
pub struct Dom {
    /// The domain's name or id
    #[arg(value_name = "DOM")]
    pub dom: String,
}

/// At least one domain.
#[derive(Debug, Args)]
pub struct Doms {
    /// Names or ids of domains
    #[arg(value_name = "DOM", required = true)]
    pub doms: Vec<String>,
}

/// Any number of domains.
#[derive(Debug, Args)]
pub struct MaybeDoms {
    /// Names or ids of domains
    #[arg(value_name = "DOM")]
    pub doms: Vec<String>,
}

/// A domain and an amount of memory.
#[derive(Debug, Args)]
pub struct Memory {
    /// The domain's name or id
    #[arg(value_name = "DOM")]
    pub dom: String,
    /// Memory in MB; 512m and 2g are understood, too
    #[arg(value_name = "MB", value_parser = crate::units::mebibytes)]
    pub mib: u64,
}

/// A disk, word by word.
#[derive(Debug, Args)]
pub struct Disk {
    /// What it is: phy:DEVICE or file:FILE
    #[arg(value_name = "UNAME")]
    pub uname: String,
    /// Its name in the domain
    #[arg(value_name = "DEV")]
    pub dev: String,
    /// r, w, or w! to skip the check whether somebody else uses it
    #[arg(value_name = "MODE")]
    pub mode: String,
    /// The domain that serves it
    #[arg(value_name = "BACKEND")]
    pub backend: Option<String>,
}

/// `xm create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Print help, and the variables that the script says it takes
    #[arg(short, long)]
    pub help: bool,
    /// Print the names that a script finds, and the variables that it says it takes
    #[arg(long = "help_config")]
    pub help_config: bool,
    /// Say nothing that is no error
    #[arg(short, long)]
    pub quiet: bool,
    /// Folders to look for the script in
    #[arg(long, value_name = "PATH", default_value = ".:/etc/xen")]
    pub path: String,
    /// The script that makes the configuration
    #[arg(short = 'f', long, value_name = "FILE", default_value = "xmdefconfig", value_hint = clap::ValueHint::FilePath)]
    pub defconfig: String,
    /// A finished configuration, as an S-expression
    #[arg(short = 'F', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<String>,
    /// A saved domain to go on with
    #[arg(short = 'L', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub load: Option<String>,
    /// Print the configuration and do nothing
    #[arg(short = 'n', long)]
    pub dryrun: bool,
    /// Ask xend what it would do step by step, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Leave the domain paused
    #[arg(short, long)]
    pub paused: bool,
    /// Attach to the domain's console
    #[arg(short = 'c', long = "console_autoconnect")]
    pub console_autoconnect: bool,
    /// The script, and variables
    #[arg(value_name = "SCRIPT|NAME=VALUE")]
    pub words: Vec<String>,
}

/// `xm shutdown`.
#[derive(Debug, Args)]
pub struct Shutdown {
    /// All domains but Domain-0
    #[arg(short, long)]
    pub all: bool,
    /// Wait until they have ended; they do not start again
    #[arg(short, long)]
    pub wait: bool,
    /// They do not start again, whatever their configuration says
    #[arg(short = 'H', long)]
    pub halt: bool,
    /// They start again, whatever their configuration says
    #[arg(short = 'R', long)]
    pub reboot: bool,
    /// Names or ids of domains
    #[arg(value_name = "DOM")]
    pub doms: Vec<String>,
}

/// `xm top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Print to a file or a pipe, without a terminal
    #[arg(short, long)]
    pub batch: bool,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 3.0, value_parser = crate::units::seconds)]
    pub delay: f64,
    /// Look so many times; 0 for ever
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub iterations: u64,
}

/// `xm bvt`.
#[derive(Debug, Args)]
pub struct Bvt {
    /// The domain's name or id
    #[arg(value_name = "DOM")]
    pub dom: String,
    /// Inverse of the weight
    #[arg(value_name = "MCUADV")]
    pub mcuadv: i64,
    /// 1 to allow warping
    #[arg(value_name = "WARPBACK")]
    pub warpback: i64,
    /// How far it is warped
    #[arg(value_name = "WARPVALUE")]
    pub warpvalue: i64,
    /// How long it may run warped, in ms
    #[arg(value_name = "WARPL")]
    pub warpl: i64,
    /// How long it must run unwarped, in ms
    #[arg(value_name = "WARPU")]
    pub warpu: i64,
}

/// `xm atropos`.
#[derive(Debug, Args)]
pub struct Atropos {
    /// The domain's name or id
    #[arg(value_name = "DOM")]
    pub dom: String,
    /// The period in ns
    #[arg(value_name = "PERIOD")]
    pub period: u64,
    /// CPU time in each period, in ns
    #[arg(value_name = "SLICE")]
    pub slice: u64,
    /// Latency in ns
    #[arg(value_name = "LATENCY")]
    pub latency: u64,
    /// 1 to let it use spare time
    #[arg(value_name = "XTRATIME", value_parser = clap::value_parser!(u64).range(0..=1))]
    pub xtratime: u64,
}

const CALL_HELP: &str = "\
Examples:
  xm call                          what there is
  xm call domains                  the names of all domains
  xm call domain_pincpu web 1      as xm pincpu web 1";

const CREATE_HELP: &str = "\
Words without = name the script; NAME=VALUE sets a variable of the configuration (xmdomain.cfg(5)), or, if there is
none of that name, a variable that the script can use.

Examples:
  xm create web.cfg                create a domain as web.cfg says, and let it run
  xm create -c web.cfg memory=64   the same with less memory, and watch it boot
  xm create -n web.cfg             print the configuration only
  xm create vmid=3                 /etc/xen/xmdefconfig with its variable vmid";

const CONSOLE_HELP: &str = "\
Ctrl-] leaves the console. What the domain printed while nobody watched comes first. The size of your terminal is not
known to the domain: 'resize' there asks your terminal for it.";
