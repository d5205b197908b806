//! The machine below the daemon: rings, event channels and the fate of domains.
//!
//! [`XenPlatform`] is the real one; [`NoDomains`] serves sockets only, on any Linux. Tests bring their own.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rexen_xenctl::{
    DomId, EventChannels, EvtchnPort, Gntdev, GrantRef, Mfn, SharedPages, StoreRing, Virq, Xen,
};

use crate::store::Introduce;

/// The grant reference that every domain's builder reserves for the store page (public/grant_table.h).
const GNTTAB_RESERVED_XENSTORE: GrantRef = GrantRef(1);

/// A mapped ring page, and our end of its event channel.
#[derive(Debug)]
pub struct OpenRing {
    /// The page.
    pub page: Arc<SharedPages>,
    /// The local port.
    pub port: EvtchnPort,
}

/// What became of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It runs, or may again.
    Alive,
    /// It shut down or crashed, and still has its memory.
    ShutDown,
    /// It is gone or going.
    Gone,
}

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A ring's event came in on this port.
    Ring(EvtchnPort),
    /// Some domain's state changed.
    Domains,
}

/// What the daemon asks of the machine.
pub trait Platform {
    /// Connects a domain's ring.
    ///
    /// # Errors
    /// A sentence for the log.
    fn open_ring(&mut self, place: &Introduce) -> Result<OpenRing, String>;

    /// Connects domain 0's own ring, if its kernel has one.
    ///
    /// # Errors
    /// A sentence for the log.
    fn open_own_ring(&mut self) -> Result<Option<OpenRing>, String>;

    /// Gives up our end of an event channel.
    fn close(&mut self, port: EvtchnPort);

    /// Raises the event at the other end.
    fn notify(&mut self, port: EvtchnPort);

    /// What became of a domain.
    fn fate(&mut self, domid: u16) -> Fate;

    /// What happened, if anything did; its port stays quiet until [`Platform::unmask`].
    fn next(&mut self) -> Option<Happening>;

    /// Lets a port's event come in again.
    fn unmask(&mut self, port: EvtchnPort);

    /// What is readable when something happens.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Xen, through its devices.
pub struct XenPlatform {
    channels: EventChannels,
    grants: Gntdev,
    xen: Xen,
    domains: EvtchnPort,
}

impl XenPlatform {
    /// Opens the devices and listens for changes of domains.
    ///
    /// # Errors
    /// This is not domain 0 of a Xen host, a device is missing, or another xenstored runs.
    pub fn open() -> rexen_xenctl::Result<XenPlatform> {
        let channels = EventChannels::open()?;
        let domains = channels.bind_virq(Virq::DomainChanged)?;
        Ok(XenPlatform {
            channels,
            grants: Gntdev::open()?,
            xen: Xen::open()?,
            domains,
        })
    }

    fn map(&self, place: &Introduce) -> Result<SharedPages, String> {
        let domain = DomId(place.domid);
        self.grants.map(domain, GNTTAB_RESERVED_XENSTORE).or_else(|grant_error| {
            // Builders of old did not write the grant; the frame was named in the request.
            self.xen
                .map_foreign(domain, &[Mfn(place.mfn)], true)
                .map_err(|e| format!("its store page cannot be mapped by grant ({grant_error}) nor by frame ({e})"))
        })
    }
}

impl Platform for XenPlatform {
    fn open_ring(&mut self, place: &Introduce) -> Result<OpenRing, String> {
        let page = Arc::new(self.map(place)?);
        let port = self
            .channels
            .bind_interdomain(DomId(place.domid), EvtchnPort(place.port))
            .map_err(|e| format!("its port {} cannot be bound: {e}", place.port))?;
        Ok(OpenRing { page, port })
    }

    fn open_own_ring(&mut self) -> Result<Option<OpenRing>, String> {
        let StoreRing { page, port } = StoreRing::open().map_err(|e| e.to_string())?;
        let port = self
            .channels
            .bind_interdomain(DomId(0), port)
            .map_err(|e| e.to_string())?;
        Ok(Some(OpenRing {
            page: Arc::new(page),
            port,
        }))
    }

    fn close(&mut self, port: EvtchnPort) {
        // A port that cannot be closed went with its domain.
        let _ = self.channels.unbind(port);
    }

    fn notify(&mut self, port: EvtchnPort) {
        // A peer that cannot be told is gone; the VIRQ says so too.
        let _ = self.channels.notify(port);
    }

    fn fate(&mut self, domid: u16) -> Fate {
        match self.xen.domain(DomId(domid)) {
            Ok(Some(info)) if info.is_dying => Fate::Gone,
            Ok(Some(info)) if info.shutdown.is_some() => Fate::ShutDown,
            Ok(None) => Fate::Gone,
            // Not knowing is no reason to throw a domain's nodes away.
            Ok(Some(_)) | Err(_) => Fate::Alive,
        }
    }

    fn next(&mut self) -> Option<Happening> {
        let port = self.channels.next_event().ok().flatten()?;
        if port == self.domains {
            self.unmask(port);
            return Some(Happening::Domains);
        }
        Some(Happening::Ring(port))
    }

    fn unmask(&mut self, port: EvtchnPort) {
        // It fails for a port that was closed meanwhile.
        let _ = self.channels.unmask(port);
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.channels.as_fd())
    }
}

/// No domains at all: for sockets only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDomains;

impl Platform for NoDomains {
    fn open_ring(&mut self, _: &Introduce) -> Result<OpenRing, String> {
        Err("xenstored runs with --no-domains".to_owned())
    }

    fn open_own_ring(&mut self) -> Result<Option<OpenRing>, String> {
        Ok(None)
    }

    fn close(&mut self, _: EvtchnPort) {}

    fn notify(&mut self, _: EvtchnPort) {}

    fn fate(&mut self, _: u16) -> Fate {
        Fate::Alive
    }

    fn next(&mut self) -> Option<Happening> {
        None
    }

    fn unmask(&mut self, _: EvtchnPort) {}

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
