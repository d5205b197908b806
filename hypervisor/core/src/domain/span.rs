//! Where in the machine's memory a domain's frames are: all that its teardown has to look at.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::units::Mfn;

/// A span of mfns that only grows: every frame that a domain was ever given or shares with the hypervisor is in it.
///
/// The allocator gives neighbours where it can, so a domain's span is far less than the machine, and its destruction
/// costs by its own size. A frame must be in the span before it gets its owner.
#[derive(Debug)]
pub struct FrameSpan {
    start: AtomicU64,
    end: AtomicU64,
}

impl FrameSpan {
    /// A span without frames.
    pub const fn new() -> Self {
        FrameSpan {
            start: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(0),
        }
    }

    /// Takes in `count` frames from `first` on.
    pub fn grow(&self, first: Mfn, count: u64) {
        self.start.fetch_min(first.0, SeqCst);
        self.end.fetch_max(first.0.saturating_add(count), SeqCst);
    }

    /// The span as it is now.
    pub fn range(&self) -> Range<u64> {
        self.start.load(SeqCst)..self.end.load(SeqCst)
    }
}

impl Default for FrameSpan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_takes_in_all_it_was_ever_given() {
        let span = FrameSpan::new();
        assert!(span.range().is_empty());
        span.grow(Mfn(7), 1);
        assert_eq!(span.range(), 7..8);
        span.grow(Mfn(100), 4);
        span.grow(Mfn(50), 2);
        assert_eq!(span.range(), 7..104);
    }
}
