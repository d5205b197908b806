//! A domain's ports: allocating, binding, closing.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::SeqCst;

use super::fifo::{FIFO_NR_CHANNELS, Fifo};
use super::port::{MAX_PAYLOAD, PortState, PortStatus, PortWord};
use super::two_level::TWO_LEVEL_NR_CHANNELS;
use super::vcpu::VcpuEvents;
use super::{EvtchnError, Priority, Raised, SharedFrames, Virq};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use crate::sync::{Mutex, MutexGuard, Relax};
use crate::units::{DomId, EvtchnPort, Mfn, Pirq, VcpuId};

/// A cell that is filled once.
type Once<T> = spin::once::Once<T, Relax>;

const CHUNK: usize = 256;
const CHUNK_SHIFT: u32 = 8;

/// One port.
pub(super) struct Slot {
    /// A [`PortWord`].
    pub word: AtomicU64,
    /// The FIFO queue that the port was last put on, and whether it was raised before its array page existed.
    pub queue: AtomicU32,
}

/// A port that was found not closed, with its word of that moment.
#[derive(Clone, Copy)]
pub(super) struct OpenPort<'a> {
    pub port: EvtchnPort,
    pub slot: &'a Slot,
    pub word: PortWord,
}

/// What only binding and closing touch.
pub(super) struct Admin {
    /// A bit per port, set while the port is not free. Bit 0 is always set.
    used: Vec<u64>,
    /// No free port is below this.
    lowest: u32,
    /// Where [`EventChannels::close_next`] goes on; 0 if all ports are not being closed.
    closing: u32,
    dying: bool,
}

/// Reaches the event channels of other domains, for the far ends of channels.
///
/// It is called with the admin lock of one domain held, and the closure takes no lock.
pub trait Peers {
    /// Calls `f` with the event channels of `dom`, if there is such a domain.
    fn with_peer(&self, dom: DomId, f: &mut dyn FnMut(&EventChannels));
}

/// What a port was when it was closed, for what only the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The port.
    pub port: EvtchnPort,
    /// What it was bound to. For [`PortState::Pirq`] the caller takes the interrupt from the domain, and acknowledges an
    /// instance that the guest has yet to finish.
    pub was: PortState,
    /// Whether an event was pending on it.
    pub was_pending: bool,
}

/// The event channels of one domain.
pub struct EventChannels {
    dom: DomId,
    /// Ports below this may exist, in the FIFO ABI; in the two-level ABI also not more than 4096.
    limit: u32,
    shared_info: Mfn,
    chunks: Box<[Once<Box<[Slot; CHUNK]>>]>,
    pub(super) vcpus: Box<[VcpuEvents]>,
    /// The port of each bound pirq, else 0.
    pirqs: Box<[AtomicU32]>,
    pub(super) nr_pollers: AtomicU32,
    pub(super) fifo_active: AtomicBool,
    pub(super) fifo: Fifo,
    admin: Mutex<Admin>,
}

