//! Builds bare images with cargo: the hypervisor, and the small guests of tests/.
//!
//! Stock stable Rust, no extra target: fat LTO regenerates `core` and `alloc` with the flags below
//! (docs/decisions/0001-stock-toolchain.md), and [`crate::gate`] proves that nothing else slipped in.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use crate::cache::{Cache, Inputs};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::{gate, tree, ui};

/// What makes rustc's stock Linux target fit for bare metal.
const RUSTFLAGS: [&str; 5] = [
    "-Ctarget-feature=-sse",
    "-Crelocation-model=pic",
    "-Cno-redzone=yes",
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
];
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Bump when this file changes what it makes from the same sources.
const RECIPE: &str = "1";
/// How often to start again when somebody edits the sources under the compiler.
const ATTEMPTS: usize = 3;
/// The feature that every bare image is built with.
const IMAGE: &str = "image";

/// How to build the hypervisor.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Profile `hv-debug`: debug assertions and the checks that recount the world.
    pub debug: bool,
    /// Feature `stretch`: it measures the longest time without a look at what waits (docs/bounded-work.md).
    pub stretch: bool,
}

impl Options {
    fn profile(&self) -> &'static str {
        if self.debug { "hv-debug" } else { "hv" }
    }

    fn features(&self) -> &'static str {
        if self.stretch { "image,stretch" } else { IMAGE }
    }
}

/// The files of one hypervisor build, kept in the cache and never changed there.
#[derive(Clone, Debug)]
pub struct Artefacts {
    /// The image without symbols: what QEMU's `-kernel` takes.
    pub xen: PathBuf,
    /// The same, compressed: what GRUB loads.
    pub xen_gz: PathBuf,
    /// The linked ELF with symbols and debug data.
    pub xen_syms: PathBuf,
}

impl Artefacts {
    fn within(dir: &Path) -> Self {
        Self {
            xen: dir.join("xen"),
            xen_gz: dir.join("xen.gz"),
            xen_syms: dir.join("xen-syms"),
        }
    }
}

/// Builds the hypervisor and passes it through the gate; does nothing when the sources are those of an earlier build.
///
/// # Errors
/// The code does not compile, or the gate refuses the image.
pub fn build_hypervisor(options: &Options) -> Result<Artefacts> {
    let key = || hypervisor_key(options);
    let dir = settled("hypervisor", key, |dir| {
        ui::step(&format!("hypervisor (profile {})", options.profile()));
        let elf = cargo_build(
            "rexen-hypervisor",
            &["xen"],
            options.profile(),
            options.features(),
        )?
        .join("xen");
        let image = fs::read(&elf).map_err(Error::io("read", &elf))?;
        finish(&image, &Artefacts::within(dir))
    })?;
    Ok(Artefacts::within(&dir))
}

/// Makes a step's output, and again if somebody edits the sources under the compiler: what is kept under a key
/// was made from the sources that the key names.
pub(crate) fn settled(
    step: &str,
    key: impl Fn() -> Result<String>,
    make: impl Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = Cache::open()?;
    for _ in 0..ATTEMPTS {
        let before = key()?;
        let moved = Cell::new(false);
        let made = cache.get_or_make(step, &before, |dir| {
            let made = make(dir);
            moved.set(key()? != before);
            if moved.get() {
                Err(Error::new("sources changed"))
            } else {
                made
            }
        });
        if !moved.get() {
            return made;
        }
        ui::note("the sources changed under the compiler; once more");
    }
    Err(
        Error::new("the sources keep changing while they are compiled")
            .remedy("run the command again when the tree is at rest"),
    )
}

/// From the linked ELF to the three files.
fn finish(image: &[u8], made: &Artefacts) -> Result<()> {
    gate::check(image)?;
    let small = gate::stripped(image)?;
    write(&made.xen_gz, &gzip(&small)?)?;
    write(&made.xen, &small)?;
    write(&made.xen_syms, image)?;
    ui::note(&format!(
        "gate passed: {} KiB to load, {} KiB with symbols",
        small.len() / 1024,
        image.len() / 1024
    ));
    Ok(())
}

/// Whether a build for the present sources is in the cache.
///
/// # Errors
/// The sources cannot be read.
pub fn hypervisor_is_built(options: &Options) -> Result<bool> {
    Ok(Cache::open()?.has("hypervisor", &hypervisor_key(options)?))
}

/// Copies a build to `dist/install/boot`.
///
/// # Errors
/// The file system's.
pub fn install_hypervisor(made: &Artefacts) -> Result<PathBuf> {
    let boot = tree::dist_install().join("boot");
    fs::create_dir_all(&boot).map_err(Error::io("create", &boot))?;
    for (from, name) in [(&made.xen_gz, "xen.gz"), (&made.xen_syms, "xen-syms")] {
        let part = boot.join(format!(".{name}.{}", std::process::id()));
        fs::copy(from, &part).map_err(Error::io("write", &part))?;
        let to = boot.join(name);
        fs::rename(&part, &to).map_err(Error::io("write", &to))?;
    }
    Ok(boot)
}

