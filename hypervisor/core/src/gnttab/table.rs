//! A domain as granter: its shared frames, and the pins on its entries.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::GrantStatus;
use super::entry::{Access, Entry, Extent, READING, WRITING};
use super::maptrack::MapTrack;
use super::version::Switch;
use crate::evtchn::{QwordIndex, SharedFrames};
use crate::sync::Mutex;
use crate::units::{DomId, GrantRef, Mfn};

/// Words in a frame, and so entries in a frame of a version 1 grant table.
pub const ENTRIES_PER_FRAME: u32 = 512;
/// The most frames of a table, whatever its maker asks for: work that grows with them stays short.
const MAX_FRAMES: u32 = 1 << 12;
/// Entries of version 2 whose marks fit a status frame, in table frames.
const FRAMES_PER_STATUS_FRAME: u32 = 8;

/// What is done with a granted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub access: Access,
    /// By a device rather than through a page table.
    pub by_device: bool,
    /// Whether it needs the whole page: a mapping does, a copy does not.
    pub whole: bool,
}

/// The pins on one entry. While there is one, the rest says whose it is and what it meant then, whatever the shared entry
/// has come to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Active {
    frame: u32,
    grantee: DomId,
    start: u16,
    len: u16,
    /// Through page tables for reading and writing, by devices for reading and writing.
    pins: [u16; 4],
}

impl Active {
    pub(super) fn is_used(&self) -> bool {
        self.pins != [0; 4]
    }
    pub(super) fn is_written(&self) -> bool {
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
    /// The marks that the shared entry must show.
    pub(super) fn marks(&self) -> u64 {
        u64::from(self.is_used()) * READING | u64::from(self.is_written()) * WRITING
    }
    fn extent(&self) -> Extent {
        Extent {
            mfn: Mfn(u64::from(self.frame)),
            start: self.start,
            len: self.len,
        }
    }
}

#[cfg(test)]
impl Active {
    /// Counts a pin.
    pub fn count(&mut self, grantee: DomId, mfn: Mfn, what: Use) {
        assert!(!self.is_used() || (self.grantee, self.extent().mfn) == (grantee, mfn));
        self.grantee = grantee;
        self.frame = mfn.0 as u32;
        *self.pin_mut(what) += 1;
    }

    /// Whether the pins are the same, and whose if there are any.
    pub fn agrees(&self, other: &Self) -> bool {
        let whose = |active: &Self| (active.grantee, active.frame);
        self.pins == other.pins && (!self.is_used() || whose(self) == whose(other))
    }

