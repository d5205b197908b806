//! Pages that we share with another domain, or with the kernel.
#![expect(
    unsafe_code,
    reason = "memory that others write while we read it has no Rust type"
)]

use std::ffi::c_void;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use rexen_core::units::PAGE_SIZE;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::ioctl::{self, FreeGrant, UnmapGrant};

const PAGE: usize = PAGE_SIZE as usize;

/// What has to be told when the mapping is gone.
enum Release {
    Nothing,
    Gntdev(Arc<OwnedFd>, UnmapGrant),
    Gntalloc(Arc<OwnedFd>, FreeGrant),
}

/// Mapped pages that somebody else may write at any time. Dropped, they are unmapped.
///
/// No reference into them ever exists: bytes are copied one by one as atomics, so what comes out may be mixed of old and
/// new, but is never undefined. Whoever shares the page may have put anything there.
///
/// Offsets are the caller's own (a field of a ring, an index already reduced to the ring's size), so one beyond the pages
/// is a mistake of the program and panics.
pub struct SharedPages {
    start: NonNull<u8>,
    pages: usize,
    release: Release,
}

// SAFETY: the mapping is owned, and reached only through atomics.
unsafe impl Send for SharedPages {}
// SAFETY: likewise.
unsafe impl Sync for SharedPages {}

impl SharedPages {
    /// Fresh zeroed pages of our own: for tests and simulations of a ring without a hypervisor.
    ///
    /// # Errors
    /// Those of mmap.
    pub fn anonymous(pages: usize) -> rustix::io::Result<Self> {
        let len = pages.checked_mul(PAGE).ok_or(Errno::NOMEM)?;
        // SAFETY: a new mapping where the kernel likes takes nobody's memory.
        let start = unsafe {
            mmap_anonymous(
                null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )
        }?;
        Self::owning(start, pages)
    }

    /// Maps `pages` pages from `offset` bytes into a device.
    pub(crate) fn of_device(
        device: impl AsFd,
        offset: u64,
        pages: usize,
        writable: bool,
    ) -> rustix::io::Result<Self> {
        let len = pages.checked_mul(PAGE).ok_or(Errno::NOMEM)?;
        let mut protection = ProtFlags::READ;
        protection.set(ProtFlags::WRITE, writable);
        // SAFETY: as above.
        let start = unsafe {
            mmap(
                null_mut(),
                len,
                protection,
                MapFlags::SHARED,
                device,
                offset,
            )
        }?;
        Self::owning(start, pages)
    }

