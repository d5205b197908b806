//! What the loader and the firmware told us, kept for good.

// UNSAFETY: reads physical memory during boot.
#![expect(unsafe_code)]

use alloc::vec::Vec;

use rexen_core::options::Options;
use rexen_core::platform::{AcpiInfo, BootInfo, MemoryMap, PhysRead};
use spin::Once;

use crate::mm::frames;

/// The machine as it was described to us.
pub struct Platform {
    /// The boot loader's record.
    pub boot: BootInfo,
    /// What the operator asked for.
    pub options: Options,
    /// The firmware's memory map, RAM above `mem=` left out.
    pub map: MemoryMap,
    /// The ACPI tables, if there are any.
    pub acpi: Option<AcpiInfo>,
    /// What domain 0 needs in its first page to find those tables: places and bytes.
    pub root_pointer: Option<[(u64, Vec<u8>); 2]>,
}

static PLATFORM: Once<Platform> = Once::new();

/// Stores the description; only the first one counts.
pub fn set(platform: Platform) {
    PLATFORM.call_once(|| platform);
}

/// The description, if it is there yet.
pub fn get() -> Option<&'static Platform> {
    PLATFORM.get()
}

/// The description.
///
/// # Panics
/// Before [`set`]: only early boot code could.
pub fn platform() -> &'static Platform {
    PLATFORM
        .get()
        .expect("the machine is described before anything asks")
}

/// Physical memory as the boot page tables show it: the first 4 GiB. Of no use once `mm::init` has run.
pub struct BootMemory;

impl PhysRead for BootMemory {
    fn read(&self, paddr: u64, buf: &mut [u8]) -> bool {
        let within = paddr
            .checked_add(buf.len() as u64)
            .is_some_and(|end| end <= 4 << 30);
        if within {
            // SAFETY: (1) the boot tables map the first 4 GiB in the direct map; (2) `buf` is ours, and what the loader and
            // the firmware left does not overlap it.
            unsafe { frames::direct(paddr).copy_to_nonoverlapping(buf.as_mut_ptr(), buf.len()) };
        }
        within
    }
}
