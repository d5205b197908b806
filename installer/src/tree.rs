//! Where things are in the source tree.

use std::path::{Path, PathBuf};

/// The root of the workspace this program was built from.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// `dist/install`: the tree that an installation copies to `/`.
pub fn dist_install() -> PathBuf {
    root().join("dist/install")
}

/// Cargo's folder for bare images: apart from the host's own, so that neither build throws the other's away.
pub fn image_target_dir() -> PathBuf {
    let base = std::env::var_os("CARGO_TARGET_DIR")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    base.unwrap_or_else(|| root().join("target")).join("image")
}
