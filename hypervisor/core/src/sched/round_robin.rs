//! Round robin: each CPU has a queue, each vcpu a turn of 10 ms of running.
//!
//! A vcpu keeps what is left of its turn while it sleeps. Waking with some left it goes to the front, and takes the CPU
//! from a vcpu that has run for [`RATE_LIMIT_NS`]: so interrupts are served soon even beside busy vcpus. With its turn used
//! up it goes to the back, and gets a new one when it is chosen. However often a vcpu sleeps, it thus runs at most one turn
//! between two turns of any other.
//!
//! A waking vcpu goes to an idle CPU if it may run on one, and a CPU that would be idle takes a vcpu from another's queue.
//! Without company a vcpu runs on with no timer.
//!
//! One lock holds everything. Calls are short and rare next to everything else, and with one lock a vcpu cannot be in two
//! places. Only yielding looks first, without the lock, whether anyone waits.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rexen_abi::domctl::XEN_SCHEDULER_NULL;

use super::cpus::{first_from, members};
use super::{Affinity, Ask, Decision, SchedError, SchedId, Scheduler, VcpuRef};
use crate::sync::Mutex;
use crate::units::{CpuId, CpuMask, MAX_CPUS, Nanos};

/// A turn.
pub(super) const TURN_NS: u64 = 10_000_000;
/// How long a vcpu runs at least before a waking one takes its CPU.
pub(super) const RATE_LIMIT_NS: u64 = 500_000;

/// No entry, in a list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Queued(CpuId),
    Current(CpuId),
}

struct Entry {
    /// `None`: the entry is free.
    who: Option<VcpuRef>,
    affinity: CpuMask,
    /// Kept for who asks; of CPUs that are idle, one of these is taken first.
    soft: CpuMask,
    awake: bool,
    place: Place,
    /// Where its registers are, from being chosen until [`Scheduler::saved`].
    on_cpu: Option<CpuId>,
    /// Where it ran or was queued last.
    home: CpuId,
    /// Nanoseconds left of its turn.
    left: u64,
    /// It is at the front of a queue because it woke, and may take the CPU.
    eager: bool,
    next: u32,
    prev: u32,
}

#[derive(Clone, Copy)]
struct Cpu {
    first: u32,
    last: u32,
    nr_queued: u32,
    current: Option<SchedId>,
    /// When the current vcpu was put on, and up to when it was charged.
    since: Nanos,
    charged: Nanos,
    yielding: bool,
}

struct State {
    entries: Vec<Entry>,
    free: Vec<u32>,
    cpus: [Cpu; MAX_CPUS],
    online: CpuMask,
    /// CPUs with nothing to do, and not yet kicked to look again.
    idle: CpuMask,
    nr_queued: u32,
}

/// The scheduler `rr`.
pub struct RoundRobin {
    state: Mutex<State>,
    /// Each CPU's queue length, for a look without the lock.
    waiting: [AtomicU32; MAX_CPUS],
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl RoundRobin {
    /// A scheduler with no CPU and no vcpu.
    pub fn new() -> Self {
        let cpu = Cpu {
            first: NONE,
            last: NONE,
            nr_queued: 0,
            current: None,
            since: Nanos(0),
            charged: Nanos(0),
            yielding: false,
        };
        RoundRobin {
            state: Mutex::new(State {
                entries: Vec::new(),
                free: Vec::new(),
                cpus: [cpu; MAX_CPUS],
                online: CpuMask::EMPTY,
                idle: CpuMask::EMPTY,
                nr_queued: 0,
            }),
            waiting: [const { AtomicU32::new(0) }; MAX_CPUS],
        }
    }

    /// Runs `f` on the locked state.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut State, &[AtomicU32; MAX_CPUS]) -> R) -> R {
        f(&mut self.state.lock(), &self.waiting)
    }
}

type Waiting = [AtomicU32; MAX_CPUS];

