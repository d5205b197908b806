//! Numbers from a seed, and the choices made with them.

/// A xorshift generator: the same seed gives the same run, but for what time and the other vcpu bring.
pub struct Rng(u64);

impl Rng {
    /// Starts from any seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Self((seed ^ 0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..16 {
            rng.word();
        }
        rng
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.word() >> 16).checked_rem(limit).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// One index, by weight.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }

    /// A number at which something tends to break, or a small one, or any.
    pub fn odd(&mut self) -> u64 {
        let edge = self.pick(&[
            0,
            1,
            0x7f,
            0xff,
            0x1ff,
            0xfff,
            0x1000,
            0x7fff,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            i64::MAX as u64,
            1 << 63,
            u64::MAX,
            0x7ff0,
            0x7ff1,
            0x7ff2,
        ]);
        match self.below(4) {
            0 => self.below(16),
            1 => edge.wrapping_add(self.below(3)).wrapping_sub(1),
            2 => 1 << self.below(64),
            _ => self.word() >> self.below(64),
        }
    }
}
