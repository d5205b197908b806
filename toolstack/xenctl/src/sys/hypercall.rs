//! Hypercalls through `/dev/xen/privcmd`, and mappings of other domains' frames.
//!
//! Structures that the hypervisor reads and writes must lie in memory that the kernel never moves. `/dev/xen/hypercall`
//! gives such pages; one piece of them serves all calls of a process, one after the other.
#![expect(unsafe_code, reason = "the arguments of a hypercall hold pointers")]

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rexen_abi::Plain;
use rexen_core::units::{DomId, Mfn, PAGE_SIZE};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::ioctl::{self, Hypercall, MmapBatch, MmapResource};
use super::open::Device;
use super::shared::SharedPages;
use crate::error::{Error, Result};

const PRIVCMD: Device = Device {
    path: "/dev/xen/privcmd",
    module: "xen-privcmd",
};
const BUFFERS: Device = Device {
    path: "/dev/xen/hypercall",
    module: "xen-privcmd",
};
/// Pages for the arguments of one call.
const ARENA_PAGES: usize = 32;
/// The most items that a list in an argument has; longer ones go in pieces. 64 KiB of frame numbers.
pub const MAX_LIST: usize = 8192;

/// The device, and memory for arguments.
#[derive(Debug)]
pub struct Hypercalls {
    privcmd: OwnedFd,
    arena: Mutex<SharedPages>,
}

impl Hypercalls {
    /// Opens both devices.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open() -> Result<Self> {
        let privcmd = PRIVCMD.open(OFlags::empty())?;
        let buffers = BUFFERS.open(OFlags::empty())?;
        let arena = SharedPages::of_device(&buffers, 0, ARENA_PAGES, true)
            .map_err(|errno| Error::new(BUFFERS.path, errno))?;
        Ok(Self {
            privcmd,
            arena: Mutex::new(arena),
        })
    }

    /// Starts to put a call together; waits for the one before.
    pub fn begin(&self) -> Call<'_> {
        Call {
            privcmd: &self.privcmd,
            // What a call that panicked left there is nobody's any more.
            arena: self.arena.lock().unwrap_or_else(PoisonError::into_inner),
            used: 0,
        }
    }

    /// Maps frames of `domain`, in this order.
    pub fn map_frames(
        &self,
        domain: DomId,
        frames: &[Mfn],
        writable: bool,
    ) -> rustix::io::Result<SharedPages> {
        let area = SharedPages::of_device(&self.privcmd, 0, frames.len(), writable)?;
        let numbers: Vec<u64> = frames.iter().map(|mfn| mfn.0).collect();
        let mut errors = vec![0i32; frames.len()];
        let mut argument = MmapBatch {
            num: u32::try_from(frames.len()).map_err(|_| Errno::TOOBIG)?,
            dom: domain.0,
            addr: area.address(),
            arr: numbers.as_ptr().addr() as u64,
            err: errors.as_mut_ptr().addr() as u64,
        };
        errors.as_mut_ptr().expose_provenance();
        numbers.as_ptr().expose_provenance();
        // SAFETY: the area is a fresh mapping of privcmd's of so many pages; both lists have so many items, and outlive
        // the call.
        unsafe { ioctl::call_with_pointers(&self.privcmd, &mut argument) }?;
        match errors.iter().find(|error| **error != 0) {
            Some(error) => Err(Errno::from_raw_os_error(error.saturating_neg())),
            None => Ok(area),
        }
    }

    /// Maps `count` frames of a resource of `domain` (`XENMEM_resource_*`), from its first on.
    pub fn map_resource(
        &self,
        domain: DomId,
        kind: u16,
        id: u32,
        count: usize,
    ) -> rustix::io::Result<SharedPages> {
        let area = SharedPages::of_device(&self.privcmd, 0, count, true)?;
        let mut argument = MmapResource {
            dom: domain.0,
            kind: kind.into(),
            id,
            idx: 0,
            num: count as u64,
            addr: area.address(),
        };
        // SAFETY: the area is a fresh mapping of privcmd's of so many pages.
        unsafe { ioctl::call_with_pointers(&self.privcmd, &mut argument) }?;
        Ok(area)
    }
}

