//! The machine-to-pseudophysical table, and the memory of the frame table.
//!
//! Both are one run of RAM, reached through the direct map; guests see the M2P read-only in L4 slot 256.

// UNSAFETY: makes slices from memory set aside at boot.
#![expect(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::frame::{FrameInfo, FrameTable};
use rexen_core::units::{Mfn, PAGE_SIZE};
use spin::Once;

use super::{frames::direct, layout, tables};

static TABLE: Once<&'static [AtomicU64]> = Once::new();
/// Where the M2P is, as machine addresses.
static RUN: Once<(u64, u64)> = Once::new();
/// Bytes that one number of XENMEM_machphys_mfn_list stands for.
const CHUNK: u64 = 2 << 20;

static FRAMES: Once<&'static [FrameInfo]> = Once::new();

/// Maps both tables for `nr_frames` frames. `m2p` and `frames` are runs of whole 2 MiB pages.
pub fn create(nr_frames: u64, m2p: (u64, u64), frames: (u64, u64)) {
    let bytes = |run: (u64, u64)| (run.1 - run.0) as usize;
    RUN.call_once(|| m2p);
    // SAFETY: (1) both runs were taken from free RAM and belong to nobody else; (2) they are mapped in the direct map.
    unsafe {
        direct(m2p.0).write_bytes(0xff, bytes(m2p));
        direct(frames.0).write_bytes(0, bytes(frames));
    }
    // Not global: it is in kernel bases only, and user space must not find it in the TLB.
    let guest_readable = tables::P | tables::US | tables::AD | tables::NX;
    tables::map(layout::M2P, m2p.0, m2p.1 - m2p.0, guest_readable);
    tables::map(
        layout::FRAME_TABLE,
        frames.0,
        frames.1 - frames.0,
        tables::DATA,
    );
    // SAFETY: the run holds at least `nr_frames` words, initialised above, and is only ever accessed as atomics.
    TABLE.call_once(|| unsafe {
        core::slice::from_raw_parts(direct(m2p.0).cast(), nr_frames as usize)
    });
    // SAFETY: the run holds at least `nr_frames` elements; zero bytes are a valid `FrameInfo`; all its fields are atomic.
    FRAMES.call_once(|| unsafe {
        core::slice::from_raw_parts(layout::FRAME_TABLE as *const FrameInfo, nr_frames as usize)
    });
}

/// The table of all frames. Empty before `mm::init`.
#[inline]
pub fn frame_table() -> FrameTable<'static> {
    FrameTable::new(FRAMES.get().copied().unwrap_or(&[]))
}

/// Lets the toolstack map the M2P read-only. Its frames are private to the hypervisor by now.
pub fn publish() {
    for mfn in published() {
        let published = frame_table().get(mfn).map(FrameInfo::publish);
        assert!(
            matches!(published, Some(Ok(()))),
            "the M2P is in RAM of ours"
        );
    }
}

/// The frames that [`publish`] gave a typed reference.
pub fn published() -> impl Iterator<Item = Mfn> {
    let (start, end) = RUN.get().copied().unwrap_or_default();
    (start / PAGE_SIZE..end / PAGE_SIZE).map(Mfn)
}

/// The first frame of the M2P's chunk `index`.
pub fn chunk(index: u64) -> Option<Mfn> {
    let (start, end) = RUN.get().copied().unwrap_or_default();
    let at = start.checked_add(index.checked_mul(CHUNK)?)?;
    (at < end).then(|| Mfn::containing(at))
}

/// Writes what pseudophysical frame `mfn` is, or all ones for none. A frame outside the table is ignored.
#[inline]
pub fn set(mfn: Mfn, pfn: u64) {
    if let Some(word) = TABLE.get().and_then(|t| t.get(mfn.0 as usize)) {
        word.store(pfn, Relaxed);
    }
}
