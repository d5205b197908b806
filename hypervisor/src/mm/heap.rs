//! The heap behind `alloc`, and scratch memory for the boot.
//!
//! Small things come from spans that the heap keeps: it starts with one, and takes further ones when it must. Each large
//! thing has frames of its own, which go back to the frame allocator when it is dropped: so what a domain cost is free again
//! when it is gone. All together may grow to a limit, so that no guest can use up memory by what it makes us remember;
//! whoever allocates for a guest asks with `try_reserve`.
//!
//! Before there is a frame allocator, large things come from the spans as well. Building domain 0 needs large buffers once
//! (an unpacked kernel); while scratch memory is lent, allocations of more than 1 MiB come from it, one after another,
//! and the whole span is taken back afterwards.

// UNSAFETY: implements `GlobalAlloc`, which hands out raw memory.
#![expect(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use rexen_core::sync::Mutex;
use rexen_core::units::{Mfn, PAGE_SIZE};
use spin::Once;
use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

use super::{frames, setup};

/// Larger things have frames of their own.
const SMALL_BYTES: usize = 2048;
/// What the spans grow by, and what they should always have left.
const SPAN_FRAMES: u64 = 16;
const SPARE_BYTES: usize = 16 << 10;
/// What they grow by while the hypervisor starts.
const FIRST_SPANS_FRAMES: u64 = 256;
/// Of the machine's RAM, the part that the heap may have, and the least of it that is allowed.
const LIMIT_SHARE: u64 = 16;
const LIMIT_LEAST: u64 = (16 << 20) / PAGE_SIZE;
/// Allocations above this size use lent scratch memory.
const LARGE_BYTES: usize = 1 << 20;

/// Where frames come from: the allocator of frames.
pub struct FrameSource {
    /// Takes a run of frames, aligned to 2^the second.
    pub take: fn(u64, u32) -> Option<Mfn>,
    /// Gives back a run.
    pub give: fn(Mfn, u64),
    /// Frames of RAM in all.
    pub nr_ram: u64,
}

static FRAMES: Once<FrameSource> = Once::new();
/// Frames that the heap took from there.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// The spans that large things came from before that: starts and ends.
static FIRST_SPANS: Mutex<[(usize, usize); 16]> = Mutex::new([(0, 0); 16]);
/// Bytes in spans, and how many of them are in use.
static SPAN_BYTES: AtomicUsize = AtomicUsize::new(0);
static USED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What the heap has.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Bytes of small things.
    pub small: usize,
    /// Bytes in spans, for small things.
    pub spans: usize,
    /// Frames from the allocator, for spans and for large things.
    pub frames: u64,
    /// The most frames it may take.
    pub limit: u64,
}

/// What the heap has now.
pub fn usage() -> Usage {
    Usage {
        small: USED_BYTES.load(Relaxed),
        spans: SPAN_BYTES.load(Relaxed),
        frames: TAKEN.load(Relaxed),
        limit: FRAMES.get().map_or(0, FrameSource::limit),
    }
}

/// From now on the heap grows from there.
pub fn set_source(source: FrameSource) {
    FRAMES.call_once(|| source);
}

impl FrameSource {
    fn limit(&self) -> u64 {
        (self.nr_ram / LIMIT_SHARE).max(LIMIT_LEAST)
    }

    fn take_run(&self, nr: u64, align_order: u32) -> Option<*mut u8> {
        let limit = self.limit();
        let more = |taken: u64| taken.checked_add(nr).filter(|taken| *taken <= limit);
        TAKEN.fetch_update(Relaxed, Relaxed, more).ok()?;
        let run = (self.take)(nr, align_order);
        if run.is_none() {
            TAKEN.fetch_sub(nr, Relaxed);
        }
        run.map(frames::direct_map)
    }

    fn give_run(&self, at: *mut u8, nr: u64) {
        (self.give)(Mfn::containing(frames::direct_to_maddr(at)), nr);
        TAKEN.fetch_sub(nr, Relaxed);
    }
}

/// What a small thing costs, with the word that is kept beside it.
fn cost(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(32)
}

/// Frames for `bytes`.
fn frames_for(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(PAGE_SIZE)
}

struct Heap {
    talc: Mutex<Talc<Manual, DefaultBinning>>,
    scratch: Mutex<Scratch>,
}

/// Scratch memory: addresses `next..end` are unused, `start..next` were handed out.
struct Scratch {
    start: usize,
    next: usize,
    end: usize,
    /// Where the latest allocation begins: it alone can grow in place.
    last: usize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: Mutex::new(Talc::new(Manual)),
    scratch: Mutex::new(Scratch {
        start: 0,
        next: 0,
        end: 0,
        last: 0,
    }),
};

/// Gives the heap a span of memory for good, while the hypervisor starts. False: there are too many spans already.
///
/// # Safety
/// `base..base + bytes` is mapped writable, and nothing else ever uses it.
pub unsafe fn add(base: *mut u8, bytes: usize) -> bool {
    let start = base as usize;
    let mut spans = FIRST_SPANS.lock();
    let Some(free) = spans.iter_mut().find(|span| span.1 == 0) else {
        return false;
    };
    *free = (start, start + bytes);
    drop(spans);
    // SAFETY: the caller gives the span away.
    unsafe { HEAP.claim(base, bytes) };
    true
}

/// Lends the heap a span for large allocations until [`end_scratch`].
///
/// # Safety
/// `base..base + bytes` is mapped writable, and nothing else uses it until [`end_scratch`].
pub unsafe fn begin_scratch(base: *mut u8, bytes: usize) {
    let start = base as usize;
    *HEAP.scratch.lock() = Scratch {
        start,
        next: start,
        end: start + bytes,
        last: 0,
    };
}