    /// What decides about it.
    pub fn fingerprint(&self, label: impl Fn(Mfn) -> u64, into: &mut Vec<u64>) {
        if self.is_used() {
            into.extend(self.pins.map(u64::from));
            into.extend([u64::from(self.grantee.0), label(self.extent().mfn)]);
        }
        into.push(u64::MAX);
    }
}

pub(super) struct Granted {
    pub frames: Vec<Mfn>,
    /// Where version 2 shows who uses its entries. They stay when the table goes back to version 1: the domain may have
    /// them mapped.
    pub status: Vec<Mfn>,
    /// As many as frames. Laid out as the entries are: in version 2 every other one is unused.
    pub active: Vec<Box<[Active]>>,
    /// How many entries have a pin.
    pub nr_used: u64,
    pub is_v2: bool,
    /// A change of version under way; meanwhile nobody gets at an entry.
    pub switch: Option<Switch>,
    dying: bool,
}

/// The grant table of one domain, as granter and as mapper.
pub struct GrantTable {
    dom: DomId,
    max_frames: u32,
    pub(super) max_version: u32,
    pub(super) granted: Mutex<Granted>,
    pub(super) maptrack: Mutex<MapTrack>,
}

impl GrantTable {
    /// The grant table of `dom`, of version 1 and without frames: it may have `max_frames`, handles for 256 mappings per
    /// `max_maptrack_frames`, and become of `max_version`.
    pub const fn new(
        dom: DomId,
        max_frames: u32,
        max_maptrack_frames: u32,
        max_version: u32,
    ) -> Self {
        GrantTable {
            dom,
            max_frames: if max_frames < MAX_FRAMES {
                max_frames
            } else {
                MAX_FRAMES
            },
            max_version,
            granted: Mutex::new(Granted {
                frames: Vec::new(),
                status: Vec::new(),
                active: Vec::new(),
                nr_used: 0,
                is_v2: false,
                switch: None,
                dying: false,
            }),
            maptrack: Mutex::new(MapTrack::new(max_maptrack_frames)),
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

    /// How many status frames a version 2 table has, none in version 1; and may have.
    pub fn status_size(&self) -> (u32, u32) {
        let granted = self.granted.lock();
        let now = if granted.is_v2 {
            granted.status.len() as u32
        } else {
            0
        };
        (now, self.max_frames.div_ceil(FRAMES_PER_STATUS_FRAME))
    }

    /// The table's frame number `index`, for setup_table's list and for mapping the table.
    pub fn frame(&self, index: u32) -> Option<Mfn> {
        self.granted.lock().frames.get(index as usize).copied()
    }

    /// A version 2 table's status frame number `index` (`public/grant_table.h`, GNTTABOP_get_status_frames).
    pub fn status_frame(&self, index: u32) -> Option<Mfn> {
        let granted = self.granted.lock();
        let status = granted.status.get(index as usize).copied();
        status.filter(|_| granted.is_v2)
    }

    /// How many frames of its own it has: shared with the domain, not of its reservation.
    #[cfg(test)]
    pub(crate) fn nr_held(&self) -> usize {
        let granted = self.granted.lock();
        granted.frames.len() + granted.status.len()
    }

    /// How many table frames go with `status_frames`.
    pub const fn frames_for_status(status_frames: u32) -> u32 {
        status_frames.saturating_mul(FRAMES_PER_STATUS_FRAME)
    }

    /// Tells `found` of each frame that this table holds: its own, which are shared with the domain, and those of others
    /// that are mapped for devices; then whether they are held as writable. (A mapping in a page table holds its own.)
    pub fn for_each_held_frame(&self, mut found: impl FnMut(Mfn, bool)) {
        {
            let granted = self.granted.lock();
            let own = granted.frames.iter().chain(&granted.status);
            own.for_each(|mfn| found(*mfn, true));
        }
        self.maptrack.lock().for_each_device_mapping(found);
    }

    /// Lets the table have at least `nr_frames` frames, as GNTTABOP_setup_table asks, and the status frames that go with
    /// them.
    ///
    /// `allocate` gives a zeroed frame of the hypervisor that is shared with the domain, writable. It is called without a
    /// lock held; `give_back` takes one that another CPU's growth made superfluous. `stop` is asked after each frame.
    /// Returns whether that is all done.
    ///
    /// # Errors
    /// `GeneralError`: more than the table may have, or no memory. What was added before stays.
    pub fn grow(
        &self,
        nr_frames: u32,
        mut allocate: impl FnMut() -> Option<Mfn>,
        mut give_back: impl FnMut(Mfn),
        mut stop: impl FnMut() -> bool,
    ) -> Result<bool, GrantStatus> {
        if nr_frames > self.max_frames {
            return Err(GrantStatus::GeneralError);
        }
        loop {
            let Some(kind) = self.granted.lock().lacks(nr_frames) else {
                return Ok(true);
            };
            let mfn = allocate().ok_or(GrantStatus::GeneralError)?;
            let added = self.add_frame(mfn, kind, nr_frames);
            if !matches!(added, Ok(true)) {
                give_back(mfn);
            }
            added?;
            if stop() {
                return Ok(false);
            }
        }
    }

    /// Adds a frame, unless there are enough by now.
    fn add_frame(&self, mfn: Mfn, kind: Kind, nr_frames: u32) -> Result<bool, GrantStatus> {
        let no_memory = |_| GrantStatus::GeneralError;
        let mut active = Vec::new();
        if kind == Kind::Entries {
            active
                .try_reserve_exact(ENTRIES_PER_FRAME as usize)
                .map_err(no_memory)?;
            active.resize(ENTRIES_PER_FRAME as usize, Active::default());
        }
        let granted = &mut *self.granted.lock();
        if granted.dying {
            return Err(GrantStatus::GeneralError);
        }
        if granted.lacks(nr_frames) != Some(kind) {
            return Ok(false);
        }
        if kind == Kind::Status {
            granted.status.try_reserve(1).map_err(no_memory)?;
            granted.status.push(mfn);
            return Ok(true);
        }
        granted.frames.try_reserve(1).map_err(no_memory)?;
        granted.active.try_reserve(1).map_err(no_memory)?;
        granted.frames.push(mfn);
        granted.active.push(active.into_boxed_slice());
        Ok(true)
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
        let granted = &mut *self.granted.lock();
        let used = [a, b].map(|gref| Some(granted.locate(gref)?.1.is_used()));
        let [Some(a_used), Some(b_used)] = used else {
            return Err(GrantStatus::BadGntref);
        };
        if a == b {
            return Ok(());
        }
        if a_used || b_used || granted.switch.is_some() {
            return Err(GrantStatus::Eagain);
        }
        for word in 0..=usize::from(granted.is_v2) {
            let ((a_frame, a), (b_frame, b)) = (granted.place(a), granted.place(b));
            let (Some(a_frame), Some(b_frame)) =
                (granted.frames.get(a_frame), granted.frames.get(b_frame))
            else {
                return Err(GrantStatus::BadGntref);
            };
            let a = frames.word64(*a_frame, nth_word(a + word));
            let b = frames.word64(*b_frame, nth_word(b + word));
            let was_b = b.swap(a.load(SeqCst), SeqCst);
            a.store(was_b, SeqCst);
        }
        Ok(())
    }

    /// Pins entry `gref` for a use by `grantee`; gives what it grants, whose frame is yet to be held.
    pub(super) fn pin<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        gref: GrantRef,
        grantee: DomId,
        what: Use,
    ) -> Result<Extent, GrantStatus> {
        let granted = &mut *self.granted.lock();
        granted.usable()?;
        let (entry, active) = granted.entry(frames, gref).ok_or(GrantStatus::BadGntref)?;
        let was_used = active.is_used();
        if was_used && (active.grantee != grantee || (what.whole && !active.extent().is_page())) {
            return Err(GrantStatus::GeneralError);
        }
        let pins = active
            .pin_mut(what)
            .checked_add(1)
            .ok_or(GrantStatus::GeneralError)?;
        if !was_used || (what.access == Access::Write && !active.is_written()) {
            let extent = entry.mark(grantee, what.access, what.whole)?;
            if !was_used {
                let Ok(frame) = u32::try_from(extent.mfn.0) else {
                    entry.unmark(false);
                    return Err(GrantStatus::GeneralError);
                };
                active.grantee = grantee;
                active.frame = frame;
                active.start = extent.start;
                active.len = extent.len;
            }
        }
        *active.pin_mut(what) = pins;
        let extent = active.extent();
        granted.nr_used += u64::from(!was_used);
        Ok(extent)
    }

    /// Takes a pin off entry `gref`.
    pub(super) fn unpin<F: SharedFrames + ?Sized>(&self, frames: &F, gref: GrantRef, what: Use) {
        let granted = &mut *self.granted.lock();
        let switching = granted.switch.is_some();
        let Some((entry, active)) = granted.entry(frames, gref) else {
            return;
        };
        let Some(pins) = active.pin_mut(what).checked_sub(1) else {
            return;
        };
        *active.pin_mut(what) = pins;
        let (is_used, is_written) = (active.is_used(), active.is_written());
        // A change of version writes the marks at its end, by the pins that there are then.
        if !switching && (!is_used || (what.access == Access::Write && !is_written)) {
            entry.unmark(is_used);
        }
        granted.nr_used -= u64::from(!is_used);
    }

    /// Puts frame `mfn` into entry `gref`, which waits for one from domain `from`. `give` makes the frame this domain's; it
    /// is told the number by which the domain wants to know it, and takes no lock.
    ///
    /// # Errors
    /// `GeneralError`: the entry does not wait for one, or the domain is dying. `AddressTooBig`: the entry cannot name the
    /// frame. `give` was not called then.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_transfer.
    pub fn accept<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        gref: GrantRef,
        from: DomId,
        mfn: Mfn,
        give: impl FnOnce(u64),
    ) -> Result<(), GrantStatus> {
        let granted = &mut *self.granted.lock();
        granted.usable()?;
        if !granted.is_v2 && u32::try_from(mfn.0).is_err() {
            return Err(GrantStatus::AddressTooBig);
        }
        let (entry, active) = granted
            .entry(frames, gref)
            .ok_or(GrantStatus::GeneralError)?;
        if active.is_used() {
            return Err(GrantStatus::GeneralError);
        }
        entry.accept(from, mfn, give)
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
        let (frames, status) = {
            let granted = &mut *self.granted.lock();
            granted.dying = true;
            if granted.nr_used != 0 {
                return false;
            }
            granted.active = Vec::new();
            let status = core::mem::take(&mut granted.status);
            (core::mem::take(&mut granted.frames), status)
        };
        frames.into_iter().chain(status).for_each(release);
        true
    }
}

/// What a frame of the table is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Entries,
    Status,
}

