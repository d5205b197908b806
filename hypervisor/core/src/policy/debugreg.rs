//! Debug registers that a guest sets for itself.
//!
//! They are loaded while the vcpu runs, so no breakpoint may hit the hypervisor, and none may be set on I/O ports: the
//! hypervisor executes a guest's I/O instructions for it.

use super::is_canonical;
use rexen_abi::errno::Errno;

/// Linear addresses of the hypervisor (`public/arch-x86/xen-x86_64.h`, HYPERVISOR_VIRT_START and _END).
const HYPERVISOR: core::ops::Range<u64> = 0xffff_8000_0000_0000..0xffff_8800_0000_0000;

/// DR6 bits that always read as one.
const DR6_ONES: u64 = 0xffff_0ff0;
/// DR6 bits that a guest may set: the four breakpoints, BD, BS, BT.
const DR6_WRITABLE: u64 = 0xe00f;
/// DR7 bit 10, which always reads as one.
const DR7_ONES: u64 = 1 << 10;
/// DR7 bits 11, 12, 14, 15, which always read as zero.
const DR7_ZEROS: u64 = 0xd800;
/// DR7.GD would trap the hypervisor's own use of debug registers.
const DR7_GENERAL_DETECT: u64 = 1 << 13;
/// The eight enable bits.
const DR7_ENABLES: u64 = 0xff;

/// A vcpu's debug registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DebugRegisters {
    address: [u64; 4],
    dr6: u64,
    dr7: u64,
}

impl Default for DebugRegisters {
    fn default() -> Self {
        DebugRegisters {
            address: [0; 4],
            dr6: DR6_ONES,
            dr7: DR7_ONES,
        }
    }
}

impl DebugRegisters {
    /// Sets register `number`; `debug_extensions` is the vcpu's CR4.DE.
    ///
    /// The caller loads the machine's registers if [`DebugRegisters::is_active`].
    ///
    /// # Errors
    /// `ENODEV`: above 7, or 4 or 5 with debug extensions. `EPERM`: an address of the hypervisor or not
    /// canonical, a bit above 31, general detect, or an I/O breakpoint.
    /// # Source
    /// `public/xen.h`, __HYPERVISOR_set_debugreg.
    pub fn set(&mut self, number: u32, value: u64, debug_extensions: bool) -> Result<(), Errno> {
        match number {
            0..=3 => {
                // A breakpoint covers up to 8 bytes from its address on, aligned: it cannot reach into the range.
                if !is_canonical(value) || HYPERVISOR.contains(&value) {
                    return Err(Errno::EPERM);
                }
                if let Some(address) = self.address.get_mut(number as usize) {
                    *address = value;
                }
            }
            4 | 5 if debug_extensions => return Err(Errno::ENODEV),
            4 | 6 => {
                if value >> 32 != 0 {
                    return Err(Errno::EPERM);
                }
                self.dr6 = value & DR6_WRITABLE | DR6_ONES;
            }
            5 | 7 => {
                if value >> 32 != 0 || value & DR7_GENERAL_DETECT != 0 || has_io_breakpoint(value) {
                    return Err(Errno::EPERM);
                }
                self.dr7 = value & !DR7_ZEROS | DR7_ONES;
            }
            _ => return Err(Errno::ENODEV),
        }
        Ok(())
    }

    /// Reads register `number`.
    ///
    /// # Errors
    /// `ENODEV`: above 7, or 4 or 5 with debug extensions.
    /// # Source
    /// `public/xen.h`, __HYPERVISOR_get_debugreg.
    pub fn get(&self, number: u32, debug_extensions: bool) -> Result<u64, Errno> {
        match number {
            0..=3 => self
                .address
                .get(number as usize)
                .copied()
                .ok_or(Errno::ENODEV),
            4 | 5 if debug_extensions => Err(Errno::ENODEV),
            4 | 6 => Ok(self.dr6),
            5 | 7 => Ok(self.dr7),
            _ => Err(Errno::ENODEV),
        }
    }

    /// Whether any breakpoint is enabled, so that the machine's registers must be loaded while the vcpu runs.
    pub fn is_active(&self) -> bool {
        self.dr7 & DR7_ENABLES != 0
    }

    /// The four breakpoint addresses, for loading.
    pub fn addresses(&self) -> [u64; 4] {
        self.address
    }

    /// DR7, for loading.
    pub fn dr7(&self) -> u64 {
        self.dr7
    }

    /// Merges what a #DB found in the machine's DR6.
    pub fn merge_dr6(&mut self, machine: u64) {
        self.dr6 |= machine & DR6_WRITABLE;
    }
}

/// Whether one of the four breakpoints is on an I/O port (type 2), enabled or not.
fn has_io_breakpoint(dr7: u64) -> bool {
    (0..4).any(|breakpoint| dr7 >> (16 + 4 * breakpoint) & 3 == 2)
}
