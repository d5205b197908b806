//! Mapping another domain's frame, and ending that.

use super::entry::{Access, Extent};
use super::maptrack::{CONTAINS_PTE, DEVICE, HOST, Next, Track, WRITABLE};
use super::table::Use;
use super::{GrantStatus, GrantTable};
use crate::evtchn::SharedFrames;
use crate::units::{DomId, GrantRef, Mfn};

/// Where a mapping's page-table entry is, in the tables of the domain that maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddr {
    /// The entry for this linear address in the caller's current tables.
    Linear(u64),
    /// The entry at this machine address (GNTMAP_contains_pte).
    Entry(u64),
}

/// What grant operations need of frames and page tables. The domain that maps or copies is the implementer's.
///
/// No lock of core is held when a method is called.
pub trait GrantHost: SharedFrames {
    /// Takes a reference on a frame of `owner`, and for `writable` one that keeps it from becoming a page table. Tells
    /// whether it could.
    fn hold(&self, mfn: Mfn, owner: DomId, writable: bool) -> bool;

    /// Drops a reference that [`GrantHost::hold`] took.
    fn release(&self, mfn: Mfn, writable: bool);

    /// Puts `pte`, whose frame is held as it says, into a level 1 table of the mapping domain. On success the reference is
    /// the entry's. What the entry mapped before is dropped.
    ///
    /// # Errors
    /// `GeneralError`: there is no such entry that the domain may write.
    fn install(&self, at: HostAddr, pte: u64) -> Result<(), GrantStatus>;

    /// Clears the entry at `at`, if it maps `mfn`, writable or not as told. On success its reference is the caller's.
    ///
    /// # Errors
    /// `GeneralError`: no entry, or it is another.
    fn take(&self, at: HostAddr, mfn: Mfn, writable: bool) -> Result<(), GrantStatus>;

    /// As [`GrantHost::take`], but moves the entry for linear address `new` to `at` instead of clearing it
    /// (GNTTABOP_unmap_and_replace).
    ///
    /// # Errors
    /// As there.
    fn replace(&self, at: HostAddr, mfn: Mfn, writable: bool, new: u64) -> Result<(), GrantStatus>;

    /// Copies `len` bytes from byte `from_offset` of one held frame to byte `to_offset` of another. Both ranges lie within
    /// their frames; the frames may be one, and then the ranges may overlap.
    fn copy(&self, from: Mfn, from_offset: u16, to: Mfn, to_offset: u16, len: u16);
}

/// GNTTABOP_map_grant_ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// Where to, in the sense of `flags`.
    pub host_addr: u64,
    /// GNTMAP_*.
    pub flags: u32,
    /// Which entry of the granter.
    pub gref: GrantRef,
}

/// A mapping that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// What the guest unmaps it by.
    pub handle: u32,
    /// The frame; `dev_bus_addr` is its address.
    pub mfn: Mfn,
}

/// GNTTABOP_unmap_grant_ref or GNTTABOP_unmap_and_replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmapRequest {
    /// Where it is mapped; 0 leaves that mapping.
    pub host_addr: u64,
    /// The bus address; 0 leaves the device mapping.
    pub dev_bus_addr: u64,
    /// For unmap_and_replace: the linear address whose entry goes there.
    pub new_addr: Option<u64>,
    /// What the map gave.
    pub handle: u32,
}

/// A mapping whose page-table entry is gone, and whose references are still held.
///
/// The caller flushes the TLBs of the domain that mapped, once for as many as it likes, and then gives each to
/// [`GrantTable::finish_unmap`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "references are held until finish_unmap"]
pub struct Unmapped {
    handle: u32,
    track: Track,
    /// Which of [`HOST`] and [`DEVICE`] end.
    ended: u8,
    /// Whether the ended host mapping's reference came back to us.
    holds_host_ref: bool,
}

impl Unmapped {
    /// Whose frame it was: the domain whose table [`GrantTable::finish_unmap`] needs.
    pub fn granter(&self) -> DomId {
        self.track.granter
    }

    /// Whether there is anything to flush.
    pub fn needs_flush(&self) -> bool {
        self.ended & HOST != 0
    }
}

/// Bits of a map request's flags (`public/grant_table.h`, GNTMAP_*).
const GNTMAP_DEVICE_MAP: u32 = 1 << 0;
const GNTMAP_HOST_MAP: u32 = 1 << 1;
const GNTMAP_READONLY: u32 = 1 << 2;
const GNTMAP_APPLICATION_MAP: u32 = 1 << 3;
const GNTMAP_CONTAINS_PTE: u32 = 1 << 4;
const GNTMAP_GUEST_AVAIL0: u32 = 16;