/// Builds one bare guest of tests/guests (package `rexen-guests`, binary `name`) and returns its ELF.
///
/// # Errors
/// There is no such guest, or it does not compile.
pub fn build_guest(name: &str) -> Result<PathBuf> {
    Ok(build_guests(&[name])?.remove(0))
}

/// Builds several bare guests with one call of cargo, which has work for every core then; ELFs in the order of names.
///
/// # Errors
/// There is no such guest, or one does not compile.
pub fn build_guests(names: &[&str]) -> Result<Vec<PathBuf>> {
    let root = tree::root();
    let key = || {
        Ok(common_inputs("guests", "hv")?
            .text("names", &names.join(" "))
            .tree("guests", &root.join("tests/guests"))?
            .tree("abi", &root.join("hypervisor/abi"))?
            .finish())
    };
    let file = |dir: &Path, name: &str| dir.join(format!("{name}.elf"));
    let dir = settled("guests", key, |dir| {
        ui::step(&format!("guests: {}", names.join(" ")));
        let built = cargo_build("rexen-guests", names, "hv", IMAGE)?;
        for name in names {
            let elf = built.join(name);
            fs::copy(&elf, file(dir, name)).map_err(Error::io("copy", &elf))?;
        }
        Ok(())
    })?;
    Ok(names.iter().map(|name| file(&dir, name)).collect())
}

/// The command that compiles bare images of one package.
fn cargo_command(package: &str, bins: &[&str], profile: &str, features: &str) -> Cmd {
    Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", package, "--profile", profile])
        .args(bins.iter().flat_map(|bin| ["--bin", bin]))
        .args(["--features", features, "--target", TARGET, "--target-dir"])
        .arg(tree::image_target_dir())
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags().join("\x1f"))
        // Inherited flags would silently take the place of ours.
        .without_env("RUSTFLAGS")
        .without_env("CARGO_BUILD_TARGET")
        .dir(tree::root())
}

/// The command as text, for `--dry-run`.
pub fn describe(options: &Options) -> String {
    cargo_command(
        "rexen-hypervisor",
        &["xen"],
        options.profile(),
        options.features(),
    )
    .shell_line()
}

/// Compiles, and returns the folder that the binaries are in.
fn cargo_build(package: &str, bins: &[&str], profile: &str, features: &str) -> Result<PathBuf> {
    cargo_command(package, bins, profile, features)
        .run()
        .map_err(|e| {
            Error::new(format!("{package} does not build"))
                .because(e.cause.unwrap_or(e.what))
                .remedy(format!("for a quick look: cargo check -p {package}"))
        })?;
    Ok(tree::image_target_dir().join(TARGET).join(profile))
}

/// The flags, and two more which keep this machine's paths out of the image.
fn rustflags() -> Vec<String> {
    let flags = RUSTFLAGS.iter().map(|&f| f.to_owned());
    flags.chain(remapped_paths()).collect()
}

/// Flags that keep this machine's paths out of what rustc makes.
pub(crate) fn remapped_paths() -> Vec<String> {
    let mut flags = Vec::new();
    flags.push(format!(
        "--remap-path-prefix={}=/rexen",
        tree::root().display()
    ));
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cargo")));
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}

fn hypervisor_key(options: &Options) -> Result<String> {
    Ok(common_inputs("hypervisor", options.profile())?
        .text("features", options.features())
        .tree("hypervisor", &tree::root().join("hypervisor"))?
        .finish())
}

/// What every bare image depends on besides its own sources.
fn common_inputs(step: &str, profile: &str) -> Result<Inputs> {
    let inputs = Inputs::of(step)
        .text("recipe", RECIPE)
        .text("flags", &RUSTFLAGS.join(" "))
        .text("profile", profile);
    compiler_inputs(inputs)
}

/// What everything compiled here depends on: the compiler, and the versions of crates.
pub(crate) fn compiler_inputs(inputs: Inputs) -> Result<Inputs> {
    let root = tree::root();
    let rustc = Cmd::new("rustc").arg("-vV").dir(root).output()?;
    inputs
        .text("rustc", &rustc)
        .file("Cargo.lock", &root.join("Cargo.lock"))?
        .file("Cargo.toml", &root.join("Cargo.toml"))
}

/// Compresses without a time stamp or a name: the same bytes give the same file.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish());
    done.map_err(|e| Error::new("cannot compress").because(e))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_reproducible_and_has_no_time_stamp() {
        let packed = gzip(b"the same bytes").unwrap();
        assert_eq!(packed, gzip(b"the same bytes").unwrap());
        assert_eq!(packed[..3], [0x1f, 0x8b, 8]);
        assert_eq!(packed[3..8], [0, 0, 0, 0, 0], "no name, no time");
    }

    #[test]
    fn the_image_is_built_with_our_flags_only() {
        let line = describe(&Options {
            debug: true,
            ..Options::default()
        });
        assert!(line.contains("--profile hv-debug"));
        assert!(line.contains("-Ctarget-feature=-sse") && line.contains("-Cno-redzone=yes"));
        assert!(!line.contains(" RUSTFLAGS="));
    }
}
