//! The two-level ABI: a pending and a mask bit per port in shared_info, and a selector word per vcpu
//! (`public/event_channel.h`, EVTCHN_2L_NR_CHANNELS; `public/xen.h`, struct shared_info).

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{EventChannels, QwordIndex, Raised, SharedFrames};
use crate::units::{EvtchnPort, VcpuId};

/// Ports 1 to 4095 exist in the two-level ABI.
pub const TWO_LEVEL_NR_CHANNELS: u32 = 4096;

/// Byte offset of evtchn_pending in shared_info.
const PENDING: usize = 0x800;
/// Byte offset of evtchn_mask in shared_info.
const MASK: usize = 0xa00;

/// The word of `port` among the 64 that start at byte `base` of shared_info.
#[inline]
fn index(base: usize, port: EvtchnPort) -> QwordIndex {
    QwordIndex::at_byte(base + (port.0 as usize / 64 % 64) * 8)
}

#[inline]
fn bit(port: EvtchnPort) -> u64 {
    1 << (port.0 % 64)
}

impl EventChannels {
    #[inline]
    fn pending_word<'a, F: SharedFrames + ?Sized>(
        &self,
        frames: &'a F,
        port: EvtchnPort,
    ) -> &'a AtomicU64 {
        frames.word64(self.shared_info(), index(PENDING, port))
    }

    #[inline]
    fn mask_word<'a, F: SharedFrames + ?Sized>(
        &self,
        frames: &'a F,
        port: EvtchnPort,
    ) -> &'a AtomicU64 {
        frames.word64(self.shared_info(), index(MASK, port))
    }

    #[inline]
    pub(super) fn two_level_raise<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
    ) -> Raised {
        if self.pending_word(frames, port).fetch_or(bit(port), SeqCst) & bit(port) != 0 {
            return Raised::NOTHING;
        }
        let masked = self.mask_word(frames, port).load(SeqCst) & bit(port) != 0;
        let fresh = !masked && self.two_level_select(frames, port, vcpu);
        Raised {
            upcall: fresh.then_some(vcpu),
            pollers: self.nr_pollers.load(SeqCst) != 0,
        }
    }

    #[inline]
    fn two_level_select<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
    ) -> bool {
        self.vcpu(vcpu)
            .is_some_and(|events| events.select(frames, port.0 / 64))
    }

    pub(super) fn two_level_unmask<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
    ) -> Raised {
        let was_masked =
            self.mask_word(frames, port).fetch_and(!bit(port), SeqCst) & bit(port) != 0;
        let fresh = was_masked
            && self.two_level_is_pending(frames, port)
            && self.two_level_select(frames, port, vcpu);
        Raised {
            upcall: fresh.then_some(vcpu),
            pollers: false,
        }
    }

    pub(super) fn two_level_is_pending<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
    ) -> bool {
        self.pending_word(frames, port).load(SeqCst) & bit(port) != 0
    }

    pub(super) fn two_level_clear<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
    ) -> bool {
        self.pending_word(frames, port)
            .fetch_and(!bit(port), SeqCst)
            & bit(port)
            != 0
    }

    /// Gives shared_info, a zeroed frame, the contents of a new domain: upcalls of all vcpus in it masked. No port is
    /// masked, and none is pending. To be called once.
    pub fn init_shared_info<F: SharedFrames + ?Sized>(&self, frames: &F) {
        for vcpu in (0..super::vcpu::LEGACY_MAX_VCPUS).map(VcpuId) {
            self.mask_upcalls(frames, vcpu);
        }
    }
}
