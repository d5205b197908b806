//! How what is in a folder differs from what its manifest says.

use std::fmt;

use crate::scan::{Entries, Entry};

/// How an entry of a tree differs from the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The manifest names it, and it is not there.
    Missing(String),
    /// It is there otherwise than the manifest says.
    Changed(String, String),
    /// It is there, and the manifest does not name it.
    Extra(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing(path) => write!(f, "missing  {path}"),
            Difference::Changed(path, how) => write!(f, "changed  {path}: {how}"),
            Difference::Extra(path) => write!(f, "extra    {path}"),
        }
    }
}

/// Every difference, by path.
pub fn compare(expected: &Entries, found: &Entries) -> Vec<Difference> {
    let mut paths: Vec<&String> = expected.keys().chain(found.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut differences = Vec::new();
    for path in paths {
        match (expected.get(path), found.get(path)) {
            (Some(_), None) => differences.push(Difference::Missing(path.clone())),
            (None, Some(_)) => differences.push(Difference::Extra(path.clone())),
            (Some(was), Some(is)) if was != is => {
                differences.push(Difference::Changed(path.clone(), how(was, is)));
            }
            _ => {}
        }
    }
    differences
}

/// How two entries differ, in words.
fn how(was: &Entry, is: &Entry) -> String {
    let mut said = Vec::new();
    match (was, is) {
        (Entry::Link { target: was }, Entry::Link { target: is }) => {
            said.push(format!("leads to {is}, not {was}"));
        }
        (Entry::Folder { mode: was }, Entry::Folder { mode: is }) => said.extend(modes(*was, *is)),
        (
            Entry::File { mode, size, sha256 },
            Entry::File {
                mode: is_mode,
                size: is_size,
                sha256: is_sha256,
            },
        ) => {
            said.extend(modes(*mode, *is_mode));
            if size != is_size {
                said.push(format!("{is_size} bytes, not {size}"));
            } else if sha256 != is_sha256 {
                said.push("other content".to_owned());
            }
        }
        _ => said.push(format!("{}, not {}", kind(is), kind(was))),
    }
    said.join("; ")
}

fn modes(was: u32, is: u32) -> Option<String> {
    (was != is).then(|| format!("mode {is:04o}, not {was:04o}"))
}

fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::Folder { .. } => "a folder",
        Entry::File { .. } => "a file",
        Entry::Link { .. } => "a link",
        Entry::Special => "a device, socket or pipe",
    }
}
