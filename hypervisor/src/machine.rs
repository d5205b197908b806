//! The machine as `rexen_core` sees it: the traits of its rooms, implemented on the hardware.

// UNSAFETY: forms references to words of frames in the direct map.
#![expect(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

use rexen_abi::errno::Errno;
use rexen_abi::sched::{SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_watchdog};
use rexen_abi::xen::{VcpuTimeInfo, shared_info_offset};
use rexen_core::domain::{Domain, DomainSpec, Stage, Vcpu, assist};
use rexen_core::evtchn::{DwordIndex, QwordIndex, SharedFrames, VirqHandlers};
use rexen_core::frame::{Buddy, FrameTable, Pool};
use rexen_core::hypercall::allocate;
use rexen_core::hypercall::{Machine, MsiRequest, PowerAction, SegmentBase};
use rexen_core::options::LogLevel;
use rexen_core::policy::CpuPolicies;
use rexen_core::pvmmu::{IoAccess, IoPolicy, MmuHost, TableAccess, Tlb};
use rexen_core::sched::Scheduler;
use rexen_core::sync::Mutex;
use rexen_core::time::TimeInfoFlags;
use rexen_core::units::{CpuId, CpuMask, DomId, Mfn, Nanos, PAGE_SIZE, Pirq};
use spin::Once;

use crate::console;
use crate::cpu::info::{word, word_of};
use crate::cpu::{msr, regs, this_cpu};
use crate::entry::{self, slot};
use crate::guest::{current, exit, pirq, timers, traps};
use crate::irq::{apic, ioapic, vector};
use crate::mm::heap::{self, FrameSource};
use crate::mm::{self, frames, m2p};
use crate::platform::platform;
use crate::smp::flush::{self, Flush};
use crate::{domain, guest_log, println, smp, stretch, timer};

/// The machine. There is one, so it needs no state of its own.
pub struct Hw;
/// It.
pub static HW: Hw = Hw;

static SCHEDULER: Once<Box<dyn Scheduler>> = Once::new();
static POOL: Once<Mutex<Pool<'static>>> = Once::new();
/// Wall clock at time 0: seconds and nanoseconds of UTC.
static WALL_CLOCK: Mutex<(u64, u32)> = Mutex::new((0, 0));
static VIRQ_HANDLERS: VirqHandlers = VirqHandlers::new();
static NR_RAM: AtomicU64 = AtomicU64::new(0);
static L4_SLOTS: Once<[u64; 16]> = Once::new();

/// Frames whose last reference went, to be freed after one flush for all of them.
static DROPPED: Mutex<[(u64, u16); NR_DROPPED]> = Mutex::new([(0, 0); NR_DROPPED]);
static IN_DROPPED: AtomicUsize = AtomicUsize::new(0);
const NR_DROPPED: usize = 256;
/// Frames that are freed under one holding of the pool's lock.
const FREED_AT_ONCE: usize = 32;

/// Starts the allocator over the RAM that the hypervisor does not need, and the scheduler.
pub fn init(scheduler: Box<dyn Scheduler>, free: &[(Mfn, Mfn)]) {
    L4_SLOTS.call_once(mm::hypervisor_l4_entries);
    SCHEDULER.call_once(|| scheduler);
    let table = mm::frame_table();
    // Whatever is RAM and not free is the hypervisor's: private, so that no guest can name it. A page that is RAM in part
    // only belongs to nobody, and we keep nothing there; domain 0 may map it, for its rest holds firmware tables that it
    // reads (the extended BIOS data area, ACPI).
    for region in platform().map.ram() {
        for mfn in region.start / PAGE_SIZE..region.end / PAGE_SIZE {
            let _ = table.reserve(Mfn(mfn));
            NR_RAM.fetch_add(1, Relaxed);
        }
    }
    m2p::publish();
    let mut buddy = Buddy::new(table);
    for (start, end) in free {
        buddy.add_range(*start, end.0 - start.0);
    }
    POOL.call_once(|| Mutex::new(Pool::new(buddy)));
    heap::set_source(FrameSource {
        take: |nr, align_order| HW.pool().lock().alloc_run(nr, align_order),
        give: |mfn, nr| {
            if HW.pool().lock().free_run(mfn, nr).is_err() {
                HW.bug("the heap gave back frames that were not taken", mfn);
            }
        },
        nr_ram: NR_RAM.load(Relaxed),
    });
}

