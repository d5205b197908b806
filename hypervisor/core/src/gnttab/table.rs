//! A domain as granter: its shared frames, and the pins on its entries.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rexen_abi::errno::Errno;

use super::GrantStatus;
use super::entry::{self, Access};
use super::maptrack::MapTrack;
use crate::evtchn::{QwordIndex, SharedFrames};
use crate::sync::Mutex;
use crate::units::{DomId, GrantRef, Mfn};

/// Entries in a frame of a version 1 grant table.
pub const ENTRIES_PER_FRAME: u32 = 512;
/// The most frames of a table: all of a grant reference's 32 bits are never needed.
const MAX_FRAMES: u32 = 1 << 16;

/// What is done with a granted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub access: Access,
    /// By a device rather than through a page table.
    pub by_device: bool,
}

/// The pins on one entry. While there is one, `grantee` and `frame` say whose it is and which frame it meant then, whatever
/// the shared entry has come to say.
#[derive(Clone, Copy, Default)]
struct Active {
    frame: u32,
    grantee: DomId,
    /// Through page tables for reading and writing, by devices for reading and writing.
    pins: [u16; 4],
}

impl Active {
    fn is_used(&self) -> bool {
        self.pins != [0; 4]
    }
    fn is_written(&self) -> bool {
        self.pins[1] != 0 || self.pins[3] != 0
    }
    fn pin_mut(&mut self, what: Use) -> &mut u16 {
        match (what.by_device, what.access) {
            (false, Access::Read) => &mut self.pins[0],
            (false, Access::Write) => &mut self.pins[1],
            (true, Access::Read) => &mut self.pins[2],
            (true, Access::Write) => &mut self.pins[3],
        }
    }
}

struct Granted {
    frames: Vec<Mfn>,
    /// As many as frames.
    active: Vec<Box<[Active]>>,
    /// How many entries have a pin.
    nr_used: u64,
    dying: bool,
}

/// The grant table of one domain, as granter and as mapper.
pub struct GrantTable {
    dom: DomId,
    max_frames: u32,
    granted: Mutex<Granted>,
    pub(super) maptrack: Mutex<MapTrack>,
}

impl GrantTable {
    /// The grant table of `dom`, without frames: it may have `max_frames`, and handles for 256 mappings per
    /// `max_maptrack_frames`.
    pub const fn new(dom: DomId, max_frames: u32, max_maptrack_frames: u32) -> Self {
        GrantTable {
            dom,
            max_frames: if max_frames < MAX_FRAMES {
                max_frames
            } else {
                MAX_FRAMES
            },
            granted: Mutex::new(Granted {
                frames: Vec::new(),
                active: Vec::new(),
                nr_used: 0,
                dying: false,
            }),
            maptrack: Mutex::new(MapTrack::new(max_maptrack_frames.saturating_mul(256))),
        }
    }

    /// Whose grant table this is.
    pub fn dom(&self) -> DomId {
        self.dom
    }

    /// How many frames the table has, and may have (`public/grant_table.h`, GNTTABOP_query_size).
    pub fn size(&self) -> (u32, u32) {
        (self.granted.lock().frames.len() as u32, self.max_frames)
    }

    /// The table's frame number `index`, for setup_table's list and for mapping the table.
    pub fn frame(&self, index: u32) -> Option<Mfn> {
        self.granted.lock().frames.get(index as usize).copied()
    }

    /// Tells `found` of each frame that this table holds: its own, which are shared with the domain, and those of others
    /// that are mapped for devices; then whether they are held as writable. (A mapping in a page table holds its own.)
    pub fn for_each_held_frame(&self, mut found: impl FnMut(Mfn, bool)) {
        self.granted
            .lock()
            .frames
            .iter()
            .for_each(|mfn| found(*mfn, true));
        self.maptrack.lock().for_each_device_mapping(found);
    }

    /// Lets the table have at least `nr_frames` frames, as GNTTABOP_setup_table asks.
    ///
    /// `allocate` gives a zeroed frame of the hypervisor that is shared with the domain, writable. It is called without a
    /// lock held; `give_back` takes one that another CPU's growth made superfluous.
    ///
    /// # Errors
    /// `GeneralError`: more than the table may have, or no memory. What was added before stays.
    pub fn grow(
        &self,
        nr_frames: u32,
        mut allocate: impl FnMut() -> Option<Mfn>,
        mut give_back: impl FnMut(Mfn),
    ) -> Result<(), GrantStatus> {
        if nr_frames > self.max_frames {
            return Err(GrantStatus::GeneralError);
        }
        while self.size().0 < nr_frames {
            let mfn = allocate().ok_or(GrantStatus::GeneralError)?;
            let added = self.add_frame(mfn, nr_frames);
            if !matches!(added, Ok(true)) {
                give_back(mfn);
            }
            added?;
        }
        Ok(())
    }

    /// Adds a frame, unless there are `enough` by now.
    fn add_frame(&self, mfn: Mfn, enough: u32) -> Result<bool, GrantStatus> {
        let no_memory = |_| GrantStatus::GeneralError;
        let mut active = Vec::new();
        active
            .try_reserve_exact(ENTRIES_PER_FRAME as usize)
            .map_err(no_memory)?;
        active.resize(ENTRIES_PER_FRAME as usize, Active::default());
        let granted = &mut *self.granted.lock();
        if granted.frames.len() >= enough as usize {
            return Ok(false);
        }
        if granted.dying {
            return Err(GrantStatus::GeneralError);
        }
        granted.frames.try_reserve(1).map_err(no_memory)?;
        granted.active.try_reserve(1).map_err(no_memory)?;
        granted.frames.push(mfn);
        granted.active.push(active.into_boxed_slice());
        Ok(true)
    }

