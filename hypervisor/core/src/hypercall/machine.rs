//! What hypercall handlers need of the machine.

use alloc::sync::Arc;

use rexen_abi::errno::Errno;

use crate::domain::{Domain, DomainSpec, Vcpu};
use crate::evtchn::{SharedFrames, VirqHandlers};
use crate::frame::{FrameTable, MemoryFigures, Pool};
use crate::policy::CpuPolicies;
use crate::pvmmu::MmuHost;
use crate::sched::Scheduler;
use crate::sync::Mutex;
use crate::units::{CpuId, DomId, Mfn, Nanos, Pirq};

/// A segment base (`public/arch-x86/xen.h`, SEGBASE_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentBase {
    /// FS.
    Fs,
    /// GS of user space.
    GsUser,
    /// GS of the kernel.
    GsKernel,
}

/// What the machine as a whole shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// Switch off by ACPI: write these values to the PM1a and PM1b control registers.
    Off {
        /// For PM1a.
        pm1a: u16,
        /// For PM1b.
        pm1b: u16,
    },
    /// Start again.
    Reboot,
}

/// A message-signalled interrupt that domain 0 asks for (PHYSDEVOP_map_pirq).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiRequest {
    /// PCI segment.
    pub segment: u16,
    /// PCI bus.
    pub bus: u8,
    /// Device and function.
    pub devfn: u8,
    /// Entry of the MSI-X table.
    pub entry: u16,
    /// Machine address of the MSI-X table; 0 for plain MSI.
    pub table_base: u64,
}

/// The machine under the hypercalls. Guest addresses are of the calling vcpu's kernel address space.
pub trait Machine: MmuHost + SharedFrames + Sync + Sized {
    /// Copies in from guest address `gva`.
    ///
    /// # Errors
    /// EFAULT: not mapped, or in the hypervisor's range. `into` may be partly overwritten.
    fn copy_in(&self, gva: u64, into: &mut [u8]) -> Result<(), Errno>;
    /// Copies out to guest address `gva`.
    ///
    /// # Errors
    /// EFAULT; part may be written.
    fn copy_out(&self, gva: u64, from: &[u8]) -> Result<(), Errno>;

    /// The time.
    fn now(&self) -> Nanos;
    /// The CPU this runs on.
    fn this_cpu(&self) -> CpuId;
    /// Number of CPUs that are up.
    fn nr_cpus(&self) -> u32;
    /// The domain with this number.
    fn domain(&self, id: DomId) -> Option<Arc<Domain>>;
    /// Makes a domain that is furnished as [`super::furnish`] does, and lists it.
    ///
    /// # Errors
    /// EEXIST: the number is taken. ENOMEM.
    fn create_domain(&self, spec: &DomainSpec) -> Result<Arc<Domain>, Errno>;
    /// Whether at this moment nobody but the caller has anything to do with `domain`, beyond listing it.
    fn is_idle(&self, domain: &Arc<Domain>) -> bool;
    /// Takes a domain whose vcpus will never run again off the list and the scheduler, if it [`Self::is_idle`]. True: done.
    fn remove_domain(&self, domain: &Arc<Domain>) -> bool;
    /// All machine frames.
    fn frames(&self) -> FrameTable<'_>;
    /// The free frames.
    fn pool(&self) -> &Mutex<Pool<'static>>;
    /// Frees the frames whose last reference went, if there are any; takes the pool's lock.
    fn free_dropped(&self);
    /// Machine frames in all (the frame table's reach).
    fn max_frame(&self) -> u64;
    /// Frames of RAM in all.
    fn nr_ram_frames(&self) -> u64;

    /// The scheduler. Waking and sleeping go through [`Self::vcpu_wake`] and [`Self::vcpu_sleep`], which account for time.
    fn scheduler(&self) -> &dyn Scheduler;
    /// Makes `cpu` ask the scheduler, which said that it should.
    fn reschedule(&self, cpu: CpuId);
    /// Who gets the global VIRQs.
    fn virq_handlers(&self) -> &VirqHandlers;