/// Takes the scratch memory back.
///
/// # Safety
/// Every allocation that came from it has been freed.
pub unsafe fn end_scratch() {
    *HEAP.scratch.lock() = Scratch {
        start: 0,
        next: 0,
        end: 0,
        last: 0,
    };
}

impl Scratch {
    fn contains(&self, ptr: *mut u8) -> bool {
        (self.start..self.end).contains(&(ptr as usize))
    }

    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        let at = self.next.next_multiple_of(layout.align());
        if self.end == 0 || at >= self.end || self.end - at < layout.size() {
            return null_mut();
        }
        self.last = at;
        self.next = at + layout.size();
        at as *mut u8
    }

    /// Changes the size of the latest allocation in place. Returns whether it could.
    fn resize_last(&mut self, ptr: *mut u8, bytes: usize) -> bool {
        let at = ptr as usize;
        if at != self.last || self.end - at < bytes {
            return false;
        }
        self.next = at + bytes;
        true
    }
}

impl Heap {
    /// # Safety
    /// As [`add`].
    unsafe fn claim(&self, base: *mut u8, bytes: usize) {
        // SAFETY: the caller gives the span away.
        if unsafe { self.talc.lock().claim(base, bytes) }.is_some() {
            SPAN_BYTES.fetch_add(bytes, Relaxed);
        }
    }

    /// Adds a span for `bytes` at least; false if there is no memory for that.
    fn grow(&self, bytes: usize) -> bool {
        let Some(source) = FRAMES.get() else {
            let nr = frames_for(bytes.saturating_add(SMALL_BYTES)).max(FIRST_SPANS_FRAMES);
            let Some(mfn) = setup::try_take_pages(nr) else {
                return false;
            };
            // SAFETY: fresh from the free RAM, in the direct map.
            return unsafe { add(frames::direct_map(mfn), (nr * PAGE_SIZE) as usize) };
        };
        let Some(base) = source.take_run(SPAN_FRAMES, 0) else {
            return false;
        };
        // SAFETY: fresh from the allocator, and never given back.
        unsafe { self.claim(base, (SPAN_FRAMES * PAGE_SIZE) as usize) };
        true
    }

    fn alloc_small(&self, layout: Layout) -> *mut u8 {
        loop {
            // SAFETY: `GlobalAlloc::alloc` promises a layout of non-zero size.
            if let Some(at) = unsafe { self.talc.lock().allocate(layout) } {
                let cost = cost(layout.size());
                let used = USED_BYTES.fetch_add(cost, Relaxed) + cost;
                // Some callers cannot be refused: have something left for them.
                if FRAMES.is_completed() && used + SPARE_BYTES > SPAN_BYTES.load(Relaxed) {
                    self.grow(SPARE_BYTES);
                }
                return at.as_ptr();
            }
            if !self.grow(layout.size().saturating_add(layout.align())) {
                return null_mut();
            }
        }
    }

    /// Whether a block has frames of its own.
    fn is_run(&self, at: *mut u8, layout: Layout) -> bool {
        let is_within = |span: &(usize, usize)| (span.0..span.1).contains(&(at as usize));
        layout.size() > SMALL_BYTES
            && FRAMES.is_completed()
            && !FIRST_SPANS.lock().iter().any(is_within)
    }
}

// SAFETY: spans, runs of frames and scratch memory are disjoint, and so are the blocks in each, each under its lock.
// `dealloc` and `realloc` tell by size and address where a block came from.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGE_BYTES {
            let ptr = self.scratch.lock().allocate(layout);
            if !ptr.is_null() {
                return ptr;
            }
        }
        match FRAMES.get() {
            Some(source) if layout.size() > SMALL_BYTES => {
                let align_order = layout.align().div_ceil(PAGE_SIZE as usize).ilog2();
                source
                    .take_run(frames_for(layout.size()), align_order)
                    .unwrap_or(null_mut())
            }
            _ => self.alloc_small(layout),
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if layout.size() > LARGE_BYTES {
            let mut scratch = self.scratch.lock();
            if scratch.contains(ptr) {
                scratch.resize_last(ptr, 0);
                return;
            }
        }
        if self.is_run(ptr, layout) {
            if let Some(source) = FRAMES.get() {
                source.give_run(ptr, frames_for(layout.size()));
            }
            return;
        }
        USED_BYTES.fetch_sub(cost(layout.size()), Relaxed);
        // SAFETY: the caller's promise: `ptr` came from `alloc` with this layout; and neither from scratch memory nor from
        // a run.
        unsafe { self.talc.lock().deallocate(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let in_place = if layout.size() > LARGE_BYTES && self.scratch.lock().contains(ptr) {
            new_size > LARGE_BYTES && self.scratch.lock().resize_last(ptr, new_size)
        } else if self.is_run(ptr, layout) {
            new_size > SMALL_BYTES && frames_for(new_size) == frames_for(layout.size())
        } else if layout.size().max(new_size) <= SMALL_BYTES {
            // SAFETY: as for `dealloc`; `new_size` is not zero by the caller's promise.
            let done = unsafe { self.talc.lock().try_realloc_in_place(ptr, layout, new_size) };
            if done {
                USED_BYTES.fetch_add(cost(new_size), Relaxed);
                USED_BYTES.fetch_sub(cost(layout.size()), Relaxed);
            }
            done
        } else {
            false
        };
        if in_place {
            return ptr;
        }
        // SAFETY: the caller promises that `new_size` fits `layout.align()`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: as `alloc`; then a copy between two live, distinct blocks of at least that size.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                new.copy_from_nonoverlapping(ptr, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
            new
        }
    }
}
