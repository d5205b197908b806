//! Building the hypervisor's memory at boot, and what is left for domains.

// UNSAFETY: gives raw memory to the heap, and switches page tables.
#![expect(unsafe_code)]

use alloc::vec::Vec;
use core::alloc::Layout;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::platform::{MemoryMap, RegionKind};
use rexen_core::sync::Mutex;
use rexen_core::units::Mfn;

use super::{frames, heap, layout, m2p, ranges::Ranges, tables};
use crate::cpu::regs;

/// RAM that nobody uses; `None` once it has been handed over.
static FREE: Mutex<Option<Ranges>> = Mutex::new(None);
static MAX_MFN: AtomicU64 = AtomicU64::new(0);
static SCRATCH: Mutex<Option<(u64, u64)>> = Mutex::new(None);

const MIB: u64 = 1 << 20;
const LARGE_PAGE: u64 = 2 * MIB;
/// What the boot tables reach.
const BOOT_LIMIT: u64 = 4 << 30;

/// The heap that serves until [`init`] has found RAM.
const FIRST_HEAP_BYTES: usize = 2 << 20;
#[repr(align(4096))]
struct FirstHeap(core::cell::UnsafeCell<[u8; FIRST_HEAP_BYTES]>);
// SAFETY: only its address is taken, once, to give it to the heap.
unsafe impl Sync for FirstHeap {}
static FIRST_HEAP: FirstHeap = FirstHeap(core::cell::UnsafeCell::new([0; FIRST_HEAP_BYTES]));

unsafe extern "C" {
    static image_phys_start: u8;
    static image_end_phys: u8;
    static text_start: u8;
    static rodata_start: u8;
    static data_start: u8;
    static image_end: u8;
}

fn address(symbol: &'static u8) -> u64 {
    core::ptr::from_ref(symbol) as u64
}

/// Where the hypervisor's code is: its first address, and the address after the last.
pub fn code_range() -> (u64, u64) {
    // SAFETY: only the addresses of linker symbols are used.
    unsafe { (address(&text_start), address(&rodata_start)) }
}

/// Gives the heap its first memory, part of the image. Call once, first of all.
pub fn init_first_heap() {
    // SAFETY: the array is in .bss, mapped, and nothing else ever uses it.
    unsafe { heap::add(FIRST_HEAP.0.get().cast(), FIRST_HEAP_BYTES) };
}

/// Builds the final page tables and everything that is sized by RAM, and starts to use them.
///
/// `in_use` lists what the loader left in RAM besides the image (modules, its own information). RAM below 1 MiB is never
/// used, except for [`take_low_page`].
///
/// # Errors
/// A line for the console: this machine cannot run us.
pub fn init(map: &MemoryMap, in_use: &[(u64, u64)]) -> Result<(), &'static str> {
    let ragged = |_| "memory map: too many separate ranges";
    let mut free = Ranges::new();
    for r in map.ram() {
        free.add(r.start.max(MIB), r.end).map_err(ragged)?;
    }
    let ram_end = free
        .iter()
        .map(|r| r.1)
        .max()
        .ok_or("memory map: no RAM above 1 MiB")?;
    let ram_end = ram_end.min(layout::END - layout::DIRECT_MAP);
    free.remove(ram_end, 1 << 52).map_err(ragged)?;
    MAX_MFN.store(ram_end >> 12, Relaxed);
    // SAFETY: only the addresses of linker symbols are used.
    let (image, text, rodata, data, end) = unsafe {
        (
            (address(&image_phys_start), address(&image_end_phys)),
            address(&text_start),
            address(&rodata_start),
            address(&data_start),
            address(&image_end),
        )
    };
    free.remove(image.0, image.1).map_err(ragged)?;
    for &(start, stop) in in_use {
        free.remove(start, stop).map_err(ragged)?;
    }
    *FREE.lock() = Some(free);

    let direct_slot = 262 + ((ram_end - 1) >> 39) as usize;
    tables::create_root(direct_slot);
    for (from, to, flags) in [
        (text, rodata, tables::CODE),
        (rodata, data, tables::CONST),
        (data, end, tables::DATA),
    ] {
        for va in (from..to).step_by(4096) {
            tables::map_page(va, va - layout::IMAGE, flags);
        }
    }
    // The first MiB whole: firmware tables are there, and the trampoline of further CPUs.
    for maddr in (0..MIB).step_by(4096) {
        tables::map_page(layout::DIRECT_MAP + maddr, maddr, tables::DATA);
    }
    for r in map.regions().iter().filter(|r| {
        matches!(
            r.kind,
            RegionKind::Ram | RegionKind::AcpiData | RegionKind::AcpiNvs
        )
    }) {
        let (start, stop) = (
            r.start.next_multiple_of(4096).max(MIB),
            (r.end & !4095).min(ram_end),
        );
        if start < stop {
            tables::map(
                layout::DIRECT_MAP + start,
                start,
                stop - start,
                tables::DATA,
            );
        }
    }
    // SAFETY: the new tables map the image, and the direct map, as the old ones did; the current stack is in the image.
    unsafe { regs::write_cr3(tables::idle_l4()) };

    let run = |bytes: u64| {
        let bytes = bytes.next_multiple_of(LARGE_PAGE);
        take(bytes, LARGE_PAGE, u64::MAX)
            .map(|at| (at, at + bytes))
            .ok_or("memory: too little RAM")
    };
    let nr_frames = ram_end >> 12;
    m2p::create(nr_frames, run(nr_frames * 8)?, run(nr_frames * 16)?);
    Ok(())
}