    /// The scheduler may run `vcpu` again.
    fn vcpu_wake(&self, vcpu: &Vcpu);
    /// `vcpu` must stop running: if it is the caller, when this hypercall ends.
    fn vcpu_sleep(&self, vcpu: &Vcpu);
    /// Whether no CPU runs `vcpu` nor has its registers. One that must not run stays so.
    fn is_off_cpu(&self, vcpu: &Vcpu) -> bool;
    /// Makes the CPU that runs `vcpu`, if one does, look at its pending events.
    fn kick_vcpu(&self, vcpu: &Vcpu);
    /// Gives way to other vcpus that are ready, if any.
    fn yield_cpu(&self);
    /// Timers of `vcpu` changed (`Vcpu::timers`).
    fn timers_changed(&self, vcpu: &Vcpu);
    /// Puts the current time of `vcpu` into its vcpu_info and time area.
    fn update_time(&self, vcpu: &Vcpu);
    /// Writes the runstate area of `vcpu`, if it has one.
    fn update_runstate_area(&self, vcpu: &Vcpu);
    /// Gives `domain` the wall clock, with its own offset.
    fn update_wall_clock(&self, domain: &Domain);
    /// Wall clock at time 0, in seconds and nanoseconds of UTC; sets it everywhere.
    fn set_wall_clock(&self, sec: u64, nsec: u32);

    /// Kernel stack, callbacks or page-table bases of the calling vcpu changed: recompute what its entry paths use.
    fn entry_changed(&self, vcpu: &Vcpu);
    /// vcpu_info of `vcpu` moved.
    fn vcpu_info_moved(&self, vcpu: &Vcpu);
    /// Loads the page-table base of the calling vcpu, which changed, and drops translations of the old one.
    fn load_base(&self, vcpu: &Vcpu);
    /// Loads the GDT of the calling vcpu, which changed.
    fn load_gdt(&self, vcpu: &Vcpu);
    /// Loads the LDT of the calling vcpu, which changed; its window starts empty.
    fn load_ldt(&self, vcpu: &Vcpu);
    /// Sets a segment base of the calling vcpu; `base` is canonical.
    fn set_segment_base(&self, which: SegmentBase, base: u64);
    /// Loads a selector into the inactive GS of the calling vcpu: its user GS.
    fn set_gs_user_selector(&self, selector: u16);
    /// Loads the debug registers of the calling vcpu, which changed.
    fn load_debug_registers(&self, vcpu: &Vcpu);
    /// Virtual CR0.TS of the calling vcpu changed.
    fn ts_changed(&self, vcpu: &Vcpu);
    /// Drops translations of this CPU: all, or of one address.
    fn flush_local(&self, gva: Option<u64>);
    /// Drops translations of every CPU that runs one of the `vcpus` (a bit each) of `domain`.
    fn flush_vcpus(&self, domain: &Domain, vcpus: u64, gva: Option<u64>);
    /// The third argument of a suspend goes into rdx of the saved registers; nothing to do elsewhere.
    fn write_back_caches(&self);

