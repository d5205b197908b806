//! What this machine's CPUs can do, found once on the boot CPU.

use spin::Once;

use super::regs::cpuid;

/// The features that change what the hypervisor does.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Supervisor-mode execution prevention.
    pub smep: bool,
    /// XSAVE and XCR0.
    pub xsave: bool,
    /// The x2APIC register interface.
    pub x2apic: bool,
    /// The local APIC timer can fire at a TSC value.
    pub tsc_deadline: bool,
    /// The TSC ticks at one rate whatever the CPU does.
    pub invariant_tsc: bool,
    /// Running under another hypervisor.
    pub is_virtual: bool,
    /// XCR0 bits that this CPU takes.
    pub xcr0: u64,
    /// Bits of a machine address.
    pub address_bits: u8,
}

static FEATURES: Once<Features> = Once::new();

/// The features; detects them on first use.
#[inline]
pub fn features() -> &'static Features {
    FEATURES.call_once(detect)
}

fn detect() -> Features {
    let leaf = |n| {
        if n <= cpuid(n & 0x8000_0000, 0).eax {
            cpuid(n, 0)
        } else {
            Default::default()
        }
    };
    let (one, seven) = (leaf(1), leaf(7));
    let (ext7, ext8) = (leaf(0x8000_0007), leaf(0x8000_0008));
    let bit = |word: u32, n: u32| word >> n & 1 != 0;
    let xsave = bit(one.ecx, 26);
    let xstate = if xsave { leaf(0xd) } else { Default::default() };
    Features {
        smep: bit(seven.ebx, 7),
        xsave,
        x2apic: bit(one.ecx, 21),
        tsc_deadline: bit(one.ecx, 24),
        invariant_tsc: bit(ext7.edx, 8),
        is_virtual: bit(one.ecx, 31),
        xcr0: u64::from(xstate.edx) << 32 | u64::from(xstate.eax),
        address_bits: if ext8.eax == 0 { 36 } else { ext8.eax as u8 },
    }
}
