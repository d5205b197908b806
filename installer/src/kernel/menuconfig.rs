//! `cargo rexen kernel menuconfig`: Kconfig's own menu on our settings; what changes becomes a fragment of the user's.

use std::fs;
use std::path::{Path, PathBuf};

use super::fragment::{Asker, Config, Requests};
use super::series::Series;
use super::source;
use super::{Flavour, KernelOptions, open_shop, requests, tools, user_fragments};
use crate::error::{Error, Result};
use crate::ui;

/// The file in the user's folder of fragments that we write.
const FILE: &str = "menuconfig.config";

/// Opens the menu on the merged settings of a kernel; then says where the changes are.
///
/// # Errors
/// As [`super::build_kernel`]; or there is no terminal, or no ncurses to draw with.
pub fn menuconfig(flavour: Flavour, options: &KernelOptions) -> Result<()> {
    tools::ensure()?;
    let dir = match options.fragments.iter().rev().find(|p| p.is_dir()) {
        Some(dir) => dir.clone(),
        None => user_fragments()
            .ok_or_else(|| Error::new("no place for your settings").because("HOME is not set"))?,
    };
    let (tarball, shop) = open_shop(options)?;
    shop.prepare(&tarball, &Series::read(&source::patches_dir())?)?;
    let asked = requests(flavour, options)?;
    let before = shop.configure(flavour, &asked, tarball.misfit, options)?;
    let after = shop.edit(flavour, "menuconfig", options)?;
    match write_back(&dir.join(flavour.name()).join(FILE), &before, &after)? {
        Some(path) => ui::result(&format!(
            "your changes: {} (cargo rexen build kernels takes them from there)",
            path.display()
        )),
        None => ui::result("nothing changed"),
    }
    Ok(())
}

/// Adds what changed to the user's fragment, whose older lines stay unless a newer one says otherwise.
fn write_back(path: &Path, before: &Config, after: &Config) -> Result<Option<PathBuf>> {
    let changes = before.changes_to(after);
    if changes.is_empty() {
        return Ok(None);
    }
    let name = path.display().to_string();
    let mut mine = Requests::default();
    if path.exists() {
        mine = Requests::read(&[], &[path.to_owned()])?;
    }
    mine.add(&name, &changes, Asker::User)?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    }
    let part = path.with_extension("part");
    let text = format!(
        "# Written by `cargo rexen kernel menuconfig`.\n{}",
        mine.text()
    );
    fs::write(&part, text).map_err(Error::io("write", &part))?;
    fs::rename(&part, path).map_err(Error::io("write", path))?;
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_several_visits_add_up() {
        let dir = std::env::temp_dir().join(format!("rexen-menu-{}", std::process::id()));
        let path = dir.join("xen0/menuconfig.config");
        let config = Config::parse;
        let first = config("CONFIG_A=y\n");
        let second = config("CONFIG_A=y\nCONFIG_B=m\n");
        let third = config("CONFIG_B=y\n");
        assert_eq!(write_back(&path, &first, &first).unwrap(), None);
        assert!(!path.exists());
        write_back(&path, &first, &second).unwrap().unwrap();
        write_back(&path, &second, &third).unwrap().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (remark, settings) = text.split_once('\n').unwrap();
        assert!(remark.starts_with('#'));
        assert_eq!(settings, "# CONFIG_A is not set\nCONFIG_B=y\n");
        fs::remove_dir_all(dir).unwrap();
    }
}
