//! Who may do what: values that only the permission check can make, so that a handler cannot forget it.

use rexen_abi::errno::Errno;

use crate::domain::Domain;

/// The caller controls other domains and the platform.
#[derive(Clone, Copy, Debug)]
pub struct Control(());

impl Control {
    /// The check.
    ///
    /// # Errors
    /// EPERM: `domain` is not domain 0.
    #[inline]
    pub fn of(domain: &Domain) -> Result<Self, Errno> {
        if domain.is_privileged {
            Ok(Control(()))
        } else {
            Err(Errno::EPERM)
        }
    }
}

/// The caller owns the hardware: physical interrupts, PCI configuration.
#[derive(Clone, Copy, Debug)]
pub struct Hardware(());

impl Hardware {
    /// The check.
    ///
    /// # Errors
    /// EPERM: `domain` is not domain 0.
    #[inline]
    pub fn of(domain: &Domain) -> Result<Self, Errno> {
        if domain.is_privileged {
            Ok(Hardware(()))
        } else {
            Err(Errno::EPERM)
        }
    }
}
