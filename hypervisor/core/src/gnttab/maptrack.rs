//! A domain as mapper: a handle for each mapping.

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

/// All handles of a domain.
pub(super) struct MapTrack {
    tracks: Vec<Track>,
    limit: u32,
    free: u32,
}

impl MapTrack {
    pub const fn new(limit: u32) -> Self {
        MapTrack {
            tracks: Vec::new(),
            limit,
            free: NO_HANDLE,
        }
    }

    /// Takes a free handle, busy.
    pub fn take(&mut self, granter: DomId, gref: GrantRef) -> Result<u32, GrantStatus> {
        let track = Track {
            granter,
            gref,
            frame: 0,
            state: USED | BUSY,
        };
        if let Some(slot) = self.tracks.get_mut(self.free as usize) {
            let handle = self.free;
            self.free = slot.frame;
            *slot = track;
            return Ok(handle);
        }
        let handle = u32::try_from(self.tracks.len())
            .ok()
            .filter(|handle| *handle < self.limit);
        let handle = handle.ok_or(GrantStatus::NoDeviceSpace)?;
        self.tracks
            .try_reserve(1)
            .map_err(|_| GrantStatus::NoDeviceSpace)?;
        self.tracks.push(track);
        Ok(handle)
    }

    /// Ends an operation: the handle's mapping is now of `frame`, and is what `state` says. With neither [`HOST`] nor
    /// [`DEVICE`] in it the handle is free.
    pub fn settle(&mut self, handle: u32, frame: Mfn, state: u8) {
        let free = self.free;
        let Some(track) = self.tracks.get_mut(handle as usize) else {
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
    pub fn begin(&mut self, handle: u32) -> Result<Track, GrantStatus> {
        let track = self
            .tracks
            .get_mut(handle as usize)
            .ok_or(GrantStatus::BadHandle)?;
        if track.state & (USED | BUSY) != USED {
            return Err(GrantStatus::BadHandle);
        }
        track.state |= BUSY;
        Ok(*track)
    }

    /// The first mapping from `from` on that is not busy.
    pub fn next(&self, from: u32) -> Option<u32> {
        (from..)
            .zip(self.tracks.iter().skip(from as usize))
            .find_map(|(handle, track)| (track.state & (USED | BUSY) == USED).then_some(handle))
    }

    /// Tells `found` of each frame mapped for a device, and whether for writing.
    pub fn for_each_device_mapping(&self, mut found: impl FnMut(Mfn, bool)) {
        for track in self.tracks.iter().filter(|track| track.state & DEVICE != 0) {
            found(track.mfn(), track.state & WRITABLE != 0);
        }
    }

    /// How many handles are not free.
    #[cfg(test)]
    pub fn nr_used(&self) -> usize {
        self.tracks.iter().filter(|track| track.state != 0).count()
    }
}
