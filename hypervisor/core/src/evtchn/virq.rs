//! Virtual interrupts: their numbers and scopes (`public/xen.h`, VIRQ_*).

use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::EvtchnError;
use crate::units::DomId;

/// How many virtual interrupts there are (`public/xen.h`, NR_VIRQS).
pub const NR_VIRQS: usize = 24;

/// A virtual interrupt's number, below [`NR_VIRQS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Virq(u8);

impl Virq {
    /// A vcpu's timers expired; per vcpu.
    pub const TIMER: Virq = Virq(0);
    /// The guest should print its state; per vcpu.
    pub const DEBUG: Virq = Virq(1);
    /// The hypervisor's console has input; global.
    pub const CONSOLE: Virq = Virq(2);
    /// A domain died, shut down or was created; global.
    pub const DOM_EXC: Virq = Virq(3);
    /// The debugger wants attention; global.
    pub const DEBUGGER: Virq = Virq(6);
    /// The console ring has new text; global.
    pub const CON_RING: Virq = Virq(8);
    /// A physical CPU went up or down; global.
    pub const PCPU_STATE: Virq = Virq(9);
    /// A machine check was logged (VIRQ_MCA); global.
    pub const MCA: Virq = Virq(16);

    const PER_VCPU: u32 = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 13;

    /// Whether the interrupt belongs to the whole domain rather than to each vcpu.
    #[inline]
    pub const fn is_global(self) -> bool {
        Self::PER_VCPU & (1 << (self.0 & 31)) == 0
    }

    /// The number.
    #[inline]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u32> for Virq {
    type Error = EvtchnError;

    /// Checks a number from a guest.
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): there is no such virtual interrupt.
    fn try_from(number: u32) -> Result<Self, EvtchnError> {
        match u8::try_from(number) {
            Ok(small) if usize::from(small) < NR_VIRQS => Ok(Virq(small)),
            _ => Err(EvtchnError::BadArgument),
        }
    }
}

/// Which domain gets each global virtual interrupt: domain 0, unless it gave one to another.
#[derive(Debug, Default)]
pub struct VirqHandlers([AtomicU16; NR_VIRQS]);

impl VirqHandlers {
    /// All for domain 0.
    pub const fn new() -> Self {
        VirqHandlers([const { AtomicU16::new(DomId::DOM0.0) }; NR_VIRQS])
    }

    /// Who gets `virq`.
    pub fn handler(&self, virq: Virq) -> DomId {
        let handler = self.0.get(usize::from(virq.0));
        handler.map_or(DomId::DOM0, |dom| DomId(dom.load(Relaxed)))
    }

    /// Gives `virq` to `dom`, which exists.
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): it is not global.
    /// # Source
    /// `public/domctl.h`, XEN_DOMCTL_set_virq_handler.
    pub fn set(&self, virq: Virq, dom: DomId) -> Result<(), EvtchnError> {
        match self.0.get(usize::from(virq.0)) {
            Some(handler) if virq.is_global() => {
                handler.store(dom.0, Relaxed);
                Ok(())
            }
            _ => Err(EvtchnError::BadArgument),
        }
    }

    /// Gives what `dom` gets back to domain 0: `dom` is being destroyed.
    pub fn forget(&self, dom: DomId) {
        for handler in &self.0 {
            let _ = handler.compare_exchange(dom.0, DomId::DOM0.0, Relaxed, Relaxed);
        }
    }
}
