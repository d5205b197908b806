//! The last messages, kept for domain 0 (`xl dmesg`).

const BYTES: usize = 64 * 1024;

/// The last 64 KiB that were printed.
pub struct Ring {
    bytes: [u8; BYTES],
    /// Bytes ever pushed: the position of the next one.
    end: u64,
    /// Bytes before this position were cleared away.
    start: u64,
}

impl Ring {
    /// An empty ring.
    pub const fn new() -> Self {
        Ring {
            bytes: [0; BYTES],
            end: 0,
            start: 0,
        }
    }

    /// Appends bytes; the oldest fall out.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes[self.end as usize % BYTES] = byte;
            self.end += 1;
        }
    }

    /// Copies bytes from position `from` on; gives the position after the last one, and their number.
    pub fn read(&self, from: u64, to: &mut [u8]) -> (u64, usize) {
        let oldest = self.start.max(self.end.saturating_sub(BYTES as u64));
        let mut at = from.clamp(oldest, self.end);
        let mut copied = 0;
        for slot in to.iter_mut() {
            if at == self.end {
                break;
            }
            *slot = self.bytes[at as usize % BYTES];
            at += 1;
            copied += 1;
        }
        (at, copied)
    }

    /// Forgets everything pushed so far.
    pub fn clear(&mut self) {
        self.start = self.end;
    }
}
