//! The distribution's own kernels, and a domain 0 with Debian's `xl` that has xen0 itself and gives its guests xenU.

use rexen_installer::debian::Kernel;
use rexen_installer::kernel::{Flavour, KernelOptions, build_kernel};
use rexen_installer::xl_root::Kit;
use rexen_installer::{Consent, Result};

/// Domain 0's kernel.
///
/// # Errors
/// It does not build.
pub fn xen0() -> Result<Kernel> {
    Ok(build_kernel(Flavour::Xen0, &KernelOptions::default())?.bootable())
}

/// The guests' kernel.
///
/// # Errors
/// It does not build.
pub fn xen_u() -> Result<Kernel> {
    Ok(build_kernel(Flavour::XenU, &KernelOptions::default())?.bootable())
}

/// Domain 0 with xen0, guests with xenU.
///
/// # Errors
/// A kernel does not build, or Debian's packages cannot be fetched.
pub fn kit() -> Result<Kit> {
    Kit::make(&xen0()?, &xen_u()?, Consent::from_env())
}
