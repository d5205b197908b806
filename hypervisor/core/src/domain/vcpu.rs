//! What a guest has set of its virtual CPU.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

use super::SavedContext;
use crate::policy::debugreg::DebugRegisters;
use crate::sched::{Runstate, RunstateKind, SchedId};
use crate::sync::Mutex;
use crate::time::{TimeInfoWriter, VcpuTimers};
use crate::units::{DomId, Mfn, Nanos, VcpuId};

/// Where a trap goes (`public/arch-x86/xen.h`, trap_info).
#[derive(Default)]
pub struct TrapSlot {
    /// The handler, 0 for none.
    pub address: AtomicU64,
    /// cs in bits 15:0, trap_info flags in bits 23:16.
    pub meta: AtomicU32,
}

/// An entry point of the guest kernel: address 0 for none.
#[derive(Default)]
pub struct Callback {
    /// The handler.
    pub address: AtomicU64,
    /// Whether events are masked on entry.
    pub masks_events: AtomicBool,
}

/// The callbacks of a vcpu (`public/callback.h`).
#[derive(Default)]
#[expect(missing_docs, reason = "the names are the header's")]
pub struct Callbacks {
    pub event: Callback,
    pub failsafe: Callback,
    pub syscall: Callback,
    pub syscall32: Callback,
    pub sysenter: Callback,
    pub nmi: Callback,
}

/// The frames of a vcpu's GDT, each held as seg_desc.
#[derive(Clone, Copy, Default, Debug)]
pub struct Gdt {
    /// Number of descriptors.
    pub entries: u32,
    /// The frames, as many as the entries need.
    pub frames: [Mfn; 14],
}

/// A vcpu's LDT: its pages are mapped when first used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ldt {
    /// Guest address of the first descriptor, page-aligned.
    pub base: u64,
    /// Number of descriptors, up to 8192.
    pub entries: u32,
    /// The frames mapped so far, each held as seg_desc.
    pub frames: [Option<Mfn>; 16],
}

/// A vcpu's I/O permission bitmap in guest memory (PHYSDEVOP_set_iobitmap).
#[derive(Clone, Copy, Default, Debug)]
pub struct PortBitmapPlace {
    /// Guest address, 0 for none.
    pub address: u64,
    /// Ports it covers.
    pub nr_ports: u32,
}

/// Bits of [`Vcpu::flags`].
pub struct VcpuFlags;

impl VcpuFlags {
    /// The guest has given it registers.
    pub const INITIALISED: u32 = 1;
    /// It is down: not to run until brought up.
    pub const DOWN: u32 = 2;
    /// It waits for an event (SCHEDOP_block).
    pub const BLOCKED: u32 = 4;
    /// It waits for one of some ports (SCHEDOP_poll).
    pub const POLLING: u32 = 8;
    /// Its domain has shut down.
    pub const SHUT_DOWN: u32 = 16;
    /// A virtual NMI waits.
    pub const NMI_PENDING: u32 = 32;
    /// Registers are being given to it.
    pub const INITIALISING: u32 = 64;
    /// The toolstack has paused its domain.
    pub const PAUSED: u32 = 128;
    /// Its domain is being destroyed.
    pub const DYING: u32 = 256;
    /// What keeps it from running until another vcpu says so.
    /// The toolstack wants to look at its registers: it is to get off its CPU.
    pub const HELD: u32 = 512;
    /// What keeps it from running until another vcpu says so.
    pub const OFFLINE: u32 = Self::DOWN | Self::SHUT_DOWN | Self::PAUSED | Self::DYING | Self::HELD;
}

/// A virtual CPU.
pub struct Vcpu {
    /// Its index in its domain.
    pub id: VcpuId,
    /// Its domain.
    pub domain: DomId,
    /// What the scheduler calls it.
    pub sched: SchedId,
    /// [`VcpuFlags`]. It may run when INITIALISED is set, and neither BLOCKED nor POLLING nor any of OFFLINE.
    pub flags: AtomicU32,
    /// The CPU it is loaded on; `u32::MAX` for none.
    pub on_cpu: AtomicU32,
    /// Registers while it is on no CPU. Locked during a switch, and by calls on a vcpu that is down.
    pub saved: Mutex<SavedContext>,
    /// Trap handlers, by vector.
    pub traps: [TrapSlot; 256],
    /// Entry points.
    pub callbacks: Callbacks,
    /// Stack pointer for entries from user space.
    pub kernel_sp: AtomicU64,
    /// Stack selector for entries from user space.
    pub kernel_ss: AtomicU64,
    /// Kernel page-table base: an L4 that this vcpu holds a type reference on; 0 for none.
    pub kernel_l4: AtomicU64,
    /// User page-table base, likewise.
    pub user_l4: AtomicU64,
    /// GDT.
    pub gdt: Mutex<Gdt>,
    /// LDT.
    pub ldt: Mutex<Ldt>,
    /// Virtual CR0.TS.
    pub ts: AtomicBool,
    /// Virtual CR2.
    pub cr2: AtomicU64,
    /// Virtual CR4 (only what `policy::cr` lets change).
    pub cr4: AtomicU64,
    /// XCR0.
    pub xcr0: AtomicU64,
    /// Debug registers.
    pub debug: Mutex<DebugRegisters>,
    /// Whether `debug` has a breakpoint on: then switches load them.
    pub debug_active: AtomicBool,
    /// Virtual IOPL (PHYSDEVOP_set_iopl).
    pub iopl: AtomicU8,
    /// I/O bitmap.
    pub port_bitmap: Mutex<PortBitmapPlace>,
    /// Accounting of its time.
    pub runstate: Mutex<Runstate>,
    /// Guest address of its runstate area, 0 for none.
    pub runstate_area: AtomicU64,
    /// Guest address of its secondary time area, 0 for none.
    pub time_area: AtomicU64,
    /// Writes its time into vcpu_info.
    pub time_writer: Mutex<TimeInfoWriter>,
    /// TSC_AUX.
    pub tsc_aux: AtomicU32,
    /// Its timers.
    pub timers: VcpuTimers,
}

