//! The hypervisors that tests boot: ours, and the peer that says what the ABI is.

use std::path::PathBuf;
use std::sync::OnceLock;

use rexen_installer::{Consent, Options, build_hypervisor, fetch_debian_xen};

/// A hypervisor to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The one of this tree.
    Rexen,
    /// The same, compiled with debug assertions.
    RexenDebug,
    /// The same, compiled so that it measures the longest time without a look at what waits.
    RexenMeasured,
    /// Debian's Xen 4.17.
    Xen,
}

impl Host {
    /// Its multiboot image, built or fetched once.
    ///
    /// # Panics
    /// It does not build, or cannot be fetched.
    pub fn image(self) -> PathBuf {
        static REXEN: OnceLock<PathBuf> = OnceLock::new();
        static DEBUG: OnceLock<PathBuf> = OnceLock::new();
        static MEASURED: OnceLock<PathBuf> = OnceLock::new();
        static XEN: OnceLock<PathBuf> = OnceLock::new();
        let made = match self {
            Host::Rexen => REXEN.get_or_init(|| built(&Options::default())),
            Host::RexenDebug => DEBUG.get_or_init(|| {
                built(&Options {
                    debug: true,
                    ..Options::default()
                })
            }),
            Host::RexenMeasured => MEASURED.get_or_init(|| {
                built(&Options {
                    stretch: true,
                    ..Options::default()
                })
            }),
            Host::Xen => XEN.get_or_init(|| match fetch_debian_xen(Consent::from_env()) {
                Ok(image) => image,
                Err(error) => panic!("fetching Debian's Xen: {error}"),
            }),
        };
        made.clone()
    }
}

fn built(options: &Options) -> PathBuf {
    match build_hypervisor(options) {
        Ok(artefacts) => artefacts.xen,
        Err(error) => panic!("building the hypervisor: {error}"),
    }
}
