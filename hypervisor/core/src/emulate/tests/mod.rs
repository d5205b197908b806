//! Tests of the room: stores, privileged instructions, the I/O check.

use super::*;

mod io;
mod privileged;
mod stores;

/// xorshift64*: reproducible, and good enough to find a forgotten case.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }
}
