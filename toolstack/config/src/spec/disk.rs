//! Discs of a domain.

use super::{DomainRef, SpecError, Vdev};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A disc, or a partition, that a domain sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Where its blocks are.
    pub source: DiskSource,
    /// What the guest sees.
    pub dev: Vdev,
    /// Access.
    #[serde(default)]
    pub mode: DiskMode,
    /// The domain whose back-end serves it: domain 0 unless named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<DomainRef>,
    /// The script that makes a device of the source, instead of the one configured for its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Whether the guest is told that it is a CD-ROM drive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cdrom: bool,
}

/// Where the blocks of a disc are: `TYPE:PARAMS`, as in `phy:vg/root` or `file:/images/a.img`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskSource {
    kind: String,
    params: String,
}

impl DiskSource {
    /// Makes a source of a type and its parameters.
    ///
    /// # Errors
    /// The type is no word, or there are no parameters.
    pub fn try_new(kind: &str, params: &str) -> Result<Self, SpecError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let params = params.trim();
        if kind.is_empty()
            || !kind.bytes().all(word)
            || params.is_empty()
            || params.contains(char::is_control)
        {
            let value = format!("{kind}:{params}");
            return Err(SpecError::invalid(
                "disk source",
                value,
                "TYPE:PARAMS, as in phy:vg/root or file:/images/a.img",
            ));
        }
        Ok(Self {
            kind: kind.to_owned(),
            params: params.to_owned(),
        })
    }

    /// `phy`, `file`, or what follows `block-` in the name of a script.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether this is a block device of the back-end's domain, which needs no script.
    pub fn is_phy(&self) -> bool {
        self.kind == "phy"
    }

    /// What follows the type; a script gets it split at colons.
    pub fn params(&self) -> &str {
        &self.params
    }

    /// For `phy`, the absolute path of the device: `/dev/` may be left out.
    pub fn device_path(&self) -> Option<String> {
        self.is_phy().then(|| match self.params.strip_prefix('/') {
            Some(_) => self.params.clone(),
            None => format!("/dev/{}", self.params),
        })
    }
}

impl FromStr for DiskSource {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (kind, params) = text.split_once(':').unwrap_or(("", text));
        Self::try_new(kind.trim(), params)
    }
}

impl fmt::Display for DiskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.params)
    }
}

/// How a domain may use a disc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskMode {
    /// Whether it may write.
    pub writable: bool,
    /// `!`: whether checks for other users of the disc are skipped.
    pub unchecked: bool,
}

impl FromStr for DiskMode {
    type Err = SpecError;

    /// Reads `r`, `w`, `r!`, `w!` and xl's `ro`, `rw`.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (access, unchecked) = text
            .strip_suffix('!')
            .map_or((text, false), |access| (access, true));
        let writable = match access {
            "r" | "ro" => false,
            "w" | "rw" => true,
            _ => {
                let expected =
                    "r for reading, w for writing, with ! to skip the checks for other users";
                return Err(SpecError::invalid("disk mode", text, expected));
            }
        };
        Ok(Self {
            writable,
            unchecked,
        })
    }
}

impl fmt::Display for DiskMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.writable { "w" } else { "r" })?;
        f.write_str(if self.unchecked { "!" } else { "" })
    }
}
