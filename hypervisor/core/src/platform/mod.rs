//! What firmware and boot loader say about the machine, parsed from byte slices.
//!
//! * [`boot_info`]: the boot loader's record (multiboot 1 and 2) as one [`BootInfo`].
//! * [`e820`]: the physical memory map, and the one domain 0 is shown.
//! * [`acpi`]: the tables that name CPUs, interrupt controllers, timers and power ports.
//!
//! Nothing here touches the machine: all bytes come through [`PhysRead`]. They are not trusted; a bad record gives an
//! error or is left out, never a panic or an endless loop.

pub mod acpi;
pub mod boot_info;
pub(crate) mod bytes;
pub mod e820;

pub use acpi::{AcpiError, AcpiInfo, planted_root_pointer};
pub use boot_info::{BootInfo, BootInfoError, Framebuffer, Module};
pub use e820::{MemoryMap, Region, RegionKind};

use alloc::string::String;
use alloc::vec::Vec;

/// Reads physical memory.
pub trait PhysRead {
    /// Fills `buf` from machine address `paddr`; false, with `buf` unspecified, if any byte is out of reach.
    fn read(&self, paddr: u64, buf: &mut [u8]) -> bool;
}

/// Reads `N` bytes at `paddr`.
pub(crate) fn read_array<const N: usize>(mem: &impl PhysRead, paddr: u64) -> Option<[u8; N]> {
    let mut buf = [0; N];
    paddr.checked_add(N as u64)?;
    mem.read(paddr, &mut buf).then_some(buf)
}

/// Reads `len` bytes at `paddr`. The caller bounds `len`.
pub(crate) fn read_vec(mem: &impl PhysRead, paddr: u64, len: usize) -> Option<Vec<u8>> {
    let mut buf = Vec::new();
    paddr.checked_add(u64::try_from(len).ok()?)?;
    buf.try_reserve_exact(len).ok()?;
    buf.resize(len, 0);
    mem.read(paddr, &mut buf).then_some(buf)
}

/// Reads the NUL-terminated string at `paddr`, cut after `max` bytes.
pub(crate) fn read_string(mem: &impl PhysRead, paddr: u64, max: usize) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < max {
        let [byte] = read_array(mem, paddr.checked_add(bytes.len() as u64)?)?;
        if byte == 0 {
            break;
        }
        bytes.push(byte);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
pub(crate) mod testmem {
    //! Physical memory made of a few byte ranges, and cheap random bytes.

    use super::PhysRead;

    /// Byte ranges at addresses; all else is out of reach.
    #[derive(Default)]
    pub struct TestMem(pub std::vec::Vec<(u64, std::vec::Vec<u8>)>);

    impl PhysRead for TestMem {
        fn read(&self, paddr: u64, buf: &mut [u8]) -> bool {
            self.0.iter().any(|(start, bytes)| {
                let found = paddr
                    .checked_sub(*start)
                    .and_then(|o| super::bytes::slice_at(bytes, o as usize, buf.len()));
                found.map(|f| buf.copy_from_slice(f)).is_some()
            })
        }
    }

    /// A xorshift generator: repeatable without a crate.
    pub struct Random(pub u64);

    impl Random {
        pub fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
        pub fn bytes(&mut self, len: usize) -> std::vec::Vec<u8> {
            (0..len).map(|_| (self.next() >> 32) as u8).collect()
        }
        /// Flips up to `n` random bytes of `data`.
        pub fn spoil(&mut self, data: &mut [u8], n: u64) {
            for _ in 0..=self.next() % n {
                let at = self.next() as usize % data.len();
                data[at] = (self.next() >> 40) as u8;
            }
        }
    }
}
