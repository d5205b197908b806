//! Builds the toolstack's programs with cargo: static, so that they run in any domain 0, and with the same bytes from
//! any folder.
//!
//! What installs where is the table [`PROGRAMS`]; a program that cargo does not make is an error, and so is one that is
//! not static.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::PT_INTERP;
use elf::endian::LittleEndian;

use crate::cache::Inputs;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::hypervisor::{compiler_inputs, remapped_paths, settled};
use crate::{tree, ui};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "toolstack";
const STATIC: &str = "-Ctarget-feature=+crt-static";
/// Bump when this file changes what it makes from the same sources.
const RECIPE: &str = "2";

/// Every program: its package, its name, and its folder below `usr`.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("rexen-install", "rexen-install", "sbin"),
    ("rexen-xend", "xend", "sbin"),
    ("rexen-xenstore", "xenstored", "sbin"),
    ("rexen-xenstore", "xenstore", "bin"),
    ("rexen-xm", "xm", "sbin"),
];

/// Other names of programs, which make them something else: the link below `usr`, and what it leads to.
pub(crate) const LINKS: [(&str, &str); 11] = [
    ("bin/miniterm", "../sbin/xm"),
    ("bin/xencons", "../sbin/xm"),
    ("bin/xenstore-chmod", "xenstore"),
    ("bin/xenstore-control", "xenstore"),
    ("bin/xenstore-exists", "xenstore"),
    ("bin/xenstore-list", "xenstore"),
    ("bin/xenstore-ls", "xenstore"),
    ("bin/xenstore-read", "xenstore"),
    ("bin/xenstore-rm", "xenstore"),
    ("bin/xenstore-watch", "xenstore"),
    ("bin/xenstore-write", "xenstore"),
];

/// What programs print for others to read: the program, its arguments, and the file below `usr`.
pub(crate) const TEXTS: [(&str, &[&str], &str); 8] = [
    ("xm", &["manual", "xm.1"], "share/man/man1/xm.1"),
    ("xend", &["manual", "xend.1"], "share/man/man1/xend.1"),
    (
        "xm",
        &["manual", "xmdomain.cfg.5"],
        "share/man/man5/xmdomain.cfg.5",
    ),
    (
        "xend",
        &["manual", "xend-config.sxp.5"],
        "share/man/man5/xend-config.sxp.5",
    ),
    (
        "rexen-install",
        &["--manual"],
        "share/man/man8/rexen-install.8",
    ),
    (
        "xm",
        &["completion", "bash"],
        "share/bash-completion/completions/xm",
    ),
    (
        "xm",
        &["completion", "zsh"],
        "share/zsh/vendor-completions/_xm",
    ),
    (
        "xm",
        &["completion", "fish"],
        "share/fish/vendor_completions.d/xm.fish",
    ),
];

/// The programs of one build, kept in the cache and never changed there: a folder like `usr`.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// One program's file.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let of_name = |&&(_, program, _): &&(&str, &str, &str)| program == name;
        let (_, name, folder) = PROGRAMS.iter().find(of_name)?;
        Some(self.dir.join(folder).join(name))
    }
}

/// Where the programs are below `usr`.
pub(crate) fn program_paths() -> Vec<String> {
    let path = |(_, name, folder)| format!("{folder}/{name}");
    PROGRAMS.map(path).into()
}

/// Builds the programs; does nothing when the sources are those of an earlier build.
///
/// # Errors
/// The code does not compile, or a program is not static.
pub fn build() -> Result<Programs> {
    let dir = settled("toolstack", key, |dir| {
        ui::step("toolstack (static programs)");
        command().run().map_err(|e| {
            Error::new("the toolstack does not build")
                .because(e.cause.unwrap_or(e.what))
                .remedy("for a quick look: cargo check -p rexen-xend -p rexen-xm")
        })?;
        let built = tree::image_target_dir().join(TARGET).join(PROFILE);
        for (_, name, folder) in PROGRAMS {
            let from = built.join(name);
            let program = fs::read(&from).map_err(Error::io("read", &from))?;
            check_static(name, &program)?;
            copy(&from, &dir.join(folder).join(name))?;
            ui::note(&format!("{name}: {} KiB", program.len() / 1024));
        }
        for (program, args, file) in TEXTS {
            let text = Cmd::new(built.join(program)).args(args).output()?;
            let to = dir.join(file);
            make_folder_of(&to)?;
            fs::write(&to, text).map_err(Error::io("write", &to))?;
        }
        Ok(())
    })?;
    Ok(Programs { dir })
}