fn at(cpu: CpuId) -> usize {
    cpu.0 as usize % MAX_CPUS
}

impl State {
    fn entry(&mut self, id: SchedId) -> Option<&mut Entry> {
        self.entries
            .get_mut(id.index())
            .filter(|entry| entry.who.is_some())
    }

    /// Puts an awake vcpu on the queue of `cpu`.
    fn enqueue(&mut self, waiting: &Waiting, id: SchedId, cpu: CpuId, front: bool) {
        let queue = self.cpus[at(cpu)];
        let Some(entry) = self.entry(id) else { return };
        entry.place = Place::Queued(cpu);
        entry.home = cpu;
        (entry.prev, entry.next) = if front {
            (NONE, queue.first)
        } else {
            (queue.last, NONE)
        };
        let (prev, next) = (entry.prev, entry.next);
        self.link(cpu, prev, id.0);
        self.link_back(cpu, next, id.0);
        self.count(waiting, cpu, 1);
    }

    fn dequeue(&mut self, waiting: &Waiting, id: SchedId) {
        let Some(entry) = self.entry(id) else { return };
        let Place::Queued(cpu) = entry.place else {
            return;
        };
        entry.place = Place::Nowhere;
        let (prev, next) = (entry.prev, entry.next);
        self.link(cpu, prev, next);
        self.link_back(cpu, next, prev);
        self.count(waiting, cpu, u32::MAX);
    }

    /// Makes `next` follow `prev`, or be the first.
    fn link(&mut self, cpu: CpuId, prev: u32, next: u32) {
        match self.entries.get_mut(prev as usize) {
            Some(entry) => entry.next = next,
            None => self.cpus[at(cpu)].first = next,
        }
    }

    /// Makes `prev` precede `next`, or be the last.
    fn link_back(&mut self, cpu: CpuId, next: u32, prev: u32) {
        match self.entries.get_mut(next as usize) {
            Some(entry) => entry.prev = prev,
            None => self.cpus[at(cpu)].last = prev,
        }
    }

    fn count(&mut self, waiting: &Waiting, cpu: CpuId, change: u32) {
        let queue = &mut self.cpus[at(cpu)];
        queue.nr_queued = queue.nr_queued.wrapping_add(change);
        self.nr_queued = self.nr_queued.wrapping_add(change);
        waiting[at(cpu)].store(queue.nr_queued, Relaxed);
    }

    /// Queues an awake vcpu that is nowhere, where it will run soonest. Gives the CPU that must ask.
    fn place(&mut self, waiting: &Waiting, id: SchedId) -> Option<CpuId> {
        let (nr_online, idle) = (self.online, self.idle);
        let entry = self.entry(id)?;
        let allowed = CpuMask(entry.affinity.0 & nr_online.0);
        let may = |cpu: CpuId| allowed.contains(cpu).then_some(cpu);
        let home = entry.on_cpu.and_then(may).unwrap_or(entry.home);
        let pinned_home = entry.on_cpu.is_some();
        let keeps_turn = entry.left > 0;
        entry.eager = keeps_turn;
        let idle = CpuMask(idle.0 & allowed.0);
        let better = CpuMask(idle.0 & entry.soft.0);
        let idle = if better.is_empty() { idle } else { better };
        // While its registers are still on a CPU no other can run it.
        let idle_cpu = match idle.contains(home) || pinned_home {
            true => idle.contains(home).then_some(home),
            false => first_from(idle, home),
        };
        if let Some(cpu) = idle_cpu {
            self.idle = self.idle.without(cpu);
            self.enqueue(waiting, id, cpu, keeps_turn);
            return Some(cpu);
        }
        let cpu = if pinned_home && allowed.contains(home) {
            home
        } else {
            self.shortest(allowed, home)?
        };
        // A CPU with a queue has a timer set already; one whose vcpu runs alone has not.
        let must_ask = keeps_turn || self.cpus[at(cpu)].nr_queued == 0;
        self.enqueue(waiting, id, cpu, keeps_turn);
        must_ask.then_some(cpu)
    }

