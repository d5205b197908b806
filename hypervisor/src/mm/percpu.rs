//! Each CPU's own area: system call stubs, task state segment, stacks, and its descriptor window.

// UNSAFETY: writes code into the stub page.
#![expect(unsafe_code)]

use rexen_core::units::{CpuId, MAX_CPUS};
use spin::Once;

use super::{frames, layout, tables, take_pages, window};

/// Machine addresses of the pages of a CPU that are written later.
#[derive(Clone, Copy)]
pub struct Pages {
    /// The page of system call stubs.
    pub stubs: u64,
    /// The hypervisor's page of the GDT.
    pub gdt: u64,
}

static PAGES: [Once<Pages>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];

/// Makes and maps the area of `cpu`. A second call does nothing.
pub fn create(cpu: usize) -> Pages {
    *PAGES[cpu].call_once(|| {
        let page = || {
            let mfn = take_pages(1);
            // SAFETY: fresh from the free list.
            unsafe { frames::zero_frame(mfn) };
            mfn.maddr()
        };
        let base = layout::percpu(cpu);
        let pages = Pages {
            stubs: page(),
            gdt: page(),
        };
        tables::map_page(base + layout::PERCPU_STUBS, pages.stubs, tables::CODE);
        tables::map_page(base + layout::PERCPU_TSS, page(), tables::DATA);
        for n in (0..layout::STACK_BLOCK_BYTES / 4096).filter(|&n| n != layout::GUARD_PAGE) {
            tables::map_page(
                base + layout::PERCPU_STACKS + n * 4096,
                page(),
                tables::DATA,
            );
        }
        window::create(cpu, pages.gdt);
        pages
    })
}

/// Copies code to offset `at` of `cpu`'s stub page, and gives the address where it runs.
///
/// # Safety
/// The code works at any address, and no CPU runs what is there now.
///
/// # Panics
/// The code does not fit in the page, or `cpu` has no area.
pub unsafe fn install_stub(cpu: CpuId, at: usize, code: &[u8]) -> u64 {
    assert!(at + code.len() <= 4096, "stub page overflow");
    let pages = PAGES[cpu.0 as usize].get().expect("per-CPU area exists");
    // SAFETY: inside the stub page, written through the direct map; the caller's promise covers the rest.
    unsafe {
        frames::direct(pages.stubs)
            .add(at)
            .copy_from_nonoverlapping(code.as_ptr(), code.len())
    };
    layout::percpu(cpu.0 as usize) + layout::PERCPU_STUBS + at as u64
}
