//! The manifest: every entry of a tree, and what it was made from. Its last line is the hash of those above, so that a
//! damaged manifest is known for what it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::facts::{Facts, NAME, Source};
use crate::hash::sha256;
use crate::scan::{Entries, Entry};

/// Where the manifest is in the tree: with the rest of ours, because the tree goes to `/`.
pub const MANIFEST: &str = "usr/share/rexen/manifest.toml";
/// What we write and understand.
const FORMAT: u32 = 1;
const SEAL: &str = "# sha256 of the lines above: ";
const REMEDY: &str = "lay a tree out: cargo rexen build tree [--out DIR]";

/// What is in a tree, and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Version, commit, tools, sources.
    pub facts: Facts,
    /// What is not in the tree yet, and why, by path.
    pub missing: BTreeMap<String, String>,
    /// Everything in the tree but the manifest itself.
    pub entries: Entries,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    name: String,
    version: String,
    commit: String,
    modified: bool,
    time: u64,
    toolchain: BTreeMap<String, String>,
    #[serde(default)]
    missing: Vec<Missing>,
    #[serde(default)]
    source: Vec<Source>,
    #[serde(default)]
    folder: Vec<Folder>,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(default)]
    file: Vec<File>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missing {
    path: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    path: String,
    mode: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    path: String,
    target: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    mode: String,
    size: u64,
    sha256: String,
}

impl Manifest {
    /// Describes a tree that holds `entries`.
    pub fn new(facts: &Facts, missing: BTreeMap<String, String>, entries: Entries) -> Self {
        Self {
            facts: facts.clone(),
            missing,
            entries,
        }
    }

    /// Reads the manifest of the tree in `dir`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|e| Error::io("read", &path)(e).remedy(REMEDY))?;
        Self::parse(&bytes).map_err(|e| e.in_file(&path).remedy(REMEDY))
    }

    /// The manifest as it is written.
    ///
    /// # Errors
    /// None that a test has not shown: TOML can hold all of it.
    pub fn text(&self) -> Result<String> {
        let body = toml::to_string(&self.document())
            .map_err(|e| Error::new("cannot write the manifest").because(e))?;
        Ok(format!("{body}\n{SEAL}{}\n", sha256(body.as_bytes())))
    }

    fn document(&self) -> Document {
        let mut document = Document {
            format: FORMAT,
            name: NAME.to_owned(),
            version: self.facts.version.clone(),
            commit: self.facts.commit.clone(),
            modified: self.facts.modified,
            time: self.facts.time,
            toolchain: self.facts.toolchain.clone(),
            missing: Vec::new(),
            source: self.facts.sources.clone(),
            folder: Vec::new(),
            link: Vec::new(),
            file: Vec::new(),
        };
        for (path, reason) in self.missing.clone() {
            document.missing.push(Missing { path, reason });
        }
        for (path, entry) in self.entries.clone() {
            match entry {
                Entry::Folder { mode } => document.folder.push(Folder {
                    path,
                    mode: octal(mode),
                }),
                Entry::Link { target } => document.link.push(Link { path, target }),
                Entry::File { mode, size, sha256 } => document.file.push(File {
                    path,
                    mode: octal(mode),
                    size,
                    sha256,
                }),
                Entry::Special => {}
            }
        }
        document
    }

    /// Reads a manifest's text.
    ///
    /// # Errors
    /// It is damaged, or of another format.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (body, seal) = text
            .rsplit_once(&format!("\n{SEAL}"))
            .ok_or_else(|| damaged("its last line, the hash of the others, is not there"))?;
        if seal.trim_end() != sha256(body.as_bytes()) {
            return Err(damaged("its lines are not those of the hash at its end"));
        }
        let document: Document = toml::from_str(body).map_err(damaged)?;
        if document.format != FORMAT {
            return Err(Error::new(format!(
                "a manifest of format {}, and this program knows {FORMAT}",
                document.format
            )));
        }
        document.into_manifest()
    }
}

impl Document {
    fn into_manifest(self) -> Result<Manifest> {
        let mut entries = Entries::new();
        let mut add = |path: String, entry| {
            let plain = |c| matches!(c, Component::Normal(_));
            if path.is_empty() || !Path::new(&path).components().all(plain) {
                return Err(damaged(format!("{path:?} leads out of the tree")));
            }
            match entries.insert(path.clone(), entry) {
                None => Ok(()),
                Some(_) => Err(damaged(format!("{path} is named twice"))),
            }
        };
        for Folder { path, mode } in self.folder {
            let mode = from_octal(&mode)?;
            add(path, Entry::Folder { mode })?;
        }
        for Link { path, target } in self.link {
            add(path, Entry::Link { target })?;
        }
        for file in self.file {
            let (mode, size, sha256) = (from_octal(&file.mode)?, file.size, file.sha256);
            add(file.path, Entry::File { mode, size, sha256 })?;
        }
        let missing = self.missing.into_iter().map(|m| (m.path, m.reason));
        Ok(Manifest {
            facts: Facts {
                version: self.version,
                commit: self.commit,
                modified: self.modified,
                time: self.time,
                toolchain: self.toolchain,
                sources: self.source,
            },
            missing: missing.collect(),
            entries,
        })
    }
}

fn damaged(cause: impl std::fmt::Display) -> Error {
    Error::new("the manifest is damaged").because(cause)
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn from_octal(mode: &str) -> Result<u32> {
    u32::from_str_radix(mode, 8).map_err(|e| damaged(format!("mode {mode:?}: {e}")))
}