    /// The CPU of `allowed` with the shortest queue; `home` among equals.
    fn shortest(&self, allowed: CpuMask, home: CpuId) -> Option<CpuId> {
        members(allowed).min_by_key(|cpu| (self.cpus[at(*cpu)].nr_queued, *cpu != home))
    }

    /// Takes the first vcpu that `cpu` may run off its own queue, or else off another's.
    fn take(&mut self, waiting: &Waiting, cpu: CpuId) -> Option<SchedId> {
        if self.nr_queued == 0 {
            return None;
        }
        let found = self.runnable_in(cpu, cpu).or_else(|| {
            // From the next CPU on, so that not all come to the same one.
            let after = CpuMask(self.online.without(cpu).0.rotate_right(cpu.0 % 64));
            members(after)
                .map(|step| CpuId((step.0 + cpu.0) % 64))
                .find_map(|other| self.runnable_in(other, cpu))
        })?;
        self.dequeue(waiting, found);
        Some(found)
    }

    /// The first vcpu in the queue of `queue` that `cpu` may run now.
    fn runnable_in(&self, queue: CpuId, cpu: CpuId) -> Option<SchedId> {
        let mut next = self.cpus[at(queue)].first;
        while let Some(entry) = self.entries.get(next as usize) {
            if entry.affinity.contains(cpu) && entry.on_cpu.is_none_or(|on| on == cpu) {
                return Some(SchedId(next));
            }
            next = entry.next;
        }
        None
    }

    /// Charges the vcpu on `cpu` for its time up to `now`.
    fn charge(&mut self, cpu: CpuId, now: Nanos) {
        let run = now.0.saturating_sub(self.cpus[at(cpu)].charged.0);
        self.cpus[at(cpu)].charged = now;
        if let Some(entry) = self.cpus[at(cpu)].current.and_then(|id| self.entry(id)) {
            entry.left = entry.left.saturating_sub(run);
        }
    }

    /// Whether the current vcpu of `cpu` stays on, and until when.
    fn stays(&mut self, cpu: CpuId, now: Nanos) -> Option<Decision> {
        let queue = self.cpus[at(cpu)];
        let id = queue.current?;
        let waiter = self.runnable_in(cpu, cpu);
        let eager = waiter
            .and_then(|id| self.entry(id))
            .is_some_and(|entry| entry.eager);
        let entry = self.entry(id)?;
        if !entry.awake || !entry.affinity.contains(cpu) {
            return None;
        }
        let next = Some((id, entry.who?));
        if waiter.is_none() {
            if entry.left == 0 {
                entry.left = TURN_NS;
            }
            return Some(Decision {
                next,
                until: None,
                kick: None,
            });
        }
        let safe_until = queue.since.0.saturating_add(RATE_LIMIT_NS);
        if queue.yielding || entry.left == 0 || (eager && now.0 >= safe_until) {
            return None;
        }
        let turn_end = now.0.saturating_add(entry.left);
        let until = if eager {
            turn_end.min(safe_until)
        } else {
            turn_end
        };
        Some(Decision {
            next,
            until: Some(Nanos(until)),
            kick: self.helper(cpu),
        })
    }

    /// An idle CPU that may run one of those who wait for `cpu`; it counts as kicked.
    fn helper(&mut self, cpu: CpuId) -> Option<CpuId> {
        let helper = members(self.idle).find(|idle| self.runnable_in(cpu, *idle).is_some())?;
        self.idle = self.idle.without(helper);
        Some(helper)
    }

