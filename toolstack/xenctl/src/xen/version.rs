//! What the hypervisor says about itself (`xen_version`).

use std::fmt;

use rexen_abi::Plain;
use rexen_abi::version::*;
use rexen_abi::xen::__HYPERVISOR_xen_version;

use super::Xen;
use crate::error::{Error, Result};

/// The hypervisor's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
    /// The rest, such as `.7`.
    pub extra: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, self.extra)
    }
}

/// How the hypervisor was built and started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFacts {
    /// Compiler.
    pub compiler: String,
    /// Who built it.
    pub compile_by: String,
    /// Where.
    pub compile_domain: String,
    /// When.
    pub compile_date: String,
    /// What sources.
    pub changeset: String,
    /// What guests it can run: words such as `xen-3.0-x86_64`.
    pub capabilities: String,
    /// Its command line.
    pub command_line: String,
    /// Where its part of a guest's address space starts.
    pub virt_start: u64,
    /// Bytes of a page.
    pub page_size: u64,
}

impl Xen {
    /// Its version.
    ///
    /// # Errors
    /// Those of the call.
    pub fn version(&self) -> Result<Version> {
        let number = self.version_number(XENVER_version)?;
        let mut extra = [0; XEN_EXTRAVERSION_LEN];
        self.version_call(XENVER_extraversion, &mut extra)?;
        let [minor_low, minor_high, major_low, major_high, ..] = number.to_le_bytes();
        Ok(Version {
            major: u16::from_le_bytes([major_low, major_high]),
            minor: u16::from_le_bytes([minor_low, minor_high]),
            extra: text(&extra),
        })
    }

    /// How it was built and started.
    ///
    /// # Errors
    /// Those of the calls.
    pub fn build_facts(&self) -> Result<BuildFacts> {
        let mut compile = XenCompileInfo::ZERO;
        self.version_call(XENVER_compile_info, &mut compile)?;
        let mut changeset = [0; XEN_CHANGESET_INFO_LEN];
        self.version_call(XENVER_changeset, &mut changeset)?;
        let mut capabilities = [0; XEN_CAPABILITIES_INFO_LEN];
        self.version_call(XENVER_capabilities, &mut capabilities)?;
        let mut command_line = [0; XEN_COMMANDLINE_LEN];
        self.version_call(XENVER_commandline, &mut command_line)?;
        let mut platform = XenPlatformParameters::ZERO;
        self.version_call(XENVER_platform_parameters, &mut platform)?;
        Ok(BuildFacts {
            compiler: text(&compile.compiler),
            compile_by: text(&compile.compile_by),
            compile_domain: text(&compile.compile_domain),
            compile_date: text(&compile.compile_date),
            changeset: text(&changeset),
            capabilities: text(&capabilities).trim().into(),
            command_line: text(&command_line),
            virt_start: platform.virt_start,
            page_size: self.version_number(XENVER_pagesize)?,
        })
    }

    /// A question whose answer is a number; it takes no argument, and refuses one.
    fn version_number(&self, cmd: u32) -> Result<u64> {
        self.hypercalls
            .begin()
            .issue(__HYPERVISOR_xen_version, &[cmd.into(), 0])
            .map_err(|errno| Error::new("xen_version", errno))
    }

    fn version_call<T: Plain>(&self, cmd: u32, answer: &mut T) -> Result<()> {
        self.op(__HYPERVISOR_xen_version, cmd, answer)
            .map(|_| ())
            .map_err(|errno| Error::new("xen_version", errno))
    }
}

/// The text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_its_nul_or_its_end() {
        assert_eq!(text(b".7\0\0rubbish"), ".7");
        assert_eq!(text(b"full"), "full");
        assert_eq!(text(b"\xff\0"), "\u{fffd}");
    }
}
