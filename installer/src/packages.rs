//! The host packages in `ci/packages.txt`: which are missing, and how they get installed.

use std::fs;

use crate::cmd::Cmd;
use crate::error::{Error, Exit, Result};
use crate::{tree, ui};

/// A package of the host and why we need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPackage {
    /// Debian's name for it.
    pub name: String,
    /// Who needs it.
    pub why: String,
}

/// Reads `ci/packages.txt`.
///
/// # Errors
/// It cannot be read, or a line gives no reason.
pub fn needed() -> Result<Vec<HostPackage>> {
    let path = tree::root().join("ci/packages.txt");
    parse(&fs::read_to_string(&path).map_err(Error::io("read", &path))?)
}

/// `name  # why` per line; empty lines and lines that are only a comment do not count.
fn parse(text: &str) -> Result<Vec<HostPackage>> {
    let mut packages = Vec::new();
    for (nr, line) in text.lines().enumerate() {
        let (name, why) = line.split_once('#').unwrap_or((line, ""));
        let (name, why) = (name.trim(), why.trim());
        if name.is_empty() {
            continue;
        }
        if why.is_empty() || name.contains(char::is_whitespace) {
            return Err(
                Error::new(format!("ci/packages.txt, line {}: {line:?}", nr + 1))
                    .because("a line is a package name, then # and why we need it"),
            );
        }
        packages.push(HostPackage {
            name: name.to_owned(),
            why: why.to_owned(),
        });
    }
    Ok(packages)
}

/// The needed packages that are not installed.
///
/// # Errors
/// This is not a Debian system.
pub fn missing() -> Result<Vec<HostPackage>> {
    let needed = needed()?;
    let out = Cmd::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\\n"])
        .args(needed.iter().map(|p| &p.name))
        .to_std()
        .output()
        .map_err(|e| {
            Error::new("cannot ask which packages are installed")
                .because(format!("dpkg-query: {e}"))
                .remedy("run this on Debian 12; domain 0's kernel comes from there, too")
                .exit(Exit::MissingPackages)
        })?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let installed = |p: &HostPackage| {
        text.lines()
            .any(|l| l.strip_suffix(" installed") == Some(&*p.name))
    };
    Ok(needed.into_iter().filter(|p| !installed(p)).collect())
}

/// Makes sure that the host has what we need: installs it as root, else says what to run.
///
/// # Errors
/// Packages are missing and we are not root, or apt fails.
pub fn ensure() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        ui::detail("host packages: all there");
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|p| p.name.as_str()).collect();
    let why = || {
        missing
            .iter()
            .map(|p| format!("{}: {}", p.name, p.why))
            .collect::<Vec<_>>()
    };
    if !is_root() {
        return Err(
            Error::new(format!("the host lacks {} packages", names.len()))
                .because(why().join("\n"))
                .remedy(format!(
                    "sudo apt-get install --no-install-recommends {}",
                    names.join(" ")
                ))
                .exit(Exit::MissingPackages),
        );
    }
    ui::step("host packages: installing what is missing");
    why().iter().for_each(|line| ui::note(line));
    Cmd::new("apt-get").args(["-q", "update"]).run()?;
    Cmd::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-y", "install", "--no-install-recommends"])
        .args(names)
        .run()
}

/// Whether we run as root.
pub fn is_root() -> bool {
    Cmd::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|uid| uid.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_reason() {
        let parsed =
            parse("# heading\n\nqemu-system-x86   # boots it\nseabios # firmware\n").unwrap();
        let qemu = HostPackage {
            name: "qemu-system-x86".into(),
            why: "boots it".into(),
        };
        assert_eq!(parsed[0], qemu);
        assert_eq!(parsed.len(), 2);
    }

    #[test]
    fn a_line_without_reason_or_with_two_names_is_refused() {
        assert!(
            parse("good # why\nqemu\n")
                .unwrap_err()
                .what
                .contains("line 2")
        );
        assert!(parse("a b # why\n").is_err());
    }

    #[test]
    fn the_list_in_the_tree_is_well_formed_and_sorted() {
        let needed = needed().unwrap();
        assert!(needed.iter().any(|p| p.name == "qemu-system-x86"));
        assert!(
            needed.is_sorted_by(|a, b| a.name < b.name),
            "sorted, no duplicates"
        );
    }
}
