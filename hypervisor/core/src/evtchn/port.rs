//! A port's state, and its packing into the one word that makes changing it atomic.

use super::Priority;
use super::virq::Virq;
use crate::units::{DomId, EvtchnPort, Pirq, VcpuId};

/// What a port is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Free.
    Closed,
    /// Waits for `remote` to bind to it.
    Unbound {
        /// Who may bind.
        remote: DomId,
    },
    /// One end of a channel.
    Interdomain {
        /// The far end's domain.
        remote: DomId,
        /// The far end's port.
        remote_port: EvtchnPort,
    },
    /// A physical interrupt.
    Pirq(Pirq),
    /// A virtual interrupt.
    Virq(Virq),
    /// An interrupt from one vcpu of the domain to another.
    Ipi,
}

impl PortState {
    /// The number in EVTCHNOP_status (`public/event_channel.h`, EVTCHNSTAT_*).
    pub const fn abi_number(self) -> u32 {
        match self {
            PortState::Closed => 0,
            PortState::Unbound { .. } => 1,
            PortState::Interdomain { .. } => 2,
            PortState::Pirq(_) => 3,
            PortState::Virq(_) => 4,
            PortState::Ipi => 5,
        }
    }
}

/// What EVTCHNOP_status tells about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// What the port is bound to.
    pub state: PortState,
    /// The vcpu it notifies.
    pub vcpu: VcpuId,
}

/// A port in one word: kind in bits 0-2, priority in 3-6, notified vcpu in 8-23, the far domain in 24-39, and the far
/// port, virq or pirq in 40-63. All zero is a closed port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PortWord(pub u64);

/// The greatest pirq, virq or port that a port word can hold.
pub(super) const MAX_PAYLOAD: u32 = (1 << 24) - 1;

const KIND: u64 = 7;
const PRIORITY_SHIFT: u32 = 3;
const PRIORITY: u64 = 15 << PRIORITY_SHIFT;
const VCPU_SHIFT: u32 = 8;
const VCPU: u64 = 0xffff << VCPU_SHIFT;
const DOM_SHIFT: u32 = 24;
const PAYLOAD_SHIFT: u32 = 40;

impl PortWord {
    pub const CLOSED: PortWord = PortWord(0);

    /// A new port in `state` that notifies `vcpu`, at the default priority.
    pub fn new(state: PortState, vcpu: VcpuId) -> Self {
        PortWord(Self::target(state))
            .with_vcpu(vcpu)
            .with_priority(Priority::DEFAULT)
    }

    /// The bits that say what the port is bound to.
    #[inline]
    fn target(state: PortState) -> u64 {
        let (dom, payload) = match state {
            PortState::Closed | PortState::Ipi => (0, 0),
            PortState::Unbound { remote } => (remote.0, 0),
            PortState::Interdomain {
                remote,
                remote_port,
            } => (remote.0, remote_port.0),
            PortState::Pirq(pirq) => (0, pirq.0),
            PortState::Virq(virq) => (0, u32::from(virq.number())),
        };
        u64::from(state.abi_number())
            | u64::from(dom) << DOM_SHIFT
            | u64::from(payload & MAX_PAYLOAD) << PAYLOAD_SHIFT
    }

    /// The port bound to `state` instead, with its vcpu and priority kept.
    #[inline]
    pub fn with_state(self, state: PortState) -> Self {
        PortWord(self.0 & (PRIORITY | VCPU) | Self::target(state))
    }

    /// The port notifying `vcpu` instead.
    #[inline]
    pub fn with_vcpu(self, vcpu: VcpuId) -> Self {
        PortWord(self.0 & !VCPU | u64::from(vcpu.0 & 0xffff) << VCPU_SHIFT)
    }

    /// The port at another priority.
    #[inline]
    pub fn with_priority(self, priority: Priority) -> Self {
        PortWord(self.0 & !PRIORITY | u64::from(priority.number()) << PRIORITY_SHIFT)
    }

    /// What the port is bound to.
    #[inline]
    pub fn state(self) -> PortState {
        let remote = DomId((self.0 >> DOM_SHIFT) as u16);
        let payload = (self.0 >> PAYLOAD_SHIFT) as u32;
        match self.0 & KIND {
            1 => PortState::Unbound { remote },
            2 => PortState::Interdomain {
                remote,
                remote_port: EvtchnPort(payload),
            },
            3 => PortState::Pirq(Pirq(payload)),
            4 => Virq::try_from(payload).map_or(PortState::Closed, PortState::Virq),
            5 => PortState::Ipi,
            _ => PortState::Closed,
        }
    }

    /// Whether the port is bound to exactly `state`; cheaper than comparing [`PortWord::state`].
    #[inline]
    pub fn is_bound_to(self, state: PortState) -> bool {
        self.0 & !(PRIORITY | VCPU) == Self::target(state)
    }

    /// The vcpu it notifies.
    #[inline]
    pub fn vcpu(self) -> VcpuId {
        VcpuId((self.0 >> VCPU_SHIFT) as u32 & 0xffff)
    }

    /// Its priority in the FIFO ABI.
    #[inline]
    pub fn priority(self) -> Priority {
        Priority::from_low_bits((self.0 >> PRIORITY_SHIFT) as u32)
    }
}
