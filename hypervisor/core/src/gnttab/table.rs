//! A domain as granter: its shared frames, and the pins on its entries.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::GrantStatus;
use super::entry::{Access, Entry, EntryV2, Extent, Part, READING, WRITING};
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

/// What is done with a granted frame: by a device or through a page table, for reading or writing; and whether the whole page
/// is needed, as by a mapping, or a part will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use(u8);

impl Use {
    const WRITE: u8 = 1 << 0;
    const DEVICE: u8 = 1 << 1;
    const WHOLE: u8 = 1 << 2;

    #[inline]
    pub const fn new(access: Access, by_device: bool, whole: bool) -> Self {
        let mut bits = 0;
        if matches!(access, Access::Write) {
            bits |= Self::WRITE;
        }
        if by_device {
            bits |= Self::DEVICE;
        }
        if whole {
            bits |= Self::WHOLE;
        }
        Use(bits)
    }
    #[inline]
    pub const fn is_write(self) -> bool {
        self.0 & Self::WRITE != 0
    }
    #[inline]
    const fn access(self) -> Access {
        if self.is_write() {
            Access::Write
        } else {
            Access::Read
        }
    }
    #[inline]
    const fn is_whole(self) -> bool {
        self.0 & Self::WHOLE != 0
    }
}

/// The pins on one entry. While there is one, the rest says whose it is and what it meant then, whatever the shared entry
/// has come to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Active {
    frame: u32,
    part: Part,
    /// Through page tables for reading and writing, by devices for reading and writing.
    pins: [u16; 4],
    grantee: DomId,
}

impl Active {
    pub(super) fn is_used(&self) -> bool {
        self.pins != [0; 4]
    }
    pub(super) fn is_written(&self) -> bool {
        self.pins[1] != 0 || self.pins[3] != 0
    }
    #[inline]
    fn pin_mut(&mut self, what: Use) -> &mut u16 {
        &mut self.pins[usize::from(what.0 & 3)]
    }
    /// The marks that the shared entry must show.
    pub(super) fn marks(&self) -> u64 {
        (u64::from(self.is_used()) * READING) | (u64::from(self.is_written()) * WRITING)
    }
    #[inline]
    fn extent(&self) -> Extent {
        Extent::new(self.frame, self.part)
    }
}

#[cfg(test)]
impl Active {
    /// Counts a pin.
    pub fn count(&mut self, grantee: DomId, mfn: Mfn, what: Use) {
        assert!(!self.is_used() || (self.grantee, self.extent().mfn()) == (grantee, mfn));
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
            into.extend([u64::from(self.grantee.0), label(self.extent().mfn())]);
        }
        into.push(u64::MAX);
    }
}

/// A frame of entries.
pub(super) struct TableFrame {
    pub mfn: Mfn,
    /// The pins on them. Laid out as the entries are: in version 2 every other one is unused.
    pub active: Box<[Active; ENTRIES_PER_FRAME as usize]>,
}

pub(super) struct Granted {
    pub frames: Vec<TableFrame>,
    /// Where version 2 shows who uses its entries. They stay when the table goes back to version 1: the domain may have
    /// them mapped.
    pub status: Vec<Mfn>,
    /// How many entries have a pin.
    pub nr_used: u64,
    pub is_v2: bool,
    /// A change of version under way; meanwhile nobody gets at an entry.
    pub switch: Option<Switch>,
    dying: bool,
    /// Whether entries cannot be used, for one of these two reasons.
    is_closed: bool,
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
                nr_used: 0,
                is_v2: false,
                switch: None,
                dying: false,
                is_closed: false,
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

