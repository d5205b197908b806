//! Global variables of a program with one thread.
// UNSAFETY: a shared cell without a lock. Only vcpu 0 runs Rust code here, and trap handlers touch a cell for the
// length of one read or write.
#![expect(unsafe_code)]

use core::cell::UnsafeCell;

/// A global variable for the one vcpu that runs Rust code.
#[repr(transparent)]
pub struct Lone<T>(UnsafeCell<T>);

// SAFETY: one vcpu only (see the module's head).
unsafe impl<T> Sync for Lone<T> {}

impl<T> Lone<T> {
    /// Makes the variable.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where the variable lies, for assembly and for the hypervisor.
    pub const fn pointer(&self) -> *mut T {
        self.0.get()
    }

    /// Its address as the hypervisor is given it.
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }

    /// Reads it, freshly from memory: a trap or the hypervisor may have changed it.
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: the cell is always initialised, and nobody writes at the same time.
        unsafe { self.0.get().read_volatile() }
    }

    /// Writes it to memory.
    pub fn set(&self, value: T) {
        // SAFETY: as for `get`.
        unsafe { self.0.get().write_volatile(value) }
    }
}
