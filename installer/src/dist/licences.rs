//! The licence texts of what the tree holds of others: those of the crates as the crates bring them, each text once, and
//! the GPL's and LGPL's, which Debian keeps in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::facts::{Kind, Source, TARGET};
use crate::cache::{Cache, Inputs};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::tree;

/// Where base-files puts common licences.
const COMMON: &str = "/usr/share/common-licenses";
/// The texts for Linux and the C library.
pub(super) const COMMON_NAMES: [&str; 2] = ["GPL-2", "LGPL-2.1"];
/// The texts of crates.
pub(super) const THIRD_PARTY: &str = "third-party.txt";
/// How files of licences and notices begin, in capitals.
const NAMES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// A folder with all the texts, for these sources.
///
/// # Errors
/// A crate's files cannot be read; the host has no common licences.
pub fn build(sources: &[Source]) -> Result<PathBuf> {
    let files = files(sources)?;
    let mut key = Inputs::of("licences");
    for (name, text) in &files {
        key = key.text(name, text);
    }
    Cache::open()?.get_or_make("licences", &key.finish(), |dir| {
        for (name, text) in &files {
            let path = dir.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        Ok(())
    })
}

/// The files by name.
fn files(sources: &[Source]) -> Result<Vec<(&'static str, String)>> {
    let said = Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", TARGET])
        .dir(tree::root())
        .output()?;
    let metadata: Metadata = serde_json::from_str(&said)
        .map_err(|e| Error::new("cargo metadata says odd things").because(e))?;
    let folders: BTreeMap<(String, String), PathBuf> = metadata
        .packages
        .into_iter()
        .filter_map(|p| Some(((p.name, p.version), p.manifest_path.parent()?.to_owned())))
        .collect();
    let mut crates = Vec::new();
    for source in sources.iter().filter(|s| s.kind == Kind::Crate) {
        let version = source.version.clone().unwrap_or_default();
        let folder = folders
            .get(&(source.name.clone(), version))
            .ok_or_else(|| {
                Error::new(format!(
                    "cargo metadata does not know the crate {}",
                    source.name
                ))
            })?;
        crates.push((source, texts_in(folder)?));
    }
    let mut files = vec![(THIRD_PARTY, third_party(&crates))];
    for name in COMMON_NAMES {
        let path = Path::new(COMMON).join(name);
        let text = fs::read_to_string(&path).map_err(|e| {
            Error::io("read", &path)(e).remedy("on Debian it is in the package base-files")
        })?;
        files.push((name, text));
    }
    Ok(files)
}

/// The texts of licences and notices in a crate's folder, in the order of their names.
fn texts_in(folder: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for found in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = found.map_err(Error::io("read", folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        if path.is_file() && NAMES.iter().any(|n| name.starts_with(n)) {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    paths.iter().map(read).collect()
}

/// All of them in one text: which crate has which licence, then each text with the crates that bring it.
fn third_party(crates: &[(&Source, Vec<String>)]) -> String {
    let mut out = String::from("The programs of this tree hold these crates of others.\n\n");
    let mut by_text: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for (source, texts) in crates {
        let name = format!(
            "{} {}",
            source.name,
            source.version.as_deref().unwrap_or_default()
        );
        let none = if texts.is_empty() {
            "; the crate brings no text"
        } else {
            ""
        };
        let _ = writeln!(out, "  {name}: {}{none}", source.licence);
        for text in texts {
            let users = by_text.entry(text.trim()).or_default();
            if users.is_empty() {
                order.push(text.trim());
            }
            users.insert(name.clone());
        }
    }
    for text in order {
        let users: Vec<&str> = by_text[text].iter().map(String::as_str).collect();
        let rule = "=".repeat(80);
        let _ = write!(out, "\n{rule}\n{}\n{rule}\n\n{text}\n", users.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Source {
        Source {
            kind: Kind::Crate,
            name: name.to_owned(),
            version: Some("1.0.0".to_owned()),
            sha256: String::new(),
            licence: "MIT".to_owned(),
        }
    }

    #[test]
    fn each_text_is_there_once_with_all_its_crates() {
        let (a, b, c) = (source("a"), source("b"), source("c"));
        let shared = || "Permission is granted\n".to_owned();
        let own = "Copyright B\n".to_owned();
        let text = third_party(&[
            (&a, vec![shared()]),
            (&b, vec![own, shared()]),
            (&c, vec![]),
        ]);
        assert_eq!(text.matches("Permission is granted").count(), 1, "{text}");
        assert!(text.contains("a 1.0.0, b 1.0.0\n"), "{text}");
        assert!(text.contains("Copyright B"), "{text}");
        assert!(
            text.contains("c 1.0.0: MIT; the crate brings no text"),
            "{text}"
        );
    }

    /// The crates that this very program is compiled with are there, so their texts can be read.
    #[test]
    fn the_crates_at_hand_bring_their_texts() {
        let said = fs::read_to_string(tree::root().join("Cargo.lock")).unwrap();
        let version = |name: &str| {
            let (_, after) = said
                .split_once(&format!("name = \"{name}\"\nversion = \""))
                .unwrap();
            after.split('"').next().unwrap().to_owned()
        };
        let serde = Source {
            version: Some(version("serde")),
            ..source("serde")
        };
        let files = files(&[serde]).unwrap();
        assert_eq!(files[0].0, THIRD_PARTY);
        for words in ["Permission is hereby granted", "Apache License"] {
            assert!(files[0].1.contains(words), "{:.300}", files[0].1);
        }
        for (name, text) in &files[1..] {
            assert!(text.contains("GENERAL PUBLIC LICENSE"), "{name}");
        }
    }
}
