//! Our own kernels: `xen0` for domain 0 and `xenU` for guests, from pinned source, our patches and our configuration.
//!
//! A kernel is a function of the source tarball, the series, the requested settings and the compiler; it is kept in
//! the cache under the hash of these. What it is built from is in `guest-kernel-patches/`.
//!
//! [`source`] has the tarball, [`series`] the patches, [`fragment`] the settings and [`kconfig`] why one was refused;
//! a [`shop`] is where it is built, with [`make`]; [`update`] and [`menuconfig`] are the commands around it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cache::{Cache, Inputs};
use crate::debian::{self, Consent};
use crate::error::{Error, Result};
use crate::ui;

pub mod choice;
pub mod fragment;
mod install;
mod kconfig;
pub mod make;
mod mark;
pub mod menuconfig;
mod patched_tree;
pub mod series;
pub mod shop;
pub mod source;
mod tools;
pub mod update;

pub use choice::KernelChoice;
use fragment::Requests;
pub use install::install_kernel;
use series::Series;
use shop::Shop;
use source::{Pin, Tarball};

/// Bump when this folder changes what it makes from the same inputs.
const RECIPE: &str = "1";
/// The cache folder of shops, by the hash of the source they work on.
const SHOPS: &str = "linux";

/// Which of our two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Domain 0: drivers for real machines, and the back ends.
    Xen0,
    /// Guests: small, front ends only.
    XenU,
}

impl Flavour {
    /// Both.
    pub const ALL: [Flavour; 2] = [Flavour::Xen0, Flavour::XenU];

    /// Its name, which ends the name of every release: `xen0` or `xenU`.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Xen0 => "xen0",
            Flavour::XenU => "xenU",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flavour {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|f| f.name() == name);
        found.ok_or_else(|| "xen0 or xenU".to_owned())
    }
}

/// How to build a kernel.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// What to do when Debian no longer offers the pinned source.
    pub consent: Consent,
    /// A source tarball to use in place of the pinned one. Patches and settings that do not fit it are left out.
    pub source: Option<PathBuf>,
    /// More settings, fragments or folders of them (`*.config`, and `xen0/*.config` for one kernel); the last has the
    /// last word.
    pub fragments: Vec<PathBuf>,
    /// Build it all again below this folder, source and objects included, and leave the cache alone.
    pub work: Option<PathBuf>,
    /// More for make's environment, which is otherwise the same for everybody.
    pub env: Vec<(String, String)>,
    /// Words before make's command line: a program that runs it.
    pub prefix: Vec<String>,
}

impl Default for KernelOptions {
    /// The pinned source and our settings alone: the kernels that Rexen ships and tests.
    fn default() -> Self {
        Self {
            consent: Consent::from_env(),
            source: None,
            fragments: Vec::new(),
            work: None,
            env: Vec::new(),
            prefix: Vec::new(),
        }
    }
}

impl KernelOptions {
    /// The same, and the user's own settings from `~/.config/rexen/kernel`.
    pub fn of_user() -> Self {
        let dir = user_fragments().filter(|d| d.is_dir());
        Self {
            fragments: dir.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Where the user's own settings are: `$XDG_CONFIG_HOME/rexen/kernel`, else `~/.config/rexen/kernel`.
pub fn user_fragments() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|h| h.join(".config")));
    base.map(|b| b.join("rexen/kernel"))
}

/// The files of one kernel, never changed where they are.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which one.
    pub flavour: Flavour,
    /// `vmlinuz-RELEASE`, a bzImage.
    pub image: PathBuf,
    /// `vmlinux-syms-RELEASE`: the ELF with symbols, for crash dumps.
    pub syms: PathBuf,
    /// `System.map-RELEASE`.
    pub map: PathBuf,
    /// `config-RELEASE`.
    pub config: PathBuf,
    /// `lib/modules/RELEASE`, with `modules.dep` and its like.
    pub modules: PathBuf,
    /// `uname -r`: the version, then `-xen0` or `-xenU`.
    pub release: String,
    /// The hash of what it was made from.
    pub key: String,
}

/// The names of a kernel's files in a boot folder, before `-RELEASE`.
const BOOT_FILES: [&str; 4] = ["vmlinuz", "vmlinux-syms", "System.map", "config"];

impl Kernel {
    fn within(dir: &Path, flavour: Flavour, key: String) -> Result<Self> {
        let path = dir.join(shop::RELEASE);
        let release = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let [image, syms, map, config] =
            BOOT_FILES.map(|name| dir.join("boot").join(format!("{name}-{release}")));
        let modules = dir.join("lib/modules").join(&release);
        Ok(Self {
            flavour,
            image,
            syms,
            map,
            config,
            modules,
            release,
            key,
        })
    }

    /// What booting it and making an initramfs for it take.
    pub fn bootable(&self) -> debian::Kernel {
        debian::Kernel {
            image: self.image.clone(),
            modules: self.modules.clone(),
            release: self.release.clone(),
            key: self.key.clone(),
        }
    }
}

/// What a kernel is made from, but for the source; read once, so that what is built is what the key names.
pub struct Recipe {
    flavour: Flavour,
    pin: Pin,
    series: Series,
    requests: Requests,
    tools: String,
}

