//! Interrupts: vectors, the local APIC, IO-APICs, PCI message interrupts.
//!
//! A vector means the same on every CPU. The hypervisor's own vectors are the highest, where they also have the highest
//! priority; devices get theirs from [`alloc_vector`].

// UNSAFETY: keeps handlers as numbers in atomics.
#![expect(unsafe_code)]

pub mod apic;
pub mod gsi;
pub mod ioapic;
pub mod msi;
pub mod pci;
pub mod pic;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rexen_core::options::LogLevel;
use rexen_core::sync::Mutex;

use crate::log;

/// What runs when a vector arrives: interrupts are masked, the local APIC is not acknowledged yet.
pub type Handler = fn(vector: u8);

/// The hypervisor's own vectors.
pub mod vector {
    /// The first vector that a device may get.
    pub const FIRST_DEVICE: u8 = 0x30;
    /// The last vector that a device may get.
    pub const LAST_DEVICE: u8 = 0xef;
    /// Linux' 32-bit system call, never a device's.
    pub const LINUX_SYSCALL: u8 = 0x80;
    /// The local APIC's timer.
    pub const TIMER: u8 = 0xf9;
    /// Stop for good: another CPU panicked or the machine goes down.
    pub const HALT: u8 = 0xfa;
    /// Look for work: a vcpu to run, an event to deliver.
    pub const EVENT_CHECK: u8 = 0xfb;
    /// Forget TLB entries.
    pub const TLB_FLUSH: u8 = 0xfc;
    /// The local APIC reports an error.
    pub const ERROR: u8 = 0xfe;
    /// The local APIC changed its mind. Never acknowledged.
    pub const SPURIOUS: u8 = 0xff;
}

/// Handlers as function addresses; 0 means none.
static HANDLERS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
/// Which device vectors are taken, one bit each.
static TAKEN: Mutex<[u64; 4]> = Mutex::new([0; 4]);

/// Sets what runs when `vector` arrives.
pub fn set_handler(vector: u8, handler: Handler) {
    HANDLERS[usize::from(vector)].store(handler as usize, Relaxed);
}

/// Runs the handler of `vector`. The handler acknowledges; a vector without one is acknowledged here.
#[inline]
pub fn dispatch(vector: u8) {
    let handler = HANDLERS[usize::from(vector)].load(Relaxed);
    if handler == 0 {
        unexpected(vector);
        return;
    }
    // SAFETY: only `set_handler` stores here, and what it stores is a `Handler`.
    let handler: Handler = unsafe { core::mem::transmute(handler) };
    handler(vector);
}

static REPORTED: AtomicBool = AtomicBool::new(false);

#[cold]
fn unexpected(vector: u8) {
    if vector != vector::SPURIOUS {
        apic::eoi();
        // One line is enough: the count of a storm tells nothing more.
        if !REPORTED.swap(true, Relaxed) {
            log!(LogLevel::Warning, "irq: nobody wants vector {vector:#x}");
        }
    }
}

/// Takes a device vector, or `None` if all are taken. Neighbours land in different priority classes.
pub fn alloc_vector() -> Option<u8> {
    let mut taken = TAKEN.lock();
    let classes = (vector::LAST_DEVICE - vector::FIRST_DEVICE + 1) / 16;
    let found = (0..16)
        .flat_map(|low| (0..classes).map(move |class| vector::FIRST_DEVICE + class * 16 + low))
        .find(|&v| v != vector::LINUX_SYSCALL && taken[usize::from(v / 64)] >> (v % 64) & 1 == 0)?;
    taken[usize::from(found / 64)] |= 1 << (found % 64);
    Some(found)
}

/// Gives a device vector back; its handler is forgotten.
pub fn free_vector(vector: u8) {
    HANDLERS[usize::from(vector)].store(0, Relaxed);
    TAKEN.lock()[usize::from(vector / 64)] &= !(1 << (vector % 64));
}
