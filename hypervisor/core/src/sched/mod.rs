//! Which vcpu runs on which CPU.
//!
//! A [`Scheduler`] knows vcpus only as entries it was given, whether each is awake, and where it may run. It switches
//! nothing itself: it answers "run this one here, until then" and "that CPU should ask again". `registry.rs` lists the
//! schedulers for the boot option `sched=`; `round_robin.rs` is one. `runstate.rs` accounts what became of a vcpu's time.
//!
//! How a CPU works with it:
//! 1. [`Scheduler::schedule`] when the CPU's timer says so, when it was kicked, when its vcpu slept, or when
//!    [`Scheduler::yield_now`] tells it to.
//! 2. If the answer is another vcpu: save the registers of the old one, then [`Scheduler::saved`], then run the new one.
//!
//! Neither caller nor scheduler holds a lock of its own across these calls; a scheduler's locks are innermost.

mod bvt;
mod cpus;
mod params;
mod registry;
mod round_robin;
mod runstate;

#[cfg(test)]
mod tests;

pub use bvt::Bvt;
pub use params::{Affinity, DEFAULT_WEIGHT, MAX_WEIGHT, Params, Tunables, Warp};
pub use registry::{DEFAULT_SCHEDULER, SCHEDULERS, SchedulerEntry, scheduler_named};
pub use round_robin::RoundRobin;
pub use runstate::{IdleTime, Runstate, RunstateInfo, RunstateKind};

use rexen_abi::errno::Errno;

use crate::units::{CpuId, CpuMask, DomId, Nanos, VcpuId};

/// A vcpu of some domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuRef {
    /// The domain.
    pub dom: DomId,
    /// The vcpu in it.
    pub vcpu: VcpuId,
}

/// A vcpu's entry in the scheduler, from [`Scheduler::insert`] to [`Scheduler::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchedId(pub(crate) u32);

impl SchedId {
    /// A small number, for tables indexed by entry.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a CPU should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The vcpu to run; `None` to be idle.
    pub next: Option<(SchedId, VcpuRef)>,
    /// When to ask again at the latest; `None` if nobody else waits for this CPU.
    pub until: Option<Nanos>,
    /// An idle CPU that could run someone who waits for this one: it should ask too.
    pub kick: Option<CpuId>,
}

/// A CPU that must call [`Scheduler::schedule`], and by when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The CPU.
    pub cpu: CpuId,
    /// Now, or later: then a timer will do, if the CPU sets it. It may ask sooner.
    pub by: Nanos,
}

/// Why a scheduler refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedError {
    /// No memory for another vcpu.
    NoMemory,
    /// The affinity names no CPU that is online.
    NoCpu,
    /// The vcpu is awake, or its registers are still on a CPU.
    Busy,
    /// There is no such entry, or no vcpu of that domain.
    NoVcpu,
    /// This scheduler has no such thing to set.
    Unsupported,
    /// It has, but not to this value.
    BadValue,
}

impl From<SchedError> for Errno {
    fn from(error: SchedError) -> Self {
        match error {
            SchedError::NoMemory => Errno::ENOMEM,
            SchedError::NoCpu => Errno::EINVAL,
            SchedError::Busy => Errno::EBUSY,
            SchedError::NoVcpu => Errno::ENOENT,
            SchedError::Unsupported => Errno::EOPNOTSUPP,
            SchedError::BadValue => Errno::EINVAL,
        }
    }
}

/// A scheduling policy. All methods may be called from any CPU at any time.
///
/// Where a method gives a CPU, that CPU must call [`Scheduler::schedule`] soon: interrupt it, or, if it is the caller's
/// own, do it before going back to a guest.
pub trait Scheduler: Send + Sync {
    /// Its name in the boot option `sched=`.
    fn name(&self) -> &'static str;

    /// The XEN_SCHEDULER_* number under which toolstacks know it, or one with the same parameters.
    fn number(&self) -> u32;

    /// Lets `cpu` be used from now on; it should call [`Scheduler::schedule`] next.
    fn cpu_online(&self, cpu: CpuId);

    /// Adds a vcpu that may run on `affinity`. It starts asleep.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM). `NoCpu` (EINVAL): no CPU of `affinity` is online.
    fn insert(&self, who: VcpuRef, affinity: CpuMask) -> Result<SchedId, SchedError>;

    /// Forgets a vcpu.
    ///
    /// # Errors
    /// `Busy` (EBUSY): put it to sleep, and wait for the CPU to save it, first. `NoVcpu` (ENOENT).
    fn remove(&self, id: SchedId) -> Result<(), SchedError>;

    /// The vcpu wants to run. Waking twice is waking once.
    fn wake(&self, id: SchedId, now: Nanos) -> Option<Ask>;

    /// The vcpu must not run until woken. It may go on running until the CPU that this gives has asked again.
    fn sleep(&self, id: SchedId) -> Option<CpuId>;

    /// Changes where a vcpu runs.
    ///
    /// # Errors
    /// `NoCpu` (EINVAL): no CPU of `affinity.hard` is online. `NoVcpu` (ENOENT).
    fn set_affinity(
        &self,
        id: SchedId,
        affinity: Affinity,
        now: Nanos,
    ) -> Result<Option<CpuId>, SchedError>;

    /// Where a vcpu runs, as it was set.
    ///
    /// # Errors
    /// `NoVcpu` (ENOENT).
    fn affinity(&self, id: SchedId) -> Result<Affinity, SchedError>;

    /// The CPU that a vcpu is on, or was on or waited for last.
    fn cpu_of(&self, id: SchedId) -> Option<CpuId>;

    /// A domain's part.
    ///
    /// # Errors
    /// `NoVcpu` (ENOENT): the domain has no vcpu yet. `Unsupported` (EOPNOTSUPP): all are equal here.
    fn params(&self, dom: DomId) -> Result<Params, SchedError> {
        let _ = dom;
        Err(SchedError::Unsupported)
    }

    /// Changes a domain's part.
    ///
    /// # Errors
    /// As [`Scheduler::params`]. `BadValue` (EINVAL).
    fn set_params(&self, dom: DomId, params: &Params) -> Result<(), SchedError> {
        let _ = (dom, params);
        Err(SchedError::Unsupported)
    }

    /// What holds for all.
    ///
    /// # Errors
    /// `Unsupported` (EOPNOTSUPP).
    fn tunables(&self) -> Result<Tunables, SchedError> {
        Err(SchedError::Unsupported)
    }

    /// Changes what holds for all.
    ///
    /// # Errors
    /// `Unsupported` (EOPNOTSUPP). `BadValue` (EINVAL).
    fn set_tunables(&self, tunables: &Tunables) -> Result<(), SchedError> {
        let _ = tunables;
        Err(SchedError::Unsupported)
    }

    /// The vcpu on `cpu` offers its place. Tells whether `cpu` should now ask; if not, nobody waits for it.
    fn yield_now(&self, cpu: CpuId) -> bool;

    /// Decides what `cpu` does from `now` on.
    fn schedule(&self, cpu: CpuId, now: Nanos) -> Decision;

    /// The registers of `id`, which the last decision took off its CPU, are saved: it may run elsewhere now.
    fn saved(&self, id: SchedId) -> Option<CpuId>;

    /// Whether the vcpu is on a CPU, or its registers still are; false if there is no such entry.
    fn is_on_cpu(&self, id: SchedId) -> bool;
}