    /// Takes the current vcpu off `cpu`. If it is awake it is queued again: at the back if its turn is over, or at the
    /// front if a waking one took its place.
    fn put_down(&mut self, waiting: &Waiting, cpu: CpuId) {
        let yielding = core::mem::take(&mut self.cpus[at(cpu)].yielding);
        let Some(id) = self.cpus[at(cpu)].current.take() else {
            return;
        };
        let online = self.online;
        let Some(entry) = self.entry(id) else { return };
        entry.place = Place::Nowhere;
        if !entry.awake {
            return;
        }
        if yielding {
            entry.left = 0;
        }
        let front = entry.left > 0;
        entry.eager = false;
        let allowed = CpuMask(entry.affinity.0 & online.0);
        let home = if allowed.contains(cpu) {
            Some(cpu)
        } else {
            self.shortest(allowed, cpu)
        };
        if let Some(home) = home {
            self.enqueue(waiting, id, home, front);
        }
    }

    fn schedule(&mut self, waiting: &Waiting, cpu: CpuId, now: Nanos) -> Decision {
        self.charge(cpu, now);
        self.idle = self.idle.without(cpu);
        if let Some(decision) = self.stays(cpu, now) {
            self.cpus[at(cpu)].yielding = false;
            return decision;
        }
        // The waiter goes first: put down, the old vcpu may come to stand before it.
        let taken = self.take(waiting, cpu);
        self.put_down(waiting, cpu);
        let Some(id) = taken.or_else(|| self.take(waiting, cpu)) else {
            self.idle = CpuMask(self.idle.0 | CpuMask::one(cpu).0);
            return Decision {
                next: None,
                until: None,
                kick: None,
            };
        };
        let queue = &mut self.cpus[at(cpu)];
        queue.current = Some(id);
        queue.since = now;
        queue.yielding = false;
        if let Some(entry) = self.entry(id) {
            entry.place = Place::Current(cpu);
            entry.on_cpu = Some(cpu);
            entry.home = cpu;
            entry.eager = false;
            if entry.left == 0 {
                entry.left = TURN_NS;
            }
        }
        self.stays(cpu, now).unwrap_or(Decision {
            next: None,
            until: None,
            kick: None,
        })
    }
}

