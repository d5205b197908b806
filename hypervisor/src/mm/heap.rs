//! The heap behind `alloc`, and scratch memory for the boot.
//!
//! The heap is one span of RAM fixed at boot: a guest cannot make it grow. Building domain 0 needs large buffers once
//! (an unpacked kernel); while scratch memory is lent, allocations of more than 1 MiB come from it, one after another,
//! and the whole span is taken back afterwards.

// UNSAFETY: implements `GlobalAlloc`, which hands out raw memory.
#![expect(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use rexen_core::sync::Mutex;
use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

/// Allocations above this size use lent scratch memory.
const LARGE_BYTES: usize = 1 << 20;

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

/// Gives the heap a span of memory for good.
///
/// # Safety
/// `base..base + bytes` is mapped writable, and nothing else ever uses it.
pub unsafe fn add(base: *mut u8, bytes: usize) {
    // SAFETY: the caller gives the span away.
    unsafe { HEAP.talc.lock().claim(base, bytes) };
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

// SAFETY: both parts hand out disjoint blocks of memory that was given to them, each under its lock. `dealloc` and
// `realloc` tell by the address which part a block came from.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGE_BYTES {
            let ptr = self.scratch.lock().allocate(layout);
            if !ptr.is_null() {
                return ptr;
            }
        }
        // SAFETY: `GlobalAlloc::alloc` promises a layout of non-zero size.
        unsafe { self.talc.lock().allocate(layout) }.map_or(null_mut(), |p| p.as_ptr())
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if layout.size() > LARGE_BYTES {
            let mut scratch = self.scratch.lock();
            if scratch.contains(ptr) {
                scratch.resize_last(ptr, 0);
                return;
            }
        }
        // SAFETY: the caller's promise: `ptr` came from `alloc` with this layout, and not from scratch memory.
        unsafe { self.talc.lock().deallocate(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let in_place = if layout.size() > LARGE_BYTES && self.scratch.lock().contains(ptr) {
            new_size > LARGE_BYTES && self.scratch.lock().resize_last(ptr, new_size)
        } else {
            // SAFETY: as for `dealloc`; `new_size` is not zero by the caller's promise.
            unsafe { self.talc.lock().try_realloc_in_place(ptr, layout, new_size) }
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
