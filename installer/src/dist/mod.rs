//! The install tree: what an installation copies to `/`, with a manifest that tells each of its bytes.
//!
//! [`list`] says what goes where; [`layout`] makes it so, beside its place and then by rename; [`scan`] reads what is in
//! a folder, for the [`Manifest`] and for [`verify`]; [`facts`] tells what everything was made from, and [`sbom`] writes
//! that for others; [`tarball`] packs the tree; [`licences`] has
//! the texts of others' licences. The same commit gives the same bytes.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::hypervisor::{Options, build_hypervisor};
use crate::kernel::{Flavour, Kernel, KernelOptions, build_kernel};
use crate::{toolstack, tree, ui};

pub mod facts;
pub mod layout;
pub mod licences;
pub mod list;
pub mod sbom;
pub mod tarball;
pub mod verify;

pub use facts::Facts;
use list::Parts;
pub use rexen_install::manifest::{MANIFEST, Manifest};
pub use rexen_install::scan;
pub use verify::{verified, verify};

/// Where the SBOM is in the tree.
pub const SBOM: &str = "usr/share/rexen/sbom.spdx.json";

/// How to build the tree.
#[derive(Clone, Debug, Default)]
pub struct TreeOptions {
    /// The kernels.
    pub kernels: KernelOptions,
    /// The hypervisor with its debug checks.
    pub debug: bool,
    /// `xl` as another name of `xm`.
    pub xl: bool,
}

/// Builds every part and lays the tree out in `out`, in the place of the one that was there.
///
/// # Errors
/// A part does not build; `out` holds something else than a tree of ours; the file system's.
pub fn build_tree(out: &Path, options: &TreeOptions) -> Result<Manifest> {
    if let Some(work) = &options.kernels.work {
        return Err(Error::new(format!(
            "the install tree takes no kernels from {}",
            work.display()
        ))
        .remedy("leave out --work, or build only the kernels there"));
    }
    layout::ensure_replaceable(out)?;
    let facts = facts::collect()?;
    let parts = build_parts(options, &facts)?;
    // Of two builds at once in one folder, one would take the other's unfinished tree away.
    let _alone = Cache::open()?.alone("install-tree")?;
    ui::step(&format!("install tree: {}", out.display()));
    let mut rows = list::rows();
    if options.xl {
        rows.push(list::link("usr/sbin/xl", "xm"));
    }
    layout::lay_out(&rows, &parts, &facts, out)
}

fn build_parts(options: &TreeOptions, facts: &Facts) -> Result<Parts> {
    let hypervisor = build_hypervisor(&Options {
        debug: options.debug,
        ..Options::default()
    })?;
    let toolstack = toolstack::build()?;
    let xen0 = build_kernel(Flavour::Xen0, &options.kernels)?;
    let xenu = build_kernel(Flavour::XenU, &options.kernels)?;
    Ok(Parts {
        hypervisor: folder_above(&hypervisor.xen, 1),
        toolstack: toolstack.folder().to_owned(),
        licences: licences::build(&facts.sources)?,
        repository: tree::root().to_owned(),
        xen0: root_of(&xen0),
        xenu: root_of(&xenu),
        xen0_release: xen0.release,
        xenu_release: xenu.release,
    })
}

/// The folder that has a kernel's `boot` and `lib`.
fn root_of(kernel: &Kernel) -> PathBuf {
    folder_above(&kernel.image, 2)
}

fn folder_above(file: &Path, levels: usize) -> PathBuf {
    file.ancestors().nth(levels).unwrap_or(file).to_owned()
}

#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod seed;
#[cfg(test)]
mod tests;