impl Scheduler for RoundRobin {
    fn name(&self) -> &'static str {
        "rr"
    }

    fn number(&self) -> u32 {
        // The one without parameters.
        XEN_SCHEDULER_NULL
    }

    fn cpu_online(&self, cpu: CpuId) {
        self.with(|state, _| state.online = CpuMask(state.online.0 | CpuMask::one(cpu).0));
    }

    fn insert(&self, who: VcpuRef, affinity: CpuMask) -> Result<SchedId, SchedError> {
        self.with(|state, _| {
            let allowed = CpuMask(affinity.0 & state.online.0);
            let first = allowed.iter().next().ok_or(SchedError::NoCpu)?;
            // Vcpus start out spread over the CPUs that they may use.
            let home = first_from(allowed, CpuId(who.vcpu.0 % MAX_CPUS as u32)).unwrap_or(first);
            let entry = Entry {
                who: Some(who),
                affinity,
                soft: CpuMask(u64::MAX),
                awake: false,
                place: Place::Nowhere,
                on_cpu: None,
                home,
                left: TURN_NS,
                eager: false,
                next: NONE,
                prev: NONE,
            };
            if let Some(index) = state.free.pop() {
                if let Some(old) = state.entries.get_mut(index as usize) {
                    *old = entry;
                }
                return Ok(SchedId(index));
            }
            let index = u32::try_from(state.entries.len()).map_err(|_| SchedError::NoMemory)?;
            state
                .entries
                .try_reserve(1)
                .map_err(|_| SchedError::NoMemory)?;
            // Freeing an entry must never need memory.
            let nr_entries = state.entries.len() + 1 - state.free.len();
            state
                .free
                .try_reserve(nr_entries)
                .map_err(|_| SchedError::NoMemory)?;
            state.entries.push(entry);
            Ok(SchedId(index))
        })
    }

    fn remove(&self, id: SchedId) -> Result<(), SchedError> {
        self.with(|state, _| {
            let entry = state.entry(id).ok_or(SchedError::NoVcpu)?;
            if entry.awake || entry.place != Place::Nowhere || entry.on_cpu.is_some() {
                return Err(SchedError::Busy);
            }
            entry.who = None;
            state.free.push(id.0);
            Ok(())
        })
    }

    fn wake(&self, id: SchedId, now: Nanos) -> Option<Ask> {
        self.with(|state, waiting| {
            let entry = state.entry(id)?;
            if core::mem::replace(&mut entry.awake, true) || entry.place != Place::Nowhere {
                return None;
            }
            let cpu = state.place(waiting, id)?;
            Some(Ask { cpu, by: now })
        })
    }

    fn sleep(&self, id: SchedId) -> Option<CpuId> {
        self.with(|state, waiting| {
            let entry = state.entry(id)?;
            entry.awake = false;
            match entry.place {
                Place::Current(cpu) => Some(cpu),
                Place::Queued(_) => {
                    state.dequeue(waiting, id);
                    None
                }
                Place::Nowhere => None,
            }
        })
    }

    fn set_affinity(
        &self,
        id: SchedId,
        affinity: Affinity,
        _now: Nanos,
    ) -> Result<Option<CpuId>, SchedError> {
        self.with(|state, waiting| {
            if affinity.hard.0 & state.online.0 == 0 {
                return Err(SchedError::NoCpu);
            }
            let entry = state.entry(id).ok_or(SchedError::NoVcpu)?;
            (entry.affinity, entry.soft) = (affinity.hard, affinity.soft);
            Ok(match entry.place {
                Place::Current(cpu) => (!affinity.hard.contains(cpu)).then_some(cpu),
                Place::Queued(_) => {
                    state.dequeue(waiting, id);
                    state.place(waiting, id)
                }
                Place::Nowhere => None,
            })
        })
    }

    fn affinity(&self, id: SchedId) -> Result<Affinity, SchedError> {
        self.with(|state, _| {
            let entry = state.entry(id).ok_or(SchedError::NoVcpu)?;
            Ok(Affinity {
                hard: entry.affinity,
                soft: entry.soft,
            })
        })
    }

    fn cpu_of(&self, id: SchedId) -> Option<CpuId> {
        self.with(|state, _| {
            let entry = state.entry(id)?;
            Some(entry.on_cpu.unwrap_or(entry.home))
        })
    }

    #[inline]
    fn yield_now(&self, cpu: CpuId) -> bool {
        if self.waiting[at(cpu)].load(Relaxed) == 0 {
            return false;
        }
        self.with(|state, _| state.cpus[at(cpu)].yielding = true);
        true
    }

    fn schedule(&self, cpu: CpuId, now: Nanos) -> Decision {
        self.with(|state, waiting| state.schedule(waiting, cpu, now))
    }

    fn saved(&self, id: SchedId) -> Option<CpuId> {
        self.with(|state, waiting| {
            let (idle, online) = (state.idle, state.online);
            let entry = state.entry(id)?;
            if matches!(entry.place, Place::Current(_)) {
                return None;
            }
            let was_on = entry.on_cpu.take()?;
            let Place::Queued(queue) = entry.place else {
                return None;
            };
            // It waited for its registers: an idle CPU may have passed it over, or its own new CPU not have been told.
            let idle = CpuMask(idle.0 & entry.affinity.0 & online.0);
            if let Some(cpu) = first_from(idle, queue) {
                let front = entry.left > 0;
                state.idle = state.idle.without(cpu);
                state.dequeue(waiting, id);
                state.enqueue(waiting, id, cpu, front);
                return Some(cpu);
            }
            (queue != was_on).then_some(queue)
        })
    }

    fn is_on_cpu(&self, id: SchedId) -> bool {
        self.with(|state, _| state.entry(id).is_some_and(|entry| entry.on_cpu.is_some()))
    }
}