/// Adds RAM that has become free after [`init`].
pub fn add_free(start: Mfn, end: Mfn) {
    HW.pool()
        .lock()
        .add_range(start, end.0.saturating_sub(start.0));
}

/// Takes 2^`order` frames for domain 0 as they are: whatever the firmware left in them is no secret from it.
pub fn take_unscrubbed(order: u32) -> Option<Mfn> {
    let first = HW.pool().lock().alloc(order, u64::BITS, None)?.mfn;
    for n in 0..1 << order {
        if let Some(info) = mm::frame_table().get(Mfn(first.0 + n)) {
            info.set_scrubbed();
        }
    }
    Some(first)
}

/// Scrubs some free frames while a CPU is idle; false if there is nothing to do.
pub fn scrub_some() -> bool {
    POOL.is_completed() && allocate::scrub_some(&HW)
}

/// The scheduler.
pub fn scheduler() -> &'static dyn Scheduler {
    &**SCHEDULER.get().expect("init ran")
}

/// Makes `cpu` do `work` (bits of `guest::exit`) on its way back to a guest.
pub fn kick_cpu(cpu: CpuId, work: u64) {
    if cpu == this_cpu() {
        exit::request(work);
    } else {
        let before = word_of(cpu.0 as usize, slot::PENDING).fetch_or(work, SeqCst);
        // Who has work already is on its way to it: it takes all at once.
        if before == 0 {
            apic::send_ipi(cpu, vector::EVENT_CHECK);
        }
    }
}

/// Makes the CPU that runs `vcpu`, if one does, do `work` before it goes on.
pub fn kick_vcpu_for(vcpu: &Vcpu, work: u64) {
    let cpu = vcpu.on_cpu.load(SeqCst);
    if cpu != u32::MAX {
        kick_cpu(CpuId(cpu), work);
    }
}

fn cpus_of(domain: DomId) -> CpuMask {
    let mut cpus = CpuMask::EMPTY;
    for cpu in smp::members(smp::online()) {
        if current::may_know(cpu, domain) {
            cpus.0 |= CpuMask::one(cpu).0;
        }
    }
    cpus
}

/// Frees the frames that were dropped, if there are any. Then they are in the pool and no longer counted as their owner's, even
/// if it was another CPU that freed them.
#[inline]
pub fn free_dropped() {
    if IN_DROPPED.load(Acquire) != 0 {
        free_dropped_now();
    }
}

#[cold]
fn free_dropped_now() {
    // Held to the end: who finds none left may count on it that all are free.
    let dropped = DROPPED.lock();
    let batch = dropped.get(..IN_DROPPED.load(Relaxed)).unwrap_or_default();
    for run in batch.chunk_by(|a, b| a.1 == b.1) {
        let owner = DomId(run.first().map_or(0, |frame| frame.1));
        HW.with_domain(owner, |domain| {
            domain.tot_pages.fetch_sub(run.len() as u64, Relaxed);
            if domain.life.stage() == Stage::Dead {
                exit::request(exit::REAP);
            }
        });
        flush::flush_tlb(cpus_of(owner), Flush::Global);
    }
    let mut dropped_twice = None;
    for some in batch.chunks(FREED_AT_ONCE) {
        let mut pool = HW.pool().lock();
        for (mfn, _) in some {
            if pool.free(Mfn(*mfn), 0).is_err() {
                dropped_twice = Some(Mfn(*mfn));
            }
        }
    }
    IN_DROPPED.store(0, Release);
    drop(dropped);
    if let Some(mfn) = dropped_twice {
        HW.bug("a frame was dropped twice", mfn);
    }
}

