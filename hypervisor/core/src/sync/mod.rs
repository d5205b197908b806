//! Locks that serve others while they wait.
//!
//! The hypervisor spins with interrupts off. A CPU that spins must still answer the TLB-flush requests of the CPU that
//! holds the lock, or both wait for ever: the relax hook does that. `docs/locking.md` has the lock order.

pub mod atomic;

use spin::RelaxStrategy;

static RELAX: spin::Once<fn()> = spin::Once::new();

/// Sets what a waiting CPU does on each turn of a lock's loop. The first caller wins.
pub fn set_relax_hook(hook: fn()) {
    RELAX.call_once(|| hook);
}

/// The strategy of every lock in core: serve pending requests, then pause.
pub struct Relax;

impl RelaxStrategy for Relax {
    #[inline]
    fn relax() {
        if let Some(hook) = RELAX.get() {
            hook();
        }
        core::hint::spin_loop();
    }
}

/// A spinning mutual-exclusion lock.
pub type Mutex<T> = spin::mutex::SpinMutex<T, Relax>;
/// What a locked [`Mutex`] gives.
pub type MutexGuard<'a, T> = spin::mutex::SpinMutexGuard<'a, T, Relax>;
/// A cell that is filled once.
pub type Once<T> = spin::once::Once<T, Relax>;
/// A spinning lock with many readers or one writer.
pub type RwLock<T> = spin::rwlock::RwLock<T, Relax>;