const PTE_PRESENT: u64 = 1 << 0;
const PTE_RW: u64 = 1 << 1;
const PTE_USER: u64 = 1 << 2;
const PTE_ACCESSED: u64 = 1 << 5;
const PTE_DIRTY: u64 = 1 << 6;
const PTE_AVAIL_SHIFT: u32 = 9;
/// Marks a page of the guest's kernel, which like its user pages has the user bit (bit 52, an available one).
const PTE_GUEST_KERNEL: u64 = 1 << 52;
const PTE_NX: u64 = 1 << 63;

/// The page-table entry for a mapping of `mfn` with `flags`.
fn pte(mfn: Mfn, flags: u32) -> u64 {
    let rw = if flags & GNTMAP_READONLY == 0 {
        PTE_RW
    } else {
        0
    };
    let kernel = if flags & GNTMAP_APPLICATION_MAP == 0 {
        PTE_GUEST_KERNEL
    } else {
        0
    };
    let avail = u64::from(flags >> GNTMAP_GUEST_AVAIL0 & 7) << PTE_AVAIL_SHIFT;
    mfn.maddr() | PTE_PRESENT | rw | PTE_USER | PTE_ACCESSED | PTE_DIRTY | avail | kernel | PTE_NX
}

fn host_addr(raw: u64, contains_pte: bool) -> HostAddr {
    if contains_pte {
        HostAddr::Entry(raw)
    } else {
        HostAddr::Linear(raw)
    }
}