impl Hw {
    /// All machine frames.
    #[inline]
    pub fn frame_table(&self) -> FrameTable<'static> {
        mm::frame_table()
    }
}

#[inline(always)]
fn table_word(frame: Mfn, index: usize) -> &'static AtomicU64 {
    // SAFETY: (1) callers name frames of RAM, which the direct map has; (2) the index is masked to the page; (3) such
    // frames are only ever accessed as atomics or raw bytes, never through plain references.
    unsafe {
        &*frames::direct_map(frame)
            .cast::<AtomicU64>()
            .add(index & 511)
    }
}

impl TableAccess for Hw {
    #[inline(always)]
    fn read(&self, frame: Mfn, index: usize) -> u64 {
        table_word(frame, index).load(Relaxed)
    }
    #[inline(always)]
    fn write(&self, frame: Mfn, index: usize, value: u64) {
        table_word(frame, index).store(value, Relaxed);
    }
    #[inline(always)]
    fn cmpxchg(&self, frame: Mfn, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        table_word(frame, index).compare_exchange(old, new, AcqRel, Relaxed)
    }
    #[inline(always)]
    fn block_is_empty(&self, frame: Mfn, first: usize) -> bool {
        (0..8).fold(0, |all, n| all | table_word(frame, first + n).load(Relaxed)) == 0
    }
    fn clear(&self, frame: Mfn) {
        // SAFETY: a frame of RAM that a guest owns or will: no Rust object lives there.
        unsafe { frames::zero_frame(frame) };
    }
    fn copy(&self, from: Mfn, to: Mfn) {
        if from != to {
            // SAFETY: as `clear`; two different frames.
            unsafe { frames::copy_frame(to, from) };
        }
    }
}

impl SharedFrames for Hw {
    #[inline(always)]
    fn word64(&self, mfn: Mfn, index: QwordIndex) -> &AtomicU64 {
        table_word(mfn, index.get())
    }
    #[inline(always)]
    fn word32(&self, mfn: Mfn, index: DwordIndex) -> &AtomicU32 {
        // SAFETY: as `table_word`; `get` is below 1024.
        unsafe { &*frames::direct_map(mfn).cast::<AtomicU32>().add(index.get()) }
    }
}

impl Tlb for Hw {
    #[inline]
    fn flush_stamp_now(&self) -> u64 {
        flush::stamp()
    }
    #[inline]
    fn flush_before_retype(&self, owner: DomId, stamp: u64) {
        // A CPU that has left the domain has flushed: only those that run it count.
        let mut stale = CpuMask::EMPTY;
        for cpu in smp::members(smp::online()) {
            if current::may_know(cpu, owner) && !flush::has_flushed_since(cpu, stamp) {
                stale.0 |= CpuMask::one(cpu).0;
            }
        }
        if !stale.is_empty() {
            flush::flush_tlb(stale, Flush::Global);
        }
    }
    fn flush_domain(&self, domain: DomId) {
        flush::flush_tlb(cpus_of(domain), Flush::Global);
    }
}

impl IoPolicy for Hw {
    fn io_access(&self, domain: DomId, mfn: Mfn) -> IoAccess {
        if domain != DomId::DOM0 {
            let given = |d: &Domain| d.control.io_memory.lock().contains(mfn.0);
            return if self.with_domain(domain, given) == Some(true) {
                IoAccess::ReadWrite
            } else {
                IoAccess::Refused
            };
        }
        if mfn == Mfn(0xfee00) {
            return IoAccess::Refused;
        }
        if ioapic::list().any(|(_, maddr, _)| Mfn::containing(maddr) == mfn) {
            return IoAccess::ReadOnly;
        }
        IoAccess::ReadWrite
    }
}

