//! Measures the longest stretch that a CPU spends in the hypervisor without a look at what waits.
//!
//! A stretch begins when the CPU comes in from a guest or looks (`should_stop`, an idle CPU's wait), and ends when it looks
//! again or leaves. Only with the cargo feature `stretch`; without it all this is nothing. Debug key `s` prints what was the
//! longest of each kind and begins anew. docs/bounded-work.md has the numbers.

/// What a CPU is in the hypervisor for.
#[cfg_attr(not(feature = "stretch"), allow(dead_code))]
#[derive(Clone, Copy)]
pub enum Kind {
    /// A hypercall: its number and first argument.
    Hypercall(u32, u64),
    /// A trap or interrupt from a guest.
    Trap(u32),
}

#[cfg(not(feature = "stretch"))]
mod imp {
    use super::Kind;

    /// A stretch that is not measured.
    pub struct Stretch;

    #[inline(always)]
    pub fn enter(_: Kind) -> Stretch {
        Stretch
    }
    #[inline(always)]
    pub fn interrupt() -> Stretch {
        Stretch
    }
    #[inline(always)]
    pub fn on_the_way_out() -> Stretch {
        Stretch
    }
    #[inline(always)]
    pub fn look() {}
    pub fn register_key() {}
}

#[cfg(feature = "stretch")]
mod imp {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::Kind;
    use crate::console::keys;
    use crate::cpu::{regs::rdtsc, this_cpu};
    use crate::println;

    const CPUS: usize = 64;
    const TRAPS: usize = 64;
    const INTERRUPT: usize = TRAPS + 33;
    const EXIT: usize = INTERRUPT + 1;
    const KINDS: usize = EXIT + 1;

    /// One CPU's present stretch: where it began and what it is.
    struct Now {
        start: AtomicU64,
        kind: AtomicU64,
        operation: AtomicU64,
    }

    static NOW: [Now; CPUS] = [const {
        Now {
            start: AtomicU64::new(0),
            kind: AtomicU64::new(0),
            operation: AtomicU64::new(0),
        }
    }; CPUS];
    /// The longest of each kind, the operation that it was, and how many there were.
    static LONGEST: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];
    static OPERATIONS: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];
    static COUNTS: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];

    /// A stretch, which ends with this value; then the CPU is again in one of the kind that it was in, perhaps.
    pub struct Stretch(Option<u64>);

    impl Drop for Stretch {
        fn drop(&mut self) {
            note();
            if let Some(kind) = self.0 {
                now().kind.store(kind, Relaxed);
            }
        }
    }

    fn now() -> &'static Now {
        &NOW[this_cpu().0 as usize % CPUS]
    }

    fn index(kind: Kind) -> (usize, u64) {
        match kind {
            Kind::Hypercall(number, operation) => (number as usize % TRAPS, operation),
            Kind::Trap(vector) => (TRAPS + vector.min(32) as usize, u64::from(vector)),
        }
    }

    /// Begins a stretch.
    pub fn enter(kind: Kind) -> Stretch {
        let (index, operation) = index(kind);
        let now = now();
        now.kind.store(index as u64, Relaxed);
        now.operation.store(operation, Relaxed);
        now.start.store(rdtsc(), Relaxed);
        Stretch(None)
    }

    /// Begins that of an interrupt which came while the hypervisor looked; it looks again afterwards.
    pub fn interrupt() -> Stretch {
        let now = now();
        let kind = now.kind.swap(INTERRUPT as u64, Relaxed);
        now.start.store(rdtsc(), Relaxed);
        Stretch(Some(kind))
    }

    /// Goes on with the stretch that led to the way out.
    pub fn on_the_way_out() -> Stretch {
        let now = now();
        let before = now.kind.swap(EXIT as u64, Relaxed);
        if before != EXIT as u64 {
            now.operation.store(before, Relaxed);
        }
        Stretch(None)
    }

    /// Ends a stretch and begins the next one of the same kind: what waited had its chance.
    pub fn look() {
        note();
        now().start.store(rdtsc(), Relaxed);
    }

    fn note() {
        let now = now();
        let start = now.start.load(Relaxed);
        if start == 0 {
            // This CPU has never been in a guest, nor idle.
            return;
        }
        let ticks = rdtsc().wrapping_sub(start);
        let kind = now.kind.load(Relaxed) as usize % KINDS;
        COUNTS[kind].fetch_add(1, Relaxed);
        if LONGEST[kind].fetch_max(ticks, Relaxed) < ticks {
            OPERATIONS[kind].store(now.operation.load(Relaxed), Relaxed);
        }
    }

    fn print() {
        for kind in 0..KINDS {
            let ticks = LONGEST[kind].swap(0, Relaxed);
            let count = COUNTS[kind].swap(0, Relaxed);
            if count == 0 {
                continue;
            }
            let (name, number) = match kind {
                INTERRUPT => ("interrupt", 0),
                EXIT => ("exit", 0),
                TRAPS.. => ("trap", kind - TRAPS),
                _ => ("hypercall", kind),
            };
            let operation = OPERATIONS[kind].load(Relaxed);
            println!(
                "STRETCH {name} {number}: {ticks} ticks, operation {operation:#x}, of {count}"
            );
        }
        println!("STRETCH end");
    }

    pub fn register_key() {
        keys::register_key(b's', "show the longest stretches, and begin anew", print);
    }
}

pub use imp::*;
