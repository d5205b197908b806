//! `cargo rexen kernel update` and `check`: is there a newer source, and does everything of ours fit it?

use std::fs;
use std::path::Path;

use super::series::{Misfit, Series};
use super::source::{self, Pin, Tarball};
use super::{Flavour, KernelOptions, open_shop, requests, tools};
use crate::cache::Cache;
use crate::cmd::Cmd;
use crate::debian;
use crate::error::{Error, Result};
use crate::ui;

/// Pins what Debian offers now, if the series applies to it without fuzz; says what came of it.
///
/// # Errors
/// A patch does not apply: the pin then stays as it is.
pub fn update() -> Result<()> {
    let path = Pin::path();
    let pinned = Pin::read(&path)?;
    debian::refresh_index();
    let newest = source::newest(&pinned.package)?;
    if newest.version == pinned.version && newest.sha256 == pinned.sha256 {
        ui::result(&format!(
            "{} {} is the newest; nothing to do",
            pinned.package, pinned.version
        ));
        return Ok(());
    }
    let cache = Cache::open()?;
    let (newest, tarball) = source::complete(&cache, &newest)?;
    let series = Series::read(&source::patches_dir())?;
    applies(&cache, &tarball, &series)?;
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let part = path.with_extension("part");
    fs::write(&part, newest.rewrite(&text)?).map_err(Error::io("write", &part))?;
    fs::rename(&part, &path).map_err(Error::io("write", &path))?;
    ui::result(&format!(
        "{}: {} -> {}; all {} patches apply without fuzz",
        pinned.package,
        pinned.version,
        newest.version,
        series.patches.len()
    ));
    ui::note(
        "next: cargo rexen kernel check (the settings), then build, test and commit linux.toml",
    );
    Ok(())
}

/// Applies the series to the files it touches, straight from the tarball.
fn applies(cache: &Cache, tarball: &Tarball, series: &Series) -> Result<()> {
    ui::step(&format!("{}: do the patches apply?", tarball.label));
    let scratch = cache.scratch("patch-check")?;
    extract(tarball, series, scratch.path())?;
    series.apply(scratch.path(), &tarball.label, Misfit::Refuse)?;
    Ok(())
}

/// Unpacks the files that a series touches, those that there are.
fn extract(tarball: &Tarball, series: &Series, to: &Path) -> Result<()> {
    let touched = series.touches();
    if touched.is_empty() {
        return Ok(());
    }
    // A file that a patch makes is not in the tarball, of which tar complains; patch has the last word.
    let patterns = touched.iter().map(|p| format!("*/{}", p.display()));
    let tar = Cmd::new("tar")
        .args([
            "--no-same-owner",
            "--strip-components=1",
            "--wildcards",
            "-xf",
        ])
        .arg(&tarball.path)
        .arg("-C")
        .arg(to)
        .args(patterns);
    ui::command(&tar.shell_line());
    tar.to_std()
        .output()
        .map(drop)
        .map_err(|e| Error::new("cannot start tar").because(e))
}

/// Checks what a build would check before it compiles: the patches and the settings of both kernels.
///
/// # Errors
/// A patch does not apply, or a setting does not survive.
pub fn check(options: &KernelOptions) -> Result<()> {
    tools::ensure()?;
    let (tarball, shop) = open_shop(options)?;
    let series = Series::read(&source::patches_dir())?;
    let left_out = shop.prepare(&tarball, &series)?;
    let fit = series.patches.len() - left_out.len();
    ui::result(&format!(
        "{}: {fit} of {} patches apply without fuzz",
        tarball.label,
        series.patches.len()
    ));
    for flavour in Flavour::ALL {
        let asked = requests(flavour, options)?;
        let config = shop.configure(flavour, &asked, tarball.misfit, options)?;
        let lost = asked.refused(&config).len();
        ui::result(&format!("{flavour}: {lost} settings lost"));
    }
    Ok(())
}
