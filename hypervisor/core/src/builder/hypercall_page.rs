//! The hypercall page: stubs that older kernels ask for by an ELF note and call instead of issuing SYSCALL themselves.

use crate::units::PAGE_SIZE;

/// Bytes per stub.
const SLOT: usize = 32;
/// The call that does not return to its stub (`public/xen.h`, __HYPERVISOR_iret).
const IRET: usize = 23;

/// Fills the page: slot n saves what SYSCALL destroys, loads n into eax and calls.
///
/// Numbers without a hypercall get a stub as well: the hypervisor answers them with ENOSYS. Unused bytes trap (int3).
///
/// # Source
/// `docs/guest-guide/x86/hypercall-abi.rst`; the layout is read by kernels, so each byte counts.
pub fn fill_hypercall_page(page: &mut [u8; PAGE_SIZE as usize]) {
    page.fill(0xcc);
    for (number, slot) in page.as_chunks_mut::<SLOT>().0.iter_mut().enumerate() {
        let [n, ..] = number.to_le_bytes();
        if number == IRET {
            // push %rcx; push %r11; push %rax; mov $23,%eax; syscall
            slot[..11].copy_from_slice(&[0x51, 0x41, 0x53, 0x50, 0xb8, n, 0, 0, 0, 0x0f, 0x05]);
        } else {
            // push %rcx; push %r11; mov $n,%eax; syscall; pop %r11; pop %rcx; ret
            slot[..14].copy_from_slice(&[
                0x51, 0x41, 0x53, 0xb8, n, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_the_documented_bytes() {
        let mut page = [0; 4096];
        fill_hypercall_page(&mut page);
        let slot = |n: usize| &page[n * 32..n * 32 + 32];
        assert_eq!(
            slot(0)[..15],
            *b"\x51\x41\x53\xb8\x00\0\0\0\x0f\x05\x41\x5b\x59\xc3\xcc"
        );
        assert_eq!(slot(127)[3..8], *b"\xb8\x7f\0\0\0");
        assert_eq!(
            slot(23)[..12],
            *b"\x51\x41\x53\x50\xb8\x17\0\0\0\x0f\x05\xcc"
        );
    }
}