impl GrantTable {
    /// Maps an entry of `granter` for this table's domain.
    ///
    /// # Errors
    /// `BadGntref`: no such entry, or the flags ask for neither host nor device mapping. `NoSpace`: no handle left.
    /// `GeneralError`: the entry does not permit it, or its frame is not the granter's or cannot be writable; or as
    /// [`GrantHost::install`] says. Nothing has changed then.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_map_grant_ref.
    pub fn map<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        granter: &GrantTable,
        request: MapRequest,
    ) -> Result<Mapped, GrantStatus> {
        let kinds = kinds_of(request.flags);
        if kinds == 0 {
            return Err(GrantStatus::BadGntref);
        }
        let handle = self.maptrack.lock().take(granter.dom(), request.gref)?;
        match self.make(host, granter, request, kinds) {
            Ok(mfn) => {
                let writable = if request.flags & GNTMAP_READONLY == 0 {
                    WRITABLE
                } else {
                    0
                };
                let contains_pte = if request.flags & GNTMAP_CONTAINS_PTE != 0 {
                    CONTAINS_PTE
                } else {
                    0
                };
                self.maptrack
                    .lock()
                    .settle(handle, mfn, kinds | writable | contains_pte);
                Ok(Mapped { handle, mfn })
            }
            Err(status) => {
                self.maptrack.lock().settle(handle, Mfn(0), 0);
                Err(status)
            }
        }
    }

    fn make<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        granter: &GrantTable,
        request: MapRequest,
        kinds: u8,
    ) -> Result<Mfn, GrantStatus> {
        let writable = request.flags & GNTMAP_READONLY == 0;
        let (gref, grantee) = (request.gref, self.dom());
        let mut frame = Mfn(0);
        if kinds & DEVICE != 0 {
            frame = granter
                .pin_and_hold(host, gref, grantee, use_of(DEVICE, writable))?
                .mfn();
        }
        if kinds & HOST != 0 {
            let undo_device = |status| {
                if kinds & DEVICE != 0 {
                    granter.release_and_unpin(host, frame, gref, use_of(DEVICE, writable));
                }
                status
            };
            let what = use_of(HOST, writable);
            let mfn = granter
                .pin_and_hold(host, gref, grantee, what)
                .map_err(undo_device)?
                .mfn();
            let at = host_addr(request.host_addr, request.flags & GNTMAP_CONTAINS_PTE != 0);
            host.install(at, pte(mfn, request.flags))
                .map_err(|status| {
                    granter.release_and_unpin(host, mfn, gref, what);
                    undo_device(status)
                })?;
            frame = mfn;
        }
        Ok(frame)
    }

    /// Pins an entry of this table and holds the frame it names.
    pub(super) fn pin_and_hold<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        gref: GrantRef,
        grantee: DomId,
        what: Use,
    ) -> Result<Extent, GrantStatus> {
        let extent = self.pin(host, gref, grantee, what)?;
        if host.hold(extent.mfn(), self.dom(), what.is_write()) {
            return Ok(extent);
        }
        self.unpin(host, gref, what);
        Err(GrantStatus::GeneralError)
    }

    /// Undoes [`GrantTable::pin_and_hold`].
    pub(super) fn release_and_unpin<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        mfn: Mfn,
        gref: GrantRef,
        what: Use,
    ) {
        host.release(mfn, what.is_write());
        self.unpin(host, gref, what);
    }

    /// Takes a mapping of this table's domain out of its page tables.
    ///
    /// # Errors
    /// `BadHandle`. `BadDevAddr`: the bus address is not the frame's. `GeneralError`: a new address with an entry's machine
    /// address; or as [`GrantHost::take`] and [`GrantHost::replace`] say. Nothing has changed then.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_unmap_grant_ref, GNTTABOP_unmap_and_replace; XSA-234.
    pub fn begin_unmap<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        request: UnmapRequest,
    ) -> Result<Unmapped, GrantStatus> {
        let track = self.maptrack.lock().begin(request.handle)?;
        self.take_mapping(host, request, track).inspect_err(|_| {
            self.maptrack
                .lock()
                .settle(request.handle, track.mfn(), track.state);
        })
    }

    fn take_mapping<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        request: UnmapRequest,
        track: Track,
    ) -> Result<Unmapped, GrantStatus> {
        let mut ended = 0;
        if request.dev_bus_addr != 0 && track.state & DEVICE != 0 {
            if request.dev_bus_addr != track.mfn().maddr() {
                return Err(GrantStatus::BadDevAddr);
            }
            ended |= DEVICE;
        }
        if request.host_addr != 0 && track.state & HOST != 0 {
            let contains_pte = track.state & CONTAINS_PTE != 0;
            let at = host_addr(request.host_addr, contains_pte);
            let writable = track.state & WRITABLE != 0;
            match request.new_addr.filter(|new| *new != 0) {
                Some(_) if contains_pte => return Err(GrantStatus::GeneralError),
                Some(new) => host.replace(at, track.mfn(), writable, new)?,
                None => host.take(at, track.mfn(), writable)?,
            }
            ended |= HOST;
        }
        Ok(Unmapped {
            handle: request.handle,
            track,
            ended,
            holds_host_ref: ended & HOST != 0,
        })
    }

    /// Lets go of an unmapped frame, after the flush. `granter` is the table of [`Unmapped::granter`].
    pub fn finish_unmap<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        granter: &GrantTable,
        unmapped: Unmapped,
    ) {
        let Unmapped {
            handle,
            track,
            ended,
            holds_host_ref,
        } = unmapped;
        let writable = track.state & WRITABLE != 0;
        for (kind, holds_ref) in [(DEVICE, true), (HOST, holds_host_ref)] {
            if ended & kind == 0 {
                continue;
            }
            if holds_ref {
                host.release(track.mfn(), writable);
            }
            granter.unpin(host, track.gref, use_of(kind, writable));
        }
        self.maptrack
            .lock()
            .settle(handle, track.mfn(), track.state & !ended);
    }

    /// Takes the next mapping of a dying domain from handle `cursor` on. Its page tables are gone, and with them the
    /// references of their entries. It looks at a bounded number of handles.
    pub fn abandon_next(&self, cursor: &mut u32) -> Abandoned {
        let mut maptrack = self.maptrack.lock();
        let handle = match maptrack.next(*cursor) {
            Next::Mapping(handle) => handle,
            Next::From(handle) => {
                *cursor = handle;
                return Abandoned::More;
            }
            Next::None => return Abandoned::All,
        };
        *cursor = handle.saturating_add(1);
        match maptrack.begin(handle) {
            Ok(track) => Abandoned::Mapping(Unmapped {
                handle,
                track,
                ended: track.state & (HOST | DEVICE),
                holds_host_ref: false,
            }),
            Err(_) => Abandoned::More,
        }
    }
}

/// What [`GrantTable::abandon_next`] found.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "references are held until finish_unmap"]
pub enum Abandoned {
    /// A mapping, to be given to [`GrantTable::finish_unmap`].
    Mapping(Unmapped),
    /// None yet: ask again.
    More,
    /// There are no more.
    All,
}

fn kinds_of(flags: u32) -> u8 {
    let host = if flags & GNTMAP_HOST_MAP != 0 {
        HOST
    } else {
        0
    };
    let device = if flags & GNTMAP_DEVICE_MAP != 0 {
        DEVICE
    } else {
        0
    };
    host | device
}

fn use_of(kind: u8, writable: bool) -> Use {
    let access = if writable {
        Access::Write
    } else {
        Access::Read
    };
    Use::new(access, kind == DEVICE, true)
}
