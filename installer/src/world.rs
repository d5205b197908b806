//! `cargo rexen world`: everything, from the host's packages to a domain 0 that has checked itself and has had a guest.

use std::fs;
use std::io::IsTerminal;
use std::time::Duration;

use crate::boot::Boot;
use crate::cache::Cache;
use crate::checks::Report;
use crate::debian::Consent;
use crate::error::{Error, Result};
use crate::hypervisor::{self, Options};
use crate::initramfs::initramfs;
use crate::kernel::{self, Flavour, KernelChoice, KernelOptions};
use crate::lock::{Lock, Role};
use crate::qemu::Run;
use crate::xl_root::Kit;
use crate::{packages, ui};

/// What our hypervisor says first.
pub const BANNER: &str = "Rexen ";
/// How long domain 0 and its guest may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How to go through the world.
#[derive(Clone, Debug)]
pub struct World {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Build the hypervisor with its debug checks.
    pub debug: bool,
    /// Hand over a shell only if there is a terminal and this is false.
    pub check: bool,
    /// Domain 0's kernel, and with it the guests'.
    pub kernel: KernelChoice,
    /// What to do about new Debian packages.
    pub consent: Consent,
}

impl World {
    /// Does it.
    ///
    /// # Errors
    /// The first step that fails; or the checks that did not pass.
    pub fn run(self) -> Result<()> {
        let options = Options {
            debug: self.debug,
            ..Options::default()
        };
        let kernels = KernelOptions {
            consent: self.consent,
            ..KernelOptions::of_user()
        };
        if self.dry_run {
            return plan(&options, &self.kernel, &kernels);
        }
        packages::ensure()?;
        let kernel = self.kernel.domain0(&kernels)?;
        let guest = self.kernel.guest(&kernels)?;
        let made = hypervisor::build_hypervisor(&options)?;
        hypervisor::install_hypervisor(&made)?;
        let initrd = initramfs(&kernel, self.consent)?;
        let mut boot = Boot::new(made.xen.clone(), kernel.image.clone(), initrd);
        boot.banner = Some(BANNER.to_owned());
        if is_interactive(self.check) {
            return boot.interactive();
        }
        check(&boot)?;
        // Until our own toolstack can do it, Debian's has to.
        let kit = Kit::make(&kernel, &guest, self.consent)?;
        ui::step("booting; domain 0 has a guest");
        let (report, run) = kit.run(&made.xen, "world", |machine| {
            machine.memory_mib(2048).timeout(PATIENCE)
        })?;
        conclude(&report, &run, "guest.log", "a guest has come and gone")
    }
}

/// Whether there is somebody to hand a shell to.
fn is_interactive(check: bool) -> bool {
    !check && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Boots: a shell where there is a terminal, else the check.
///
/// # Errors
/// QEMU fails, or a check does.
pub fn go(boot: &Boot, only_check: bool) -> Result<()> {
    match is_interactive(only_check) {
        true => boot.interactive(),
        false => check(boot),
    }
}

fn check(boot: &Boot) -> Result<()> {
    ui::step("booting; domain 0 checks itself");
    let (report, run) = boot.check()?;
    conclude(&report, &run, "serial.log", "domain 0 is up")
}

/// Says what came of a boot, and keeps its serial log under a name; `well` is what all is when all checks passed.
fn conclude(report: &Report, run: &Run, log: &str, well: &str) -> Result<()> {
    let kept = Cache::open()?.root().join(log);
    fs::write(&kept, run.log.to_string()).map_err(Error::io("write", &kept))?;
    if !report.passed() {
        ui::error(&format!(
            "--- the last lines of the serial log ---\n{}\n---",
            run.log.tail(40)
        ));
        run.complaints.iter().for_each(|line| ui::note(line));
    }
    ui::result(report.table().trim_end());
    report
        .verdict()
        .map_err(|e| e.remedy(format!("read {}", kept.display())))?;
    let all = report.checks.len();
    ui::result(&format!("{well}: all {all} checks passed"));
    Ok(())
}

/// Says what would be done, and which of it is done already.
fn plan(options: &Options, kernel: &KernelChoice, kernels: &KernelOptions) -> Result<()> {
    let cache = Cache::open()?;
    let missing = packages::missing()?;
    let names: Vec<_> = missing.iter().map(|p| p.name.as_str()).collect();
    let packages = match &names[..] {
        [] => "all there".to_owned(),
        names => format!("would install {}", names.join(" ")),
    };
    ui::result(&format!("1. host packages      {packages}"));
    match kernel {
        KernelChoice::Ours => {
            for flavour in Flavour::ALL {
                let said = kernel::describe(flavour, kernels)?;
                ui::result(&format!("2. kernel {flavour}        {said}"));
            }
        }
        KernelChoice::Debian => plan_package("2. kernel", Role::Kernel, &cache)?,
        KernelChoice::File(path) => {
            ui::result(&format!("2. kernel             {}", path.display()))
        }
    }
    plan_package("   busybox", Role::Busybox, &cache)?;
    let built = if hypervisor::hypervisor_is_built(options)? {
        "up to date"
    } else {
        "would run"
    };
    ui::result(&format!(
        "3. hypervisor         {built}: {}",
        hypervisor::describe(options)
    ));
    ui::result("4. initramfs          image/dom0, busybox and kernel modules, as cpio and gzip");
    ui::result("5. boot               QEMU, 2 CPUs, 2 GiB; a shell on a terminal, else the check,");
    ui::result("6. guest              and a boot with Debian's xl in domain 0, which has a guest");
    ui::result(&format!("cache: {}", cache.root().display()));
    Ok(())
}

fn plan_package(what: &str, role: Role, cache: &Cache) -> Result<()> {
    let lock = Lock::read(&Lock::path())?;
    let has = lock.of(role).find(|p| cache.has("debian", &p.sha256));
    let said = match (has, lock.of(role).next()) {
        (Some(p), _) => format!("in the cache: {} {}", p.name, p.version),
        (None, Some(p)) => format!("would download {}={}", p.name, p.version),
        (None, None) => "would take Debian's newest, with consent".to_owned(),
    };
    ui::result(&format!("{what:20}  {said}"));
    Ok(())
}
