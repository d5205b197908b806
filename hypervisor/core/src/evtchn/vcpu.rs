//! What each vcpu of a domain has: its vcpu_info, its virqs, its FIFO queues, and what it polls.

use core::sync::atomic::Ordering::SeqCst;

use super::fifo::NR_PRIORITIES;
use super::shared::{SharedFrames, SharedSpot};
use super::virq::NR_VIRQS;
use super::{EventChannels, EvtchnError, Raised};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use crate::units::{EvtchnPort, Mfn, VcpuId};

/// Bytes of a vcpu_info (`public/xen.h`).
pub const VCPU_INFO_BYTES: u32 = 64;
/// How many vcpu_info structures a shared_info holds (`public/xen.h`, XEN_LEGACY_MAX_VCPUS).
pub(super) const LEGACY_MAX_VCPUS: u32 = 32;

/// Byte 0 of vcpu_info, evtchn_upcall_pending, as a bit of its first word.
const UPCALL_PENDING: u64 = 1;
const UPCALL_PENDING_BYTE: u64 = 0xff;
/// Byte 1 of vcpu_info, evtchn_upcall_mask: the guest writes it with plain stores, so we change only its bit, atomically.
const UPCALL_MASK_BYTE: u64 = 0xff00;
const UPCALL_MASK: u64 = 0x100;
/// Byte offset of evtchn_pending_sel.
const PENDING_SEL: usize = 8;

/// Not polling.
const POLL_NONE: u32 = 0;
/// Polls several ports, or is still choosing: any event wakes it.
const POLL_ANY: u32 = u32::MAX;

/// The event side of one vcpu.
pub(super) struct VcpuEvents {
    /// Where its vcpu_info is, as a [`SharedSpot`]; 0 if nowhere yet.
    info: AtomicU64,
    info_registered: AtomicBool,
    /// The port of each bound virq, else 0. Global virqs are kept on vcpu 0.
    pub virqs: [AtomicU32; NR_VIRQS],
    polling: AtomicU32,
    /// Where its FIFO control block is, as a [`SharedSpot`]; 0 if nowhere.
    pub control: AtomicU64,
    /// The last port appended to each FIFO queue, else 0.
    pub tails: Mutex<[u32; NR_PRIORITIES]>,
}

impl VcpuEvents {
    pub fn new(id: VcpuId, shared_info: Mfn) -> Self {
        let info = match id.0 {
            n if n < LEGACY_MAX_VCPUS => {
                SharedSpot::try_new(shared_info, n * VCPU_INFO_BYTES, VCPU_INFO_BYTES)
            }
            _ => None,
        };
        VcpuEvents {
            info: AtomicU64::new(info.map_or(0, SharedSpot::to_raw)),
            info_registered: AtomicBool::new(false),
            virqs: [const { AtomicU32::new(0) }; NR_VIRQS],
            polling: AtomicU32::new(POLL_NONE),
            control: AtomicU64::new(0),
            tails: Mutex::new([0; NR_PRIORITIES]),
        }
    }

    #[inline]
    pub fn info(&self) -> Option<SharedSpot> {
        SharedSpot::from_raw(self.info.load(SeqCst))
    }

    /// Sets evtchn_upcall_pending; tells whether it was clear.
    #[inline]
    pub fn mark_pending<F: SharedFrames + ?Sized>(&self, frames: &F) -> bool {
        self.mark(|info| set_upcall_pending(frames, info))
    }

    /// Sets bit `word` of evtchn_pending_sel, and evtchn_upcall_pending if that bit was clear; tells whether the latter was.
    #[inline]
    pub fn select<F: SharedFrames + ?Sized>(&self, frames: &F, word: u32) -> bool {
        let bit = 1u64 << (word & 63);
        self.mark(|info| {
            info.qword(frames, PENDING_SEL).fetch_or(bit, SeqCst) & bit == 0
                && set_upcall_pending(frames, info)
        })
    }

    /// Lets `set` write to the vcpu_info, and again if that has moved meanwhile, which it does but once.
    #[inline(always)]
    fn mark(&self, set: impl Fn(SharedSpot) -> bool) -> bool {
        let Some(info) = self.info() else {
            return false;
        };
        let fresh = set(info);
        match self.info() {
            Some(moved) if moved != info => set(moved) || fresh,
            _ => fresh,
        }
    }
}

