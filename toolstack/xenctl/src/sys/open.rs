//! Opening the devices, with an error that says what is missing.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// A device of `/dev/xen`, and the module that makes it.
pub struct Device {
    /// Its file.
    pub path: &'static str,
    /// Its kernel module.
    pub module: &'static str,
}

impl Device {
    /// Opens it for reading and writing, closed on exec.
    ///
    /// # Errors
    /// The kernel's, with what is missing: a hypervisor, the module, or the right.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | flags;
        open(self.path, flags, Mode::empty()).map_err(|errno| {
            Error::new(self.path, errno).because(self.remedy(errno, &hypervisor()))
        })
    }

    fn remedy(&self, errno: Errno, hypervisor: &str) -> String {
        match errno {
            Errno::ACCESS | Errno::PERM => "this needs root".into(),
            _ if hypervisor != "xen" => {
                "this machine does not run on a Xen hypervisor (see /sys/hypervisor/type)".into()
            }
            _ => format!("is the kernel module {} loaded?", self.module),
        }
    }
}

/// What Linux says it runs on; empty if on no hypervisor that it names.
fn hypervisor() -> String {
    let name = std::fs::read_to_string(Path::new("/sys/hypervisor/type")).unwrap_or_default();
    name.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Device = Device {
        path: "/nowhere/privcmd",
        module: "xen-privcmd",
    };

    #[test]
    fn a_missing_device_says_what_to_do() {
        assert!(DEVICE.remedy(Errno::ACCESS, "xen").contains("root"));
        assert!(DEVICE.remedy(Errno::NOENT, "").contains("hypervisor"));
        assert!(DEVICE.remedy(Errno::NOENT, "xen").contains("xen-privcmd"));
        let error = DEVICE.open(OFlags::empty()).unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
        assert!(error.to_string().starts_with("/nowhere/privcmd"));
    }
}