/// Copies the programs and their texts to `dist/install/usr`, each whole or not at all; with `xl`, makes that another
/// name of `xm`.
///
/// # Errors
/// The file system's.
pub fn install(made: &Programs, xl: bool) -> Result<PathBuf> {
    let usr = tree::dist_install().join("usr");
    let programs = program_paths();
    let texts = TEXTS.map(|(_, _, file)| file.to_owned());
    for file in programs.iter().chain(&texts) {
        copy(&made.dir.join(file), &usr.join(file))?;
    }
    for (name, target) in LINKS {
        link(&usr.join(name), Some(target))?;
    }
    link(&usr.join("sbin/xl"), xl.then_some("xm"))?;
    Ok(usr)
}

/// Makes a link, or removes it.
fn link(link: &Path, target: Option<&str>) -> Result<()> {
    if link.is_symlink() {
        fs::remove_file(link).map_err(Error::io("remove", link))?;
    }
    match target {
        Some(target) => symlink(target, link).map_err(Error::io("create", link)),
        None => Ok(()),
    }
}

/// Copies a file beside its place, and puts it there once it is whole.
fn copy(from: &Path, to: &Path) -> Result<()> {
    make_folder_of(to)?;
    let part = to.with_extension(format!("part.{}", std::process::id()));
    fs::copy(from, &part).map_err(Error::io("copy", from))?;
    fs::rename(&part, to).map_err(Error::io("write", to))
}

fn make_folder_of(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(Error::io("create", folder))
}

/// The command as it is run, and printed.
fn command() -> Cmd {
    let mut packages: Vec<_> = PROGRAMS.iter().map(|(package, _, _)| *package).collect();
    packages.dedup();
    let flags = std::iter::once(STATIC.to_owned()).chain(remapped_paths());
    Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--profile", PROFILE, "--target", TARGET])
        .args(packages.iter().flat_map(|p| ["--package", p]))
        .args(PROGRAMS.iter().flat_map(|(_, name, _)| ["--bin", name]))
        .arg("--target-dir")
        .arg(tree::image_target_dir())
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags.collect::<Vec<_>>().join("\x1f"),
        )
        // Inherited flags would silently take the place of ours.
        .without_env("RUSTFLAGS")
        .without_env("CARGO_BUILD_TARGET")
        .dir(tree::root())
}

/// The sources are the toolstack's and what it shares with the hypervisor: the ABI, in core the builder of domains, and
/// the installer.
fn key() -> Result<String> {
    let root = tree::root();
    let inputs = Inputs::of("toolstack")
        .text("recipe", RECIPE)
        .text("flags", STATIC)
        .text("profile", PROFILE)
        .text("programs", &program_paths().join(" "));
    Ok(compiler_inputs(inputs)?
        .tree("toolstack", &root.join("toolstack"))?
        .tree("installer", &root.join("installer/host"))?
        .tree("abi", &root.join("hypervisor/abi"))?
        .tree("core", &root.join("hypervisor/core"))?
        .finish())
}

/// Refuses a program that asks for a dynamic linker.
fn check_static(name: &str, program: &[u8]) -> Result<()> {
    let broken = |e: elf::ParseError| Error::new(format!("{name} is no ELF program")).because(e);
    let program = ElfBytes::<LittleEndian>::minimal_parse(program).map_err(broken)?;
    let mut segments = program.segments().into_iter().flatten();
    if segments.any(|s| s.p_type == PT_INTERP) {
        return Err(Error::new(format!("{name} is not static"))
            .because("it names a dynamic linker")
            .remedy("install the static C library (Debian: libc6-dev)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_refused() {
        let me = fs::read(std::env::current_exe().unwrap()).unwrap();
        let refused = check_static("me", &me).unwrap_err();
        assert_eq!(refused.what, "me is not static");
        assert!(check_static("text", b"#!/bin/sh").is_err());
    }

    #[test]
    fn programs_are_built_static_and_without_this_machines_paths() {
        let line = command().shell_line();
        assert!(
            line.contains("+crt-static") && line.contains("--remap-path-prefix="),
            "{line}"
        );
        assert!(line.contains("--target x86_64-unknown-linux-gnu"), "{line}");
    }
}