    /// Chooses the table's version. Only 1 is offered.
    ///
    /// # Errors
    /// `ENOSYS`: version 2, as where it is switched off. `EINVAL`: any other.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_set_version.
    pub fn set_version(&self, version: u32) -> Result<(), Errno> {
        match version {
            1 => Ok(()),
            2 => Err(Errno::ENOSYS),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The table's version (`public/grant_table.h`, GNTTABOP_get_version).
    pub fn version(&self) -> u32 {
        1
    }

    /// Exchanges two entries that are not in use.
    ///
    /// # Errors
    /// `BadGntref`: there is no such entry. `Eagain`: one is in use.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_swap_grant_ref.
    pub fn swap<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        a: GrantRef,
        b: GrantRef,
    ) -> Result<(), GrantStatus> {
        use core::sync::atomic::Ordering::SeqCst;
        let mut granted = self.granted.lock();
        for gref in [a, b] {
            if granted
                .entry(gref)
                .ok_or(GrantStatus::BadGntref)?
                .1
                .is_used()
            {
                return Err(GrantStatus::Eagain);
            }
        }
        let shared = |granted: &mut Granted, gref| {
            granted
                .entry(gref)
                .map(|(mfn, _)| frames.word64(mfn, index_of(gref)))
        };
        let (Some(a), Some(b)) = (shared(&mut granted, a), shared(&mut granted, b)) else {
            return Err(GrantStatus::BadGntref);
        };
        let was_b = b.swap(a.load(SeqCst), SeqCst);
        a.store(was_b, SeqCst);
        Ok(())
    }

    /// Pins entry `gref` for a use by `grantee`; gives the frame, which is yet to be held.
    pub(super) fn pin<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        gref: GrantRef,
        grantee: DomId,
        what: Use,
    ) -> Result<Mfn, GrantStatus> {
        let granted = &mut *self.granted.lock();
        if granted.dying {
            return Err(GrantStatus::GeneralError);
        }
        let (mfn, active) = granted.entry(gref).ok_or(GrantStatus::BadGntref)?;
        let was_used = active.is_used();
        if was_used && active.grantee != grantee {
            return Err(GrantStatus::GeneralError);
        }
        let pins = active
            .pin_mut(what)
            .checked_add(1)
            .ok_or(GrantStatus::GeneralError)?;
        if !was_used || (what.access == Access::Write && !active.is_written()) {
            let frame = entry::mark(frames.word64(mfn, index_of(gref)), grantee, what.access)?;
            if !was_used {
                active.grantee = grantee;
                active.frame = u32::try_from(frame.0).map_err(|_| GrantStatus::GeneralError)?;
            }
        }
        *active.pin_mut(what) = pins;
        let frame = Mfn(u64::from(active.frame));
        granted.nr_used += u64::from(!was_used);
        Ok(frame)
    }

    /// Takes a pin off entry `gref`.
    pub(super) fn unpin<F: SharedFrames + ?Sized>(&self, frames: &F, gref: GrantRef, what: Use) {
        let granted = &mut *self.granted.lock();
        let Some((mfn, active)) = granted.entry(gref) else {
            return;
        };
        let Some(pins) = active.pin_mut(what).checked_sub(1) else {
            return;
        };
        *active.pin_mut(what) = pins;
        let (is_used, is_written) = (active.is_used(), active.is_written());
        if !is_used || (what.access == Access::Write && !is_written) {
            entry::unmark(frames.word64(mfn, index_of(gref)), is_used);
        }
        granted.nr_used -= u64::from(!is_used);
    }

    /// Refuses new uses of this table's entries from now on; the domain is being destroyed.
    pub fn set_dying(&self) {
        self.granted.lock().dying = true;
    }

    /// Whether someone uses an entry of this table.
    pub fn is_used(&self) -> bool {
        self.granted.lock().nr_used != 0
    }

    /// Ends a dying domain's table: gives its frames to `release`. Tells whether it could; if not, somebody uses an entry
    /// yet, and the domain must stay findable by its number for that one to let go.
    pub fn retire(&self, release: impl FnMut(Mfn)) -> bool {
        let frames = {
            let granted = &mut *self.granted.lock();
            granted.dying = true;
            if granted.nr_used != 0 {
                return false;
            }
            granted.active.clear();
            core::mem::take(&mut granted.frames)
        };
        frames.into_iter().for_each(release);
        true
    }
}

impl Granted {
    /// The shared frame of entry `gref`, and its pins.
    fn entry(&mut self, gref: GrantRef) -> Option<(Mfn, &mut Active)> {
        let index = usize::try_from(gref.0 / ENTRIES_PER_FRAME).ok()?;
        let active = self
            .active
            .get_mut(index)?
            .get_mut((gref.0 % ENTRIES_PER_FRAME) as usize)?;
        Some((*self.frames.get(index)?, active))
    }
}

fn index_of(gref: GrantRef) -> QwordIndex {
    QwordIndex::at_byte((gref.0 % ENTRIES_PER_FRAME) as usize * 8)
}