impl MmuHost for Hw {
    #[inline(always)]
    fn should_stop(&self) -> bool {
        // The one place where a hypercall lets interrupts in. Their handlers take no page-table lock, and the callers hold
        // no other (docs/locking.md).
        stretch::look();
        regs::sti_nop_cli();
        stretch::look();
        word(slot::PENDING).load(Relaxed) != 0 || current::is_upcall_due()
    }
    #[inline(always)]
    fn l4_slots(&self) -> &[u64; 16] {
        L4_SLOTS.get().expect("init ran")
    }
    fn set_m2p(&self, mfn: Mfn, pfn: u64) {
        m2p::set(mfn, pfn);
    }
    fn frame_freed(&self, mfn: Mfn, owner: DomId) {
        loop {
            {
                let mut dropped = DROPPED.lock();
                let count = IN_DROPPED.load(Relaxed);
                if let Some(place) = dropped.get_mut(count) {
                    *place = (mfn.0, owner.0);
                    IN_DROPPED.store(count + 1, Relaxed);
                    return;
                }
            }
            free_dropped_now();
        }
    }
    fn bug(&self, what: &'static str, mfn: Mfn) {
        println!("BUG: {what}: {mfn:?} {:?}", mm::frame_table().word(mfn));
        if cfg!(debug_assertions) {
            panic!("{what}");
        }
    }
}

impl Machine for Hw {
    #[inline]
    fn copy_in(&self, gva: u64, into: &mut [u8]) -> Result<(), Errno> {
        if entry::copy_from_guest(gva, into) {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }
    #[inline]
    fn copy_out(&self, gva: u64, from: &[u8]) -> Result<(), Errno> {
        if entry::copy_to_guest(gva, from) {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }
    #[inline]
    fn now(&self) -> Nanos {
        timer::now_ns()
    }
    fn this_cpu(&self) -> CpuId {
        this_cpu()
    }
    fn nr_cpus(&self) -> u32 {
        smp::nr_online()
    }
    fn domain(&self, id: DomId) -> Option<Arc<Domain>> {
        domain::find(|d| d.id == id)
    }
    fn with_domain<R>(&self, id: DomId, act: impl FnOnce(&Domain) -> R) -> Option<R> {
        domain::with(id, act)
    }
    fn next_domain(&self, from: DomId) -> Option<Arc<Domain>> {
        domain::next(from)
    }
    fn create_domain(&self, spec: &DomainSpec) -> Result<Arc<Domain>, Errno> {
        domain::create(spec)
    }
    fn is_idle(&self, domain: &Arc<Domain>) -> bool {
        domain::is_idle(domain)
    }
    fn remove_domain(&self, domain: &Arc<Domain>) -> bool {
        domain::remove(domain)
    }
    fn m2p_chunk(&self, index: u64) -> Option<Mfn> {
        m2p::chunk(index)
    }
    fn copy_bytes(&self, from: Mfn, from_offset: u16, to: Mfn, to_offset: u16, len: u16) {
        let [from_offset, to_offset, len] = [from_offset, to_offset, len].map(usize::from);
        if from_offset.max(to_offset) + len > PAGE_SIZE as usize {
            return self.bug("a copy beyond its frames", to);
        }
        // SAFETY: (1) both ranges are within frames of RAM that the caller holds; (2) no Rust object lives there; (3) the
        // ranges may overlap, which `copy` allows.
        unsafe {
            let to = frames::direct_map(to).add(to_offset);
            to.copy_from(frames::direct_map(from).add(from_offset), len);
        }
    }
    #[inline]
    fn frames(&self) -> FrameTable<'_> {
        mm::frame_table()
    }
    fn pool(&self) -> &Mutex<Pool<'static>> {
        POOL.get().expect("init ran")
    }
    #[inline]
    fn free_dropped(&self) {
        free_dropped();
    }
    fn virq_handlers(&self) -> &VirqHandlers {
        &VIRQ_HANDLERS
    }
    fn max_frame(&self) -> u64 {
        mm::max_mfn()
    }
    fn nr_ram_frames(&self) -> u64 {
        NR_RAM.load(Relaxed)
    }

