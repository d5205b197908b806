//! A new domain's state, put together from what was asked for and what the machine gives.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use rexen_abi::errno::Errno;

use super::{
    ControlState, Domain, DomainPolicy, FrameSpan, Life, NOT_SHUT_DOWN, PolicyCell, Vcpu, VcpuFlags,
};
use crate::evtchn::EventChannels;
use crate::gnttab::GrantTable;
use crate::policy::ioports::DomainPorts;
use crate::pvmmu::MmState;
use crate::sync::Mutex;
use crate::units::{DomId, Mfn};

/// Bytes that must be free beyond those of an allocation that cannot be refused.
const HEADROOM: usize = 16 << 10;

/// Whether `bytes` can be allocated.
///
/// Where an allocation cannot be refused (`Arc::new`), this is asked right before; others take little in between.
///
/// # Errors
/// ENOMEM.
pub fn room_for(bytes: usize) -> Result<(), Errno> {
    let mut probe: Vec<u8> = Vec::new();
    probe
        .try_reserve_exact(bytes + HEADROOM)
        .map_err(|_| Errno::ENOMEM)?;
    core::hint::black_box(&probe);
    Ok(())
}

/// What a domain shall be. Everything in it is within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainSpec {
    /// Its number; `None` for a free one.
    pub id: Option<DomId>,
    /// Whether it is the control and hardware domain.
    pub is_privileged: bool,
    /// Whether it runs the store.
    pub is_store: bool,
    /// Its security label.
    pub ssidref: u32,
    /// Its name to the tools.
    pub handle: [u8; 16],
    /// How many vcpus it has.
    pub nr_vcpus: u32,
    /// The highest port that it may have.
    pub max_port: u32,
    /// Physical interrupts that it may be given are below this.
    pub nr_pirqs: u32,
    /// Frames that its grant table may have.
    pub max_grant_frames: u32,
    /// Frames' worth of handles for mapping others' grants, 256 each.
    pub max_maptrack_frames: u32,
    /// The highest version that its grant table may have.
    pub max_grant_version: u32,
}

/// What the machine puts into a new domain.
pub struct Parts {
    /// Its event channels, which know its number and its shared_info.
    pub events: EventChannels,
    /// Its vcpus, as many as asked for.
    pub vcpus: Box<[Vcpu]>,
    /// The state of its page tables.
    pub mm: MmState,
    /// What its processor is like, as long as the toolstack says nothing else.
    pub policy: DomainPolicy,
    /// Ports it may reach.
    pub ports: DomainPorts,
}

impl DomainSpec {
    /// The event channels of such a domain with number `id`; the frame `shared_info` is shared with it.
    ///
    /// # Errors
    /// ENOMEM. EINVAL: a limit is too high.
    pub fn events(&self, id: DomId, shared_info: Mfn) -> Result<EventChannels, Errno> {
        let events =
            EventChannels::try_new(id, shared_info, self.nr_vcpus, self.max_port, self.nr_pirqs)?;
        Ok(events)
    }
}

impl Domain {
    /// A domain without memory, ports and grants. One that is not privileged is paused until the toolstack has built it.
    pub fn new(spec: &DomainSpec, parts: Parts) -> Self {
        let id = parts.events.dom();
        let pauses = u32::from(!spec.is_privileged);
        for vcpu in parts.vcpus.iter().filter(|_| pauses != 0) {
            vcpu.flags.fetch_or(VcpuFlags::PAUSED, SeqCst);
        }
        let control = ControlState::default();
        let span = FrameSpan::new();
        span.grow(parts.events.shared_info(), 1);
        *control.handle.lock() = spec.handle;
        Domain {
            id,
            is_privileged: spec.is_privileged,
            mm: Mutex::new(parts.mm),
            shared_info: parts.events.shared_info(),
            events: parts.events,
            vcpus: parts.vcpus,
            assists: AtomicU64::new(0),
            tot_pages: AtomicU64::new(0),
            span,
            max_pages: AtomicU64::new(0),
            claim: Default::default(),
            ports: parts.ports,
            pci_address: Mutex::default(),
            rtc_index: Mutex::default(),
            policy: PolicyCell::new(parts.policy),
            shutdown: AtomicU32::new(NOT_SHUT_DOWN),
            latched_reason: AtomicU32::new(NOT_SHUT_DOWN),
            watchdogs: Default::default(),
            memory_map: Mutex::new(Vec::new()),
            grants: GrantTable::new(
                id,
                spec.max_grant_frames,
                spec.max_maptrack_frames,
                spec.max_grant_version,
            ),
            pirq_eoi_map: AtomicU64::new(0),
            control,
            ssidref: spec.ssidref,
            is_store: spec.is_store,
            life: Life::new(pauses),
        }
    }
}
