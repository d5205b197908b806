//! Event channels: `/dev/xen/evtchn`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rexen_abi::xen;
use rexen_core::units::{DomId, EvtchnPort};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::ioctl::{self, BindInterdomain, BindUnbound, BindVirq, Notify, Unbind};
use crate::sys::open::Device;

const DEVICE: Device = Device {
    path: "/dev/xen/evtchn",
    module: "xen-evtchn",
};

/// An event that the hypervisor itself raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virq {
    /// A domain has shut down, crashed or gone (`VIRQ_DOM_EXC`). One listener in the machine.
    DomainChanged,
    /// There is more in the hypervisor's log (`VIRQ_CON_RING`).
    HypervisorLog,
}

/// A set of event-channel ports of this process, closed when it is dropped.
///
/// An event that came in is masked until [`unmask`](Self::unmask): read it, look at what it announces, unmask, and look
/// again. Poll the file descriptor for reading, then take ports with [`next_event`](Self::next_event) until there is
/// none.
#[derive(Debug)]
pub struct EventChannels {
    fd: OwnedFd,
}

impl EventChannels {
    /// An empty set.
    ///
    /// # Errors
    /// The device cannot be opened.
    pub fn open() -> Result<Self> {
        let fd = DEVICE.open(OFlags::NONBLOCK)?;
        Ok(Self { fd })
    }

    /// Binds to a port that `remote` has made for us; the answer is our end.
    ///
    /// # Errors
    /// `INVAL`: the port is not unbound, or not for us. `SRCH`: no such domain.
    pub fn bind_interdomain(&self, remote: DomId, port: EvtchnPort) -> Result<EvtchnPort> {
        let mut argument = BindInterdomain {
            remote_domain: remote.0.into(),
            remote_port: port.0,
        };
        self.bind("binding to an event channel", Some(remote), &mut argument)
    }

    /// Makes a port that `remote` may bind to.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `NOSPC`: no port is left.
    pub fn bind_unbound(&self, remote: DomId) -> Result<EvtchnPort> {
        let mut argument = BindUnbound {
            remote_domain: remote.0.into(),
        };
        self.bind("making an event channel", Some(remote), &mut argument)
    }

    /// Binds an event of the hypervisor's.
    ///
    /// # Errors
    /// `EXIST`: another process listens to it.
    pub fn bind_virq(&self, virq: Virq) -> Result<EvtchnPort> {
        let virq = match virq {
            Virq::DomainChanged => xen::VIRQ_DOM_EXC,
            Virq::HypervisorLog => xen::VIRQ_CON_RING,
        };
        self.bind("binding a VIRQ", None, &mut BindVirq { virq })
    }

    /// Closes a port.
    ///
    /// # Errors
    /// `NOTCONN`: it is none of this set's.
    pub fn unbind(&self, port: EvtchnPort) -> Result<()> {
        self.call("closing an event channel", &mut Unbind { port: port.0 })
    }

    /// Raises the event at the other end.
    ///
    /// # Errors
    /// `NOTCONN`: the port is none of this set's.
    pub fn notify(&self, port: EvtchnPort) -> Result<()> {
        self.call("notifying an event channel", &mut Notify { port: port.0 })
    }

    /// Takes a port whose event came in; `None` when there is none for now.
    ///
    /// # Errors
    /// `FBIG`: events were lost because nobody took them for long.
    pub fn next_event(&self) -> Result<Option<EvtchnPort>> {
        let mut bytes = [0; 4];
        loop {
            match rustix::io::read(&self.fd, &mut bytes) {
                Ok(4) => return Ok(Some(EvtchnPort(u32::from_ne_bytes(bytes)))),
                Ok(_) | Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::new("reading event channels", errno)),
            }
        }
    }

    /// Lets the port's event come in again. One that was raised meanwhile comes in at once.
    ///
    /// # Errors
    /// Those of the write.
    pub fn unmask(&self, port: EvtchnPort) -> Result<()> {
        rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, &port.0.to_ne_bytes()))
            .map(|_| ())
            .map_err(|errno| Error::new("unmasking an event channel", errno))
    }

    fn bind<T: ioctl::Argument + ioctl::NoPointers>(
        &self,
        call: &'static str,
        remote: Option<DomId>,
        argument: &mut T,
    ) -> Result<EvtchnPort> {
        let answer = ioctl::call(&self.fd, argument);
        let answer = answer.and_then(|port| u32::try_from(port).map_err(|_| Errno::IO));
        answer.map(EvtchnPort).map_err(|errno| {
            let error = Error::new(call, errno);
            match remote {
                Some(domain) => error.on(domain),
                None => error,
            }
        })
    }

    fn call<T: ioctl::Argument + ioctl::NoPointers>(
        &self,
        call: &'static str,
        argument: &mut T,
    ) -> Result<()> {
        match ioctl::call(&self.fd, argument) {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::new(call, errno)),
        }
    }
}

impl AsFd for EventChannels {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