impl Granted {
    /// What a table that shall have `nr_frames` lacks first. Status frames come before the entries that they are for.
    fn lacks(&self, nr_frames: u32) -> Option<Kind> {
        let needs_status = self.is_v2 || self.switch.as_ref().is_some_and(|switch| switch.is_to_v2);
        let most = self.frames.len().max(nr_frames as usize);
        if needs_status && self.status.len() < status_frames(most) {
            Some(Kind::Status)
        } else if self.frames.len() < nr_frames as usize {
            Some(Kind::Entries)
        } else {
            None
        }
    }

    /// Whether entries can be used now.
    #[inline]
    fn usable(&self) -> Result<(), GrantStatus> {
        if self.dying {
            Err(GrantStatus::GeneralError)
        } else if self.switch.is_some() {
            Err(GrantStatus::Eagain)
        } else {
            Ok(())
        }
    }

    /// In which frame entry `gref` is, and its first word there.
    #[inline]
    fn place(&self, gref: GrantRef) -> (usize, usize) {
        let word = u64::from(gref.0) << u32::from(self.is_v2);
        let per_frame = u64::from(ENTRIES_PER_FRAME);
        ((word / per_frame) as usize, (word % per_frame) as usize)
    }

    /// The frame of entry `gref`, and its pins.
    #[inline]
    pub(super) fn locate(&mut self, gref: GrantRef) -> Option<(Mfn, &mut Active)> {
        let (frame, word) = self.place(gref);
        let active = self.active.get_mut(frame)?.get_mut(word)?;
        Some((*self.frames.get(frame)?, active))
    }

