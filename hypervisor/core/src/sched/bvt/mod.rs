//! Borrowed virtual time, after Duda and Cheriton (SOSP 1999), for many CPUs: the scheduler `bvt`.
//!
//! Each vcpu has its **actual virtual time**: what it ran, over its share of its domain's weight, which the domain's
//! vcpus that are awake share equally. Whoever has the least goes first. To switch less often, the running vcpu may get
//! ahead of who waits by [`Tunables::turn`]. A vcpu that wakes keeps its virtual time, or starts at the present *level*
//! if that is later: sleeping saves nothing up. It takes the CPU from a vcpu that is ahead of it, once that has run for
//! [`Tunables::rate_limit`]. A **warped** vcpu is ordered by an effective virtual time that is less by a constant: it
//! comes sooner, but is charged the same, so it borrows from its own future.
//!
//! **Many CPUs share one queue**, ordered by effective virtual time, so that the shares hold for the machine and not for
//! each CPU on its own: of three equal vcpus on two CPUs each gets two thirds. A CPU takes the first that may run there;
//! one from another CPU, or that would rather run elsewhere, counts as a little later than it is. Going to another CPU
//! needs no translation of virtual time. What it does need is bounds, for not all shares can be had: pinned vcpus crowd
//! one CPU while another has room, and a lone vcpu cannot use two CPUs whatever its weight.
//! - A vcpu is not charged while nobody else could use its CPU.
//! - Each CPU knows its level, the latest virtual time at which it took a vcpu. A vcpu it takes is at most [`LAG_NS`]
//!   behind that, and no vcpu is ahead of it by more than that time of its own running.
//! - A vcpu that keeps its CPU all the time stays within that of the first in the queue.
//!
//! So who was kept back or had it easy for an hour pays or gains for half a second, not for an hour. It is no less, because
//! a machine below this one may take a CPU away for a while, which looks like a long run and has to be charged.
//!
//! One lock holds everything. Calls are short and rare next to everything else, and with one lock a vcpu cannot be in two
//! places. Only yielding looks first, without the lock, whether anyone waits.

mod members;
mod state;
mod virtual_time;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rexen_abi::domctl::XEN_SCHEDULER_CREDIT;

use super::{
    Affinity, Ask, Decision, MAX_WEIGHT, Params, SchedError, SchedId, Scheduler, Tunables,
};
use crate::sched::VcpuRef;
use crate::sync::Mutex;
use crate::units::{CpuId, CpuMask, DomId, Nanos};
use state::State;

/// What the context-switch allowance is at first, as in Xen 2.0.
pub(super) const TURN_NS: u64 = 5_000_000;
/// What the rate limit is at first.
pub(super) const RATE_LIMIT_NS: u64 = 500_000;
/// How much running lies between what is compared, at most: more than a CPU is away for, in a machine of someone else's.
pub(super) const LAG_NS: u64 = 500_000_000;
/// The longest that may be set for turn, rate limit and warp.
const LONGEST_NS: u64 = 1_000_000_000;

/// The scheduler `bvt`.
pub struct Bvt {
    state: Mutex<State>,
    /// How many wait, for a look without the lock.
    waiting: AtomicU32,
}

impl Default for Bvt {
    fn default() -> Self {
        Self::new()
    }
}

impl Bvt {
    /// A scheduler with no CPU and no vcpu.
    pub fn new() -> Self {
        Bvt {
            state: Mutex::new(State::new()),
            waiting: AtomicU32::new(0),
        }
    }

    /// Runs `f` on the locked state.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = f(&mut state);
        self.waiting.store(state.nr_waiting(), Relaxed);
        result
    }
}

impl Scheduler for Bvt {
    fn name(&self) -> &'static str {
        "bvt"
    }

    fn number(&self) -> u32 {
        // Toolstacks know no number of BVT. Credit has weights, and means the same by them.
        XEN_SCHEDULER_CREDIT
    }

    fn cpu_online(&self, cpu: CpuId) {
        self.with(|state| state.cpu_online(cpu));
    }

    fn insert(&self, who: VcpuRef, affinity: CpuMask) -> Result<SchedId, SchedError> {
        self.with(|state| state.insert(who, affinity))
    }

    fn remove(&self, id: SchedId) -> Result<(), SchedError> {
        self.with(|state| state.remove(id))
    }

    fn wake(&self, id: SchedId, now: Nanos) -> Option<Ask> {
        self.with(|state| state.wake(id, now))
    }

    fn sleep(&self, id: SchedId) -> Option<CpuId> {
        self.with(|state| state.sleep(id))
    }

    fn set_affinity(
        &self,
        id: SchedId,
        affinity: Affinity,
        now: Nanos,
    ) -> Result<Option<CpuId>, SchedError> {
        self.with(|state| state.set_affinity(id, affinity, now))
    }

    fn affinity(&self, id: SchedId) -> Result<Affinity, SchedError> {
        self.with(|state| state.affinity(id))
    }

    fn cpu_of(&self, id: SchedId) -> Option<CpuId> {
        self.with(|state| state.cpu_of(id))
    }

    fn params(&self, dom: DomId) -> Result<Params, SchedError> {
        self.with(|state| state.params(dom))
    }

    fn set_params(&self, dom: DomId, params: &Params) -> Result<(), SchedError> {
        let warp = params.warp;
        let longest = warp.by.max(warp.limit).max(warp.pause);
        if !(1..=MAX_WEIGHT).contains(&params.weight) || longest.0 > LONGEST_NS {
            return Err(SchedError::BadValue);
        }
        self.with(|state| state.set_params(dom, params))
    }

    fn tunables(&self) -> Result<Tunables, SchedError> {
        Ok(self.with(|state| state.tunables))
    }

    fn set_tunables(&self, tunables: &Tunables) -> Result<(), SchedError> {
        let turns = 100_000..=LONGEST_NS / 10;
        if !turns.contains(&tunables.turn.0) || tunables.rate_limit > tunables.turn {
            return Err(SchedError::BadValue);
        }
        self.with(|state| state.tunables = *tunables);
        Ok(())
    }

    #[inline]
    fn yield_now(&self, cpu: CpuId) -> bool {
        if self.waiting.load(Relaxed) == 0 {
            return false;
        }
        self.with(|state| state.yield_now(cpu));
        true
    }

    fn schedule(&self, cpu: CpuId, now: Nanos) -> Decision {
        self.with(|state| state.schedule(cpu, now))
    }

    fn saved(&self, id: SchedId) -> Option<CpuId> {
        self.with(|state| state.saved(id))
    }

    fn is_on_cpu(&self, id: SchedId) -> bool {
        self.with(|state| state.is_on_cpu(id))
    }
}
