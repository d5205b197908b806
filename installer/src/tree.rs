//! Where things are in the source tree.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::ui;

/// The root of the workspace this program was built from.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The install tree's folder among what is made for users.
pub const INSTALL: &str = "install";

/// `dist`: what is made for users.
pub fn dist() -> PathBuf {
    root().join("dist")
}

/// `dist/install`: the tree that an installation copies to `/`.
pub fn dist_install() -> PathBuf {
    dist().join(INSTALL)
}

/// Cargo's folder for bare images: apart from the host's own, so that neither build throws the other's away.
pub fn image_target_dir() -> PathBuf {
    let base = std::env::var_os("CARGO_TARGET_DIR")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    base.unwrap_or_else(|| root().join("target")).join("image")
}

/// Removes what the orchestrator made: the cache, cargo's folder for images, and `dist/`.
///
/// # Errors
/// The file system's.
pub fn clean() -> Result<()> {
    let cache = Cache::open()?;
    if cache.clean()? {
        ui::note(&format!("removed {}", cache.root().display()));
    }
    for dir in [image_target_dir(), dist()] {
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
            ui::note(&format!("removed {}", dir.display()));
        }
    }
    Ok(())
}
