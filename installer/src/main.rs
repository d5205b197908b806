//! The program `rexen`: a command line around the steps in the library.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rexen_installer::boot::Machine;
use rexen_installer::dist::{self, TreeOptions, tarball};
use rexen_installer::image::ImageOptions;
use rexen_installer::image::boot::{Firmware, ImageBoot};
use rexen_installer::kernel::{self, KernelChoice, menuconfig, update};
use rexen_installer::qemu::Accel;
use rexen_installer::reproduce::Reproduce;
use rexen_installer::{
    self as rexen, Boot, Consent, Flavour, KernelOptions, Nic, Options, hypervisor, toolstack,
    tree, ui, world,
};

const EXAMPLES: &str = "\
Examples:
  cargo world                           from a clone to an image, booted through GRUB
  cargo rexen world --dry-run           what that would do, and what is done already
  cargo rexen build hypervisor --debug  dist/install/boot/xen.gz with debug checks
  cargo rexen build toolstack           xend, xm, xenstored below dist/install/usr
  cargo rexen build kernels             dist/install/boot/vmlinuz-*-xen0 and -xenU, and their modules
  cargo rexen build tree                all of it, with its manifest: dist/install
  cargo rexen verify                    is dist/install as its manifest says?
  cargo rexen image                     dist/rexen.img, which boots on BIOS and UEFI
  cargo rexen reproduce                 do two builds give the same bytes?
  cargo rexen boot                      domain 0's shell (on a terminal)
  cargo rexen boot --check --smp 1      let domain 0 check itself on one CPU
  cargo rexen boot --gdb                wait for a debugger on port 1234

Exit status: 0 done, 1 a step or a check failed, 2 usage, 3 the host lacks packages,
4 Debian offers another package than image/packages.lock.toml or guest-kernel-patches/linux.toml names,
130 interrupted.";

/// Builds Rexen and boots it in QEMU: every command is printed before it runs, and nothing is done twice.
#[derive(Parser)]
#[command(name = "rexen", bin_name = "cargo rexen", version, after_help = EXAMPLES)]
struct Cli {
    /// Also say which steps have nothing to do
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Do everything: host packages, kernels, hypervisor, toolstack, install tree, image, and boot that
    World {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Build the hypervisor with its debug checks (profile hv-debug)
        #[arg(long)]
        debug: bool,
        /// Run the check even where there is a terminal
        #[arg(long)]
        check: bool,
        /// Domain 0's kernel: xen0 (ours), debian, or a vmlinuz-RELEASE with ../lib/modules/RELEASE
        #[arg(long, value_name = "KERNEL", default_value = "xen0")]
        kernel: KernelChoice,
        #[command(flatten)]
        consent: ConsentArg,
    },
    /// Build one part, or all, and say where it is
    #[command(after_help = BUILD_EXAMPLES)]
    Build {
        /// What to build
        #[arg(value_enum, default_value = "all")]
        what: What,
        /// Of the kernels, build only this one
        #[arg(long, value_name = "FLAVOUR")]
        only: Option<Flavour>,
        #[command(flatten)]
        kernel: KernelArgs,
        /// Lay the install tree out here, or put the tarball here
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Build the hypervisor with its debug checks (profile hv-debug)
        #[arg(long)]
        debug: bool,
        /// Make xl another name of xm
        #[arg(long)]
        xl: bool,
        #[command(flatten)]
        consent: ConsentArg,
    },
    /// Build dist/rexen.img: a disk that boots on BIOS and UEFI into domain 0 with the toolstack and a demo guest
    Image {
        /// Domain 0's kernel: xen0 (ours), debian, or a vmlinuz-RELEASE with ../lib/modules/RELEASE
        #[arg(long, value_name = "KERNEL", default_value = "xen0")]
        kernel: KernelChoice,
        /// Make it from this install tree as it is, in place of a new one
        #[arg(long, value_name = "DIR")]
        tree: Option<PathBuf>,
        /// Then boot it by BIOS and by UEFI: domain 0 and its demo guest check themselves
        #[arg(long)]
        check: bool,
        /// Put it into this folder [default: dist]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Build the hypervisor with its debug checks (profile hv-debug)
        #[arg(long)]
        debug: bool,
        #[command(flatten)]
        consent: ConsentArg,
    },
    /// Check an install tree, a tarball or an image against its manifest: one line for each entry that is missing, changed or extra
    Verify {
        /// The tree, rexen-VERSION.tar.gz or rexen.img [default: dist/install]
        place: Option<PathBuf>,
    },
    /// Build the commit here and once more elsewhere, and compare install tree, tarball and image to the last byte
    Reproduce {
        /// Take the first build's kernels for the second, too: minutes in place of most of an hour
        #[arg(long)]
        same_kernels: bool,
        #[command(flatten)]
        consent: ConsentArg,
    },
    /// Install on this host, with its own kernel for domain 0, or take Rexen away again
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(rexen_install::cli::Arguments),
    /// Boot in QEMU, without a boot loader or the whole image: domain 0's shell on a terminal, else the check
    #[command(after_help = BOOT_EXAMPLES)]
    Boot(Box<BootArgs>),
    /// Work on the source of our kernels
    #[command(subcommand, after_help = KERNEL_EXAMPLES)]
    Kernel(KernelCommand),
    /// Remove the cache, the hypervisor's target folder and dist/
    Clean,
}

