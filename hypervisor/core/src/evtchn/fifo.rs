//! The FIFO ABI: an event word per port in an array that the guest provides, linked into a queue per vcpu and priority
//! (`public/event_channel.h`, EVTCHNOP_init_control and below).
//!
//! The guest may write anything into these words at any time. It can thereby lose or repeat its own events, no more: a
//! link that we read is never followed, the tails of the queues are ours, and every retry is counted.
//!
//! The array's and control blocks' frames are reached only under a queue lock of the domain. [`EventChannels::end_reset`]
//! relies on that: having taken every queue lock once after it took the frames out, it knows that nobody uses them.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::port::PortWord;
use super::shared::{DwordIndex, SharedSpot};
use super::table::{Admin, OpenPort, Slot};
use super::vcpu::VcpuEvents;
use super::{EventChannels, EvtchnError, Raised, SharedFrames};
use crate::sync::MutexGuard;
use crate::sync::atomic::{AtomicU64, point};
use crate::units::{EvtchnPort, Mfn, VcpuId};

/// Ports 1 to 131071 exist in the FIFO ABI.
pub const FIFO_NR_CHANNELS: u32 = 1 << FIFO_LINK_BITS;
/// Bits of a link, as EVTCHNOP_init_control returns.
pub const FIFO_LINK_BITS: u8 = 17;
/// Bytes of a control block (`public/event_channel.h`, struct evtchn_fifo_control_block).
pub const CONTROL_BLOCK_BYTES: u32 = 72;

pub(super) const NR_PRIORITIES: usize = 16;
const WORDS_PER_PAGE: u32 = 1024;
const MAX_PAGES: usize = (FIFO_NR_CHANNELS / WORDS_PER_PAGE) as usize;

const PENDING: u32 = 1 << 31;
const MASKED: u32 = 1 << 30;
const LINKED: u32 = 1 << 29;
const BUSY: u32 = 1 << 28;
const LINK_MASK: u32 = FIFO_NR_CHANNELS - 1;

/// Byte offset of `ready` in a control block.
const READY: usize = 0;
/// Byte offset of `head[0]` in a control block.
const HEAD: usize = 8;

/// How often a word that the guest keeps changing is tried again.
const RETRIES: u32 = 4;

/// In [`super::table::Slot::queue`]: an event was raised before the port's array page existed.
const EARLY: u32 = 1 << 31;

/// A FIFO queue's priority: 0 is served first, 15 last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// What a port starts with (`public/event_channel.h`, EVTCHN_FIFO_PRIORITY_DEFAULT).
    pub const DEFAULT: Priority = Priority(7);

    pub(super) const fn from_low_bits(bits: u32) -> Self {
        Priority((bits & 15) as u8)
    }

    /// The number, below 16.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u32> for Priority {
    type Error = EvtchnError;

    /// Checks a number from a guest.
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): above 15.
    fn try_from(number: u32) -> Result<Self, EvtchnError> {
        match u8::try_from(number) {
            Ok(small) if small < 16 => Ok(Priority(small)),
            _ => Err(EvtchnError::BadArgument),
        }
    }
}

/// A domain's event array.
pub(super) struct Fifo {
    /// Each page as its frame number plus 1; 0 if not there yet.
    pages: [AtomicU64; MAX_PAGES],
    nr_pages: AtomicU32,
}

impl Fifo {
    pub fn new() -> Self {
        Fifo {
            pages: [const { AtomicU64::new(0) }; MAX_PAGES],
            nr_pages: AtomicU32::new(0),
        }
    }

    /// Tells `found` of each page.
    pub fn for_each_page(&self, found: impl FnMut(Mfn)) {
        let pages = self.pages.iter().map(|page| page.load(SeqCst));
        pages
            .filter_map(|page| page.checked_sub(1))
            .map(Mfn)
            .for_each(found);
    }

    #[inline]
    fn word<'a, F: SharedFrames + ?Sized>(
        &self,
        frames: &'a F,
        port: EvtchnPort,
    ) -> Option<&'a AtomicU32> {
        let page = self
            .pages
            .get((port.0 / WORDS_PER_PAGE) as usize)?
            .load(SeqCst);
        let mfn = Mfn(page.checked_sub(1)?);
        Some(frames.word32(
            mfn,
            DwordIndex::at_byte((port.0 % WORDS_PER_PAGE) as usize * 4),
        ))
    }
}

/// A queue: the vcpu in bits 4-19, the priority in 0-3.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Queue(u32);

