//! Domain 0's own ring to xenstored, which its kernel has made.

use rexen_core::units::EvtchnPort;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::ioctl::{self, StorePort};
use crate::sys::open::Device;
use crate::sys::shared::SharedPages;

const BACKEND: Device = Device {
    path: "/dev/xen/xenbus_backend",
    module: "xenbus (CONFIG_XEN_BACKEND)",
};
/// The same in xenfs, for kernels without the device.
const XENFS_PAGE: &str = "/proc/xen/xsd_kva";
const XENFS_PORT: &str = "/proc/xen/xsd_port";

/// The page and the port of domain 0's kernel, for xenstored.
#[derive(Debug)]
pub struct StoreRing {
    /// The page (`xenstore_domain_interface`).
    pub page: SharedPages,
    /// The kernel's port, unbound: bind to it as to domain 0's.
    pub port: EvtchnPort,
}

impl StoreRing {
    /// Finds them, through the device or else through xenfs.
    ///
    /// # Errors
    /// Neither is there, or this is not domain 0.
    pub fn open() -> Result<Self> {
        match Self::from_device() {
            Err(error) if error.errno() == Errno::NOENT => Self::from_xenfs().map_err(|_| error),
            result => result,
        }
    }

    fn from_device() -> Result<Self> {
        let device = BACKEND.open(OFlags::empty())?;
        let error = |errno| Error::new(BACKEND.path, errno);
        let port = ioctl::call(&device, &mut StorePort).map_err(error)?;
        let port = u32::try_from(port).map_err(|_| error(Errno::IO))?;
        let page = SharedPages::of_device(&device, 0, 1, true).map_err(error)?;
        Ok(Self {
            page,
            port: EvtchnPort(port),
        })
    }

    fn from_xenfs() -> Result<Self> {
        let error = |errno| {
            Error::new(XENFS_PAGE, errno).because("is xenfs mounted on /proc/xen in domain 0?")
        };
        let text = std::fs::read_to_string(XENFS_PORT)
            .map_err(|e| error(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let port = text.trim().parse().map_err(|_| error(Errno::IO))?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let page = open(XENFS_PAGE, flags, Mode::empty())
            .and_then(|file| SharedPages::of_device(&file, 0, 1, true))
            .map_err(error)?;
        Ok(Self {
            page,
            port: EvtchnPort(port),
        })
    }
}
