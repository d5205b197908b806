//! Which kernel domain 0 boots, and where its modules are.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Flavour, KernelOptions, build_kernel, install_kernel};
use crate::cache::Inputs;
use crate::debian::{self, fetch_debian_kernel};
use crate::error::{Error, Result};

/// The argument of `--kernel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// Ours: `xen0` for domain 0, `xenU` for guests.
    #[default]
    Ours,
    /// Debian's stock kernel, for both.
    Debian,
    /// A kernel image.
    File(PathBuf),
}

impl FromStr for KernelChoice {
    type Err = Infallible;

    fn from_str(word: &str) -> std::result::Result<Self, Infallible> {
        Ok(match word {
            "xen0" => KernelChoice::Ours,
            "debian" => KernelChoice::Debian,
            file => KernelChoice::File(file.into()),
        })
    }
}

impl KernelChoice {
    /// The kernel for domain 0; ours is built if need be, and put into `dist/install`.
    ///
    /// # Errors
    /// It cannot be built or fetched; or nobody knows a given file's modules.
    pub fn domain0(&self, options: &KernelOptions) -> Result<debian::Kernel> {
        match self {
            KernelChoice::Ours => ours(Flavour::Xen0, options),
            KernelChoice::Debian => fetch_debian_kernel(options.consent),
            KernelChoice::File(image) => with_modules(image),
        }
    }

    /// The kernel for guests that goes with it.
    ///
    /// # Errors
    /// As [`KernelChoice::domain0`].
    pub fn guest(&self, options: &KernelOptions) -> Result<debian::Kernel> {
        match self {
            KernelChoice::Ours => ours(Flavour::XenU, options),
            other => other.domain0(options),
        }
    }
}

fn ours(flavour: Flavour, options: &KernelOptions) -> Result<debian::Kernel> {
    let kernel = build_kernel(flavour, options)?;
    if options.work.is_none() {
        install_kernel(&kernel)?;
    }
    Ok(kernel.bootable())
}

/// A kernel image with the modules of its release, which are where an installed kernel's are:
/// `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`.
fn with_modules(image: &Path) -> Result<debian::Kernel> {
    let image = std::fs::canonicalize(image).map_err(Error::io("find", image))?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let root = image.parent().and_then(Path::parent);
    let modules = match (name.strip_prefix("vmlinuz-"), root) {
        (Some(release), Some(root)) => root.join("lib/modules").join(release),
        _ => PathBuf::new(),
    };
    if !modules.is_dir() {
        return Err(Error::new(format!("no modules for {}", image.display()))
            .because("they are looked for in ../lib/modules/RELEASE of a boot/vmlinuz-RELEASE")
            .remedy("put them there, or bring domain 0's whole initramfs: --initrd FILE"));
    }
    let key = Inputs::of("kernel file")
        .file("image", &image)?
        .tree("modules", &modules)?
        .finish();
    let release = modules.file_name().unwrap_or_default();
    Ok(debian::Kernel {
        release: release.to_string_lossy().into_owned(),
        image,
        modules,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_word_is_a_choice_and_all_else_is_a_file() {
        let choice = |word: &str| word.parse::<KernelChoice>().unwrap();
        assert_eq!(choice("xen0"), KernelChoice::Ours);
        assert_eq!(choice("debian"), KernelChoice::Debian);
        assert_eq!(choice("./debian"), KernelChoice::File("./debian".into()));
    }

    #[test]
    fn a_file_brings_the_modules_of_its_release() {
        let root = std::env::temp_dir().join(format!("rexen-choice-{}", std::process::id()));
        fs::create_dir_all(root.join("boot")).unwrap();
        let image = root.join("boot/vmlinuz-6.1-mine");
        fs::write(&image, "image").unwrap();
        let file = KernelChoice::File(image.clone());
        let lacks = file.domain0(&KernelOptions::default()).unwrap_err();
        assert!(lacks.remedy.unwrap().contains("--initrd"));

        fs::create_dir_all(root.join("lib/modules/6.1-mine")).unwrap();
        let found = file.domain0(&KernelOptions::default()).unwrap();
        assert_eq!(found.release, "6.1-mine");
        fs::write(root.join("lib/modules/6.1-mine/a.ko"), "module").unwrap();
        let changed = file.domain0(&KernelOptions::default()).unwrap();
        assert_ne!(found.key, changed.key);
        fs::remove_dir_all(root).unwrap();
    }
}
