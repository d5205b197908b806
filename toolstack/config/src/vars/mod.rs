//! The registry of configuration variables: one definition for the reader of configurations, `--help_config`,
//! completions and the manual page.
//!
//! `table` has what takes effect, 2.0's variables first and then today's; `refused` what is understood and not offered,
//! each with its reason.

mod refused;
mod table;

pub use refused::{Refusal, refusal, refusals};
pub use table::VARIABLES;

use crate::suggest;

/// What kind of value a variable has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// An integer.
    Int,
    /// A number.
    Float,
    /// 1 or 0, also yes and no.
    Bool,
    /// A list of texts; on the command line, each `NAME=VALUE` adds one.
    List,
    /// A text, an integer, or a list of these.
    Any,
}

impl Kind {
    /// The name of the kind, for help.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "integer",
            Self::Float => "number",
            Self::Bool => "yes or no",
            Self::List => "list",
            Self::Any => "text or list",
        }
    }
}

/// A configuration variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds when it is not set, for help.
    pub default: &'static str,
    /// What it means, in a sentence or two.
    pub help: &'static str,
    /// Whether Xen 2.0 had it; the others are xl's.
    pub is_xen2: bool,
}

/// The variable of a name.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Names that other tools use, or that come to mind, and the variables they stand for.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("append", "extra"),
    ("args", "extra"),
    ("autorestart", "restart"),
    ("bridge", "vif"),
    ("cores", "vcpus"),
    ("cpu_count", "vcpus"),
    ("hda", "disk"),
    ("image", "kernel"),
    ("initrd", "ramdisk"),
    ("initramfs", "ramdisk"),
    ("mac", "vif"),
    ("mem", "memory"),
    ("network", "vif"),
    ("nic", "vif"),
    ("nfs_path", "nfs_root"),
    ("os_cmdline", "cmdline"),
    ("ram", "memory"),
    ("vcpu", "vcpus"),
    ("weight", "cpu_weight"),
];

/// The variable that was probably meant by a name that is none.
pub fn suggestion(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let other = OTHER_NAMES
        .iter()
        .find(|(other, _)| *other == lower)
        .map(|(_, meant)| *meant);
    other.or_else(|| suggest::nearest(name, VARIABLES.iter().map(|variable| variable.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_has_one_meaning() {
        let mut seen = HashSet::new();
        for name in VARIABLES
            .iter()
            .map(|variable| variable.name)
            .chain(refusals().map(|(name, _)| name))
        {
            assert!(seen.insert(name), "{name} is there twice");
        }
        for (other, meant) in OTHER_NAMES {
            assert!(find(meant).is_some() && find(other).is_none(), "{other}");
        }
    }

    #[test]
    fn slips_and_other_tools_names_are_recognised() {
        for (name, meant) in [
            ("memroy", "memory"),
            ("Kernel", "kernel"),
            ("initrd", "ramdisk"),
            ("ram", "memory"),
            ("vcpu", "vcpus"),
        ] {
            assert_eq!(suggestion(name), Some(meant));
        }
        assert_eq!(suggestion("zzzzzz"), None);
    }
}
