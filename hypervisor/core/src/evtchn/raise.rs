//! The hot paths: sending and raising events, and unmasking.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::port::PortState;
use super::table::OpenPort;
use super::{EventChannels, EvtchnError, SharedFrames, Virq};
use crate::units::{DomId, EvtchnPort, Pirq, VcpuId};

/// What the caller must do after an event was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a vcpu may have to be woken"]
pub struct Raised {
    /// This vcpu's evtchn_upcall_pending was set just now: wake it if it is blocked and does not mask upcalls; interrupt
    /// it if it runs on another CPU.
    pub upcall: Option<VcpuId>,
    /// Some vcpu of the domain polls and the port became pending: call [`EventChannels::wake_pollers`] with the port.
    pub pollers: bool,
}

impl Raised {
    /// Nobody needs to be told.
    pub const NOTHING: Raised = Raised {
        upcall: None,
        pollers: false,
    };

    /// Whether nobody needs to be told.
    #[inline]
    pub fn is_nothing(self) -> bool {
        self.upcall.is_none() && !self.pollers
    }
}

/// Where a sent event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an event for another domain has not been raised yet"]
pub enum Sent {
    /// It was raised in the sender's own domain, on `port`.
    Here {
        /// The port it was raised on.
        port: EvtchnPort,
        /// What the caller must do.
        raised: Raised,
    },
    /// It belongs to another domain: call [`EventChannels::raise_from`] there.
    Remote {
        /// The other domain.
        dom: DomId,
        /// Its port.
        port: EvtchnPort,
    },
    /// Nobody is bound to the other end; the event is dropped, which is no error.
    Dropped,
}

impl EventChannels {
    /// Sends an event through `port`.
    ///
    /// # Errors
    /// `BadPort` (EINVAL): closed. `WrongState` (EINVAL): neither interdomain, nor unbound, nor IPI.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_send.
    #[inline]
    pub fn send<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
    ) -> Result<Sent, EvtchnError> {
        let open = self.open(port).ok_or(EvtchnError::BadPort)?;
        match open.word.state() {
            PortState::Ipi => Ok(Sent::Here {
                port,
                raised: self.raise_open(frames, open),
            }),
            PortState::Interdomain {
                remote,
                remote_port,
            } if remote == self.dom() => Ok(Sent::Here {
                port: remote_port,
                raised: self.raise_from(frames, remote_port, self.dom(), port),
            }),
            PortState::Interdomain {
                remote,
                remote_port,
            } => Ok(Sent::Remote {
                dom: remote,
                port: remote_port,
            }),
            PortState::Unbound { .. } => Ok(Sent::Dropped),
            _ => Err(EvtchnError::WrongState),
        }
    }

    /// Raises an event on `port`, sent through port `sender_port` of domain `sender`.
    ///
    /// Does nothing if the two are no longer each other's ends, as either may close at any time.
    #[inline]
    pub fn raise_from<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        sender: DomId,
        sender_port: EvtchnPort,
    ) -> Raised {
        let far = PortState::Interdomain {
            remote: sender,
            remote_port: sender_port,
        };
        match self.open(port) {
            Some(open) if open.word.is_bound_to(far) => self.raise_open(frames, open),
            _ => Raised::NOTHING,
        }
    }

    /// Raises `virq` of `vcpu`; of vcpu 0 if it is global. Gives the port too, for [`EventChannels::wake_pollers`].
    /// `None`: the guest has not bound it, or the vcpu does not exist.
    #[inline]
    pub fn raise_virq<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        vcpu: VcpuId,
        virq: Virq,
    ) -> Option<(EvtchnPort, Raised)> {
        let home = if virq.is_global() { VcpuId(0) } else { vcpu };
        let port = EvtchnPort(self.virq_port(home, virq)?.load(SeqCst));
        let open = self
            .open(port)
            .filter(|open| open.word.is_bound_to(PortState::Virq(virq)))?;
        Some((port, self.raise_open(frames, open)))
    }

    /// Raises physical interrupt `pirq`. `None`: the guest has not bound it.
    #[inline]
    pub fn raise_pirq<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        pirq: Pirq,
    ) -> Option<(EvtchnPort, Raised)> {
        let port = EvtchnPort(self.pirq_port(pirq)?.load(SeqCst));
        let open = self
            .open(port)
            .filter(|open| open.word.is_bound_to(PortState::Pirq(pirq)))?;
        Some((port, self.raise_open(frames, open)))
    }

    /// The port that `pirq` is bound to.
    pub fn port_of_pirq(&self, pirq: Pirq) -> Option<EvtchnPort> {
        let port = self.pirq_port(pirq)?.load(SeqCst);
        (port != 0).then_some(EvtchnPort(port))
    }

    /// Raises an event on `port` whatever it is bound to, unless it is closed.
    pub fn raise<F: SharedFrames + ?Sized>(&self, frames: &F, port: EvtchnPort) -> Raised {
        match self.open(port) {
            Some(open) => self.raise_open(frames, open),
            None => Raised::NOTHING,
        }
    }

    #[inline]
    pub(super) fn raise_open<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        open: OpenPort<'_>,
    ) -> Raised {
        if self.fifo_active.load(Relaxed) {
            self.fifo_raise(frames, open)
        } else {
            self.two_level_raise(frames, open.port, open.word.vcpu())
        }
    }

    /// Unmasks `port`, and delivers what is pending on it.
    ///
    /// # Errors
    /// `BadPort` (EINVAL): closed.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_unmask.
    pub fn unmask<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
    ) -> Result<Raised, EvtchnError> {
        let open = self.open(port).ok_or(EvtchnError::BadPort)?;
        Ok(if self.is_fifo() {
            self.fifo_unmask(frames, open)
        } else {
            self.two_level_unmask(frames, port, open.word.vcpu())
        })
    }

    /// Whether an event is pending on `port`, masked or not.
    ///
    /// # Errors
    /// `BadPort` (EINVAL): 0, or beyond the limit.
    pub fn is_pending<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
    ) -> Result<bool, EvtchnError> {
        if port.0 == 0 || port.0 >= self.port_limit() {
            return Err(EvtchnError::BadPort);
        }
        Ok(if self.is_fifo() {
            self.fifo_is_pending(frames, port, self.word(port).vcpu())
        } else {
            self.two_level_is_pending(frames, port)
        })
    }

    /// Forgets an event pending on `port`; tells whether there was one.
    pub(super) fn clear_pending<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
    ) -> bool {
        if self.is_fifo() {
            self.fifo_clear(frames, port, vcpu)
        } else {
            self.two_level_clear(frames, port)
        }
    }
}