    /// Prints guest console output, raw.
    fn console_write(&self, bytes: &[u8]);
    /// Takes console input meant for domain 0; how many bytes.
    fn console_read(&self, into: &mut [u8]) -> usize;
    /// Logs a line that a guest has caused; it carries no guest data. Levels: 0 error, 1 warning, 2 info, 3 debug. Such
    /// lines are limited in rate, and `guest_loglvl=` says which are wanted at all.
    fn log(&self, level: u8, line: core::fmt::Arguments<'_>);
    /// Copies the hypervisor's log from position `from`: bytes copied and the position after them.
    fn read_log(&self, from: u32, into: &mut [u8]) -> (usize, u32);
    /// Empties the log.
    fn clear_log(&self);
    /// Presses a debug key.
    fn debug_key(&self, key: u8);

    /// Domain 0 has shut down for `reason` (SHUTDOWN_*): reboot or power off as asked, or obey `noreboot`.
    fn dom0_shut_down(&self, reason: u32);
    /// Acts on the power of the machine.
    fn power(&self, action: PowerAction);
    /// The hypervisor's command line.
    fn command_line(&self) -> &str;
    /// What the processor says, and what domains may see of it.
    fn policies(&self) -> &CpuPolicies;
    /// kHz of the TSC.
    fn tsc_khz(&self) -> u32;

    /// Reads a register of the IO-APIC at machine address `base`.
    fn ioapic_read(&self, base: u64, register: u32) -> Option<u32>;
    /// Number of global system interrupts.
    fn nr_gsis(&self) -> u32;
    /// Programs a GSI for domain 0, masked until bound: `level` triggered, `active_low`.
    ///
    /// # Errors
    /// EEXIST: already with the same settings. EINVAL: no such GSI.
    fn setup_gsi(&self, gsi: u32, level: bool, active_low: bool) -> Result<(), Errno>;
    /// Binds the pirq to `domain` and lets it through.
    ///
    /// # Errors
    /// EINVAL: nothing behind it.
    fn pirq_bind(&self, domain: &Domain, pirq: Pirq) -> Result<(), Errno>;
    /// Masks the pirq and forgets the domain.
    fn pirq_unbind(&self, domain: &Domain, pirq: Pirq);
    /// The guest has handled the pirq.
    fn pirq_eoi(&self, domain: &Domain, pirq: Pirq);
    /// Whether the guest must say when it has handled the pirq.
    fn pirq_needs_eoi(&self, pirq: Pirq) -> bool;
    /// Its event channel's vcpu changed: the interrupt may follow.
    fn pirq_moved(&self, domain: &Domain, pirq: Pirq);
    /// Makes a pirq for an MSI and programs the device.
    ///
    /// # Errors
    /// ENODEV: no such device or capability. ENOSPC: no pirq or vector left.
    fn map_msi(&self, request: MsiRequest) -> Result<Pirq, Errno>;
    /// Undoes [`Self::map_msi`].
    ///
    /// # Errors
    /// EINVAL: not an MSI's pirq.
    fn unmap_msi(&self, pirq: Pirq) -> Result<(), Errno>;
    /// A free pirq without anything behind it.
    fn free_pirq(&self) -> Option<Pirq>;
    /// Domain 0 found a device (`added`), or lost it.
    fn pci_device(&self, segment: u16, bus: u8, devfn: u8, added: bool);

    /// Allocates 2^order contiguous frames below 2^`address_bits` bytes, scrubbed, with no owner yet. For a domain's own
    /// memory see [`super::allocate`].
    fn alloc_frames(&self, order: u32, address_bits: u32) -> Option<Mfn> {
        super::allocate::alloc_frames(self, order, address_bits)
    }
    /// Gives back what was allocated and never assigned.
    fn free_frames(&self, mfn: Mfn, order: u32) {
        if self.pool().lock().free(mfn, order).is_err() {
            self.bug("freed frames that were not taken", mfn);
        }
    }
    /// What is free, and how much of it has yet to be scrubbed, or is claimed.
    fn memory(&self) -> MemoryFigures {
        self.free_dropped();
        self.pool().lock().figures()
    }
    /// Frames that nobody owns.
    fn nr_free_frames(&self) -> u64 {
        self.memory().free
    }
    /// Calls `act` with a domain. Hot paths use this: override it if the domain can be found without counting references.
    #[inline]
    fn with_domain<R>(&self, id: DomId, act: impl FnOnce(&Domain) -> R) -> Option<R> {
        self.domain(id).map(|domain| act(&domain))
    }
    /// The domain with the lowest number from `from` on. Override it if there is a list.
    fn next_domain(&self, from: DomId) -> Option<Arc<Domain>> {
        (from.0..DomId::FIRST_RESERVED.0).find_map(|id| self.domain(DomId(id)))
    }
    /// First frame of the 2 MiB of the M2P that chunk `index` is in; `None` beyond its end, or if they are not contiguous.
    fn m2p_chunk(&self, index: u64) -> Option<Mfn> {
        let _ = index;
        None
    }
    /// APIC and ACPI numbers of a CPU.
    fn cpu_ids(&self, cpu: CpuId) -> Option<(u32, u32)> {
        (cpu.0 < self.nr_cpus()).then_some((cpu.0, cpu.0))
    }
    /// How long a CPU has been idle.
    fn idle_time(&self, cpu: CpuId) -> Nanos {
        let _ = cpu;
        Nanos(0)
    }
    /// Copies `len` bytes between held frames, within both; the ranges may overlap. Override it: this is slow.
    fn copy_bytes(&self, from: Mfn, from_offset: u16, to: Mfn, to_offset: u16, len: u16) {
        let byte = |mfn, at: u16| self.read(mfn, usize::from(at) / 8 % 512) >> (at % 8 * 8) & 0xff;
        let copy = |n: u16| {
            let (from_at, at) = (from_offset.wrapping_add(n), to_offset.wrapping_add(n));
            let (index, shift) = (usize::from(at) / 8 % 512, at % 8 * 8);
            let merged = self.read(to, index) & !(0xff << shift) | byte(from, from_at) << shift;
            self.write(to, index, merged);
        };
        if from_offset >= to_offset {
            (0..len).for_each(copy);
        } else {
            (0..len).rev().for_each(copy);
        }
    }
}
