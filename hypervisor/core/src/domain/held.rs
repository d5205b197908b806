//! What of frames a domain's own state holds, beyond its page tables: for counting everything again.

use core::sync::atomic::Ordering::SeqCst;

use super::{Domain, Vcpu};
use crate::frame::FrameType;
use crate::pvmmu::Root;
use crate::units::{Mfn, PAGE_SIZE};

/// Descriptors in a page.
const DESCRIPTORS: usize = PAGE_SIZE as usize / 8;

impl Domain {
    /// Tells `found` of each reference that the hypervisor holds for this domain: its shared frames, the vcpus' page-table
    /// bases and descriptor tables, what they registered, and grants mapped for devices.
    ///
    /// With [`crate::pvmmu::check_world`] it must account for every reference of every frame.
    pub fn for_each_held_frame(&self, mut found: impl FnMut(Root)) {
        let mut hold = |mfn, as_type| found(Root { mfn, as_type });
        let writable = Some(FrameType::Writable);
        hold(self.shared_info, writable);
        let eoi_map = self.pirq_eoi_map.load(SeqCst);
        if eoi_map != 0 {
            hold(Mfn(eoi_map >> 1), writable);
        }
        self.events.for_each_held_frame(|mfn| hold(mfn, writable));
        self.grants
            .for_each_held_frame(|mfn, is_written| hold(mfn, writable.filter(|_| is_written)));
        for vcpu in &self.vcpus {
            vcpu.for_each_held_frame(&mut hold);
        }
    }
}

impl Vcpu {
    fn for_each_held_frame(&self, hold: &mut impl FnMut(Mfn, Option<FrameType>)) {
        for base in [&self.kernel_l4, &self.user_l4].map(|base| base.load(SeqCst)) {
            if base != 0 {
                hold(Mfn(base), Some(FrameType::L4));
            }
        }
        let gdt = *self.gdt.lock();
        let pages = (gdt.entries as usize).div_ceil(DESCRIPTORS);
        gdt.frames
            .iter()
            .take(pages)
            .for_each(|mfn| hold(*mfn, Some(FrameType::SegDesc)));
        let ldt = *self.ldt.lock();
        ldt.frames
            .iter()
            .flatten()
            .for_each(|mfn| hold(*mfn, Some(FrameType::SegDesc)));
    }
}