    /// The shared entry `gref`, and its pins.
    #[inline]
    pub(super) fn entry<'f, F: SharedFrames + ?Sized>(
        &mut self,
        frames: &'f F,
        gref: GrantRef,
    ) -> Option<(Entry<'f>, &mut Active)> {
        let (_, word) = self.place(gref);
        if self.is_v2 {
            return self.entry_v2(frames, gref, word);
        }
        let (mfn, active) = self.locate(gref)?;
        Some((Entry::V1(frames.word64(mfn, nth_word(word))), active))
    }

    fn entry_v2<'f, F: SharedFrames + ?Sized>(
        &mut self,
        frames: &'f F,
        gref: GrantRef,
        word: usize,
    ) -> Option<(Entry<'f>, &mut Active)> {
        let (status, shift) = self.status_word(frames, gref)?;
        let (mfn, active) = self.locate(gref)?;
        let entry = Entry::V2 {
            header: frames.word64(mfn, nth_word(word)),
            frame: frames.word64(mfn, nth_word(word + 1)),
            status,
            shift,
        };
        Some((entry, active))
    }

    /// The word with the marks of entry `gref` in version 2, and where in it they are.
    pub(super) fn status_word<'f, F: SharedFrames + ?Sized>(
        &self,
        frames: &'f F,
        gref: GrantRef,
    ) -> Option<(&'f core::sync::atomic::AtomicU64, u32)> {
        const PER_FRAME: u32 = 2048;
        let mfn = *self.status.get((gref.0 / PER_FRAME) as usize)?;
        let index = QwordIndex::at_byte((gref.0 % PER_FRAME) as usize * 2);
        Some((frames.word64(mfn, index), gref.0 % 4 * 16))
    }
}

/// How many status frames go with so many frames of entries.
pub(super) fn status_frames(frames: usize) -> usize {
    frames.div_ceil(FRAMES_PER_STATUS_FRAME as usize)
}

pub(super) fn nth_word(index: usize) -> QwordIndex {
    QwordIndex::at_byte(index * 8)
}
