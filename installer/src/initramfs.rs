//! Domain 0's initramfs: busybox, our init, what loads the machine, and the kernel modules that `image/dom0/modules` names.

use std::fs;
use std::path::PathBuf;

use crate::cache::{Cache, Inputs};
use crate::cmd::Cmd;
use crate::cpio::Archive;
use crate::debian::{self, Consent, Kernel};
use crate::error::{Error, Result};
use crate::{hypervisor, kmod, tree, ui};

/// Bump when this file changes what it makes from the same inputs.
const RECIPE: &str = "2";

/// Builds the initramfs for a kernel, or finds it in the cache: a gzipped cpio archive.
///
/// # Errors
/// Busybox cannot be fetched, or the kernel lacks a module we want.
pub fn initramfs(kernel: &Kernel, consent: Consent) -> Result<PathBuf> {
    let (busybox, busybox_package) = debian::fetch_busybox(consent)?;
    let sources = tree::root().join("image/dom0");
    let key = Inputs::of("initramfs")
        .text("recipe", RECIPE)
        .text("kernel", &kernel.key)
        .text("busybox", &busybox_package.sha256)
        .tree("dom0", &sources)?
        .finish();
    let dir = Cache::open()?.get_or_make("initramfs", &key, |dir| {
        ui::step(&format!("initramfs for {}", kernel.release));
        let read = |path: PathBuf| fs::read(&path).map_err(Error::io("read", &path));
        let mut archive = Archive::new();
        archive.file("/init", 0o755, read(sources.join("init"))?);
        archive.file(
            "/etc/udhcpc.script",
            0o755,
            read(sources.join("udhcpc.script"))?,
        );
        archive.file("/etc/hosts", 0o644, "127.0.0.1 localhost\n");
        archive.file("/bin/busybox", 0o755, read(busybox)?);
        archive.symlink("/bin/sh", "busybox");
        let stress = dir.join("stress");
        Cmd::new("gcc")
            .args(["-static", "-O2", "-s", "-Wall", "-pthread", "-o"])
            .arg(&stress)
            .arg(sources.join("stress.c"))
            .run()?;
        archive.file("/bin/stress", 0o755, read(stress)?);
        // Before devtmpfs is mounted the kernel opens these for init.
        archive.char_device("/dev/console", 5, 1);
        archive.char_device("/dev/null", 1, 3);

        let list = String::from_utf8_lossy(&read(sources.join("modules"))?).into_owned();
        let modules = add_modules(&mut archive, "/lib/modules", kernel, &list)?;
        ui::note(&format!("{} kernel modules", modules));

        let out = dir.join("initramfs.gz");
        fs::write(&out, hypervisor::gzip(&archive.finish()?)?).map_err(Error::io("write", &out))
    })?;
    Ok(dir.join("initramfs.gz"))
}

/// Adds to `folder` the modules of a list and what they depend on, and `order` for whoever loads them; says how many.
///
/// # Errors
/// The kernel lacks one.
pub fn add_modules(
    archive: &mut Archive,
    folder: &str,
    kernel: &Kernel,
    list: &str,
) -> Result<usize> {
    let modules = kmod::load_order(&kernel.modules, &names(list))?;
    let mut order = String::new();
    for module in &modules {
        let content = fs::read(&module.path).map_err(Error::io("read", &module.path))?;
        archive.file(&format!("{folder}/{}.ko", module.name), 0o644, content);
        order.push_str(&module.name);
        order.push('\n');
    }
    archive.file(&format!("{folder}/order"), 0o644, order);
    Ok(modules.len())
}

/// One module name per line; a `#` begins a remark.
fn names(list: &str) -> Vec<String> {
    let words = list
        .lines()
        .map(|l| l.split('#').next().unwrap_or("").trim());
    words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_not_modules() {
        assert_eq!(
            names("# all\nvirtio_blk # disk\n\n  ext4\n"),
            ["virtio_blk", "ext4"]
        );
    }
}
