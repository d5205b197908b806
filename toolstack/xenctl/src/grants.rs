//! Grants: pages of others that we map (`/dev/xen/gntdev`), and pages of ours that we grant (`/dev/xen/gntalloc`).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rexen_core::units::{DomId, EvtchnPort, GrantRef};
use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::sys::ioctl::{self, AllocGrant, FreeGrant, GrantUnmapNotify, MapGrant, UnmapGrant};
use crate::sys::open::Device;
use crate::sys::shared::SharedPages;

const GNTDEV: Device = Device {
    path: "/dev/xen/gntdev",
    module: "xen-gntdev",
};
const GNTALLOC: Device = Device {
    path: "/dev/xen/gntalloc",
    module: "xen-gntalloc",
};

/// The window to pages that other domains grant us.
#[derive(Clone, Debug)]
pub struct Gntdev {
    fd: Arc<OwnedFd>,
}

/// What the kernel does for us when a mapping of a grant ends, even if we are killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnUnmap {
    /// Clears this byte of the page.
    pub clear_byte: Option<u16>,
    /// Notifies this port of ours.
    pub notify: Option<EvtchnPort>,
}

impl Gntdev {
    /// Opens the device.
    ///
    /// # Errors
    /// The device cannot be opened.
    pub fn open() -> Result<Self> {
        let fd = Arc::new(GNTDEV.open(OFlags::empty())?);
        Ok(Self { fd })
    }

    /// Maps a page that `domain` grants to this domain, for reading and writing.
    ///
    /// # Errors
    /// `INVAL`: no such grant, or not for us, or read-only.
    pub fn map(&self, domain: DomId, gref: GrantRef) -> Result<SharedPages> {
        self.map_with(domain, gref, OnUnmap::default())
    }

    /// As [`map`](Self::map), with something to be done when the mapping ends.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_with(
        &self,
        domain: DomId,
        gref: GrantRef,
        on_unmap: OnUnmap,
    ) -> Result<SharedPages> {
        let error = |errno| Error::new("mapping a granted page", errno).on(domain);
        let mut argument = MapGrant {
            count: 1,
            domid: domain.0.into(),
            gref: gref.0,
            ..MapGrant::default()
        };
        ioctl::call(&self.fd, &mut argument).map_err(error)?;
        let index = argument.index;
        match self.map_prepared(index, on_unmap) {
            Ok(page) => Ok(page.with_gntdev(self.fd.clone(), index)),
            Err(errno) => {
                // The first error is the one to tell.
                let _ = ioctl::call(
                    &self.fd,
                    &mut UnmapGrant {
                        index,
                        count: 1,
                        pad: 0,
                    },
                );
                Err(error(errno))
            }
        }
    }

    fn map_prepared(&self, index: u64, on_unmap: OnUnmap) -> rustix::io::Result<SharedPages> {
        const CLEAR_BYTE: u32 = 1;
        const SEND_EVENT: u32 = 2;
        let page = SharedPages::of_device(&*self.fd, index, 1, true)?;
        let mut notify = GrantUnmapNotify {
            index,
            ..GrantUnmapNotify::default()
        };
        if let Some(offset) = on_unmap.clear_byte {
            notify.index += u64::from(offset);
            notify.action |= CLEAR_BYTE;
        }
        if let Some(port) = on_unmap.notify {
            notify.event_channel_port = port.0;
            notify.action |= SEND_EVENT;
        }
        if notify.action != 0 {
            ioctl::call(&self.fd, &mut notify)?;
        }
        Ok(page)
    }
}

/// Where pages to be granted to other domains come from.
#[derive(Clone, Debug)]
pub struct Gntalloc {
    fd: Arc<OwnedFd>,
}

impl Gntalloc {
    /// Opens the device.
    ///
    /// # Errors
    /// The device cannot be opened.
    pub fn open() -> Result<Self> {
        let fd = Arc::new(GNTALLOC.open(OFlags::empty())?);
        Ok(Self { fd })
    }

    /// Grants a zeroed page to `domain`, for reading and writing, until it is dropped.
    ///
    /// # Errors
    /// `NOSPC`: the kernel's limit of granted pages (`/sys/module/xen_gntalloc/parameters/limit`) is reached.
    pub fn grant(&self, domain: DomId) -> Result<(GrantRef, SharedPages)> {
        const WRITABLE: u16 = 1;
        let error = |errno| Error::new("granting a page", errno).on(domain);
        let mut argument = AllocGrant {
            domid: domain.0,
            flags: WRITABLE,
            count: 1,
            ..AllocGrant::default()
        };
        ioctl::call(&self.fd, &mut argument).map_err(error)?;
        let index = argument.index;
        match SharedPages::of_device(&*self.fd, index, 1, true) {
            Ok(page) => Ok((
                GrantRef(argument.gref),
                page.with_gntalloc(self.fd.clone(), index),
            )),
            Err(errno) => {
                // The first error is the one to tell.
                let _ = ioctl::call(
                    &self.fd,
                    &mut FreeGrant {
                        index,
                        count: 1,
                        pad: 0,
                    },
                );
                Err(error(errno))
            }
        }
    }
}
