//! At most two QEMUs at once in one test program: more of them only take each other's time and miss deadlines.

use std::sync::{Condvar, Mutex, PoisonError};

/// How many QEMUs may run at once.
pub const SLOTS: usize = 2;

static FREE: Mutex<usize> = Mutex::new(SLOTS);
static FREED: Condvar = Condvar::new();

/// The right to run one QEMU, until it is dropped.
#[derive(Debug)]
pub struct Slot(());

impl Slot {
    /// Waits until a QEMU may run.
    pub fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    #[test]
    fn no_more_than_the_limit_hold_a_slot() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _slot = Slot::take();
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!((1..=SLOTS).contains(&most.into_inner()));
    }
}
