//! Frames for tests. A frame's 64-bit words and its 32-bit words are kept apart, as safe code cannot see one as the other:
//! a test reads a field by the width that it was written with. Each access is a point where another thread may go on, and
//! one to a frame that was given back fails.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use super::{DwordIndex, QwordIndex, SharedFrames};
use crate::testkit::schedules::point;
use crate::units::Mfn;

const BASE: u64 = 0x1000;

struct Frame {
    given_back: AtomicBool,
    qwords: [AtomicU64; 512],
    dwords: [AtomicU32; 1024],
}

/// A few frames, the first being `Mfn(0x1000)`.
pub(crate) struct Ram(Vec<Frame>);

impl Ram {
    pub(crate) fn new(count: usize) -> Self {
        let frame = |_| Frame {
            given_back: AtomicBool::new(false),
            qwords: [const { AtomicU64::new(0) }; 512],
            dwords: [const { AtomicU32::new(0) }; 1024],
        };
        Ram((0..count).map(frame).collect())
    }

    pub(crate) fn mfn(&self, index: usize) -> Mfn {
        assert!(index < self.0.len());
        Mfn(BASE + index as u64)
    }

    pub(crate) fn qword(&self, mfn: Mfn, offset: usize) -> &AtomicU64 {
        self.word64(mfn, QwordIndex::at_byte(offset))
    }

    pub(crate) fn dword(&self, mfn: Mfn, offset: usize) -> &AtomicU32 {
        self.word32(mfn, DwordIndex::at_byte(offset))
    }

    /// Nobody may use the frame any more.
    pub(crate) fn give_back(&self, mfn: Mfn) {
        let before = self.frame(mfn).given_back.swap(true, SeqCst);
        assert!(!before, "{mfn:?} is given back twice");
    }

    fn frame(&self, mfn: Mfn) -> &Frame {
        &self.0[(mfn.0 - BASE) as usize]
    }

    fn used(&self, mfn: Mfn) -> &Frame {
        point();
        let frame = self.frame(mfn);
        assert!(!frame.given_back.load(SeqCst), "{mfn:?} was given back");
        frame
    }

    /// Fills the frame's 32-bit words.
    pub(crate) fn fill32(&self, mfn: Mfn, value: u32) {
        for word in &self.frame(mfn).dwords {
            word.store(value, SeqCst);
        }
    }
}

impl SharedFrames for Ram {
    fn word64(&self, mfn: Mfn, index: QwordIndex) -> &AtomicU64 {
        &self.used(mfn).qwords[index.get()]
    }
    fn word32(&self, mfn: Mfn, index: DwordIndex) -> &AtomicU32 {
        &self.used(mfn).dwords[index.get()]
    }
}