    fn scheduler(&self) -> &dyn Scheduler {
        scheduler()
    }
    fn reschedule(&self, cpu: CpuId) {
        kick_cpu(cpu, exit::SCHEDULE);
    }
    fn vcpu_wake(&self, vcpu: &Vcpu) {
        let now = self.now();
        vcpu.count_flags(now);
        match scheduler().wake(vcpu.sched, now) {
            Some(ask) if ask.by > now && ask.cpu == this_cpu() => timers::ask_by(ask.by),
            Some(ask) => kick_cpu(ask.cpu, exit::SCHEDULE),
            None => {}
        }
    }
    fn vcpu_sleep(&self, vcpu: &Vcpu) {
        if let Some(cpu) = scheduler().sleep(vcpu.sched) {
            kick_cpu(cpu, exit::SCHEDULE);
        }
        vcpu.count_flags(self.now());
    }
    fn is_off_cpu(&self, vcpu: &Vcpu) -> bool {
        !scheduler().is_on_cpu(vcpu.sched)
    }
    fn idle_time(&self, cpu: CpuId) -> Nanos {
        exit::idle_time_at(cpu, self.now())
    }
    #[inline]
    fn kick_vcpu(&self, vcpu: &Vcpu) {
        let cpu = vcpu.on_cpu.load(SeqCst);
        if cpu != u32::MAX && cpu != this_cpu().0 {
            apic::send_ipi(CpuId(cpu), vector::EVENT_CHECK);
        }
    }
    fn yield_cpu(&self) {
        if scheduler().yield_now(this_cpu()) {
            exit::request(exit::SCHEDULE);
        }
    }
    fn timers_changed(&self, vcpu: &Vcpu) {
        timers::changed(vcpu);
    }
    fn update_time(&self, vcpu: &Vcpu) {
        let spot = self.with_domain(vcpu.domain, |domain| domain.events.vcpu_info(vcpu.id));
        if let Some(spot) = spot.flatten() {
            let mut writer = vcpu.time_writer.lock();
            writer.write_vcpu_info(self, spot, &timer::clock(), TimeInfoFlags::default());
        }
        let area = vcpu.time_area.load(Relaxed);
        if area == 0 || vcpu.on_cpu.load(Relaxed) != this_cpu().0 {
            return;
        }
        // Our clock never changes its scale, so what is written once stays true, and its version is always the same.
        let clock = timer::clock();
        let info = VcpuTimeInfo {
            version: 2,
            tsc_timestamp: clock.tsc,
            system_time: clock.base.0,
            tsc_to_system_mul: clock.scale.mul,
            tsc_shift: clock.scale.shift,
            ..VcpuTimeInfo::default()
        };
        current::in_kernel_space(|| entry::copy_to_guest(area, &info.to_bytes()));
    }
    fn update_runstate_area(&self, vcpu: &Vcpu) {
        let area = vcpu.runstate_area.load(Relaxed);
        if area == 0 || vcpu.on_cpu.load(Relaxed) != this_cpu().0 {
            return;
        }
        let info = vcpu.runstate.lock().as_entered();
        let flagged =
            current::current().is_some_and(|(d, _)| d.has_assist(assist::RUNSTATE_UPDATE_FLAG));
        current::in_kernel_space(|| {
            let entry_time = info.state_entry_time.0;
            if flagged {
                let _ = entry::copy_to_guest(
                    area.wrapping_add(8),
                    &(entry_time | 1 << 63).to_le_bytes(),
                );
            }
            let mut bytes = [0u8; 48];
            bytes[0..4].copy_from_slice(&info.state.to_le_bytes());
            bytes[8..16].copy_from_slice(&(entry_time | u64::from(flagged) << 63).to_le_bytes());
            for (chunk, time) in bytes[16..].chunks_exact_mut(8).zip(info.time) {
                chunk.copy_from_slice(&time.to_le_bytes());
            }
            let _ = entry::copy_to_guest(area, &bytes);
            if flagged {
                let _ = entry::copy_to_guest(area.wrapping_add(8), &entry_time.to_le_bytes());
            }
        });
    }
    fn update_wall_clock(&self, domain: &Domain) {
        let (sec, nsec) = *WALL_CLOCK.lock();
        let sec = sec.wrapping_add_signed(domain.control.time_offset.load(Relaxed));
        let at = |offset| self.word32(domain.shared_info, DwordIndex::at_byte(offset));
        let version = at(shared_info_offset::WC_VERSION);
        let start = version.load(Relaxed) | 1;
        version.store(start, SeqCst);
        at(shared_info_offset::WC_SEC).store(sec as u32, SeqCst);
        at(shared_info_offset::WC_NSEC).store(nsec, SeqCst);
        at(shared_info_offset::WC_SEC_HI).store((sec >> 32) as u32, SeqCst);
        version.store(start.wrapping_add(1), SeqCst);
    }
    fn set_wall_clock(&self, sec: u64, nsec: u32) {
        *WALL_CLOCK.lock() = (sec, nsec);
        for domain in domain::all() {
            self.update_wall_clock(&domain);
        }
    }

