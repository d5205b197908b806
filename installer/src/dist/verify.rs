//! Checks a tree, the one in a tarball, or an image against its manifest.

use std::path::Path;

use super::scan::scan;
use super::{MANIFEST, Manifest, tarball};
use crate::error::{Error, Result};
use crate::{image, ui};
pub use rexen_install::compare::{Difference, compare};

/// Does [`check`], and prints a line for each entry that is missing, changed or extra.
///
/// # Errors
/// There is one; or the manifest is not there or is damaged; or something cannot be read.
pub fn verify(place: &Path) -> Result<()> {
    let (manifest, differences) = check(place)?;
    for difference in &differences {
        ui::result(&difference.to_string());
    }
    let shown = place.display();
    let entries = manifest.entries.len();
    if !differences.is_empty() {
        let count = differences.len();
        return Err(Error::new(format!(
            "{shown} is not what its manifest says (differences: {count}, named above)"
        ))
        .remedy("lay the tree out again: cargo rexen build tree"));
    }
    let (version, commit) = (&manifest.facts.version, &manifest.facts.commit);
    ui::result(&format!(
        "{shown}: Rexen {version}, commit {commit:.12}: {entries} entries are as the manifest says"
    ));
    Ok(())
}

/// The manifest of a tree that is as it says.
///
/// # Errors
/// It is not; or those of [`check`].
pub fn verified(tree: &Path) -> Result<Manifest> {
    let (manifest, differences) = check(tree)?;
    match differences.first() {
        None => Ok(manifest),
        Some(first) => Err(
            Error::new(format!("{} is not what its manifest says", tree.display()))
                .because(first)
                .remedy("cargo rexen verify names all of it"),
        ),
    }
}

/// Reads the manifest of the tree in the folder or tarball `place`, and finds every difference.
///
/// # Errors
/// The manifest is not there or is damaged, or something cannot be read.
pub fn check(place: &Path) -> Result<(Manifest, Vec<Difference>)> {
    let (manifest, mut found) = if image::is_image(place) {
        image::read(place)?
    } else if place.is_file() {
        tarball::read(place)?
    } else {
        (Manifest::read(place)?, scan(place)?)
    };
    found.remove(MANIFEST);
    let differences = compare(&manifest.entries, &found);
    Ok((manifest, differences))
}