    /// How many of its entries others use: have mapped, or are copying.
    pub fn nr_used(&self) -> u64 {
        self.granted.lock().nr_used
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
        let granted = self.granted.lock();
        granted.frames.get(index as usize).map(|frame| frame.mfn)
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
            let entries = granted.frames.iter().map(|frame| frame.mfn);
            let own = entries.chain(granted.status.iter().copied());
            own.for_each(|mfn| found(mfn, true));
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
        let active = match kind {
            Kind::Entries => Some(no_pins().ok_or(GrantStatus::GeneralError)?),
            Kind::Status => None,
        };
        let granted = &mut *self.granted.lock();
        if granted.dying {
            return Err(GrantStatus::GeneralError);
        }
        if granted.lacks(nr_frames) != Some(kind) {
            return Ok(false);
        }
        if let Some(active) = active {
            granted.frames.try_reserve(1).map_err(no_memory)?;
            granted.frames.push(TableFrame { mfn, active });
        } else {
            granted.status.try_reserve(1).map_err(no_memory)?;
            granted.status.push(mfn);
        }
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
            let [(a_frame, a), (b_frame, b)] = [a, b].map(|gref| place(granted.is_v2, gref));
            let (Some(a_frame), Some(b_frame)) =
                (granted.frames.get(a_frame), granted.frames.get(b_frame))
            else {
                return Err(GrantStatus::BadGntref);
            };
            let a = frames.word64(a_frame.mfn, nth_word(a + word));
            let b = frames.word64(b_frame.mfn, nth_word(b + word));
            let was_b = b.swap(a.load(SeqCst), SeqCst);
            a.store(was_b, SeqCst);
        }
        Ok(())
    }

    /// Pins entry `gref` for a use by `grantee`; gives what it grants, whose frame is yet to be held.
    #[inline]
    pub(super) fn pin<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        gref: GrantRef,
        grantee: DomId,
        what: Use,
    ) -> Result<Extent, GrantStatus> {
        let granted = &mut *self.granted.lock();
        if granted.is_closed {
            return Err(granted.why_closed());
        }
        // The version is known here, so that each has code of its own.
        if granted.is_v2 {
            granted.pin_v2(frames, gref, grantee, what)
        } else {
            granted.pin_as(false, frames, gref, grantee, what)
        }
    }

    /// Takes a pin off entry `gref`.
    #[inline]
    pub(super) fn unpin<F: SharedFrames + ?Sized>(&self, frames: &F, gref: GrantRef, what: Use) {
        let granted = &mut *self.granted.lock();
        if granted.is_v2 {
            granted.unpin_v2(frames, gref, what);
        } else {
            granted.unpin_as(false, frames, gref, what);
        }
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
        if granted.is_closed {
            return Err(granted.why_closed());
        }
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
        self.granted.lock().die();
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
            granted.die();
            if granted.nr_used != 0 {
                return false;
            }
            let status = core::mem::take(&mut granted.status);
            (core::mem::take(&mut granted.frames), status)
        };
        let entries = frames.into_iter().map(|frame| frame.mfn);
        entries.chain(status).for_each(release);
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

    fn die(&mut self) {
        self.dying = true;
        self.is_closed = true;
    }

    /// Begins or ends a change of version.
    pub fn set_switch(&mut self, switch: Option<Switch>) {
        self.is_closed = self.dying || switch.is_some();
        self.switch = switch;
    }

    /// Why entries cannot be used now.
    #[cold]
    fn why_closed(&self) -> GrantStatus {
        if self.dying {
            GrantStatus::GeneralError
        } else {
            GrantStatus::Eagain
        }
    }

    #[inline(always)]
    fn pin_as<F: SharedFrames + ?Sized>(
        &mut self,
        is_v2: bool,
        frames: &F,
        gref: GrantRef,
        grantee: DomId,
        what: Use,
    ) -> Result<Extent, GrantStatus> {
        let (entry, active) = self
            .entry_as(is_v2, frames, gref)
            .ok_or(GrantStatus::BadGntref)?;
        let was_used = active.is_used();
        if was_used && (active.grantee != grantee || (what.is_whole() && active.part != Part::PAGE))
        {
            return Err(GrantStatus::GeneralError);
        }
        let pins = *active.pin_mut(what);
        if pins == u16::MAX {
            return Err(GrantStatus::GeneralError);
        }
        if !was_used || (what.is_write() && !active.is_written()) {
            let extent = entry.mark(grantee, what.access(), what.is_whole())?;
            if !was_used {
                active.grantee = grantee;
                active.frame = extent.frame();
                active.part = extent.part;
            }
        }
        *active.pin_mut(what) = pins.wrapping_add(1);
        let extent = active.extent();
        self.nr_used = self.nr_used.wrapping_add(u64::from(!was_used));
        Ok(extent)
    }

    #[inline(never)]
    fn pin_v2<F: SharedFrames + ?Sized>(
        &mut self,
        frames: &F,
        gref: GrantRef,
        grantee: DomId,
        what: Use,
    ) -> Result<Extent, GrantStatus> {
        self.pin_as(true, frames, gref, grantee, what)
    }

    #[inline(always)]
    fn unpin_as<F: SharedFrames + ?Sized>(
        &mut self,
        is_v2: bool,
        frames: &F,
        gref: GrantRef,
        what: Use,
    ) {
        let switching = self.switch.is_some();
        let Some((entry, active)) = self.entry_as(is_v2, frames, gref) else {
            return;
        };
        let Some(pins) = active.pin_mut(what).checked_sub(1) else {
            return;
        };
        *active.pin_mut(what) = pins;
        let (is_used, is_written) = (active.is_used(), active.is_written());
        // A change of version writes the marks at its end, by the pins that there are then.
        if !switching && (!is_used || (what.is_write() && !is_written)) {
            entry.unmark(is_used);
        }
        self.nr_used = self.nr_used.wrapping_sub(u64::from(!is_used));
    }

    #[inline(never)]
    fn unpin_v2<F: SharedFrames + ?Sized>(&mut self, frames: &F, gref: GrantRef, what: Use) {
        self.unpin_as(true, frames, gref, what);
    }

    /// The frame of entry `gref`, and its pins.
    pub(super) fn locate(&mut self, gref: GrantRef) -> Option<(Mfn, &mut Active)> {
        let (frame, word) = place(self.is_v2, gref);
        let frame = self.frames.get_mut(frame)?;
        Some((frame.mfn, &mut frame.active[word]))
    }

    /// The shared entry `gref`, and its pins.
    pub(super) fn entry<'f, F: SharedFrames + ?Sized>(
        &mut self,
        frames: &'f F,
        gref: GrantRef,
    ) -> Option<(Entry<'f>, &mut Active)> {
        self.entry_as(self.is_v2, frames, gref)
    }

    #[inline(always)]
    fn entry_as<'f, F: SharedFrames + ?Sized>(
        &mut self,
        is_v2: bool,
        frames: &'f F,
        gref: GrantRef,
    ) -> Option<(Entry<'f>, &mut Active)> {
        let status = if is_v2 {
            Some(self.status_word(frames, gref)?)
        } else {
            None
        };
        let (frame, word) = place(is_v2, gref);
        let frame = self.frames.get_mut(frame)?;
        let first = frames.word64(frame.mfn, nth_word(word));
        let entry = match status {
            None => Entry::V1(first),
            Some((status, shift)) => Entry::V2(EntryV2 {
                header: first,
                frame: frames.word64(frame.mfn, nth_word(word + 1)),
                status,
                shift,
            }),
        };
        Some((entry, &mut frame.active[word]))
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

/// In which frame entry `gref` is, and its first word there.
#[inline(always)]
fn place(is_v2: bool, gref: GrantRef) -> (usize, usize) {
    let word = u64::from(gref.0) << u32::from(is_v2);
    let per_frame = u64::from(ENTRIES_PER_FRAME);
    ((word / per_frame) as usize, (word % per_frame) as usize)
}

/// The pins of a new frame.
fn no_pins() -> Option<Box<[Active; ENTRIES_PER_FRAME as usize]>> {
    let mut active = Vec::new();
    active.try_reserve_exact(ENTRIES_PER_FRAME as usize).ok()?;
    active.resize(ENTRIES_PER_FRAME as usize, Active::default());
    active.into_boxed_slice().try_into().ok()
}

/// How many status frames go with so many frames of entries.
pub(super) fn status_frames(frames: usize) -> usize {
    frames.div_ceil(FRAMES_PER_STATUS_FRAME as usize)
}

pub(super) fn nth_word(index: usize) -> QwordIndex {
    QwordIndex::at_byte(index * 8)
}