impl Queue {
    #[inline]
    fn of(word: PortWord) -> Self {
        Queue(word.vcpu().0 << 4 | u32::from(word.priority().number()))
    }
    /// The queue that the port was last put on.
    #[inline]
    fn last_of(slot: &Slot) -> Self {
        Queue(slot.queue.load(SeqCst) & !EARLY)
    }
    #[inline]
    fn vcpu(self) -> VcpuId {
        VcpuId(self.0 >> 4 & 0xffff)
    }
    #[inline]
    fn priority(self) -> usize {
        (self.0 & 15) as usize
    }
}

type Tails<'a> = MutexGuard<'a, [u32; NR_PRIORITIES]>;

impl EventChannels {
    /// Whether the domain uses the FIFO ABI.
    #[inline]
    pub fn is_fifo(&self) -> bool {
        self.fifo_active.load(SeqCst)
    }

    /// Gives `vcpu` a control block at byte `offset` of `mfn`, and switches the domain to the FIFO ABI if it was not.
    ///
    /// The caller holds `mfn` with a writable type, and keeps it so until [`EventChannels::end_reset`] gives it back. Events
    /// pending in the two-level ABI are remembered.
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): not 8-byte aligned, or crosses the frame's end. `NoVcpu` (ENOENT). `WrongState` (EINVAL):
    /// the vcpu has a control block.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_init_control.
    pub fn init_control<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        vcpu: VcpuId,
        mfn: Mfn,
        offset: u32,
    ) -> Result<(), EvtchnError> {
        let events = self.vcpu(vcpu).ok_or(EvtchnError::NoVcpu)?;
        let spot = SharedSpot::try_new(mfn, offset, CONTROL_BLOCK_BYTES)
            .ok_or(EvtchnError::BadArgument)?;
        let _admin = self.admin();
        if events.control.load(SeqCst) != 0 {
            return Err(EvtchnError::WrongState);
        }
        spot.dword(frames, READY).store(0, SeqCst);
        for priority in 0..NR_PRIORITIES {
            spot.dword(frames, HEAD + 4 * priority).store(0, SeqCst);
        }
        events.control.store(spot.to_raw(), SeqCst);
        if !self.fifo_active.swap(true, SeqCst) {
            for port in (1..super::TWO_LEVEL_NR_CHANNELS).map(EvtchnPort) {
                if let Some(slot) = self.slot(port)
                    && self.word(port) != PortWord::CLOSED
                    && self.two_level_is_pending(frames, port)
                {
                    slot.queue.fetch_or(EARLY, SeqCst);
                }
            }
        }
        Ok(())
    }

    /// Adds page `mfn` to the event array, and raises what was remembered for its ports: `raised` is told of each.
    ///
    /// The caller holds `mfn` with a writable type, and keeps it so until [`EventChannels::end_reset`] gives it back.
    ///
    /// # Errors
    /// `NotFifo` (EOPNOTSUPP): no control block yet. `ArrayFull` (ENOSPC): there are 128 pages.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_expand_array.
    pub fn expand_array<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        mfn: Mfn,
        mut raised: impl FnMut(EvtchnPort, Raised),
    ) -> Result<(), EvtchnError> {
        let first = {
            let _admin = self.admin();
            if !self.is_fifo() {
                return Err(EvtchnError::NotFifo);
            }
            let index = self.fifo.nr_pages.load(SeqCst);
            let page = self
                .fifo
                .pages
                .get(index as usize)
                .ok_or(EvtchnError::ArrayFull)?;
            page.store(
                mfn.0.checked_add(1).ok_or(EvtchnError::BadArgument)?,
                SeqCst,
            );
            self.fifo.nr_pages.store(index + 1, SeqCst);
            index * WORDS_PER_PAGE
        };
        for port in (first..first + WORDS_PER_PAGE).map(EvtchnPort) {
            if let Some(slot) = self.slot(port)
                && slot.queue.load(SeqCst) & EARLY != 0
                && slot.queue.fetch_and(!EARLY, SeqCst) & EARLY != 0
            {
                let what = self.raise(frames, port);
                if !what.is_nothing() {
                    raised(port, what);
                }
            }
        }
        Ok(())
    }

    /// Goes back to the two-level ABI, when no port is open.
    pub(super) fn end_fifo(&self, _: &mut Admin, mut release: impl FnMut(Mfn)) {
        self.fifo_active.store(false, SeqCst);
        self.fifo.nr_pages.store(0, SeqCst);
        let pages =
            core::array::from_fn::<u64, MAX_PAGES, _>(|n| self.fifo.pages[n].swap(0, SeqCst));
        for events in &self.vcpus {
            // Whoever found a frame before it was taken out above held one of these locks, and has left once we have had
            // them all.
            let mut tails = events.tails.lock();
            *tails = [0; NR_PRIORITIES];
            if let Some(control) = SharedSpot::from_raw(events.control.swap(0, SeqCst)) {
                drop(tails);
                release(control.mfn());
            }
        }
        for page in pages {
            if let Some(mfn) = page.checked_sub(1) {
                release(Mfn(mfn));
            }
        }
    }

    #[inline(never)]
    pub(super) fn fifo_raise<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        open: OpenPort<'_>,
    ) -> Raised {
        let OpenPort { port, slot, word } = open;
        let target = Queue::of(word);
        let Some(events) = self.vcpu(target.vcpu()) else {
            return Raised::NOTHING;
        };
        let mut tails = events.tails.lock();
        // The port's last queue changes only under that queue's lock, so it is certain now if it is ours.
        if Queue::last_of(slot) != target {
            drop(tails);
            return self.fifo_raise_moved(frames, port, slot, target);
        }
        let Some((event, old)) = self.set_pending(frames, port, slot) else {
            return self.fifo_raised(None, 0);
        };
        let mut upcall = None;
        if old & (MASKED | LINKED) == 0 {
            forget_tail(&mut tails, target, port);
            upcall = self.append(frames, events, &mut tails, target, port, event);
        }
        self.fifo_raised(upcall, old)
    }

    /// Raises a port that was last on another queue than it shall go to now.
    #[cold]
    fn fifo_raise_moved<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        slot: &Slot,
        target: Queue,
    ) -> Raised {
        let Some(events) = self.vcpu(target.vcpu()) else {
            return Raised::NOTHING;
        };
        // It can have moved again only if another CPU raised it in between, for which a guest has to ask each time.
        for _ in 0..RETRIES {
            let last = Queue::last_of(slot);
            let Some((mut tails, mut before)) = self.lock_queues(target, last) else {
                return Raised::NOTHING;
            };
            if Queue::last_of(slot) != last {
                continue;
            }
            let Some((event, old)) = self.set_pending(frames, port, slot) else {
                return self.fifo_raised(None, 0);
            };
            let mut upcall = None;
            if old & (MASKED | LINKED) == 0 && events.control.load(SeqCst) != 0 {
                forget_tail(before.as_mut().unwrap_or(&mut tails), last, port);
                slot.queue.store(target.0, SeqCst);
                upcall = self.append(frames, events, &mut tails, target, port, event);
            }
            return self.fifo_raised(upcall, old);
        }
        Raised::NOTHING
    }

    /// What follows from a raise that found the event word `old`.
    #[inline]
    fn fifo_raised(&self, upcall: Option<VcpuId>, old: u32) -> Raised {
        let fresh = old & PENDING == 0;
        Raised {
            upcall,
            pollers: fresh && self.nr_pollers.load(SeqCst) != 0,
        }
    }

    /// Sets the port pending; gives its word and what that held. `None`: remembered until its page comes.
    #[inline]
    fn set_pending<'a, F: SharedFrames + ?Sized>(
        &self,
        frames: &'a F,
        port: EvtchnPort,
        slot: &Slot,
    ) -> Option<(&'a AtomicU32, u32)> {
        let event = match self.fifo.word(frames, port) {
            Some(event) => event,
            None => self.remember(frames, port, slot)?,
        };
        // One bit set and tested is one instruction; with more of the old word it would be a compare-exchange loop, which the
        // guest could prolong.
        let was_pending = event.fetch_or(PENDING, SeqCst) & PENDING;
        Some((event, event.load(SeqCst) & !PENDING | was_pending))
    }

    #[cold]
    fn remember<'a, F: SharedFrames + ?Sized>(
        &self,
        frames: &'a F,
        port: EvtchnPort,
        slot: &Slot,
    ) -> Option<&'a AtomicU32> {
        slot.queue.fetch_or(EARLY, SeqCst);
        // The page may have come just now, and its ports been looked through already.
        let event = self.fifo.word(frames, port)?;
        slot.queue.fetch_and(!EARLY, SeqCst);
        Some(event)
    }

    /// Locks the queues of both vcpus, in ascending order; the second is `None` if they are one.
    fn lock_queues(&self, target: Queue, last: Queue) -> Option<(Tails<'_>, Option<Tails<'_>>)> {
        let now = &self.vcpu(target.vcpu())?.tails;
        let before = &self.vcpu(last.vcpu())?.tails;
        Some(if target.vcpu() == last.vcpu() {
            (now.lock(), None)
        } else if target.vcpu() < last.vcpu() {
            let now = now.lock();
            (now, Some(before.lock()))
        } else {
            let before = before.lock();
            (now.lock(), Some(before))
        })
    }

    /// Appends an unlinked port to `queue` of `events`, whose lock is held; gives the vcpu if it must be told.
    #[inline]
    fn append<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        events: &VcpuEvents,
        tails: &mut [u32; NR_PRIORITIES],
        queue: Queue,
        port: EvtchnPort,
        event: &AtomicU32,
    ) -> Option<VcpuId> {
        // Without a control block there is no queue; the event stays pending, as it does for a vcpu not yet up.
        let control = SharedSpot::from_raw(events.control.load(SeqCst))?;
        if event.fetch_or(LINKED, SeqCst) & LINKED != 0 {
            return None;
        }
        let tail = core::mem::replace(tails.get_mut(queue.priority())?, port.0);
        if tail != 0
            && self
                .fifo
                .word(frames, EvtchnPort(tail))
                .is_some_and(|word| set_link(word, port))
        {
            return None;
        }
        control
            .dword(frames, HEAD + 4 * queue.priority())
            .store(port.0, SeqCst);
        let bit = 1 << queue.priority();
        let was_ready = control.dword(frames, READY).fetch_or(bit, SeqCst) & bit != 0;
        (!was_ready && events.mark_pending(frames)).then_some(queue.vcpu())
    }

    pub(super) fn fifo_unmask<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        open: OpenPort<'_>,
    ) -> Raised {
        let vcpu = open.word.vcpu();
        let now = self.with_event(frames, open.port, vcpu, |event| {
            event.fetch_and(!MASKED, SeqCst);
            event.load(SeqCst)
        });
        match now {
            Some(now) if now & PENDING != 0 => self.fifo_raise(frames, open),
            _ => Raised::NOTHING,
        }
    }

    pub(super) fn fifo_is_pending<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
    ) -> bool {
        self.with_event(frames, port, vcpu, |event| {
            event.load(SeqCst) & PENDING != 0
        })
        .unwrap_or_else(|| {
            self.slot(port)
                .is_some_and(|slot| slot.queue.load(SeqCst) & EARLY != 0)
        })
    }

    pub(super) fn fifo_clear<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
    ) -> bool {
        let early = self
            .slot(port)
            .is_some_and(|slot| slot.queue.fetch_and(!EARLY, SeqCst) & EARLY != 0);
        let pending = self.with_event(frames, port, vcpu, |event| {
            event.fetch_and(!PENDING, SeqCst) & PENDING != 0
        });
        early || pending == Some(true)
    }

    /// Whether the guest has yet to take `port` off a queue. Always false in the two-level ABI.
    pub(super) fn is_linked<F: SharedFrames + ?Sized>(&self, frames: &F, port: EvtchnPort) -> bool {
        self.is_fifo()
            && self
                .with_event(frames, port, VcpuId(0), |event| {
                    event.load(SeqCst) & LINKED != 0
                })
                .unwrap_or(false)
    }

    /// Calls `f` with the port's event word, if its page exists, under the queue lock of `vcpu`.
    fn with_event<F: SharedFrames + ?Sized, R>(
        &self,
        frames: &F,
        port: EvtchnPort,
        vcpu: VcpuId,
        f: impl FnOnce(&AtomicU32) -> R,
    ) -> Option<R> {
        let _lock = self.vcpu(vcpu)?.tails.lock();
        self.fifo.word(frames, port).map(f)
    }
}

/// An unlinked port can be the tail only of the queue it was last on, which is then empty.
#[inline]
fn forget_tail(tails: &mut [u32; NR_PRIORITIES], queue: Queue, port: EvtchnPort) {
    if let Some(tail) = tails.get_mut(queue.priority())
        && *tail == port.0
    {
        *tail = 0;
    }
}

/// Makes the queue's tail link to `port`, if the guest has not taken the tail off the queue; tells whether it did.
///
/// A guest that keeps changing the word for [`RETRIES`] turns, though it sees BUSY, loses the events behind it.
fn set_link(tail: &AtomicU32, port: EvtchnPort) -> bool {
    for attempt in 0..=RETRIES {
        let old = tail.load(SeqCst);
        if old & LINKED == 0 {
            if attempt > 0 {
                tail.fetch_and(!BUSY, SeqCst);
            }
            return false;
        }
        let new = old & !(BUSY | LINK_MASK) | (port.0 & LINK_MASK);
        point();
        if tail.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
            return true;
        }
        if attempt == 0 {
            tail.fetch_or(BUSY, SeqCst);
        }
    }
    tail.fetch_and(!BUSY, SeqCst);
    true
}
