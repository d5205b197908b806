//! A call being made up: its structures in the vcpu's arena, its registers, and what is to be done afterwards.

use rexen_guests::{crew, memory};

use crate::rng::Rng;
use crate::world;

/// What must be done when a call has returned.
#[derive(Clone, Copy, Default)]
pub enum Then {
    /// Nothing.
    #[default]
    Nothing,
    /// The handlers and callbacks are garbage: register the guest's own.
    Install,
    /// Load the first page tables again.
    OwnTables,
    /// The extents in this list, as many as the result says, of this order, are ours.
    Took(u64, u64),
    /// Those are gone.
    Gave(u64, u64),
    /// A struct xen_memory_exchange.
    Exchanged(u64),
    /// A port number is here if the call succeeded.
    Port(u64),
    /// Grant handles lie in so many mapping structures from here on.
    Handles(u64, u64),
    /// A domain number is here if the call succeeded.
    Domain(u64),
    /// A vcpu may be down: bring it up.
    Up,
}

/// A hypercall.
#[derive(Clone, Copy, Default)]
pub struct Call {
    /// Number.
    pub number: u64,
    /// Arguments.
    pub args: [u64; 5],
    /// What follows.
    pub then: Then,
}

impl Call {
    /// A call after which nothing need be done.
    pub fn new<const N: usize>(number: u32, args: [u64; N]) -> Self {
        let mut all = [0; 5];
        all[..N].copy_from_slice(&args);
        Self {
            number: u64::from(number),
            args: all,
            then: Then::Nothing,
        }
    }

    /// The same with something to follow.
    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

/// Room for the structures of one call.
pub struct Arena {
    start: u64,
    used: u64,
}

impl Arena {
    /// The whole arena of the running vcpu.
    pub fn new() -> Self {
        Self {
            start: crew::arena(),
            used: 0,
        }
    }

    /// Zeroed room; from the start again when all is used.
    pub fn take(&mut self, bytes: u64) -> u64 {
        let bytes = bytes.next_multiple_of(8);
        if self.used + bytes > crew::ARENA_BYTES {
            self.used = 0;
        }
        let at = self.start + self.used;
        self.used += bytes;
        for word in 0..bytes / 8 {
            memory::write(at + word * 8, 0);
        }
        at
    }

    /// Room with these words.
    pub fn words<const N: usize>(&mut self, words: [u64; N]) -> u64 {
        let at = self.take(N as u64 * 8);
        for (index, word) in words.into_iter().enumerate() {
            memory::write(at + index as u64 * 8, word);
        }
        at
    }
}

/// The address to name for a structure at `at`: mostly this, sometimes a copy at an odd place of the pool, or just anything.
pub fn place(rng: &mut Rng, at: u64, bytes: u64) -> u64 {
    match rng.weighted(&[88, 7, 5]) {
        0 => at,
        1 => {
            let to = world::pool_address(rng);
            if !world::is_expendable(to, bytes) {
                return at;
            }
            for offset in 0..bytes.min(256) {
                memory::write_byte(to + offset, memory::read_byte(at + offset));
            }
            to
        }
        _ => {
            let to = world::address(rng);
            if world::is_expendable(to, bytes) {
                to
            } else {
                at
            }
        }
    }
}

/// A number of elements: mostly right.
pub fn count(rng: &mut Rng, right: u64) -> u64 {
    match rng.below(40) {
        0 => rng.odd(),
        1 => right + 1,
        2 => 0,
        _ => right,
    }
}

/// A domain: mostly the caller.
pub fn domain(rng: &mut Rng) -> u64 {
    match rng.below(24) {
        0 => 0,
        1 => world::neighbour(rng),
        2 => rng.pick(&[0x7ff1, 0x7ff2, 0x7ff3, 0x7ff4, 0x7fff, 0xffff]),
        3 => rng.odd() & 0xffff,
        _ => 0x7ff0,
    }
}