impl Vcpu {
    /// A vcpu that is down and has no registers yet.
    pub fn new(domain: DomId, id: VcpuId, sched: SchedId, runstate: Runstate) -> Self {
        Vcpu {
            id,
            domain,
            sched,
            flags: AtomicU32::new(VcpuFlags::DOWN),
            on_cpu: AtomicU32::new(u32::MAX),
            saved: Mutex::new(SavedContext::default()),
            traps: [const {
                TrapSlot {
                    address: AtomicU64::new(0),
                    meta: AtomicU32::new(0),
                }
            }; 256],
            callbacks: Callbacks::default(),
            kernel_sp: AtomicU64::new(0),
            kernel_ss: AtomicU64::new(0),
            kernel_l4: AtomicU64::new(0),
            user_l4: AtomicU64::new(0),
            gdt: Mutex::new(Gdt::default()),
            ldt: Mutex::new(Ldt::default()),
            ts: AtomicBool::new(false),
            cr2: AtomicU64::new(0),
            cr4: AtomicU64::new(0),
            xcr0: AtomicU64::new(3),
            debug: Mutex::new(DebugRegisters::default()),
            debug_active: AtomicBool::new(false),
            iopl: AtomicU8::new(0),
            port_bitmap: Mutex::new(PortBitmapPlace::default()),
            runstate_area: AtomicU64::new(0),
            time_area: AtomicU64::new(0),
            time_writer: Mutex::new(TimeInfoWriter::new()),
            tsc_aux: AtomicU32::new(0),
            timers: VcpuTimers::new(runstate.since()),
            runstate: Mutex::new(runstate),
        }
    }

    /// Whether nothing but the scheduler keeps it from running.
    pub fn is_runnable(&self) -> bool {
        const STOP: u32 = VcpuFlags::OFFLINE | VcpuFlags::BLOCKED | VcpuFlags::POLLING;
        self.flags.load(SeqCst) & (STOP | VcpuFlags::INITIALISED) == VcpuFlags::INITIALISED
    }

    /// What it does while it is on no CPU.
    fn waits_as(&self) -> RunstateKind {
        let flags = self.flags.load(SeqCst);
        if flags & (VcpuFlags::BLOCKED | VcpuFlags::POLLING) != 0 {
            RunstateKind::Blocked
        } else if self.is_runnable() {
            RunstateKind::Runnable
        } else {
            RunstateKind::Offline
        }
    }

    /// Counts its time: it is put on a CPU at `now`.
    pub fn count_running(&self, now: Nanos) {
        self.runstate.lock().enter(RunstateKind::Running, now);
    }

    /// Counts its time: it is taken off its CPU at `now`.
    pub fn count_waiting(&self, now: Nanos) {
        let mut runstate = self.runstate.lock();
        // Whoever changes the flags looks afterwards, under this lock, whether the state is right.
        runstate.enter(self.waits_as(), now);
    }

    /// Counts its time: why it waits, if it does, has changed.
    pub fn count_flags(&self, now: Nanos) {
        let mut runstate = self.runstate.lock();
        let kind = self.waits_as();
        if runstate.kind() != RunstateKind::Running && runstate.kind() != kind {
            runstate.enter(kind, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_as_the_flags_say_while_it_waits() {
        let id = SchedId(0);
        let vcpu = Vcpu::new(DomId(1), VcpuId(0), id, Runstate::new(Nanos(0)));
        let count = |flags, at| {
            vcpu.flags.store(flags, SeqCst);
            vcpu.count_flags(Nanos(at));
        };
        let up = VcpuFlags::INITIALISED;
        count(up | VcpuFlags::DOWN, 5);
        count(up, 10);
        count(up, 12);
        vcpu.count_running(Nanos(15));
        // Blocks: it runs until it is taken off.
        count(up | VcpuFlags::BLOCKED, 18);
        vcpu.count_waiting(Nanos(22));
        // Paused while it is blocked it is still blocked, as on Xen.
        count(up | VcpuFlags::BLOCKED | VcpuFlags::PAUSED, 30);
        count(up | VcpuFlags::PAUSED, 40);
        count(up, 41);
        let info = vcpu.runstate.lock().at(Nanos(50));
        let [running, runnable, blocked, offline] = [7, 5 + 9, 18, 10 + 1];
        assert_eq!(info.time, [running, runnable, blocked, offline]);
        assert_eq!(info.state, RunstateKind::Runnable as u32);
        assert_eq!(info.time.iter().sum::<u64>(), 50);
    }
}