/// The number of frames that the frame table and the M2P cover: one more than the highest frame of RAM.
pub fn max_mfn() -> u64 {
    MAX_MFN.load(Relaxed)
}

fn take(bytes: u64, align: u64, limit: u64) -> Option<u64> {
    FREE.lock().as_mut()?.take(bytes, align, limit)
}

/// Takes `nr` frames in a row from free RAM while the hypervisor starts, if there are so many. Contents undefined.
pub(super) fn try_take_pages(nr: u64) -> Option<Mfn> {
    // Before the switch of tables only what the boot tables map can be written.
    let limit = if regs::read_cr3() == tables::idle_l4() {
        u64::MAX
    } else {
        BOOT_LIMIT
    };
    take(nr.checked_mul(4096)?, 4096, limit).map(Mfn::containing)
}

/// Takes `nr` frames in a row for the hypervisor, from free RAM while it lasts, later from the heap. Contents undefined.
///
/// # Panics
/// No memory: happens only while the hypervisor starts.
pub fn take_pages(nr: u64) -> Mfn {
    if let Some(mfn) = try_take_pages(nr) {
        return mfn;
    }
    let layout = Layout::from_size_align((nr * 4096) as usize, 4096);
    let block = layout.map_or(core::ptr::null_mut(), |layout| {
        // SAFETY: the layout's size is not zero.
        unsafe { alloc::alloc::alloc(layout) }
    });
    assert!(
        !block.is_null(),
        "memory: none left for the hypervisor's own tables"
    );
    Mfn::containing(frames::direct_to_maddr(block))
}

/// Takes one zeroed page for a page table, and gives its machine address.
pub(super) fn take_table() -> u64 {
    let mfn = take_pages(1);
    // SAFETY: fresh from the free list.
    unsafe { frames::zero_frame(mfn) };
    mfn.maddr()
}

/// Finds a page of RAM between 32 KiB and 636 KiB that is not in `in_use`, for the trampoline of further CPUs.
pub fn take_low_page(map: &MemoryMap, in_use: &[(u64, u64)]) -> Option<u64> {
    let mut low = Ranges::new();
    for r in map.ram().filter(|r| r.start < MIB) {
        low.add(r.start.max(0x8000), r.end.min(0x9_f000)).ok()?;
    }
    for &(start, end) in in_use {
        low.remove(start, end).ok()?;
    }
    low.take(4096, 4096, MIB)
}

/// Lends the heap `bytes` of free RAM for large allocations, until [`return_scratch`]. Call before [`take_free_ranges`].
///
/// # Errors
/// A line for the console: there is no such run of RAM.
pub fn lend_scratch(bytes: u64) -> Result<(), &'static str> {
    let bytes = bytes.next_multiple_of(4096);
    let start =
        take(bytes, 4096, u64::MAX).ok_or("memory: no room to unpack the kernel of domain 0")?;
    // SAFETY: taken from free RAM just now, and mapped in the direct map.
    unsafe { heap::begin_scratch(frames::direct(start), bytes as usize) };
    *SCRATCH.lock() = Some((start, start + bytes));
    Ok(())
}

/// Ends what [`lend_scratch`] began, and gives the frames `start..end` to free.
///
/// # Safety
/// Nothing that was allocated meanwhile and is larger than 1 MiB is still alive.
pub unsafe fn return_scratch() -> Option<(Mfn, Mfn)> {
    // SAFETY: the caller's promise.
    unsafe { heap::end_scratch() };
    SCRATCH
        .lock()
        .take()
        .map(|(start, end)| (Mfn::containing(start), Mfn::containing(end)))
}

/// Hands over the RAM that the hypervisor does not need itself, as ranges of frames `start..end`, in ascending order.
/// From now on the hypervisor's own tables grow from the heap.
pub fn take_free_ranges() -> Vec<(Mfn, Mfn)> {
    let free = FREE.lock().take();
    free.iter()
        .flat_map(|f| f.iter())
        .map(|(a, b)| (Mfn::containing(a), Mfn::containing(b)))
        .collect()
}
