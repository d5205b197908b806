//! The host's tools that a kernel build needs: are they there, and which versions enter the kernel.

use std::path::Path;

use crate::cmd::Cmd;
use crate::error::{Error, Exit, Result};

/// Program and Debian package.
const NEEDED: [(&str, &str); 12] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("bc", "bc"),
    ("bison", "bison"),
    ("flex", "flex"),
    ("perl", "perl-base"),
    ("patch", "patch"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("gzip", "gzip"),
    ("depmod", "kmod"),
];
/// A header and its package: objtool, which the kernel builds for itself, reads ELF files with it.
const HEADER: (&str, &str) = ("gelf.h", "libelf-dev");

/// Makes sure that all tools are there.
///
/// # Errors
/// Some are missing: the message names them and the packages they come in.
pub fn ensure() -> Result<()> {
    let mut missing = absent(&NEEDED, is_in_path);
    if missing.iter().all(|(program, _)| *program != "gcc") && !has_header(HEADER.0) {
        missing.push(HEADER);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (names, packages): (Vec<&str>, Vec<&str>) = missing.into_iter().unzip();
    Err(Error::new(format!(
        "cannot build a kernel without {}",
        names.join(", ")
    ))
    .because("the host lacks the packages they come in")
    .remedy(format!(
        "as root: apt-get install --no-install-recommends {}",
        packages.join(" ")
    ))
    .exit(Exit::MissingPackages))
}

fn absent<'a>(
    needed: &[(&'a str, &'a str)],
    is_there: impl Fn(&str) -> bool,
) -> Vec<(&'a str, &'a str)> {
    let needed = needed.iter().copied();
    needed.filter(|(program, _)| !is_there(program)).collect()
}

/// Whether a program can be found.
pub fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.into_iter().any(|dir| dir.join(program).is_file())
}

fn has_header(name: &str) -> bool {
    Cmd::new("gcc")
        .args(["-x", "c", "-fsyntax-only", "-include", name])
        .arg(Path::new("/dev/null"))
        .output()
        .is_ok()
}

/// The versions that enter a kernel: its banner names compiler and linker, and they write every byte of it.
///
/// # Errors
/// One of them cannot be asked.
pub fn versions() -> Result<String> {
    let first = |program: &str| -> Result<String> {
        let said = Cmd::new(program).arg("--version").output()?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    };
    Ok(format!("{}\n{}", first("gcc")?, first("ld")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_found_with_their_packages() {
        let missing = absent(&NEEDED, |program| program != "bc" && program != "depmod");
        assert_eq!(missing, [("bc", "bc"), ("depmod", "kmod")]);
    }

    #[test]
    fn programs_are_looked_up_and_a_header_that_is_not_there_is_noticed() {
        assert!(is_in_path("sh"));
        assert!(!is_in_path("no-such-program-as-this"));
        assert!(has_header("stdio.h"));
        assert!(!has_header("no-such-header.h"));
    }
}