impl EventChannels {
    /// Makes the event channels of domain `dom`: no port bound, two-level ABI.
    ///
    /// `shared_info` is the domain's shared_info frame, which stays the hypervisor's while this exists. `max_port` is the
    /// greatest port that may exist (max_evtchn_port of createdomain). There are `max_vcpus` vcpus (at most 65536) and
    /// pirqs 0 to `nr_pirqs - 1` (at most 2^24).
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): a limit is beyond those. `NoMemory` (ENOMEM).
    pub fn try_new(
        dom: DomId,
        shared_info: Mfn,
        max_vcpus: u32,
        max_port: u32,
        nr_pirqs: u32,
    ) -> Result<Self, EvtchnError> {
        if max_vcpus > 1 << 16 || nr_pirqs > MAX_PAYLOAD {
            return Err(EvtchnError::BadArgument);
        }
        let limit = max_port.saturating_add(1).clamp(2, FIFO_NR_CHANNELS);
        let mut used: Vec<u64> = Vec::new();
        used.try_reserve_exact(limit.div_ceil(64) as usize)
            .map_err(|_| EvtchnError::NoMemory)?;
        used.push(1);
        used.resize(limit.div_ceil(64) as usize, 0);
        Ok(EventChannels {
            dom,
            limit,
            shared_info,
            chunks: filled((limit as usize).div_ceil(CHUNK), |_| Once::new())?,
            vcpus: filled(max_vcpus as usize, |n| {
                VcpuEvents::new(VcpuId(n as u32), shared_info)
            })?,
            pirqs: filled(nr_pirqs as usize, |_| AtomicU32::new(0))?,
            nr_pollers: AtomicU32::new(0),
            fifo_active: AtomicBool::new(false),
            fifo: Fifo::new(),
            admin: Mutex::new(Admin {
                used,
                lowest: 1,
                closing: 0,
                dying: false,
            }),
        })
    }

    /// Whose event channels these are.
    pub fn dom(&self) -> DomId {
        self.dom
    }

    /// The domain's shared_info frame.
    pub fn shared_info(&self) -> Mfn {
        self.shared_info
    }

    /// Ports from 1 to below this may be in use under the ABI that the domain uses now.
    pub fn port_limit(&self) -> u32 {
        if self.fifo_active.load(SeqCst) {
            self.limit
        } else {
            self.limit.min(TWO_LEVEL_NR_CHANNELS)
        }
    }

    #[inline]
    pub(super) fn vcpu(&self, vcpu: VcpuId) -> Option<&VcpuEvents> {
        self.vcpus.get(usize::try_from(vcpu.0).ok()?)
    }

    #[inline]
    pub(super) fn slot(&self, port: EvtchnPort) -> Option<&Slot> {
        let chunk = self.chunks.get((port.0 >> CHUNK_SHIFT) as usize)?.get()?;
        Some(&chunk[port.0 as usize % CHUNK])
    }

    /// The port, unless it is closed.
    #[inline]
    pub(super) fn open(&self, port: EvtchnPort) -> Option<OpenPort<'_>> {
        let slot = self.slot(port)?;
        let word = PortWord(slot.word.load(SeqCst));
        (word != PortWord::CLOSED).then_some(OpenPort { port, slot, word })
    }

    /// The port's word; closed if there is no such port.
    #[inline]
    pub(super) fn word(&self, port: EvtchnPort) -> PortWord {
        self.slot(port)
            .map_or(PortWord::CLOSED, |slot| PortWord(slot.word.load(SeqCst)))
    }

    pub(super) fn admin(&self) -> MutexGuard<'_, Admin> {
        self.admin.lock()
    }

    pub(super) fn pirq_port(&self, pirq: Pirq) -> Option<&AtomicU32> {
        self.pirqs.get(usize::try_from(pirq.0).ok()?)
    }

    /// Takes the lowest free port and binds it to `state`.
    fn allocate<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        admin: &mut Admin,
        state: PortState,
        vcpu: VcpuId,
    ) -> Result<EvtchnPort, EvtchnError> {
        if admin.dying {
            return Err(EvtchnError::Dying);
        }
        let limit = self.port_limit();
        let mut from = admin.lowest;
        let mut is_lowest = true;
        while let Some(port) = admin.next_free(from).filter(|port| port.0 < limit) {
            let slot = self.make_slot(port)?;
            // A port that is still on a queue of its former life would be delivered there: leave it for later.
            if self.is_linked(frames, port) {
                if is_lowest {
                    admin.lowest = port.0;
                    is_lowest = false;
                }
                from = port.0 + 1;
                continue;
            }
            if is_lowest {
                admin.lowest = port.0 + 1;
            }
            admin.mark_used(port);
            slot.word.store(PortWord::new(state, vcpu).0, SeqCst);
            return Ok(port);
        }
        Err(EvtchnError::NoFreePort)
    }

    fn make_slot(&self, port: EvtchnPort) -> Result<&Slot, EvtchnError> {
        let once = self
            .chunks
            .get((port.0 >> CHUNK_SHIFT) as usize)
            .ok_or(EvtchnError::NoFreePort)?;
        let chunk = once.try_call_once(new_chunk)?;
        Ok(&chunk[port.0 as usize % CHUNK])
    }

    /// Allocates a free port that `remote` may later bind to (`remote` is a real domain number, not DOMID_SELF).
    ///
    /// The port starts unbound and nothing is sent. `remote` need not exist yet.
    ///
    /// # Errors
    /// `Dying` (EINVAL): this domain is being destroyed. `NoFreePort` (ENOSPC). `NoMemory` (ENOMEM).
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_alloc_unbound.
    pub fn alloc_unbound<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        remote: DomId,
    ) -> Result<EvtchnPort, EvtchnError> {
        self.allocate(
            frames,
            &mut self.admin(),
            PortState::Unbound { remote },
            VcpuId(0),
        )
    }

    /// Binds a new port of this domain to port `remote_port` of `remote`, which must wait for this domain.
    ///
    /// An event is raised on the new port, as the far end may have sent before it was bound. `remote` may be this domain.
    ///
    /// # Errors
    /// `WrongState` (EINVAL): the far port is not unbound, or reserved for another domain. `Dying` (EINVAL).
    /// `NoFreePort` (ENOSPC). `NoMemory` (ENOMEM).
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_bind_interdomain.
    pub fn bind_interdomain<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        remote: &EventChannels,
        remote_port: EvtchnPort,
    ) -> Result<(EvtchnPort, Raised), EvtchnError> {
        let waiting = PortState::Unbound { remote: self.dom };
        let slot = remote.slot(remote_port).ok_or(EvtchnError::BadPort)?;
        if !remote.word(remote_port).is_bound_to(waiting) {
            return Err(EvtchnError::WrongState);
        }
        let mut admin = self.admin();
        let near = PortState::Interdomain {
            remote: remote.dom,
            remote_port,
        };
        let port = self.allocate(frames, &mut admin, near, VcpuId(0))?;
        let far = PortState::Interdomain {
            remote: self.dom,
            remote_port: port,
        };
        let bound = slot.word.fetch_update(SeqCst, SeqCst, |word| {
            let word = PortWord(word);
            word.is_bound_to(waiting).then(|| word.with_state(far).0)
        });
        if bound.is_err() {
            // Closed meanwhile. That may have left our new end waiting for the other domain, which may have bound to it.
            self.close_locked(frames, &Only(remote), &mut admin, port)?;
            return Err(EvtchnError::WrongState);
        }
        // Before it can be closed, and become something else.
        let raised = self.raise(frames, port);
        drop(admin);
        Ok((port, raised))
    }

    /// Binds virtual interrupt `virq` of `vcpu` to a new port. Global ones are bound on vcpu 0.
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): global, and `vcpu` is not 0. `NoVcpu` (ENOENT). `AlreadyBound` (EEXIST). `Dying` (EINVAL).
    /// `NoFreePort` (ENOSPC). `NoMemory` (ENOMEM).
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_bind_virq.
    pub fn bind_virq<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        virq: Virq,
        vcpu: VcpuId,
    ) -> Result<EvtchnPort, EvtchnError> {
        if virq.is_global() && vcpu.0 != 0 {
            return Err(EvtchnError::BadArgument);
        }
        let bound = self.virq_port(vcpu, virq).ok_or(EvtchnError::NoVcpu)?;
        let mut admin = self.admin();
        if bound.load(SeqCst) != 0 {
            return Err(EvtchnError::AlreadyBound);
        }
        let port = self.allocate(frames, &mut admin, PortState::Virq(virq), vcpu)?;
        bound.store(port.0, SeqCst);
        Ok(port)
    }

    #[inline]
    pub(super) fn virq_port(&self, vcpu: VcpuId, virq: Virq) -> Option<&AtomicU32> {
        self.vcpu(vcpu)?.virqs.get(usize::from(virq.number()))
    }

    /// Binds a new port to interrupts that other vcpus of the domain send to `vcpu`.
    ///
    /// # Errors
    /// `NoVcpu` (ENOENT). `Dying` (EINVAL). `NoFreePort` (ENOSPC). `NoMemory` (ENOMEM).
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_bind_ipi.
    pub fn bind_ipi<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        vcpu: VcpuId,
    ) -> Result<EvtchnPort, EvtchnError> {
        self.vcpu(vcpu).ok_or(EvtchnError::NoVcpu)?;
        self.allocate(frames, &mut self.admin(), PortState::Ipi, vcpu)
    }

    /// Binds a new port, notifying vcpu 0, to physical interrupt `pirq`, which the caller found the domain to have.
    ///
    /// The caller then routes the interrupt here, and closes the port if that fails.
    ///
    /// # Errors
    /// `BadArgument` (EINVAL): no such pirq. `AlreadyBound` (EEXIST). `Dying` (EINVAL). `NoFreePort` (ENOSPC).
    /// `NoMemory` (ENOMEM).
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_bind_pirq.
    pub fn bind_pirq<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        pirq: Pirq,
    ) -> Result<EvtchnPort, EvtchnError> {
        let bound = self.pirq_port(pirq).ok_or(EvtchnError::BadArgument)?;
        let mut admin = self.admin();
        if bound.load(SeqCst) != 0 {
            return Err(EvtchnError::AlreadyBound);
        }
        let port = self.allocate(frames, &mut admin, PortState::Pirq(pirq), VcpuId(0))?;
        bound.store(port.0, SeqCst);
        Ok(port)
    }

    /// Lets `port` notify `vcpu` from its next event on. Gives the pirq to steer to that vcpu, if it is one.
    ///
    /// # Errors
    /// `NoVcpu` (ENOENT). `BadPort` (EINVAL): closed. `WrongState` (EINVAL): an IPI or per-vcpu virq, which cannot move.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_bind_vcpu.
    pub fn bind_vcpu(&self, port: EvtchnPort, vcpu: VcpuId) -> Result<Option<Pirq>, EvtchnError> {
        self.vcpu(vcpu).ok_or(EvtchnError::NoVcpu)?;
        let slot = self.slot(port).ok_or(EvtchnError::BadPort)?;
        let _admin = self.admin();
        match self.word(port).state() {
            PortState::Closed => return Err(EvtchnError::BadPort),
            PortState::Ipi => return Err(EvtchnError::WrongState),
            PortState::Virq(virq) if !virq.is_global() => return Err(EvtchnError::WrongState),
            _ => {}
        }
        // Only the far end can change the port now, and it leaves the port open.
        let old = slot
            .word
            .fetch_update(SeqCst, SeqCst, |word| {
                Some(PortWord(word).with_vcpu(vcpu).0)
            })
            .unwrap_or_else(|word| word);
        match PortWord(old).state() {
            PortState::Pirq(pirq) => Ok(Some(pirq)),
            _ => Ok(None),
        }
    }

    /// Sets the FIFO queue that `port`'s next event goes to.
    ///
    /// # Errors
    /// `BadPort` (EINVAL): closed.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_set_priority. (With the two-level ABI the hypercall says ENOSYS: see
    /// [`EventChannels::is_fifo`].)
    pub fn set_priority(&self, port: EvtchnPort, priority: Priority) -> Result<(), EvtchnError> {
        let slot = self.slot(port).ok_or(EvtchnError::BadPort)?;
        let _admin = self.admin();
        slot.word
            .fetch_update(SeqCst, SeqCst, |word| {
                let word = PortWord(word);
                (word != PortWord::CLOSED).then(|| word.with_priority(priority).0)
            })
            .map_or(Err(EvtchnError::BadPort), |_| Ok(()))
    }

    /// Tells what `port` is.
    ///
    /// # Errors
    /// `BadPort` (EINVAL): beyond the limit, or beyond the chunks that have ever held an open port, which is where the
    /// toolstack's `lsevtchn` stops to ask. A closed port is no error, and port 0 is always one.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_status.
    pub fn status(&self, port: EvtchnPort) -> Result<PortStatus, EvtchnError> {
        let is_there = (port.0 as usize) < CHUNK || self.slot(port).is_some();
        if port.0 >= self.port_limit() || !is_there {
            return Err(EvtchnError::BadPort);
        }
        let word = self.word(port);
        Ok(PortStatus {
            state: word.state(),
            vcpu: word.vcpu(),
        })
    }

    /// Closes `port`: an event pending on it is forgotten, a far end waits for this domain again.
    ///
    /// # Errors
    /// `BadPort` (EINVAL): 0, beyond the limit, or closed.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_close.
    pub fn close<F: SharedFrames + ?Sized, P: Peers + ?Sized>(
        &self,
        frames: &F,
        peers: &P,
        port: EvtchnPort,
    ) -> Result<Closed, EvtchnError> {
        let mut admin = self.admin();
        self.close_locked(frames, peers, &mut admin, port)
    }

    fn close_locked<F: SharedFrames + ?Sized, P: Peers + ?Sized>(
        &self,
        frames: &F,
        peers: &P,
        admin: &mut Admin,
        port: EvtchnPort,
    ) -> Result<Closed, EvtchnError> {
        let slot = self.slot(port).ok_or(EvtchnError::BadPort)?;
        let word = PortWord(slot.word.swap(PortWord::CLOSED.0, SeqCst));
        let was = word.state();
        match was {
            PortState::Closed => return Err(EvtchnError::BadPort),
            PortState::Unbound { .. } | PortState::Ipi => {}
            PortState::Interdomain {
                remote,
                remote_port,
            } => {
                let near = PortState::Interdomain {
                    remote: self.dom,
                    remote_port: port,
                };
                let mut part = |far: &EventChannels| far.part_from(remote_port, near);
                if remote == self.dom {
                    part(self);
                } else {
                    peers.with_peer(remote, &mut part);
                }
            }
            PortState::Pirq(pirq) => {
                if let Some(bound) = self.pirq_port(pirq) {
                    bound.store(0, SeqCst);
                }
            }
            PortState::Virq(virq) => {
                let home = if virq.is_global() {
                    VcpuId(0)
                } else {
                    word.vcpu()
                };
                if let Some(bound) = self.virq_port(home, virq) {
                    bound.store(0, SeqCst);
                }
            }
        }
        let was_pending = self.clear_pending(frames, port, word.vcpu());
        admin.mark_free(port);
        Ok(Closed {
            port,
            was,
            was_pending,
        })
    }

    /// Turns `port` back to unbound if it is bound as `near`: the other end has closed.
    fn part_from(&self, port: EvtchnPort, near: PortState) {
        let PortState::Interdomain { remote, .. } = near else {
            return;
        };
        if let Some(slot) = self.slot(port) {
            // Fails if this end was closed too; nothing is left to do then.
            let _ = slot.word.fetch_update(SeqCst, SeqCst, |word| {
                let word = PortWord(word);
                word.is_bound_to(near)
                    .then(|| word.with_state(PortState::Unbound { remote }).0)
            });
        }
    }

    /// Refuses new ports from now on; the domain is being destroyed. Then [`Self::close_next`] closes what there is.
    pub fn set_dying(&self) {
        let mut admin = self.admin();
        admin.dying = true;
        admin.closing = 1;
    }

    /// Begins to close all ports, or goes on with that; a guest may open others meanwhile, behind us.
    ///
    /// # Errors
    /// `Busy` (EBUSY): begun already, or nothing to go on with.
    /// # Source
    /// `public/event_channel.h`, EVTCHNOP_reset.
    pub fn begin_reset(&self, resume: bool) -> Result<(), EvtchnError> {
        let mut admin = self.admin();
        if resume != (admin.closing != 0) {
            return Err(EvtchnError::Busy);
        }
        admin.closing = admin.closing.max(1);
        Ok(())
    }

    /// Closes the next open port: a step of EVTCHNOP_reset and of a domain's destruction, repeated until it gives
    /// `None`. The caller may pause between steps for as long as it likes, and ends with [`Self::end_reset`].
    pub fn close_next<F: SharedFrames + ?Sized, P: Peers + ?Sized>(
        &self,
        frames: &F,
        peers: &P,
    ) -> Option<Closed> {
        let mut admin = self.admin();
        let port = admin.next_used(admin.closing.max(1))?;
        admin.closing = port.0 + 1;
        self.close_locked(frames, peers, &mut admin, port).ok()
    }

    /// Ends what [`Self::begin_reset`] or [`Self::set_dying`] began: goes back to the two-level ABI, and gives each frame of
    /// the array and the control blocks to `release`, once per use.
    ///
    /// # Errors
    /// `StillOpen` (EAGAIN): the guest opened a port meanwhile; the ABI stays.
    pub fn end_reset(&self, release: impl FnMut(Mfn)) -> Result<(), EvtchnError> {
        let mut admin = self.admin();
        admin.closing = 0;
        if admin.next_used(1).is_some() {
            return Err(EvtchnError::StillOpen);
        }
        self.end_fifo(&mut admin, release);
        Ok(())
    }
}