#[derive(Subcommand)]
enum KernelCommand {
    /// Pin Debian's newest source, if the series applies to it without fuzz
    Update,
    /// Check that the series applies and that no setting is lost, without compiling
    Check {
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// Change settings in Kconfig's menu; the changes become a fragment of yours
    Menuconfig {
        /// xen0 or xenU
        flavour: Flavour,
        #[command(flatten)]
        kernel: KernelArgs,
    },
}

const KERNEL_EXAMPLES: &str = "\
Examples:
  cargo rexen kernel check --source linux-6.12.tar.xz
  cargo rexen kernel menuconfig xen0
  cargo rexen build kernels --only xen0 --fragments my-drivers.config
Fragments in ~/.config/rexen/kernel (*.config for both kernels, xen0/*.config and xenU/*.config for one) always count.";

/// From what, with what and where a kernel is built.
#[derive(Args)]
struct KernelArgs {
    /// Use this source tarball; patches and settings that do not fit it are left out
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// More settings: a fragment, or a folder of them (may be repeated)
    #[arg(long, value_name = "PATH")]
    fragments: Vec<PathBuf>,
    /// Do everything again below this folder; nothing goes to the cache or to dist/
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

impl KernelArgs {
    fn options(&self, consent: Consent) -> KernelOptions {
        let mut options = KernelOptions::of_user();
        options.consent = consent;
        options.source.clone_from(&self.source);
        options.fragments.extend(self.fragments.iter().cloned());
        options.work.clone_from(&self.work);
        options
    }
}

const INSTALL_EXAMPLES: &str = "\
Examples:
  cargo rexen install --dry-run           what would be done with the tree in dist/install?
  sudo -E cargo rexen install --yes       install or upgrade, and ask nothing
  cargo rexen install --root /mnt --yes   the system mounted there
  cargo rexen install --uninstall         every file as it was before
What goes to users is the tarball: its install.sh does the same.";

const BUILD_EXAMPLES: &str = "\
Examples:
  cargo rexen build hypervisor --debug  the hypervisor with debug checks
  cargo rexen build toolstack           xend, xenstored, xm and their tools below dist/install/usr
  cargo rexen build toolstack --xl      the same, and xl as another name of xm
  cargo rexen build tree --out /tmp/t   the install tree, elsewhere than in dist/install
  cargo rexen build tarball             dist/rexen-VERSION.tar.gz, with the tree in it";

const BOOT_EXAMPLES: &str = "\
Examples:
  cargo rexen boot --memory 4096 --dom0-memory 512 --smp 4
  cargo rexen boot --check --machine pc --nic virtio
  cargo rexen boot --kernel debian
  cargo rexen boot --accel tcg --display gtk
  cargo rexen boot --hypervisor-option loglvl=all --append initcall_debug
  cargo rexen boot --check --hypervisor /path/to/another/xen.gz
  cargo rexen boot --image --firmware uefi --memory 512
In the shell: 'poweroff -f' ends the machine, Ctrl-A x leaves QEMU at once, Ctrl-A c is its monitor.";

#[derive(Args)]
struct ConsentArg {
    /// Take Debian's present packages where the locked ones are gone, and record them in the lock file
    #[arg(long, visible_alias = "accept-new-kernel")]
    accept_new_packages: bool,
}

impl ConsentArg {
    fn consent(&self) -> Consent {
        if self.accept_new_packages {
            Consent::Record
        } else {
            Consent::from_env()
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// dist/install/boot/xen.gz and xen-syms
    Hypervisor,
    /// Our kernels and their modules: dist/install/boot and dist/install/lib/modules
    Kernels,
    /// Domain 0's initramfs, in the cache
    Initramfs,
    /// The toolstack's static programs: dist/install/usr
    Toolstack,
    /// The install tree with its manifest: every part in its place, nothing else
    Tree,
    /// dist/rexen-VERSION.tar.gz: the install tree, packed
    Tarball,
    /// Hypervisor, kernels and initramfs
    All,
}

#[derive(Clone, Copy, ValueEnum)]
enum NicArg {
    /// Through the IO-APIC
    E1000,
    /// MSI-X
    E1000e,
    /// MSI-X
    Virtio,
}

#[derive(Clone, Copy, ValueEnum)]
enum FirmwareArg {
    /// SeaBIOS
    Bios,
    /// OVMF, of the package ovmf
    Uefi,
}

#[derive(Clone, Copy, ValueEnum)]
enum AccelArg {
    /// KVM where it works, else software emulation
    Auto,
    /// Software emulation: the same everywhere
    Tcg,
    /// KVM, or an error
    Kvm,
}

#[derive(Args)]
struct BootArgs {
    /// Boot this image through its GRUB; what is written to it is dropped [default: dist/rexen.img]
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["hypervisor", "kernel", "initrd", "debug", "dom0_memory"])]
    image: Option<Option<PathBuf>>,
    /// The firmware that boots the image
    #[arg(long, value_enum, default_value = "bios", requires = "image")]
    firmware: FirmwareArg,
    /// Physical CPUs
    #[arg(long, default_value_t = 2)]
    smp: u32,
    /// The machine's memory in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u32,
    /// Domain 0's memory in MiB
    #[arg(long, default_value_t = 1024)]
    dom0_memory: u32,
    /// QEMU's CPU model
    #[arg(long, default_value = "qemu64")]
    cpu: String,
    /// QEMU's machine type
    #[arg(long, default_value = "q35")]
    machine: String,
    /// The network card
    #[arg(long, value_enum, default_value = "e1000")]
    nic: NicArg,
    /// A word for the hypervisor's command line (may be repeated)
    #[arg(long, value_name = "WORD")]
    hypervisor_option: Vec<String>,
    /// A word for domain 0's command line (may be repeated)
    #[arg(long, value_name = "WORD")]
    append: Vec<String>,
    /// Boot this multiboot image (ELF, or gzipped) in place of ours
    #[arg(long, value_name = "FILE")]
    hypervisor: Option<PathBuf>,
    /// Domain 0's kernel: xen0 (ours), debian, or a file
    #[arg(long, value_name = "KERNEL", default_value = "xen0")]
    kernel: KernelChoice,
    /// Use this initramfs for domain 0 in place of ours
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Wait for a debugger on port 1234
    #[arg(long)]
    gdb: bool,
    /// What runs the machine: auto takes KVM where the CPU has hardware virtualisation, else software emulation
    #[arg(long, value_enum, default_value = "auto")]
    accel: AccelArg,
    /// Give the machine a screen, too, as in QEMU's -display: gtk, sdl, vnc=:1
    #[arg(long, value_name = "DISPLAY")]
    display: Option<String>,
    /// Build and boot the hypervisor with its debug checks
    #[arg(long)]
    debug: bool,
    /// Run the check even where there is a terminal
    #[arg(long)]
    check: bool,
    /// When the check gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    #[command(flatten)]
    consent: ConsentArg,
}

impl BootArgs {
    fn machine(&self) -> Machine {
        Machine {
            board: self.machine.clone(),
            cpu: self.cpu.clone(),
            smp: self.smp,
            memory_mib: self.memory,
            nic: match self.nic {
                NicArg::E1000 => Nic::E1000,
                NicArg::E1000e => Nic::E1000e,
                NicArg::Virtio => Nic::Virtio,
            },
            hypervisor_options: self.hypervisor_option.clone(),
            append: self.append.clone(),
            gdb: self.gdb,
            accel: match self.accel {
                AccelArg::Auto => Accel::Auto,
                AccelArg::Tcg => Accel::Tcg,
                AccelArg::Kvm => Accel::Kvm,
            },
            display: self.display.clone(),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ui::set_verbose(cli.verbose);
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            ui::error(&format!("rexen: {e}"));
            ExitCode::from(e.exit.status())
        }
    }
}

fn run(command: &Command) -> rexen::Result<()> {
    match command {
        Command::World {
            dry_run,
            debug,
            check,
            kernel,
            consent,
        } => {
            let (dry_run, debug, check) = (*dry_run, *debug, *check);
            world::World {
                dry_run,
                debug,
                check,
                kernel: kernel.clone(),
                consent: consent.consent(),
            }
            .run()
        }
        Command::Build {
            what: What::Toolstack,
            xl,
            out: None,
            ..
        } => {
            let usr = toolstack::install(&toolstack::build()?, *xl)?;
            ui::result(&format!("{}", usr.display()));
            Ok(())
        }
        Command::Build {
            what: what @ (What::Tree | What::Tarball),
            only,
            kernel,
            out,
            debug,
            xl,
            consent,
        } => {
            if only.is_some() {
                return Err(rexen::Error::new("the install tree holds both kernels")
                    .remedy("leave out --only"));
            }
            let options = TreeOptions {
                kernels: kernel.options(consent.consent()),
                debug: *debug,
                xl: *xl,
            };
            build_distribution(*what, out.as_deref(), &options)
        }
        Command::Image {
            kernel,
            tree: from,
            check,
            out,
            debug,
            consent,
        } => {
            let options = ImageOptions {
                tree: TreeOptions {
                    kernels: KernelOptions {
                        consent: consent.consent(),
                        ..KernelOptions::of_user()
                    },
                    debug: *debug,
                    xl: false,
                },
                from: from.clone(),
                kernel: kernel.clone(),
            };
            let folder = out.clone().unwrap_or_else(tree::dist);
            let image = rexen::image::build_image(&options, &folder)?;
            ui::result(&format!("{}", image.display()));
            if *check {
                let mut boot = ImageBoot::new(&image);
                boot.go(true)?;
                boot.firmware = Firmware::Uefi;
                boot.go(true)?;
            }
            Ok(())
        }
        Command::Verify { place } => dist::verify(&tree_in(place.as_deref())?),
        Command::Build {
            what,
            only,
            kernel,
            debug,
            consent,
            out: None,
            xl: _,
        } => build(*what, *debug, *only, &kernel.options(consent.consent())),
        Command::Build { .. } => Err(rexen::Error::new("--out is for `tree` and `tarball`")
            .remedy("leave out --out: single parts go to dist/install")),
        Command::Boot(args) => boot(args),
        Command::Kernel(KernelCommand::Update) => update::update(),
        Command::Kernel(KernelCommand::Check { kernel }) => {
            update::check(&kernel.options(Consent::from_env()))
        }
        Command::Kernel(KernelCommand::Menuconfig { flavour, kernel }) => {
            menuconfig::menuconfig(*flavour, &kernel.options(Consent::from_env()))
        }
        Command::Reproduce {
            same_kernels,
            consent,
        } => Reproduce {
            same_kernels: *same_kernels,
            consent: consent.consent(),
        }
        .run(),
        Command::Install(arguments) => {
            rexen_install::cli::work(arguments.clone(), || tree_in(None))
        }
        Command::Clean => rexen::tree::clean(),
    }
}

/// The install tree, or the tarball made from the one in `dist/install`.
fn build_distribution(what: What, out: Option<&Path>, options: &TreeOptions) -> rexen::Result<()> {
    let is_tarball = matches!(what, What::Tarball);
    let tree = tree_in(out.filter(|_| !is_tarball))?;
    let manifest = dist::build_tree(&tree, options)?;
    let entries = manifest.entries.len();
    ui::note(&format!(
        "{entries} entries, described in {}",
        dist::MANIFEST
    ));
    ui::result(&format!("{}", tree.display()));
    if is_tarball {
        let folder = out.map_or_else(tree::dist, Path::to_owned);
        ui::step("tarball");
        ui::result(&format!("{}", tarball::pack(&tree, &folder)?.display()));
    }
    Ok(())
}

/// The tree that is meant, as an absolute path.
fn tree_in(given: Option<&Path>) -> rexen::Result<PathBuf> {
    match given {
        None => Ok(tree::dist_install()),
        Some(dir) => std::path::absolute(dir).map_err(rexen::Error::io("find", dir)),
    }
}

fn build(
    what: What,
    debug: bool,
    only: Option<Flavour>,
    options: &KernelOptions,
) -> rexen::Result<()> {
    if matches!(what, What::Hypervisor | What::All) {
        let made = rexen::build_hypervisor(&Options {
            debug,
            ..Options::default()
        })?;
        let boot = hypervisor::install_hypervisor(&made)?;
        ui::result(&format!("{}", boot.join("xen.gz").display()));
        ui::result(&format!("{}", boot.join("xen-syms").display()));
    }
    if matches!(what, What::Kernels | What::All) {
        for flavour in Flavour::ALL {
            if only.is_none_or(|only| only == flavour) {
                build_kernel(flavour, options)?;
            }
        }
    }
    if matches!(what, What::Initramfs | What::All) {
        let kernel = rexen::build_kernel(Flavour::Xen0, options)?.bootable();
        let initramfs = rexen::initramfs(&kernel, options.consent)?;
        ui::result(&format!("{}", initramfs.display()));
    }
    Ok(())
}

fn build_kernel(flavour: Flavour, options: &KernelOptions) -> rexen::Result<()> {
    let made = rexen::build_kernel(flavour, options)?;
    if options.work.is_some() {
        ui::result(&format!("{}", made.image.display()));
        ui::result(&format!("{}", made.modules.display()));
        return Ok(());
    }
    let boot = kernel::install_kernel(&made)?;
    ui::result(&format!("{}/vmlinuz-{}", boot.display(), made.release));
    Ok(())
}

fn boot(args: &BootArgs) -> rexen::Result<()> {
    if let Some(image) = &args.image {
        let image = image.clone();
        return ImageBoot {
            image: image.unwrap_or_else(|| tree::dist().join(rexen::image::NAME)),
            firmware: match args.firmware {
                FirmwareArg::Bios => Firmware::Bios,
                FirmwareArg::Uefi => Firmware::Uefi,
            },
            machine: args.machine(),
            timeout: Duration::from_secs(args.timeout),
        }
        .go(args.check);
    }
    let consent = args.consent.consent();
    let built = match &args.hypervisor {
        Some(_) => None,
        None => Some(rexen::build_hypervisor(&Options {
            debug: args.debug,
            ..Options::default()
        })?),
    };
    if let Some(made) = &built {
        hypervisor::install_hypervisor(made)?;
    }
    let image = args
        .hypervisor
        .clone()
        .or(built.as_ref().map(|b| b.xen.clone()));
    let (kernel, initrd) = match (&args.kernel, &args.initrd) {
        (KernelChoice::File(kernel), Some(initrd)) => (kernel.clone(), initrd.clone()),
        (choice, initrd) => {
            let kernel = choice.domain0(&KernelOptions {
                consent,
                ..KernelOptions::of_user()
            })?;
            let initrd = match initrd {
                Some(initrd) => initrd.clone(),
                None => rexen::initramfs(&kernel, consent)?,
            };
            (kernel.image, initrd)
        }
    };
    let boot = Boot {
        machine: args.machine(),
        dom0_memory_mib: args.dom0_memory,
        timeout: Duration::from_secs(args.timeout),
        banner: built.is_some().then(|| world::BANNER.to_owned()),
        ..Boot::new(image.unwrap_or_default(), kernel, initrd)
    };
    boot.go(args.check)
}