impl Recipe {
    /// Reads the pin, the series and the settings.
    ///
    /// # Errors
    /// Something cannot be read or is malformed.
    pub fn read(flavour: Flavour, options: &KernelOptions) -> Result<Self> {
        let dir = source::patches_dir();
        Ok(Self {
            flavour,
            pin: Pin::read(&Pin::path())?,
            series: Series::read(&dir)?,
            requests: requests(flavour, options)?,
            tools: tools::versions()?,
        })
    }

    fn key(&self, source_sha256: &str) -> String {
        let mut inputs = Inputs::of("kernel")
            .text("recipe", RECIPE)
            .text("flavour", self.flavour.name())
            .text("source", source_sha256)
            .text("settings", &self.requests.text())
            .text("tools", &self.tools);
        for patch in &self.series.patches {
            inputs = inputs.text(&patch.name, &patch.text);
        }
        inputs.finish()
    }
}

/// All settings asked for: ours, then the user's.
fn requests(flavour: Flavour, options: &KernelOptions) -> Result<Requests> {
    let dir = source::patches_dir().join("config");
    let ours = [
        dir.join("common.config"),
        dir.join(format!("{flavour}.config")),
    ];
    let users = fragments(flavour, &options.fragments)?;
    if !users.is_empty() {
        let names: Vec<_> = users.iter().map(|p| p.display().to_string()).collect();
        ui::note(&format!("kernel {flavour}: with {}", names.join(", ")));
    }
    Requests::read(&ours, &users)
}

/// The user's fragments for a kernel in the order they count: the given files, and what is in the given folders.
fn fragments(flavour: Flavour, given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if path.is_dir() {
            files.extend(configs_in(path)?);
            let own = path.join(flavour.name());
            if own.is_dir() {
                files.extend(configs_in(&own)?);
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn configs_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "config"))
        .collect();
    files.sort();
    Ok(files)
}

/// The cache step that keeps a flavour's kernels.
fn step(flavour: Flavour) -> String {
    format!("kernel-{flavour}")
}

/// Builds a kernel, or finds it in the cache.
///
/// # Errors
/// The host lacks tools; there is no source; a patch does not apply; a setting is refused; it does not compile; the
/// disk is full; somebody interrupts. The next run goes on from there.
pub fn build_kernel(flavour: Flavour, options: &KernelOptions) -> Result<Kernel> {
    tools::ensure()?;
    let recipe = Recipe::read(flavour, options)?;
    let cache = Cache::open()?;
    if let (None, None) = (&options.work, &options.source) {
        let key = recipe.key(&recipe.pin.tarball_sha256);
        if cache.has(&step(flavour), &key) {
            ui::detail(&format!("kernel {flavour}: up to date ({key:.12})"));
            return Kernel::within(&cache.path(&step(flavour), &key), flavour, key);
        }
    }
    let tarball = obtain(&cache, &recipe.pin, options)?;
    let key = recipe.key(&tarball.sha256);
    let dir = match &options.work {
        None => cache.get_or_make(&step(flavour), &key, |dir| {
            let shop = Shop::open(&shop_dir(&cache, &tarball))?;
            shop.prune();
            shop.build(&recipe, &tarball, options, dir)
        })?,
        Some(work) => {
            let shop = Shop::open(work)?;
            let dir = work.join(format!("out-{flavour}"));
            if dir.exists() {
                fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
            }
            fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
            shop.build(&recipe, &tarball, options, &dir)?;
            dir
        }
    };
    Kernel::within(&dir, flavour, key)
}

fn obtain(cache: &Cache, pin: &Pin, options: &KernelOptions) -> Result<Tarball> {
    match &options.source {
        Some(path) => source::given(path, pin),
        None => {
            if let Some(newer) = source::newer(pin) {
                ui::note(&format!(
                    "Debian has {} {newer}: cargo rexen kernel update",
                    pin.package
                ));
            }
            source::fetch(cache, pin, options.consent)
        }
    }
}

/// The source, and the shop where its settings can be looked at without building.
fn open_shop(options: &KernelOptions) -> Result<(Tarball, Shop)> {
    let cache = Cache::open()?;
    let tarball = obtain(&cache, &Pin::read(&Pin::path())?, options)?;
    let shop = match &options.work {
        Some(work) => Shop::open(work)?,
        None => Shop::open(&shop_dir(&cache, &tarball))?,
    };
    Ok((tarball, shop))
}

fn shop_dir(cache: &Cache, tarball: &Tarball) -> PathBuf {
    cache.path(SHOPS, &tarball.sha256[..16])
}

/// How a kernel stands and what it is made from, for `--dry-run`.
///
/// # Errors
/// What it is made from cannot be read.
pub fn describe(flavour: Flavour, options: &KernelOptions) -> Result<String> {
    let recipe = Recipe::read(flavour, options)?;
    let cache = Cache::open()?;
    let pin = &recipe.pin;
    let key = recipe.key(&pin.tarball_sha256);
    let state = if cache.has(&step(flavour), &key) {
        "up to date"
    } else if source::is_cached(&cache, pin) {
        "would build"
    } else {
        "would download and build"
    };
    let patches = recipe.series.patches.len();
    let mut said = format!(
        "{state}: {} {}, {patches} patches",
        pin.package, pin.version
    );
    if let Some(newer) = source::newer(pin) {
        said += &format!("; Debian has {newer} (cargo rexen kernel update)");
    }
    Ok(said)
}

#[cfg(test)]
mod tests;