    #[inline]
    fn entry_changed(&self, vcpu: &Vcpu) {
        current::entry_changed(vcpu);
    }
    fn vcpu_info_moved(&self, vcpu: &Vcpu) {
        if let Some((domain, running)) = current::current()
            && core::ptr::eq(running, vcpu)
        {
            current::vcpu_info_moved(domain, vcpu);
        }
        self.update_time(vcpu);
    }
    fn load_base(&self, vcpu: &Vcpu) {
        current::load_base(vcpu);
    }
    fn load_gdt(&self, vcpu: &Vcpu) {
        current::load_gdt(vcpu);
    }
    fn load_ldt(&self, vcpu: &Vcpu) {
        current::load_ldt(vcpu);
    }
    #[inline]
    fn set_segment_base(&self, which: SegmentBase, base: u64) {
        let which = match which {
            SegmentBase::Fs => msr::FS_BASE,
            // The guest kernel runs, so user space's is the inactive one.
            SegmentBase::GsUser => msr::KERNEL_GS_BASE,
            SegmentBase::GsKernel => msr::GS_BASE,
        };
        current::write_base(which, base);
    }
    fn set_gs_user_selector(&self, selector: u16) {
        current::set_gs_user_selector(selector);
    }
    fn load_debug_registers(&self, vcpu: &Vcpu) {
        vcpu.debug_active
            .store(vcpu.debug.lock().is_active(), Relaxed);
        current::load_debug_registers(vcpu);
    }
    fn ts_changed(&self, vcpu: &Vcpu) {
        current::load_ts(vcpu);
    }
    #[inline]
    fn flush_local(&self, gva: Option<u64>) {
        match gva {
            Some(gva) => regs::invlpg(gva),
            None => flush::flush_tlb(CpuMask::one(this_cpu()), Flush::Global),
        }
    }
    fn flush_vcpus(&self, domain: &Domain, vcpus: u64, gva: Option<u64>) {
        let mut cpus = CpuMask::EMPTY;
        for (n, vcpu) in domain.vcpus.iter().enumerate().take(64) {
            let cpu = vcpu.on_cpu.load(SeqCst);
            if vcpus >> n & 1 != 0 && cpu != u32::MAX {
                cpus.0 |= CpuMask::one(CpuId(cpu)).0;
            }
        }
        if let Some(gva) = gva
            && cpus.without(this_cpu()).is_empty()
        {
            return self.flush_local(Some(gva));
        }
        flush::flush_tlb(cpus, Flush::Global);
    }
    fn write_back_caches(&self) {
        // SAFETY: writes caches back; slow, harmless.
        unsafe { core::arch::asm!("wbinvd", options(nostack, preserves_flags)) };
    }

