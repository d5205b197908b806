//! Where kernels are built: one source tree, one object tree per flavour, one lock.
//!
//! The trees stay, so that a change of the series, the settings or the compiler costs only what it changes.
//! Layout: `tree/`, `originals/` and `touched` (see [`PatchedTree`]); `objects-xen0/`, `xen0.log`, ...; `lock`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::fragment::{Asker, Config, Requests};
use super::kconfig::Kconfig;
use super::make::{Make, blamed};
use super::mark::made_before;
use super::patched_tree::{PatchedTree, make_same};
use super::series::{Misfit, Series};
use super::source::Tarball;
use super::{Flavour, KernelOptions, Recipe, tools};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::ui::{self, Progress};

/// The file that holds the release of a built kernel.
pub(super) const RELEASE: &str = "release";
/// About how many steps make announces for one of our kernels, for the bar of the first build; then what was counted.
const STEPS: u64 = 2600;

/// How many shops the cache keeps, of 2.5 GB each: the one for the pinned source, and one for another.
const KEEP: usize = 2;

/// A place to build in, locked for us alone.
pub struct Shop {
    root: PathBuf,
    lock: File,
}

impl Shop {
    /// Opens or makes a shop, and waits until nobody else works in it.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        // make and the compiler run elsewhere: they need the whole path.
        let root = fs::canonicalize(root).map_err(Error::io("find", root))?;
        if root.to_string_lossy().contains([' ', ':']) {
            return Err(
                Error::new(format!("cannot build Linux in {}", root.display()))
                    .because("its makefiles cannot bear a space or a colon in a path")
                    .remedy("set XDG_CACHE_HOME to another folder, or use --work DIR"),
            );
        }
        let path = root.join("lock");
        let lock = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        if lock.try_lock().is_err() {
            ui::note(&format!(
                "waiting for another build, which holds {}",
                path.display()
            ));
            lock.lock().map_err(Error::io("lock", &path))?;
        }
        // When it was used last.
        lock.set_modified(SystemTime::now())
            .map_err(Error::io("write", &path))?;
        Ok(Self { root, lock })
    }

    /// Removes the least recently used of the shops beside this one, unless there are few or somebody works in them.
    /// Best effort: what cannot be removed stays.
    pub fn prune(&self) {
        let used = |dir: &Path| {
            fs::metadata(dir.join("lock"))
                .and_then(|m| m.modified())
                .ok()
        };
        let beside = self.root.parent().and_then(|dir| fs::read_dir(dir).ok());
        let mut shops: Vec<_> = beside
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| Some((used(&e.path())?, e.path())))
            .filter(|(_, path)| *path != self.root)
            .collect();
        shops.sort();
        let spare = (shops.len() + 1).saturating_sub(KEEP);
        for (_, path) in shops.into_iter().take(spare) {
            if File::open(path.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok()) {
                ui::note(&format!("removing {}, unused for long", path.display()));
                let _ = fs::remove_dir_all(path);
            }
        }
    }

    /// The source tree.
    pub fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    /// The object tree of a flavour.
    pub fn objects(&self, flavour: Flavour) -> PathBuf {
        self.root.join(format!("objects-{flavour}"))
    }

    fn file(&self, flavour: Flavour, kind: &str) -> PathBuf {
        self.root.join(format!("{flavour}.{kind}"))
    }

    /// Makes the source tree that of a tarball and a series. Returns the patches that were left out.
    ///
    /// # Errors
    /// It cannot be unpacked, or a patch does not apply.
    pub fn prepare(&self, tarball: &Tarball, series: &Series) -> Result<Vec<String>> {
        let tree = self.tree();
        if !tree.exists() {
            self.unpack(tarball)?;
        }
        ui::step(&format!(
            "{}: {} patches",
            tarball.label,
            series.patches.len()
        ));
        PatchedTree {
            tree,
            originals: self.root.join("originals"),
            record: self.root.join("touched"),
            scratch: self.root.join("scratch"),
        }
        .become_(series, &tarball.label, tarball.misfit)
    }

    fn unpack(&self, tarball: &Tarball) -> Result<()> {
        ui::step(&format!("unpacking {}", tarball.label));
        let part = self.root.join("tree.part");
        if part.exists() {
            fs::remove_dir_all(&part).map_err(Error::io("remove", &part))?;
        }
        fs::create_dir_all(&part).map_err(Error::io("create", &part))?;
        Cmd::new("tar")
            .args(["--no-same-owner", "--strip-components=1", "-xf"])
            .arg(&tarball.path)
            .arg("-C")
            .arg(&part)
            .run()
            .map_err(|e| {
                e.remedy(format!(
                    "is there room in {}? Linux takes 1.6 GB",
                    self.root.display()
                ))
            })?;
        if !part.join("Makefile").is_file() {
            return Err(Error::new(format!("{} is no Linux source", tarball.label))
                .because("there is no Makefile in its first folder"));
        }
        // What a series touched in an earlier tree says nothing about this one.
        let _ = fs::remove_file(self.root.join("touched"));
        let tree = self.tree();
        fs::rename(&part, &tree).map_err(Error::io("create", &tree))
    }

    /// How to call make for a flavour. `tree` and `objects` and `log` are those of [`Shop::paths`].
    fn make<'a>(&'a self, paths: &'a Paths, options: &'a KernelOptions) -> Make<'a> {
        Make {
            name: format!("kernel {}", paths.flavour),
            tree: &paths.tree,
            objects: &paths.objects,
            log: &paths.log,
            mark: self.file(paths.flavour, "making"),
            lock: &self.lock,
            env: &options.env,
            prefix: &options.prefix,
            ccache: tools::is_in_path("ccache"),
        }
    }

    fn paths(&self, flavour: Flavour) -> Result<Paths> {
        let objects = self.objects(flavour);
        fs::create_dir_all(&objects).map_err(Error::io("create", &objects))?;
        Ok(Paths {
            flavour,
            tree: self.tree(),
            objects,
            log: self.file(flavour, "log"),
        })
    }

    /// Makes the `.config` of a flavour from the requests, and nothing else.
    ///
    /// # Errors
    /// A request did not survive: each is named with its place, what it became, and why if that is easily told.
    pub fn configure(
        &self,
        flavour: Flavour,
        requests: &Requests,
        misfit: Misfit,
        options: &KernelOptions,
    ) -> Result<Config> {
        let paths = self.paths(flavour)?;
        let merged = self.file(flavour, "config");
        fs::write(&merged, requests.text()).map_err(Error::io("write", &merged))?;
        let all = format!("KCONFIG_ALLCONFIG={}", merged.display());
        let make = self.make(&paths, options);
        make.run(&[&all, "allnoconfig"], None, &|| false)?;
        let config = Config::read(&paths.objects.join(".config"))?;
        honoured(flavour, requests, &config, misfit, &paths.tree)?;
        Ok(config)
    }

    /// Lets the user edit a copy of the `.config` with one of Kconfig's menus, on our terminal.
    ///
    /// # Errors
    /// The menu cannot be built or started.
    pub fn edit(&self, flavour: Flavour, menu: &str, options: &KernelOptions) -> Result<Config> {
        let paths = self.paths(flavour)?;
        let copy = paths.objects.join(".config.edited");
        let from = paths.objects.join(".config");
        fs::copy(&from, &copy).map_err(Error::io("copy", &from))?;
        let file = format!("KCONFIG_CONFIG={}", copy.display());
        let term = format!("TERM={}", std::env::var("TERM").unwrap_or_default());
        let command = self.make(&paths, options).command(&[&file, &term, menu]);
        ui::command(&command.shell_line());
        let ended = command.to_std().status();
        if !ended.is_ok_and(|status| status.success()) {
            return Err(Error::new(format!("kernel {flavour}: {menu} failed"))
                .because("its own message is above")
                .remedy(
                    "it needs a terminal, and libncurses-dev: apt-get install libncurses-dev",
                ));
        }
        Config::read(&copy)
    }

    /// Puts the settings into the source tree as `arch/x86/configs/<flavour>_defconfig`, for those who build there by hand.
    fn save_defconfig(&self, paths: &Paths, options: &KernelOptions) -> Result<()> {
        let dir = paths.tree.join("arch/x86/configs");
        if !dir.is_dir() {
            return Ok(());
        }
        let make = self.make(paths, options);
        make.run(&["savedefconfig"], None, &|| false)?;
        let to = dir.join(format!("{}_defconfig", paths.flavour));
        make_same(&paths.objects.join("defconfig"), &to)
    }

    /// Builds a kernel and puts its files into `out`.
    ///
    /// # Errors
    /// See [`super::build_kernel`].
    pub fn build(
        &self,
        recipe: &Recipe,
        tarball: &Tarball,
        options: &KernelOptions,
        out: &Path,
    ) -> Result<()> {
        let flavour = recipe.flavour;
        self.prepare(tarball, &recipe.series)?;
        ui::step(&format!("kernel {flavour}: {}", tarball.label));
        let paths = self.paths(flavour)?;
        fs::write(&paths.log, "").map_err(Error::io("write", &paths.log))?;
        self.configure(flavour, &recipe.requests, tarball.misfit, options)?;
        self.save_defconfig(&paths, options)?;
        self.compile(&paths, options)
            .map_err(|e| blame(e, &recipe.series, &paths.tree))?;
        self.collect(&paths, options, out)
    }

    fn compile(&self, paths: &Paths, options: &KernelOptions) -> Result<()> {
        let counted = self.file(paths.flavour, "steps");
        let total = fs::read_to_string(&counted)
            .ok()
            .and_then(|t| t.parse().ok());
        let there = made_before(&paths.objects);
        let total = total.unwrap_or(STEPS).max(1);
        let bar = Progress::start(
            &format!("kernel {}", paths.flavour),
            there.min(total),
            total,
        );
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let make = self.make(paths, options);
        let targets = [&format!("-j{jobs}"), "bzImage", "modules"];
        let steps = make.run(&targets, Some(bar), &|| false)?;
        fs::write(&counted, (there + steps).max(1).to_string())
            .map_err(Error::io("write", &counted))
    }

    /// Copies what a kernel consists of, with the modules as `modules_install` lays them out.
    fn collect(&self, paths: &Paths, options: &KernelOptions, out: &Path) -> Result<()> {
        let make = self.make(paths, options);
        let release = make.command(&["-s", "kernelrelease"]).output()?;
        let release = release.trim();
        let boot = out.join("boot");
        fs::create_dir_all(&boot).map_err(Error::io("create", &boot))?;
        let from = ["arch/x86/boot/bzImage", "vmlinux", "System.map", ".config"];
        for (from, name) in from.iter().zip(super::BOOT_FILES) {
            let from = paths.objects.join(from);
            let to = boot.join(format!("{name}-{release}"));
            fs::copy(&from, &to)
                .map_err(|e| Error::io("copy", &from)(e).remedy(format!("to {}", to.display())))?;
        }
        let install = format!("INSTALL_MOD_PATH={}", out.display());
        // depmod is called below, where its failure is seen.
        make.run(&["modules_install", &install, "DEPMOD=true"], None, &|| {
            false
        })?;
        let modules = out.join("lib/modules").join(release);
        for link in ["build", "source"] {
            // They point into the object and the source tree of whoever built it.
            let link = modules.join(link);
            if link.is_symlink() {
                fs::remove_file(&link).map_err(Error::io("remove", &link))?;
            }
        }
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        Cmd::new("env")
            .arg(format!("PATH={path}"))
            .args(["depmod", "-e", "-b"])
            .arg(out)
            .arg("-F")
            .arg(paths.objects.join("System.map"))
            .arg(release)
            .run()?;
        let path = out.join(RELEASE);
        fs::write(&path, release).map_err(Error::io("write", &path))
    }
}

