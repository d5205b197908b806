//! Domains and their vcpus: the state that hypercalls change and the entry paths read.
//!
//! A [`Domain`] owns frames, event channels, grants, ports. A [`Vcpu`] is what a guest has set of its virtual CPU
//! (`vcpu.rs`), and the registers of one that is not running (`context.rs`). What only the owning vcpu or a rare call
//! changes and hot paths read is an atomic; the rest is behind small locks. `docs/locking.md` has their order.

mod context;
mod control;
mod create;
mod held;
mod life;
mod policy;
mod span;
mod vcpu;
mod watchdog;

pub use context::{FpuArea, SavedContext};
pub use control::{ControlState, Ranges};
pub use create::{DomainSpec, Parts, room_for};
pub use life::{Life, Stage, Step, Teardown};
pub use policy::{DomainPolicy, Limits, PolicyCell, Settled};
pub use span::FrameSpan;
pub use vcpu::{Callback, Callbacks, Gdt, Ldt, PortBitmapPlace, TrapSlot, Vcpu, VcpuFlags};
pub use watchdog::Watchdogs;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rexen_abi::memory::E820Entry;

use crate::evtchn::EventChannels;
use crate::frame::Claim;
use crate::policy::ioports::{DomainPorts, PciAddress, RtcIndex};
use crate::pvmmu::MmState;
use crate::sync::Mutex;
use crate::units::{DomId, Mfn, VcpuId};

/// [`Domain::shutdown`] of a domain that has not shut down.
pub const NOT_SHUT_DOWN: u32 = u32::MAX;

/// VM assists that a 64-bit PV guest may switch on (`public/xen.h`, VMASST_TYPE_*), as bits of [`Domain::assists`].
pub mod assist {
    /// Stores to page tables are trapped and carried out.
    pub const WRITABLE_PAGETABLES: u64 = 1 << 2;
    /// Page-directory base may be above 4 GiB.
    pub const PAE_EXTENDED_CR3: u64 = 1 << 3;
    /// Frames show the real IOPL.
    pub const ARCHITECTURAL_IOPL: u64 = 1 << 4;
    /// Runstate areas have the update flag.
    pub const RUNSTATE_UPDATE_FLAG: u64 = 1 << 5;
    /// The M2P is not mapped in user tables.
    pub const M2P_STRICT: u64 = 1 << 32;
}

/// A virtual machine.
pub struct Domain {
    /// Its number.
    pub id: DomId,
    /// Whether it is the control and hardware domain: domain 0.
    pub is_privileged: bool,
    /// Its page tables. Held during one operation, never across a continuation.
    pub mm: Mutex<MmState>,
    /// Its event channels.
    pub events: EventChannels,
    /// Its vcpus, by id.
    pub vcpus: Box<[Vcpu]>,
    /// The frame of its shared_info.
    pub shared_info: Mfn,
    /// VM assists that are on ([`assist`]).
    pub assists: AtomicU64,
    /// Frames it owns.
    pub tot_pages: AtomicU64,
    /// Where its frames are.
    pub span: FrameSpan,
    /// Frames it may own.
    pub max_pages: AtomicU64,
    /// Frames that are set aside for it.
    pub claim: Claim,
    /// Ports it may reach.
    pub ports: DomainPorts,
    /// What its last write to port 0xcf8 chose.
    pub pci_address: Mutex<PciAddress>,
    /// What its last write to port 0x70 chose.
    pub rtc_index: Mutex<RtcIndex>,
    /// What its processor is like: the CPUID it sees, and what follows from it.
    pub policy: PolicyCell,
    /// Why it shut down (`public/sched.h`, SHUTDOWN_*), or [`NOT_SHUT_DOWN`].
    pub shutdown: AtomicU32,
    /// The reason it announced for its next shutdown (SCHEDOP_shutdown_code), or [`NOT_SHUT_DOWN`].
    pub latched_reason: AtomicU32,
    /// Its watchdogs (SCHEDOP_watchdog); the timer interrupt looks at them.
    pub watchdogs: Watchdogs,
    /// The memory map it gets from XENMEM_machine_memory_map or XENMEM_memory_map.
    pub memory_map: Mutex<Vec<E820Entry>>,
    /// Its grant table.
    pub grants: crate::gnttab::GrantTable,
    /// The frame with a bit for each pirq that needs PHYSDEVOP_eoi, and whether event unmasking does it as well (v1);
    /// 0 for none, else `mfn << 1 | v1`.
    pub pirq_eoi_map: AtomicU64,
    /// What the toolstack has set of it.
    pub control: ControlState,
    /// Its security label, which only the tools look at.
    pub ssidref: u32,
    /// Whether it runs the store (XEN_DOMCTL_CDF_xs_domain).
    pub is_store: bool,
    /// Where it is between creation and destruction.
    pub life: Life,
}

impl Domain {
    /// The vcpu with this id.
    #[inline]
    pub fn vcpu(&self, id: VcpuId) -> Option<&Vcpu> {
        self.vcpus.get(id.0 as usize)
    }

    /// Whether a VM assist is on.
    #[inline]
    pub fn has_assist(&self, bit: u64) -> bool {
        self.assists.load(Relaxed) & bit != 0
    }

    /// Whether the domain has shut down.
    #[inline]
    pub fn is_shut_down(&self) -> bool {
        self.shutdown.load(Relaxed) != NOT_SHUT_DOWN
    }

    /// Whether it is being destroyed: it must not be given anything new. Settled while [`Self::mm`] is held.
    #[inline]
    pub fn is_dying(&self) -> bool {
        self.life.stage() != Stage::Alive
    }
}
