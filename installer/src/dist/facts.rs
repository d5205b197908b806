//! What a tree is made from: our version and commit, the tools, and every source of others with its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

pub use rexen_install::facts::{Facts, Kind, NAME, Source};
use serde::Deserialize;

use crate::cache::sha256;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::kernel::series::Series;
use crate::kernel::source::{Pin, patches_dir};
use crate::tree;

/// The packages whose programs are in the tree; what they are linked from is in it, too.
const PACKAGES: [&str; 5] = [
    "rexen-hypervisor",
    "rexen-install",
    "rexen-xend",
    "rexen-xenstore",
    "rexen-xm",
];
/// The C library among the tools: static programs hold it.
pub const LIBC: &str = "libc";
const FEATURES: &str = "rexen-hypervisor/image";
/// What the programs run on.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Collects them for this source tree.
///
/// # Errors
/// A lock file or a patch cannot be read; a tool cannot be asked.
pub fn collect() -> Result<Facts> {
    let git = |args: &[&str]| Cmd::new("git").args(args).dir(tree::root()).output().ok();
    let commit = git(&["rev-parse", "HEAD"]).map(|c| c.trim().to_owned());
    let status = git(&["status", "--porcelain"]).unwrap_or_default();
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
    let time = epoch.or_else(|| git(&["log", "-1", "--format=%ct"]));
    let mut sources = vec![linux()?];
    sources.extend(patches()?);
    sources.extend(crates()?);
    sources.sort();
    Ok(Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit.unwrap_or_else(|| "unknown".to_owned()),
        modified: !status.trim().is_empty(),
        time: seconds(time.as_deref())?,
        toolchain: toolchain()?,
        sources,
    })
}

/// Reads SOURCE_DATE_EPOCH or git's time; without either it is 0.
fn seconds(text: Option<&str>) -> Result<u64> {
    let text = text.unwrap_or("0").trim();
    text.parse().map_err(|e| {
        Error::new(format!("SOURCE_DATE_EPOCH is {text:?}"))
            .because(e)
            .remedy("unset it, or set it to seconds since 1970")
    })
}

fn linux() -> Result<Source> {
    let pin = Pin::read(&Pin::path())?;
    Ok(Source {
        kind: Kind::Debian,
        name: pin.package,
        version: Some(pin.version),
        sha256: pin.sha256,
        licence: "GPL-2.0-only WITH Linux-syscall-note".to_owned(),
    })
}

fn patches() -> Result<Vec<Source>> {
    let series = Series::read(&patches_dir())?;
    let source = |patch: &crate::kernel::series::Patch| Source {
        kind: Kind::Patch,
        name: patch.name.clone(),
        version: None,
        sha256: sha256(patch.text.as_bytes()),
        licence: "GPL-2.0-only".to_owned(),
    };
    Ok(series.patches.iter().map(source).collect())
}

/// The crates of others that the programs in the tree are compiled from, with the macros that write their code.
fn crates() -> Result<Vec<Source>> {
    let said = Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--locked", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .args(PACKAGES.iter().flat_map(|p| ["--package", p]))
        .args(["--features", FEATURES, "--target", TARGET])
        .dir(tree::root())
        .output()?;
    let path = tree::root().join("Cargo.lock");
    let lock = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    crates_of(&said, &lock).map_err(|e| e.in_file(&path))
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<LockedCrate>,
}

#[derive(Deserialize)]
struct LockedCrate {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Joins `cargo tree`, which knows what is used and its licence, with Cargo.lock, which knows hashes.
fn crates_of(said: &str, lock: &str) -> Result<Vec<Source>> {
    let lock: CargoLock = toml::from_str(lock).map_err(|e| Error::new("malformed").because(e))?;
    let mut sources = BTreeSet::new();
    for line in said.lines().filter(|l| !l.is_empty()) {
        let odd = || Error::new(format!("cargo tree says {line:?} of a crate"));
        let (id, licence) = line.split_once('|').ok_or_else(odd)?;
        let mut words = id.split_whitespace();
        let name = words.next().ok_or_else(odd)?;
        let version = words
            .next()
            .and_then(|v| v.strip_prefix('v'))
            .ok_or_else(odd)?;
        let is_it = |c: &&LockedCrate| c.name == name && c.version == version;
        let locked = lock.package.iter().find(is_it).ok_or_else(|| {
            Error::new(format!(
                "{name} {version} is used and is not in the lock file"
            ))
        })?;
        // A crate without a checksum is one of ours.
        let Some(sha256) = locked.checksum.clone() else {
            continue;
        };
        // "(*)": it was printed before. A slash between two licences is the old way to write "or".
        let licence = licence.trim_end_matches("(*)").trim();
        sources.insert(Source {
            kind: Kind::Crate,
            name: name.to_owned(),
            version: Some(version.to_owned()),
            sha256,
            licence: licence.replace(" / ", "/").replace('/', " OR "),
        });
    }
    Ok(sources.into_iter().collect())
}

/// Compilers and linkers, and the C library that static programs hold.
fn toolchain() -> Result<BTreeMap<String, String>> {
    let tools = [
        ("rustc", "rustc"),
        ("gcc", "gcc"),
        ("ld", "ld"),
        (LIBC, "ldd"),
    ];
    let mut versions = BTreeMap::new();
    for (name, program) in tools {
        let said = Cmd::new(program)
            .arg("--version")
            .dir(tree::root())
            .output()?;
        let first = said.lines().next().unwrap_or_default().to_owned();
        versions.insert(name.to_owned(), first);
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_have_the_hash_of_the_lock_file_and_ours_are_left_out() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\nchecksum = \"0a\"\n\
                    [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        let said = "ours v0.1.0 (/somewhere)|MIT OR Apache-2.0\n\na v1.2.3|MIT/Apache-2.0\n\
                    a v1.2.3 (proc-macro)|MIT/Apache-2.0 (*)\n";
        let found = crates_of(said, lock).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].name, &*found[0].sha256), ("a", "0a"));
        assert_eq!(found[0].licence, "MIT OR Apache-2.0");
        let unknown = crates_of("b v1.0.0|MIT", lock).unwrap_err();
        assert_eq!(unknown.what, "b 1.0.0 is used and is not in the lock file");
    }

    #[test]
    fn a_time_that_is_no_number_is_refused() {
        assert_eq!(seconds(Some("1700000000\n")).unwrap(), 1_700_000_000);
        assert_eq!(seconds(None).unwrap(), 0);
        assert!(seconds(Some("yesterday")).unwrap_err().remedy.is_some());
    }
}