/// A piece of the memory for arguments, valid for one [`Call`].
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    offset: usize,
    len: usize,
}

/// A call that is being put together, and then its answer.
///
/// The contract inside this crate, on which `unsafe` here rests: an argument's guest handle comes from [`Call::handle`]
/// of a buffer of the same call, and the count beside it from that buffer's length.
pub struct Call<'a> {
    privcmd: &'a OwnedFd,
    arena: MutexGuard<'a, SharedPages>,
    used: usize,
}

impl Call<'_> {
    /// Room for `len` bytes, zeroed.
    ///
    /// # Panics
    /// If one call's arguments do not fit; lists are cut to [`MAX_LIST`] for that.
    pub fn room(&mut self, len: usize) -> Buffer {
        let offset = self.used;
        assert!(
            len <= self.arena.len() - offset,
            "{len} bytes do not fit a call's arguments"
        );
        self.used = offset + len.next_multiple_of(64).min(self.arena.len() - offset);
        self.arena.clear(offset, len);
        Buffer { offset, len }
    }

    /// These bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Buffer {
        let buffer = self.room(bytes.len());
        self.arena.write(buffer.offset, bytes);
        buffer
    }

    /// A structure or number.
    pub fn put<T: Plain>(&mut self, value: &T) -> Buffer {
        self.put_list(std::slice::from_ref(value))
    }

    /// Structures or numbers in a row.
    pub fn put_list<T: Plain>(&mut self, values: &[T]) -> Buffer {
        let mut bytes = vec![0; values.len() * T::SIZE];
        for (value, place) in values.iter().zip(bytes.chunks_exact_mut(T::SIZE.max(1))) {
            let written = value.write(place);
            debug_assert!(written.is_some(), "the place has the value's size");
        }
        self.put_bytes(&bytes)
    }

    /// What now stands in a buffer.
    pub fn bytes(&self, buffer: Buffer) -> Vec<u8> {
        let mut bytes = vec![0; buffer.len];
        self.arena.read(buffer.offset, &mut bytes);
        bytes
    }

    /// The structure or number that now stands at a buffer's start.
    pub fn get<T: Plain>(&self, buffer: Buffer) -> T {
        T::read(&self.bytes(buffer)).unwrap_or(T::ZERO)
    }

    /// The first `count` structures or numbers that now stand in a buffer; no more than it has.
    pub fn get_list<T: Plain>(&self, buffer: Buffer, count: usize) -> Vec<T> {
        let bytes = self.bytes(buffer);
        let items = bytes.chunks_exact(T::SIZE.max(1)).take(count);
        items.filter_map(T::read).collect()
    }

    /// Where a buffer is, for the hypervisor.
    pub fn handle(&self, buffer: Buffer) -> u64 {
        self.arena.address() + buffer.offset as u64
    }

    /// Makes the hypercall: `arguments` are numbers and handles.
    pub fn issue(&mut self, number: u32, arguments: &[u64]) -> rustix::io::Result<u64> {
        let mut arg = [0; 5];
        for (place, value) in arg.iter_mut().zip(arguments) {
            *place = *value;
        }
        let mut argument = Hypercall {
            op: number.into(),
            arg,
        };
        // SAFETY: by the contract above all handles are of our arena, which only copies of bytes reach.
        let answer = unsafe { ioctl::call_with_pointers(self.privcmd, &mut argument) }?;
        u64::try_from(answer).map_err(|_| Errno::IO)
    }
}

const _: () = assert!(
    MAX_LIST * 8 + 4096 <= ARENA_PAGES * PAGE_SIZE as usize,
    "the longest list and its structure fit"
);
