//! Puts a kernel into `dist/install`, the tree that an installation copies to `/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::Kernel;
use crate::error::{Error, Result};
use crate::tree;

/// Copies a kernel to `dist/install`, in the place of an older one of its flavour.
///
/// # Errors
/// The file system's.
pub fn install_kernel(kernel: &Kernel) -> Result<PathBuf> {
    install_below(&tree::dist_install(), kernel)
}

pub(super) fn install_below(root: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let boot = root.join("boot");
    let modules = root.join("lib/modules");
    fs::create_dir_all(&boot).map_err(Error::io("create", &boot))?;
    fs::create_dir_all(&modules).map_err(Error::io("create", &modules))?;
    for from in [&kernel.image, &kernel.syms, &kernel.map, &kernel.config] {
        let name = from.file_name().unwrap_or_default();
        let to = boot.join(name);
        let part = boot.join(format!(
            ".{}.{}",
            name.to_string_lossy(),
            std::process::id()
        ));
        fs::copy(from, &part).map_err(Error::io("write", &part))?;
        fs::rename(&part, &to).map_err(Error::io("write", &to))?;
    }
    let part = modules.join(format!(".{}.{}", kernel.release, std::process::id()));
    copy_tree(&kernel.modules, &part)?;
    let to = modules.join(&kernel.release);
    if to.exists() {
        fs::remove_dir_all(&to).map_err(Error::io("remove", &to))?;
    }
    fs::rename(&part, &to).map_err(Error::io("write", &to))?;
    remove_older(&boot, kernel)?;
    remove_older(&modules, kernel)?;
    Ok(boot)
}

/// Removes what other releases of a flavour left.
fn remove_older(dir: &Path, kernel: &Kernel) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    for path in entries.flatten().map(|e| e.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = name.ends_with(&format!("-{}", kernel.flavour)) && !name.starts_with('.');
        if is_ours && !name.ends_with(&kernel.release) {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(Error::io("write", &target))?;
        }
    }
    Ok(())
}
