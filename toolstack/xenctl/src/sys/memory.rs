//! Memory of our own, asked for at once.
#![expect(unsafe_code, reason = "madvise takes an address")]

use std::mem::MaybeUninit;

use rexen_core::units::PAGE_SIZE;
use rustix::mm::{Advice, madvise};

/// Has the kernel put pages behind all of a buffer that is about to be filled: one call in place of a fault for each page,
/// of which each is two ways through the hypervisor.
///
/// It is but a hint: where it cannot be had, the pages come one by one.
pub fn populate(buffer: &mut [MaybeUninit<u8>]) {
    let start = buffer.as_mut_ptr();
    let before = start.addr() % PAGE_SIZE as usize;
    // SAFETY: the advice changes no byte. The first page may hold others' memory, which is ours, too, and stays as it is.
    let _ = unsafe {
        madvise(
            start.wrapping_sub(before).cast(),
            before + buffer.len(),
            Advice::LinuxPopulateWrite,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_buffer_stays() {
        let mut bytes = Vec::with_capacity(100_000);
        bytes.extend_from_slice(b"before");
        populate(bytes.spare_capacity_mut());
        populate(&mut []);
        bytes.extend(std::iter::repeat_n(7, 90_000));
        assert_eq!(&bytes[..6], b"before");
        assert!(bytes[6..].iter().all(|&byte| byte == 7));
    }
}
