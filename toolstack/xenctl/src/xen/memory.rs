//! A domain's memory: frames to and from it, its page tables' pins, what each frame is.

use rexen_abi::Plain;
use rexen_abi::domctl::*;
use rexen_abi::memory::*;
use rexen_abi::xen::*;
use rexen_core::units::{DomId, Mfn, Pfn};
use rustix::io::Errno;

use super::{Xen, domctl_in};
use crate::error::{Error, Result};
use crate::sys::hypercall::MAX_LIST;

/// Frames whose kind is asked in one call (the hypervisor takes no more).
const KINDS_STEP: usize = 1024;

impl Xen {
    /// Gives a domain `count` blocks of 2^`order` frames, for the pages from `first` on; the answer is the first frame
    /// of each block, and is shorter when memory ran out.
    ///
    /// # Errors
    /// Those of the call; not having enough memory is none.
    pub fn populate(
        &self,
        domain: DomId,
        first: Pfn,
        count: usize,
        order: u32,
    ) -> Result<Vec<Mfn>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            let step = (count - frames.len()).min(MAX_LIST);
            let pages: Vec<u64> = (0..step as u64)
                .map(|n| first.0 + ((frames.len() as u64 + n) << order))
                .collect();
            let mut call = self.hypercalls.begin();
            let list = call.put_list(&pages);
            let argument = call.put(&XenMemoryReservation {
                extent_start: call.handle(list),
                nr_extents: step as u64,
                extent_order: order,
                mem_flags: 0,
                domid: domain.0,
            });
            let handle = call.handle(argument);
            let done = call
                .issue(
                    __HYPERVISOR_memory_op,
                    &[XENMEM_populate_physmap.into(), handle],
                )
                .map_err(|errno| Error::new("giving it memory", errno).on(domain))?;
            let done = usize::try_from(done).unwrap_or(step).min(step);
            frames.extend(call.get_list::<u64>(list, done).into_iter().map(Mfn));
            if done < step {
                break;
            }
        }
        Ok(frames)
    }

    /// Sets aside `pages` pages for a domain that is being built, so that nobody else takes them; 0 ends it.
    ///
    /// # Errors
    /// `NOMEM`: so many are not free.
    pub fn claim(&self, domain: DomId, pages: u64) -> Result<()> {
        let mut argument = XenMemoryReservation {
            nr_extents: pages,
            domid: domain.0,
            ..XenMemoryReservation::ZERO
        };
        self.op(__HYPERVISOR_memory_op, XENMEM_claim_pages, &mut argument)
            .map(|_| ())
            .map_err(|errno| Error::new("setting memory aside", errno).on(domain))
    }

    /// Tells a domain's kernel that it may have memory up to `kib` KiB: its memory map is one range from 0.
    ///
    /// # Errors
    /// `PERM`, `SRCH`: not this domain.
    pub fn set_memory_map(&self, domain: DomId, kib: u64) -> Result<()> {
        let mut call = self.hypercalls.begin();
        let range = E820Entry {
            addr: 0,
            size: kib.saturating_mul(1024),
            kind: E820_RAM,
        };
        let list = call.put(&range);
        let argument = call.put(&XenForeignMemoryMap {
            domid: domain.0,
            map: XenMemoryMap {
                nr_entries: 1,
                buffer: call.handle(list),
            },
        });
        let handle = call.handle(argument);
        call.issue(
            __HYPERVISOR_memory_op,
            &[XENMEM_set_memory_map.into(), handle],
        )
        .map(|_| ())
        .map_err(|errno| Error::new("setting its memory map", errno).on(domain))
    }

    /// Makes a frame of `domain` a top-level page table that stays one, after checking it and all below it.
    ///
    /// # Errors
    /// `INVAL`: an entry is refused.
    pub fn pin_l4(&self, domain: DomId, frame: Mfn) -> Result<()> {
        self.mmuext(
            "pinning its page tables",
            domain,
            MMUEXT_PIN_L4_TABLE,
            frame,
        )
    }

    /// Ends what [`pin_l4`](Self::pin_l4) began.
    ///
    /// # Errors
    /// `INVAL`: it is not pinned.
    pub fn unpin(&self, domain: DomId, frame: Mfn) -> Result<()> {
        self.mmuext(
            "unpinning its page tables",
            domain,
            MMUEXT_UNPIN_TABLE,
            frame,
        )
    }

    fn mmuext(&self, name: &'static str, domain: DomId, cmd: u32, frame: Mfn) -> Result<()> {
        let mut call = self.hypercalls.begin();
        let list = call.put(&MmuextOp {
            cmd,
            arg1: frame.0,
            arg2: 0,
        });
        let handle = call.handle(list);
        call.issue(__HYPERVISOR_mmuext_op, &[handle, 1, 0, domain.0.into()])
            .map(|_| ())
            .map_err(|errno| Error::new(name, errno).on(domain))
    }

    /// Says which page of `domain` each frame is (the machine-to-physical table).
    ///
    /// # Errors
    /// `INVAL`: a frame is not its own.
    pub fn set_pages_of_frames(&self, domain: DomId, frames: &[(Mfn, Pfn)]) -> Result<()> {
        for step in frames.chunks(MAX_LIST / 2) {
            let updates: Vec<MmuUpdate> = step
                .iter()
                .map(|(mfn, pfn)| MmuUpdate {
                    ptr: mfn.maddr() | MMU_MACHPHYS_UPDATE,
                    val: pfn.0,
                })
                .collect();
            let mut call = self.hypercalls.begin();
            let list = call.put_list(&updates);
            let arguments = [call.handle(list), updates.len() as u64, 0, domain.0.into()];
            call.issue(__HYPERVISOR_mmu_update, &arguments)
                .map_err(|errno| Error::new("naming its pages", errno).on(domain))?;
        }
        Ok(())
    }

    /// What each frame of `domain` is used as: `XEN_DOMCTL_PFINFO_*`.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn frame_kinds(&self, domain: DomId, frames: &[Mfn]) -> Result<Vec<u64>> {
        let mut kinds = Vec::new();
        for step in frames.chunks(KINDS_STEP) {
            let numbers: Vec<u64> = step.iter().map(|mfn| mfn.0).collect();
            let mut call = self.hypercalls.begin();
            let list = call.put_list(&numbers);
            let mut argument = XenDomctlGetpageframeinfo3 {
                num: numbers.len() as u64,
                array: call.handle(list),
            };
            domctl_in(
                &mut call,
                "asking what its frames are",
                XEN_DOMCTL_getpageframeinfo3,
                domain,
                &mut argument,
            )?;
            kinds.extend(call.get_list::<u64>(list, numbers.len()));
        }
        Ok(kinds)
    }

    /// The machine's highest frame.
    ///
    /// # Errors
    /// Those of the call.
    pub fn max_frame(&self) -> Result<Mfn> {
        let mut call = self.hypercalls.begin();
        let answer = call
            .issue(__HYPERVISOR_memory_op, &[XENMEM_maximum_ram_page.into(), 0])
            .map_err(|errno| Error::new("asking for the highest frame", errno))?;
        Ok(Mfn(answer))
    }

    /// The frames of a domain's grant table, or of another resource, `count` of them mapped.
    pub(super) fn map_resource(
        &self,
        domain: DomId,
        kind: u16,
        id: u32,
        count: usize,
    ) -> std::result::Result<crate::SharedPages, Errno> {
        self.hypercalls.map_resource(domain, kind, id, count)
    }
}
