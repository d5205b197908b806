//! What a tree is made from, as its manifest tells it. The orchestrator collects it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What we are called in manifests, SBOMs and tarballs.
pub const NAME: &str = "rexen";

/// What kind of thing a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Debian package; the hash is that of the .deb.
    Debian,
    /// A patch of ours to Linux.
    Patch,
    /// A Rust crate; the hash is that of Cargo.lock.
    Crate,
}

/// Something the tree is made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Of which kind.
    pub kind: Kind,
    /// Its name there.
    pub name: String,
    /// Its version; patches have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256, in hex.
    pub sha256: String,
    /// Its licence, as an SPDX expression.
    pub licence: String,
}

/// All of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Our version.
    pub version: String,
    /// The commit of this source tree, or `unknown` where it is not a clone.
    pub commit: String,
    /// Whether the source tree differs from that commit.
    pub modified: bool,
    /// The time that everything in the tree has: SOURCE_DATE_EPOCH, else that of the commit. Seconds since 1970, UTC.
    pub time: u64,
    /// Tool and version.
    pub toolchain: BTreeMap<String, String>,
    /// Sources of others and patches of ours, sorted.
    pub sources: Vec<Source>,
}
