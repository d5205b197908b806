//! `cargo rexen world`: everything, from the host's packages to the image, booted through GRUB, and a guest in it.

use crate::cache::Cache;
use crate::debian::Consent;
use crate::debian_set::has_set;
use crate::dist::TreeOptions;
use crate::error::Result;
use crate::hypervisor::{self, Options};
use crate::image::boot::ImageBoot;
use crate::image::{ImageOptions, build_image};
use crate::kernel::{self, Flavour, KernelChoice, KernelOptions};
use crate::lock::{Lock, Role};
use crate::{packages, tree, ui};

/// What our hypervisor says first.
pub const BANNER: &str = "Rexen version ";

/// How to go through the world.
#[derive(Clone, Debug)]
pub struct World {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Build the hypervisor with its debug checks.
    pub debug: bool,
    /// Hand over the console only if there is a terminal and this is false.
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
        let options = ImageOptions {
            tree: TreeOptions {
                kernels: KernelOptions {
                    consent: self.consent,
                    ..KernelOptions::of_user()
                },
                debug: self.debug,
                xl: false,
            },
            from: None,
            kernel: self.kernel,
        };
        if self.dry_run {
            return plan(&options);
        }
        packages::ensure()?;
        let image = build_image(&options, &tree::dist())?;
        ImageBoot::new(&image).go(self.check)
    }
}

/// Says what would be done, and which of it is done already.
fn plan(options: &ImageOptions) -> Result<()> {
    let cache = Cache::open()?;
    let missing = packages::missing()?;
    let names: Vec<_> = missing.iter().map(|p| p.name.as_str()).collect();
    let packages = match &names[..] {
        [] => "all there".to_owned(),
        names => format!("would install {}", names.join(" ")),
    };
    ui::result(&format!("1. host packages      {packages}"));
    for flavour in Flavour::ALL {
        let said = kernel::describe(flavour, &options.tree.kernels)?;
        ui::result(&format!("2. kernel {flavour}        {said}"));
    }
    match &options.kernel {
        KernelChoice::Ours => {}
        KernelChoice::Debian => plan_package("   the image's", Role::Kernel, &cache)?,
        KernelChoice::File(path) => {
            ui::result(&format!("   the image's        {}", path.display()))
        }
    }
    plan_package("   busybox", Role::Busybox, &cache)?;
    let grub = match has_set(Role::Grub, &cache, &Lock::read(&Lock::path())?) {
        true => "in the cache",
        false => "would download Debian's packages",
    };
    ui::result(&format!("   GRUB               {grub}"));
    let hypervisor = Options {
        debug: options.tree.debug,
        ..Options::default()
    };
    let built = if hypervisor::hypervisor_is_built(&hypervisor)? {
        "up to date"
    } else {
        "would run"
    };
    ui::result(&format!(
        "3. hypervisor         {built}: {}",
        hypervisor::describe(&hypervisor)
    ));
    ui::result("4. toolstack          xend, xm, xenstored and their tools, if they changed");
    ui::result("5. install tree       dist/install, with its manifest");
    ui::result(
        "6. image              dist/rexen.img: GRUB, hypervisor, domain 0's kernel and root",
    );
    ui::result(
        "7. boot               QEMU by BIOS, 2 CPUs, 2 GiB: domain 0's console on a terminal,",
    );
    ui::result(
        "                      else the check: domain 0 and its demo guest look at themselves",
    );
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
