//! The kernel of a domain and its command line.

use serde::{Deserialize, Serialize};

/// The longest command line that fits the start-of-day page, in bytes, without the final NUL.
///
/// # Source
/// `public/xen.h`, `MAX_GUEST_CMDLINE` (1024). 2.0 cut at 255.
pub const CMDLINE_MAX: usize = 1023;

/// What is built into a domain: a kernel, its initial ramdisk, its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Absolute path of the kernel in domain 0.
    pub kernel: String,
    /// Absolute path of the initial ramdisk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramdisk: Option<String>,
    /// The value of `ip=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The value of `root=`, perhaps with flags after it, as in `/dev/sda1 ro`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Further arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
}

impl Image {
    /// The kernel's command line: `ip=`, `root=` and the arguments, as far as there are any, each after a space.
    pub fn cmdline(&self) -> String {
        let part = |prefix: &str, text: &Option<String>| {
            text.as_ref().map(|text| format!(" {prefix}{text}"))
        };
        [
            part("ip=", &self.ip),
            part("root=", &self.root),
            part("", &self.args),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
