//! A domain as mapper: a handle for each mapping.
//!
//! Handles are the mapper's own, up to a limit of its own: no other domain can use them up.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::GrantStatus;
use crate::units::{DomId, GrantRef, Mfn};

/// Bits of [`Track::state`].
pub(super) const HOST: u8 = 1 << 0;
pub(super) const DEVICE: u8 = 1 << 1;
pub(super) const WRITABLE: u8 = 1 << 2;
pub(super) const CONTAINS_PTE: u8 = 1 << 3;
/// An operation on the handle is under way; nobody else may begin one.
const BUSY: u8 = 1 << 4;
const USED: u8 = 1 << 5;

const NO_HANDLE: u32 = u32::MAX;
/// Handles that are made at once.
const PER_CHUNK: u32 = 256;
/// Handles that [`MapTrack::next`] looks at before it lets others look.
const LOOKS: u32 = 2048;

/// A mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub granter: DomId,
    pub gref: GrantRef,
    /// The frame; in a free entry, the next free handle.
    frame: u32,
    /// [`HOST`] and the like.
    pub state: u8,
}

impl Track {
    pub fn mfn(&self) -> Mfn {
        Mfn(u64::from(self.frame))
    }
}

/// The first mapping from somewhere on.
pub(super) enum Next {
    Mapping(u32),
    /// None below this handle; look on from there.
    From(u32),
    None,
}

/// All handles of a domain.
pub(super) struct MapTrack {
    /// What exists never moves, so that more of it costs the same every time.
    #[expect(clippy::vec_box, reason = "only the pointers move")]
    chunks: Vec<Box<[Track; PER_CHUNK as usize]>>,
    max_chunks: u32,
    free: u32,
}

impl MapTrack {
    pub const fn new(max_chunks: u32) -> Self {
        MapTrack {
            chunks: Vec::new(),
            max_chunks,
            free: NO_HANDLE,
        }
    }

    #[inline]
    fn get_mut(&mut self, handle: u32) -> Option<&mut Track> {
        let chunk = self.chunks.get_mut((handle / PER_CHUNK) as usize)?;
        Some(&mut chunk[(handle % PER_CHUNK) as usize])
    }

    /// Takes a free handle, busy.
    #[inline]
    pub fn take(&mut self, granter: DomId, gref: GrantRef) -> Result<u32, GrantStatus> {
        if self.free == NO_HANDLE {
            self.add_chunk()?;
        }
        let handle = self.free;
        let track = self.get_mut(handle).ok_or(GrantStatus::NoSpace)?;
        let next = core::mem::replace(
            track,
            Track {
                granter,
                gref,
                frame: 0,
                state: USED | BUSY,
            },
        );
        self.free = next.frame;
        Ok(handle)
    }

    #[cold]
    fn add_chunk(&mut self) -> Result<(), GrantStatus> {
        let no_memory = |_| GrantStatus::NoSpace;
        let nr_chunks = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let first = nr_chunks.checked_mul(PER_CHUNK);
        let (Some(first), true) = (first, nr_chunks < self.max_chunks) else {
            return Err(GrantStatus::NoSpace);
        };
        let mut chunk = Vec::new();
        chunk
            .try_reserve_exact(PER_CHUNK as usize)
            .map_err(no_memory)?;
        self.chunks.try_reserve(1).map_err(no_memory)?;
        let last = PER_CHUNK - 1;
        chunk.extend((0..PER_CHUNK).map(|n| Track {
            granter: DomId::INVALID,
            gref: GrantRef(0),
            frame: if n == last { NO_HANDLE } else { first + n + 1 },
            state: 0,
        }));
        let chunk = chunk.into_boxed_slice().try_into();
        self.chunks.push(chunk.map_err(|_| GrantStatus::NoSpace)?);
        self.free = first;
        Ok(())
    }

    /// Ends an operation: the handle's mapping is now of `frame`, and is what `state` says. With neither [`HOST`] nor
    /// [`DEVICE`] in it the handle is free.
    #[inline]
    pub fn settle(&mut self, handle: u32, frame: Mfn, state: u8) {
        let free = self.free;
        let Some(track) = self.get_mut(handle) else {
            return;
        };
        if state & (HOST | DEVICE) == 0 {
            track.state = 0;
            track.frame = free;
            self.free = handle;
        } else {
            track.state = USED | state & !BUSY;
            track.frame = frame.0 as u32;
        }
    }

    /// Begins an operation on a mapping.
    #[inline]
    pub fn begin(&mut self, handle: u32) -> Result<Track, GrantStatus> {
        let track = self.get_mut(handle).ok_or(GrantStatus::BadHandle)?;
        if track.state & (USED | BUSY) != USED {
            return Err(GrantStatus::BadHandle);
        }
        track.state |= BUSY;
        Ok(*track)
    }

    /// The first mapping from `from` on that is not busy.
    pub fn next(&self, from: u32) -> Next {
        let end = from.saturating_add(LOOKS);
        for handle in from..end {
            let Some(chunk) = self.chunks.get((handle / PER_CHUNK) as usize) else {
                return Next::None;
            };
            let track = &chunk[(handle % PER_CHUNK) as usize];
            if track.state & (USED | BUSY) == USED {
                return Next::Mapping(handle);
            }
        }
        Next::From(end)
    }

    /// Tells `found` of each frame mapped for a device, and whether for writing.
    pub fn for_each_device_mapping(&self, mut found: impl FnMut(Mfn, bool)) {
        let tracks = self.chunks.iter().flat_map(|chunk| chunk.iter());
        for track in tracks.filter(|track| track.state & DEVICE != 0) {
            found(track.mfn(), track.state & WRITABLE != 0);
        }
    }

    /// The handles that are not free.
    #[cfg(test)]
    pub fn used(&self) -> std::vec::Vec<Track> {
        let tracks = self.chunks.iter().flat_map(|chunk| chunk.iter());
        tracks.filter(|track| track.state != 0).copied().collect()
    }
}
