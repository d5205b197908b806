//! Whether a guest may execute an I/O instruction for a port: virtual IOPL, then the guest's own I/O bitmap.
//!
//! This is the check that decides between going on and #GP. Which ports the *domain* may reach is asked afterwards
//! (`policy::ioports`), and its refusal is no fault: reads give ones, writes vanish.

use super::Mode;

/// The I/O bitmap a guest kernel gave its vcpu (`public/physdev.h`, PHYSDEVOP_set_iobitmap).
pub trait PortBitmap {
    /// How many ports the bitmap covers, up to 65536; 0 when there is none.
    fn nr_ports(&self) -> u32;
    /// Byte `index` of the bitmap in guest memory, 0xff when it cannot be read.
    fn byte(&mut self, index: u32) -> u8;
}

/// No bitmap: no port is allowed by it.
#[derive(Clone, Copy, Debug)]
pub struct NoBitmap;

impl PortBitmap for NoBitmap {
    fn nr_ports(&self) -> u32 {
        0
    }
    fn byte(&mut self, _: u32) -> u8 {
        0xff
    }
}

/// Whether the virtual IOPL lets code in `mode` use I/O instructions, `cli` and `sti`.
///
/// A guest kernel counts as ring 1, or as ring 0 once it has asked for architectural IOPL (`public/xen.h`,
/// VMASST_TYPE_architectural_iopl).
#[inline]
pub fn iopl_allows(iopl: u8, mode: Mode, architectural: bool) -> bool {
    let cpl = match mode {
        Mode::User => 3,
        Mode::Kernel => u8::from(!architectural),
    };
    iopl >= cpl
}

/// Whether every one of `size` ports (1, 2 or 4) from `port` on has its bit clear in `bitmap`.
pub fn bitmap_allows<B: PortBitmap>(bitmap: &mut B, port: u16, size: u8) -> bool {
    let first = u32::from(port);
    let end = first + u32::from(size);
    if end > bitmap.nr_ports().min(0x1_0000) {
        return false;
    }
    // Up to four ports touch one byte of the bitmap or two neighbours.
    let low = bitmap.byte(first / 8);
    let high = if (end - 1) / 8 == first / 8 {
        low
    } else {
        bitmap.byte((end - 1) / 8)
    };
    let bits = u32::from(low) | u32::from(high) << 8;
    let wanted = ((1u32 << (size & 7)) - 1) << (first & 7);
    bits & wanted == 0
}

/// Whether the instruction may go on; otherwise it faults with #GP.
#[inline]
pub fn io_allowed<B: PortBitmap>(
    port: u16,
    size: u8,
    iopl: u8,
    mode: Mode,
    architectural: bool,
    bitmap: &mut B,
) -> bool {
    iopl_allows(iopl, mode, architectural) || bitmap_allows(bitmap, port, size)
}