/// Sets evtchn_upcall_pending; tells whether it was clear, perhaps to several at once, who then all wake the vcpu.
///
/// Looking first, rather than at what the locked instruction found, keeps it one instruction: for the old byte it would be
/// a compare-exchange loop, which another vcpu of the guest could prolong.
#[inline]
fn set_upcall_pending<F: SharedFrames + ?Sized>(frames: &F, info: SharedSpot) -> bool {
    let word = info.qword(frames, 0);
    if word.load(SeqCst) & UPCALL_PENDING_BYTE != 0 {
        return false;
    }
    word.fetch_or(UPCALL_PENDING, SeqCst);
    true
}

impl EventChannels {
    /// Where `vcpu`'s vcpu_info is; `None` if it has none yet (vcpu 32 and above, before registration).
    #[inline]
    pub fn vcpu_info(&self, vcpu: VcpuId) -> Option<SharedSpot> {
        self.vcpu(vcpu)?.info()
    }

    /// Moves `vcpu`'s vcpu_info to byte `offset` of `mfn`, with its contents, and marks everything pending there, so
    /// that no event is lost. The upcall may be spurious; guests expect that.
    ///
    /// The caller has checked that it is the vcpu itself or that the vcpu is down, and holds `mfn` with a writable type
    /// until the domain is gone.
    ///
    /// # Errors
    /// `BadLocation` (ENXIO): not 8-byte aligned, or crosses the frame's end. `NoVcpu` (ENOENT). `WrongState` (EINVAL):
    /// registered before.
    /// # Source
    /// `public/vcpu.h`, VCPUOP_register_vcpu_info; XSA-327.
    pub fn register_vcpu_info<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        vcpu: VcpuId,
        mfn: Mfn,
        offset: u32,
    ) -> Result<Raised, EvtchnError> {
        let spot =
            SharedSpot::try_new(mfn, offset, VCPU_INFO_BYTES).ok_or(EvtchnError::BadLocation)?;
        let events = self.vcpu(vcpu).ok_or(EvtchnError::NoVcpu)?;
        if events.info_registered.swap(true, SeqCst) {
            return Err(EvtchnError::WrongState);
        }
        for at in (0..VCPU_INFO_BYTES as usize).step_by(8) {
            // A vcpu without a vcpu_info starts with upcalls masked, as a new domain's vcpus do.
            let initial = if at == 0 { UPCALL_MASK } else { 0 };
            let word = events
                .info()
                .map_or(initial, |old| old.qword(frames, at).load(SeqCst));
            spot.qword(frames, at).store(word, SeqCst);
        }
        events.info.store(spot.to_raw(), SeqCst);
        spot.qword(frames, PENDING_SEL).store(u64::MAX, SeqCst);
        spot.qword(frames, 0).fetch_or(UPCALL_PENDING, SeqCst);
        Ok(Raised {
            upcall: Some(vcpu),
            pollers: false,
        })
    }

    /// Points `vcpu` back at shared_info, or at nothing beyond vcpu 31; returns the frame that it had registered, for
    /// the caller to let go once no CPU can still be raising an event in this domain.
    pub fn forget_vcpu_info(&self, vcpu: VcpuId) -> Option<Mfn> {
        let events = self.vcpu(vcpu)?;
        if !events.info_registered.swap(false, SeqCst) {
            return None;
        }
        let home = VcpuEvents::new(vcpu, self.shared_info()).info.into_inner();
        SharedSpot::from_raw(events.info.swap(home, SeqCst)).map(SharedSpot::mfn)
    }

    /// Tells `found` of each frame that the caller of [`Self::register_vcpu_info`], [`Self::init_control`] and
    /// [`Self::expand_array`] holds, once per use.
    pub fn for_each_held_frame(&self, mut found: impl FnMut(Mfn)) {
        let _admin = self.admin();
        for events in &self.vcpus {
            if events.info_registered.load(SeqCst)
                && let Some(info) = events.info()
            {
                found(info.mfn());
            }
            if let Some(control) = SharedSpot::from_raw(events.control.load(SeqCst)) {
                found(control.mfn());
            }
        }
        self.fifo.for_each_page(found);
    }

    /// Whether `vcpu` should be given an upcall now: one is pending and it does not mask them.
    #[inline]
    pub fn upcall_due<F: SharedFrames + ?Sized>(&self, frames: &F, vcpu: VcpuId) -> bool {
        self.vcpu_info(vcpu).is_some_and(|info| {
            let word = info.qword(frames, 0).load(SeqCst);
            word & UPCALL_PENDING_BYTE != 0 && word & UPCALL_MASK_BYTE == 0
        })
    }

    /// Whether `vcpu` has an upcall pending, masked or not.
    #[inline]
    pub fn upcall_pending<F: SharedFrames + ?Sized>(&self, frames: &F, vcpu: VcpuId) -> bool {
        self.vcpu_info(vcpu)
            .is_some_and(|info| info.qword(frames, 0).load(SeqCst) & UPCALL_PENDING_BYTE != 0)
    }

    /// Masks `vcpu`'s upcalls; returns whether they were masked. An upcall frame records that.
    #[inline]
    pub fn mask_upcalls<F: SharedFrames + ?Sized>(&self, frames: &F, vcpu: VcpuId) -> bool {
        self.vcpu_info(vcpu).is_none_or(|info| {
            let word = info.qword(frames, 0);
            let old = word.load(SeqCst);
            word.fetch_or(UPCALL_MASK, SeqCst);
            old & UPCALL_MASK_BYTE != 0
        })
    }

    /// Unmasks `vcpu`'s upcalls, as SCHEDOP_block and iret do.
    #[inline]
    pub fn unmask_upcalls<F: SharedFrames + ?Sized>(&self, frames: &F, vcpu: VcpuId) {
        if let Some(info) = self.vcpu_info(vcpu) {
            info.qword(frames, 0).fetch_and(!UPCALL_MASK_BYTE, SeqCst);
        }
    }

    /// Sets `vcpu`'s evtchn_upcall_pending by itself, without any port.
    #[inline]
    pub fn force_upcall<F: SharedFrames + ?Sized>(&self, frames: &F, vcpu: VcpuId) -> Raised {
        let fresh = self
            .vcpu(vcpu)
            .is_some_and(|events| events.mark_pending(frames));
        Raised {
            upcall: fresh.then_some(vcpu),
            pollers: false,
        }
    }

    /// Starts a poll by `vcpu`: from now on any event of the domain wakes it.
    ///
    /// The caller then marks the vcpu blocked, asks [`EventChannels::is_pending`] for every port, narrows to one with
    /// [`EventChannels::poll_only`] if there is but one, and goes to sleep, or calls [`EventChannels::poll_end`]. In
    /// this order no event is missed.
    /// # Source
    /// `public/sched.h`, SCHEDOP_poll.
    pub fn poll_begin(&self, vcpu: VcpuId) {
        self.set_polling(vcpu, POLL_ANY);
    }

    /// Narrows `vcpu`'s poll to `port`.
    pub fn poll_only(&self, vcpu: VcpuId, port: EvtchnPort) {
        if let Some(events) = self.vcpu(vcpu) {
            // Fails if an event came and ended the poll; the vcpu is awake then.
            let _ = events
                .polling
                .compare_exchange(POLL_ANY, port.0, SeqCst, SeqCst);
        }
    }

    /// Ends `vcpu`'s poll; to be called whenever a polling vcpu is woken for another reason.
    pub fn poll_end(&self, vcpu: VcpuId) {
        self.set_polling(vcpu, POLL_NONE);
    }

    fn set_polling(&self, vcpu: VcpuId, what: u32) {
        let Some(events) = self.vcpu(vcpu) else {
            return;
        };
        let was = events.polling.swap(what, SeqCst);
        match (was == POLL_NONE, what == POLL_NONE) {
            (true, false) => _ = self.nr_pollers.fetch_add(1, SeqCst),
            (false, true) => _ = self.nr_pollers.fetch_sub(1, SeqCst),
            _ => {}
        }
    }

    /// Ends the polls that `port` satisfies and names each such vcpu to `wake`. For [`Raised::pollers`].
    pub fn wake_pollers(&self, port: EvtchnPort, mut wake: impl FnMut(VcpuId)) {
        for (id, events) in (0u32..).zip(self.vcpus.iter()) {
            // Again if it narrows its poll just now.
            let ended = events.polling.fetch_update(SeqCst, SeqCst, |polled| {
                (polled != POLL_NONE && (polled == POLL_ANY || polled == port.0))
                    .then_some(POLL_NONE)
            });
            if ended.is_ok() {
                self.nr_pollers.fetch_sub(1, SeqCst);
                wake(VcpuId(id));
            }
        }
    }
}