struct Paths {
    flavour: Flavour,
    tree: PathBuf,
    objects: PathBuf,
    log: PathBuf,
}

/// Holds the requests against the `.config`.
fn honoured(
    flavour: Flavour,
    requests: &Requests,
    config: &Config,
    misfit: Misfit,
    tree: &Path,
) -> Result<()> {
    let refused = requests.refused(config);
    if refused.is_empty() {
        return Ok(());
    }
    let kconfig = Kconfig::read(tree);
    let mut lines = Vec::new();
    for r in &refused {
        let why = kconfig.why(r, config);
        let (symbol, wanted, place) = (&r.symbol, &r.request.value, &r.request.place);
        let line = format!(
            "{place}: CONFIG_{symbol}={wanted} became {}: {why}",
            r.became
        );
        // What the user asks for, he asks for with this source in mind.
        if misfit == Misfit::LeaveOut && r.request.asker == Asker::Ours {
            ui::note(&line);
        } else {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!(
        "kernel {flavour}: {} settings did not survive Kconfig",
        lines.len()
    ))
    .because(lines.join("\n"))
    .remedy("correct the fragment, or ask for what the setting depends on as well"))
}

/// Adds to a compile error which of our patches change the file.
fn blame(error: Error, series: &Series, tree: &Path) -> Error {
    let Some(cause) = &error.cause else {
        return error;
    };
    let mut words = Vec::new();
    for file in blamed(cause, tree) {
        let patches = series.of_file(&file);
        if !patches.is_empty() {
            words.push(format!(
                "{} is changed by {}",
                file.display(),
                patches.join(", ")
            ));
        }
    }
    if words.is_empty() {
        return error;
    }
    let remedy = error.remedy.clone().unwrap_or_default();
    error.remedy(format!("{}\n{remedy}", words.join("\n")))
}