    fn owning(start: *mut c_void, pages: usize) -> rustix::io::Result<Self> {
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?,
            pages,
            release: Release::Nothing,
        })
    }

    /// Tells gntdev, too, when the mapping is gone.
    pub(crate) fn with_gntdev(mut self, device: Arc<OwnedFd>, index: u64) -> Self {
        self.release = Release::Gntdev(
            device,
            UnmapGrant {
                index,
                count: 1,
                pad: 0,
            },
        );
        self
    }

    /// Tells gntalloc, too, when the mapping is gone.
    pub(crate) fn with_gntalloc(mut self, device: Arc<OwnedFd>, index: u64) -> Self {
        self.release = Release::Gntalloc(
            device,
            FreeGrant {
                index,
                count: 1,
                pad: 0,
            },
        );
        self
    }

    /// The mapping's address.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.pages * PAGE
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Panics unless `len` bytes at `offset` are ours.
    fn check(&self, offset: usize, len: usize) {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len()),
            "{len} bytes at {offset} are beyond the {} shared pages",
            self.pages
        );
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        self.check(offset, 1);
        // SAFETY: within the mapping, which lives as long as `self`, and everybody's view of it is atomic.
        unsafe { AtomicU8::from_ptr(self.start.as_ptr().add(offset)) }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        self.check(offset, 4);
        assert!(
            offset.is_multiple_of(4),
            "the word at {offset} is misaligned"
        );
        // SAFETY: as above, and aligned.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// `count` eights from a multiple of 8 on: looked at once for all of them, for most of what is copied is pages.
    fn eights(&self, offset: usize, count: usize) -> &[AtomicU64] {
        self.check(offset, count * 8);
        if count == 0 {
            return &[]; // `offset` may be anywhere then.
        }
        debug_assert!(offset.is_multiple_of(8));
        // SAFETY: within the mapping, which lives as long as `self`; aligned (the callers begin at a multiple of 8); and
        // everybody's view of it is atomic.
        unsafe { slice::from_raw_parts(self.start.as_ptr().add(offset).cast(), count) }
    }

    /// How many of `len` bytes from `offset` on come before a multiple of 8, and how many whole eights follow.
    fn steps(&self, offset: usize, len: usize) -> (usize, usize) {
        self.check(offset, len);
        let head = (offset.next_multiple_of(8) - offset).min(len);
        (head, (len - head) / 8)
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// Beyond the pages.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let (head, eights) = self.steps(offset, bytes.len());
        let (first, rest) = bytes.split_at_mut(head);
        let (middle, last) = rest.split_at_mut(eights * 8);
        for (n, byte) in first.iter_mut().enumerate() {
            *byte = self.byte(offset + n).load(Ordering::Relaxed);
        }
        let from = self.eights(offset + head, eights);
        for (eight, from) in middle.as_chunks_mut::<8>().0.iter_mut().zip(from) {
            *eight = from.load(Ordering::Relaxed).to_ne_bytes();
        }
        for (n, byte) in last.iter_mut().enumerate() {
            let at = offset + head + eights * 8 + n;
            *byte = self.byte(at).load(Ordering::Relaxed);
        }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// Beyond the pages; the process dies if they are mapped read-only.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let (head, eights) = self.steps(offset, bytes.len());
        let (first, rest) = bytes.split_at(head);
        let (middle, last) = rest.split_at(eights * 8);
        for (n, byte) in first.iter().enumerate() {
            self.byte(offset + n).store(*byte, Ordering::Relaxed);
        }
        let to = self.eights(offset + head, eights);
        for (eight, to) in middle.as_chunks::<8>().0.iter().zip(to) {
            to.store(u64::from_ne_bytes(*eight), Ordering::Relaxed);
        }
        for (n, byte) in last.iter().enumerate() {
            let at = offset + head + eights * 8 + n;
            self.byte(at).store(*byte, Ordering::Relaxed);
        }
    }

    /// Fills `len` bytes with zeroes.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn clear(&self, offset: usize, len: usize) {
        const ZEROES: [u8; PAGE] = [0; PAGE];
        self.check(offset, len);
        for start in (0..len).step_by(PAGE) {
            self.write(offset + start, &ZEROES[..PAGE.min(len - start)]);
        }
    }

    /// Reads a 32-bit word; what its writer wrote before it is visible after.
    ///
    /// # Panics
    /// Beyond the pages, or misaligned.
    pub fn load_u32(&self, offset: usize) -> u32 {
        u32::from_le(self.word(offset).load(Ordering::SeqCst))
    }

    /// Writes a 32-bit word; what we wrote before is visible to who reads it.
    ///
    /// # Panics
    /// Beyond the pages, or misaligned.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.word(offset).store(value.to_le(), Ordering::SeqCst);
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and nothing reaches it after this.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len()) };
        debug_assert!(unmapped.is_ok(), "our own mapping cannot be unmapped");
        // A refusal has no remedy, and closing the device gives back all the same.
        let _ = match &mut self.release {
            Release::Nothing => Ok(0),
            Release::Gntdev(device, argument) => ioctl::call(device.as_fd(), argument),
            Release::Gntalloc(device, argument) => ioctl::call(device.as_fd(), argument),
        };
    }
}

impl fmt::Debug for SharedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedPages({} at {:?})", self.pages, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_at_any_offset() {
        let pages = SharedPages::anonymous(2).unwrap();
        assert_eq!(pages.len(), 8192);
        pages.write(4090, b"across pages");
        let mut bytes = [0; 12];
        pages.read(4090, &mut bytes);
        assert_eq!(&bytes, b"across pages");
        pages.store_u32(8188, 0x0403_0201);
        pages.read(8188, &mut bytes[..4]);
        assert_eq!(bytes[..4], [1, 2, 3, 4]);
        assert_eq!(pages.load_u32(8188), 0x0403_0201);
        pages.clear(4090, 12);
        pages.read(4090, &mut bytes);
        assert_eq!(bytes, [0; 12]);
    }

    #[test]
    fn every_alignment_and_length_copies_just_its_bytes() {
        let pages = SharedPages::anonymous(1).unwrap();
        for offset in 0..16 {
            for len in 0..40 {
                pages.clear(0, 64);
                let bytes: Vec<u8> = (1..=len).collect();
                pages.write(offset, &bytes);
                let mut all = [0xff; 64];
                pages.read(0, &mut all);
                let mut expected = [0; 64];
                expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
                assert_eq!(all, expected);
                let mut back = vec![0; bytes.len()];
                pages.read(offset, &mut back);
                assert_eq!(back, bytes);
            }
        }
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn an_offset_beyond_the_pages_panics() {
        SharedPages::anonymous(1).unwrap().write(4095, &[1, 2]);
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn an_offset_that_overflows_panics() {
        SharedPages::anonymous(1)
            .unwrap()
            .read(usize::MAX, &mut [0]);
    }

    #[test]
    #[should_panic(expected = "misaligned")]
    fn a_misaligned_word_panics() {
        SharedPages::anonymous(1).unwrap().load_u32(2);
    }
}