    fn console_write(&self, bytes: &[u8]) {
        console::write_guest(bytes);
    }
    fn console_read(&self, into: &mut [u8]) -> usize {
        console::input::read(into)
    }
    fn log(&self, level: u8, line: fmt::Arguments<'_>) {
        let level = match level {
            0 => LogLevel::Error,
            1 => LogLevel::Warning,
            2 => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        guest_log!(level, "{line}");
    }
    fn read_log(&self, from: u32, into: &mut [u8]) -> (usize, u32) {
        let (after, count) = console::read_messages(u64::from(from), into);
        (count, after as u32)
    }
    fn clear_log(&self) {
        console::clear_messages();
    }
    fn debug_key(&self, key: u8) {
        console::keys::handle(key);
    }

    #[expect(non_upper_case_globals, reason = "the header's spelling")]
    fn dom0_shut_down(&self, reason: u32) {
        if matches!(reason, SHUTDOWN_crash | SHUTDOWN_watchdog)
            && let Some((domain, vcpu)) = current::current()
        {
            println!(
                "Domain 0 crashed on CPU {}, vcpu {}:",
                this_cpu().0,
                vcpu.id.0
            );
            current::with_guest_regs(|regs| traps::report(regs, domain, vcpu));
        }
        match reason {
            SHUTDOWN_poweroff => {
                println!("Domain 0 powered off: powering off");
                smp::shutdown::power_off();
                println!("ACPI would not power off: halted");
                crate::cpu::halt_forever();
            }
            SHUTDOWN_crash | SHUTDOWN_watchdog if platform().options.noreboot => {
                println!("Hardware Dom0 crashed: 'noreboot' set - not rebooting.");
                smp::shutdown::halt_others();
                crate::cpu::halt_forever();
            }
            SHUTDOWN_crash | SHUTDOWN_watchdog => {
                println!("Hardware Dom0 crashed: rebooting machine in 5 seconds.");
                timer::delay_us(5_000_000);
                smp::shutdown::reboot();
            }
            _ => {
                println!("Domain 0 shut down: rebooting machine");
                smp::shutdown::reboot();
            }
        }
    }
    fn power(&self, action: PowerAction) {
        match action {
            PowerAction::Off { pm1a, pm1b } => {
                println!("Entering ACPI sleep state S5");
                smp::shutdown::enter_sleep(pm1a, pm1b);
            }
            PowerAction::Reboot => smp::shutdown::reboot(),
        }
    }
    fn command_line(&self) -> &str {
        platform().boot.options_text()
    }
    fn policies(&self) -> &CpuPolicies {
        domain::policies()
    }
    fn tsc_khz(&self) -> u32 {
        timer::tsc_khz() as u32
    }

    fn ioapic_read(&self, base: u64, register: u32) -> Option<u32> {
        ioapic::read_register(base, register)
    }
    fn nr_gsis(&self) -> u32 {
        ioapic::nr_gsis()
    }
    fn setup_gsi(&self, gsi: u32, level: bool, active_low: bool) -> Result<(), Errno> {
        pirq::setup_gsi(gsi, level, active_low)
    }
    fn pirq_bind(&self, domain: &Domain, pirq: Pirq) -> Result<(), Errno> {
        pirq::bind(domain, pirq)
    }
    fn pirq_unbind(&self, domain: &Domain, pirq: Pirq) {
        pirq::unbind(domain, pirq);
    }
    fn pirq_eoi(&self, domain: &Domain, pirq: Pirq) {
        pirq::eoi(domain, pirq);
    }
    fn pirq_needs_eoi(&self, pirq: Pirq) -> bool {
        pirq::needs_eoi(pirq)
    }
    fn pirq_moved(&self, _domain: &Domain, _pirq: Pirq) {
        // Interrupts all go to CPU 0, which passes the event on: nothing follows the vcpu yet.
    }
    fn map_msi(&self, request: MsiRequest) -> Result<Pirq, Errno> {
        pirq::map_msi(request)
    }
    fn unmap_msi(&self, pirq: Pirq) -> Result<(), Errno> {
        pirq::unmap(pirq)
    }
    fn free_pirq(&self) -> Option<Pirq> {
        pirq::free_pirq()
    }
    fn pci_device(&self, _segment: u16, _bus: u8, _devfn: u8, _added: bool) {}
}