/// The one domain that the far end of a channel can be in.
struct Only<'a>(&'a EventChannels);

impl Peers for Only<'_> {
    fn with_peer(&self, dom: DomId, f: &mut dyn FnMut(&EventChannels)) {
        if dom == self.0.dom {
            f(self.0);
        }
    }
}

impl Admin {
    fn next_free(&self, from: u32) -> Option<EvtchnPort> {
        self.first(from, |word| !word)
    }

    fn next_used(&self, from: u32) -> Option<EvtchnPort> {
        self.first(from, |word| word)
    }

    /// The first port from `from` on whose bit is set in what `of` makes of the words of `used`.
    fn first(&self, from: u32, of: impl Fn(u64) -> u64) -> Option<EvtchnPort> {
        let start = from as usize / 64;
        let below = (1u64 << (from % 64)) - 1;
        self.used
            .iter()
            .enumerate()
            .skip(start)
            .find_map(|(index, word)| {
                let found = of(*word) & if index == start { !below } else { u64::MAX };
                (found != 0).then(|| EvtchnPort(index as u32 * 64 + found.trailing_zeros()))
            })
    }

    fn mark_used(&mut self, port: EvtchnPort) {
        if let Some(word) = self.used.get_mut(port.0 as usize / 64) {
            *word |= 1 << (port.0 % 64);
        }
    }

    fn mark_free(&mut self, port: EvtchnPort) {
        if let Some(word) = self.used.get_mut(port.0 as usize / 64) {
            *word &= !(1 << (port.0 % 64));
        }
        self.lowest = self.lowest.min(port.0);
    }
}

fn filled<T>(count: usize, make: impl FnMut(usize) -> T) -> Result<Box<[T]>, EvtchnError> {
    let mut all = Vec::new();
    all.try_reserve_exact(count)
        .map_err(|_| EvtchnError::NoMemory)?;
    all.extend((0..count).map(make));
    Ok(all.into_boxed_slice())
}

fn new_chunk() -> Result<Box<[Slot; CHUNK]>, EvtchnError> {
    let slots = filled(CHUNK, |_| Slot {
        word: AtomicU64::new(0),
        queue: AtomicU32::new(0),
    })?;
    slots.try_into().map_err(|_| EvtchnError::NoMemory)
}
