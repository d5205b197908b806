//! The state of `bvt` and what is done with it, under its lock.

use alloc::vec::Vec;

use super::virtual_time::{Rate, Virtual};
use super::{LAG_NS, RATE_LIMIT_NS, TURN_NS};
use crate::sched::cpus::{both, first_from, members};
use crate::sched::{Affinity, Ask, Decision, Params, SchedError, SchedId, Tunables, VcpuRef};
use crate::units::{CpuId, CpuMask, DomId, MAX_CPUS, Nanos};

/// How much later a vcpu counts on a CPU that it was not on last, in time of its own running.
const MIGRATION_NS: u64 = 1_000_000;
/// The same for a CPU outside its soft affinity.
const DISLIKE_NS: u64 = 10_000_000;
/// A CPU for which someone waits looks again after this time at the latest: weights and vcpus awake may have changed.
const LOOK_AGAIN_NS: u64 = 50_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Queued,
    Current(CpuId),
}

pub(super) struct Entry {
    /// `None`: the entry is free.
    pub who: Option<VcpuRef>,
    /// Index of its domain.
    pub group: usize,
    pub affinity: Affinity,
    pub awake: bool,
    pub place: Place,
    /// Where its registers are, from being chosen until [`State::saved`].
    pub on_cpu: Option<CpuId>,
    /// Where it ran last, or should.
    pub home: CpuId,
    /// Actual virtual time.
    pub actual: Virtual,
    pub warped: bool,
    /// How long it has run warped, and when it last had to stop being so.
    pub warped_for: u64,
    pub unwarped_at: Nanos,
    /// It has just woken: it waits for no turn to end.
    pub eager: bool,
}

/// A domain.
pub(super) struct Group {
    /// `None`: free.
    pub dom: Option<DomId>,
    pub params: Params,
    /// Of `params`.
    pub rate: Rate,
    pub nr_vcpus: u32,
    pub nr_awake: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Cpu {
    pub current: Option<SchedId>,
    /// When the current vcpu was put on, and up to when it was charged.
    pub since: Nanos,
    pub charged: Nanos,
    /// Nobody else could use this CPU when it last asked: what runs here is not charged.
    pub is_free: bool,
    /// When it will ask again by itself.
    pub until: Option<Nanos>,
    pub yielding: bool,
    /// The latest virtual time at which a vcpu was taken, and the earliest at which one may be.
    pub level: Virtual,
    pub floor: Virtual,
}

/// Everything.
pub(super) struct State {
    pub tunables: Tunables,
    pub entries: Vec<Entry>,
    pub free: Vec<u32>,
    pub groups: Vec<Group>,
    /// Who waits, by effective virtual time: the least is last.
    pub queue: Vec<(Virtual, SchedId)>,
    pub cpus: [Cpu; MAX_CPUS],
    pub online: CpuMask,
    /// CPUs with nothing to do, and not yet kicked to look again.
    pub idle: CpuMask,
    /// CPUs that set no timer, as nobody waited for them, and that were not yet kicked to look again.
    pub untimed: CpuMask,
}

/// Who should run next on a CPU.
#[derive(Clone, Copy)]
struct Candidate {
    /// Where in the queue.
    index: usize,
    id: SchedId,
    /// The current vcpu gives way to it when its effective virtual time is this.
    due: Virtual,
}

fn at(cpu: CpuId) -> usize {
    cpu.0 as usize % MAX_CPUS
}

impl Entry {
    fn effective(&self, params: &Params) -> Virtual {
        if self.warped {
            self.actual.minus(params.warp.by.0)
        } else {
            self.actual
        }
    }

    /// Whether `cpu` may run it now, as far as the entry knows.
    fn can_run_on(&self, cpu: CpuId) -> bool {
        self.affinity.hard.contains(cpu) && self.on_cpu.is_none_or(|on| on == cpu)
    }

    /// Gives it a home where it may run.
    fn settle(&mut self, online: CpuMask) {
        let allowed = both(self.affinity.hard, online);
        if !allowed.contains(self.home) {
            self.home = first_from(allowed, self.home).unwrap_or(self.home);
        }
    }

    /// Keeps it within reach of the vcpus that `cpu` runs.
    fn confine(&mut self, cpu: &Cpu, rate: Rate) {
        let latest = cpu.level.plus(rate.advance(LAG_NS));
        self.actual = self.actual.earlier(latest).later(cpu.floor);
    }
}

impl State {
    pub fn new() -> Self {
        let cpu = Cpu {
            current: None,
            since: Nanos(0),
            charged: Nanos(0),
            is_free: false,
            until: None,
            yielding: false,
            level: Virtual(0),
            floor: Virtual(0),
        };
        State {
            tunables: Tunables {
                turn: Nanos(TURN_NS),
                rate_limit: Nanos(RATE_LIMIT_NS),
            },
            entries: Vec::new(),
            free: Vec::new(),
            groups: Vec::new(),
            queue: Vec::new(),
            cpus: [cpu; MAX_CPUS],
            online: CpuMask::EMPTY,
            idle: CpuMask::EMPTY,
            untimed: CpuMask::EMPTY,
        }
    }

    pub fn nr_waiting(&self) -> u32 {
        self.queue.len() as u32
    }

    pub fn entry(&mut self, id: SchedId) -> Option<&mut Entry> {
        self.entries
            .get_mut(id.index())
            .filter(|entry| entry.who.is_some())
    }

    fn entry_ref(&self, id: SchedId) -> Option<&Entry> {
        self.entries
            .get(id.index())
            .filter(|entry| entry.who.is_some())
    }

    /// How fast virtual time passes for `entry`. One that falls asleep counts until it was charged.
    fn rate(&self, entry: &Entry) -> Rate {
        let Some(group) = self.groups.get(entry.group) else {
            return Rate::of(&Params::default());
        };
        let falling_asleep = u32::from(!entry.awake);
        group.rate.among(group.nr_awake + falling_asleep)
    }

    fn effective(&self, entry: &Entry) -> Virtual {
        self.groups
            .get(entry.group)
            .map_or(entry.actual, |group| entry.effective(&group.params))
    }

    /// Puts an awake vcpu into the queue.
    fn enqueue(&mut self, id: SchedId, now: Nanos) {
        let Some(entry) = self.entries.get_mut(id.index()) else {
            return;
        };
        let Some(group) = self.groups.get(entry.group) else {
            return;
        };
        let warp = group.params.warp;
        if warp.by.0 == 0 {
            entry.warped = false;
        } else if !entry.warped && now.0 >= entry.unwarped_at.0.saturating_add(warp.pause.0) {
            (entry.warped, entry.warped_for) = (true, 0);
        }
        entry.place = Place::Queued;
        let key = entry.effective(&group.params);
        // Behind its equals. There is room for every vcpu.
        let index = self
            .queue
            .partition_point(|(other, _)| key.is_before(*other));
        self.queue.insert(index, (key, id));
    }

    fn dequeue(&mut self, id: SchedId) {
        if let Some(index) = self.queue.iter().rposition(|(_, other)| *other == id) {
            self.queue.remove(index);
        }
        if let Some(entry) = self.entry(id) {
            entry.place = Place::Nowhere;
        }
    }

    /// Who should run next on `cpu`, of those who wait. A `current` one may keep it for `allowance` of virtual time more,
    /// unless one has just woken.
    fn candidate(&self, cpu: CpuId, allowance: u64) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        for (index, (key, id)) in self.queue.iter().enumerate().rev() {
            if best.is_some_and(|best| !key.is_before(best.due)) {
                break;
            }
            let Some(entry) = self.entry_ref(*id) else {
                continue;
            };
            if !entry.can_run_on(cpu) {
                continue;
            }
            let mut later = 0;
            if entry.home != cpu {
                later += MIGRATION_NS;
            }
            if !entry.affinity.soft.contains(cpu) {
                later += DISLIKE_NS;
            }
            let mut due = *key;
            if later != 0 {
                due = due.plus(self.rate(entry).advance(later));
            }
            if !entry.eager {
                due = due.plus(allowance);
            }
            if best.is_none_or(|best| due.is_before(best.due)) {
                best = Some(Candidate {
                    index,
                    id: *id,
                    due,
                });
            }
        }
        best
    }

    /// Charges the vcpu on `cpu` for its time up to `now`.
    fn charge(&mut self, cpu: CpuId, now: Nanos) {
        let slot = &mut self.cpus[at(cpu)];
        let ran = now.0.saturating_sub(slot.charged.0);
        slot.charged = now;
        let (Some(id), false) = (slot.current, slot.is_free) else {
            return;
        };
        let Some(rate) = self.entry_ref(id).map(|entry| self.rate(entry)) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(id.index()) else {
            return;
        };
        entry.actual = entry.actual.plus(rate.advance(ran));
        if entry.warped {
            entry.warped_for = entry.warped_for.saturating_add(ran);
            let limit = self
                .groups
                .get(entry.group)
                .map_or(0, |group| group.params.warp.limit.0);
            if limit != 0 && entry.warped_for >= limit {
                (entry.warped, entry.unwarped_at) = (false, now);
            }
        }
    }

    /// The answer that the current vcpu of `cpu` stays on until someone else has a better claim; `None` if one has now.
    fn stays(&mut self, cpu: CpuId, now: Nanos) -> Option<Decision> {
        let id = self.cpus[at(cpu)].current?;
        let entry = self.entry_ref(id)?;
        if !entry.awake || !entry.affinity.hard.contains(cpu) {
            return None;
        }
        let next = Some((id, entry.who?));
        if self.queue.is_empty() {
            return Some(self.is_free(cpu, next));
        }
        let rate = self.rate(entry);
        let actual = entry.actual;
        let Some(first) = self.candidate(cpu, rate.advance(self.tunables.turn.0)) else {
            return Some(self.is_free(cpu, next));
        };
        let slot = self.cpus[at(cpu)];
        let waiter = self.entry_ref(first.id)?;
        let (waits_at, waiter_rate) = (waiter.actual, self.rate(waiter));
        // All that could run here are at least so far.
        let level = &mut self.cpus[at(cpu)].level;
        *level = level.later(actual.earlier(waits_at));
        if slot.yielding {
            return None;
        }
        // Who needs no more than it gets falls behind without end otherwise.
        let behind = waits_at.minus(waiter_rate.advance(LAG_NS));
        let entry = self.entry(id)?;
        entry.actual = entry.actual.later(behind);
        let entry = self.entry_ref(id)?;
        let mut until = now.0.saturating_add(LOOK_AGAIN_NS);
        let lead = first.due.since(self.effective(entry));
        if lead > 0 {
            until = until.min(now.0.saturating_add(rate.time_for(lead)));
        } else {
            until = now.0;
        }
        // Whoever was just put on stays for a while in any case.
        let at_least = self.tunables.rate_limit.0.max(1);
        let safe_until = slot.since.0.saturating_add(at_least);
        if entry.warped
            && let Some(group) = self.groups.get(entry.group)
        {
            let limit = group.params.warp.limit.0;
            if limit != 0 {
                until = until.min(now.0.saturating_add(limit.saturating_sub(entry.warped_for)));
            }
        }
        until = until.max(safe_until);
        if until <= now.0 {
            return None;
        }
        let until = Some(Nanos(until));
        self.cpus[at(cpu)].is_free = false;
        self.cpus[at(cpu)].until = until;
        Some(Decision {
            next,
            until,
            kick: self.helper(),
        })
    }

    /// The answer when nobody waits whom `cpu` could run.
    fn is_free(&mut self, cpu: CpuId, next: Option<(SchedId, VcpuRef)>) -> Decision {
        let slot = &mut self.cpus[at(cpu)];
        (slot.is_free, slot.until) = (true, None);
        self.untimed = CpuMask(self.untimed.0 | CpuMask::one(cpu).0);
        Decision {
            next,
            until: None,
            kick: self.helper(),
        }
    }

    /// A CPU that could run someone who waits and does not know: an idle one, or one that set no timer. It counts as
    /// kicked.
    fn helper(&mut self) -> Option<CpuId> {
        if self.queue.is_empty() || self.idle.0 | self.untimed.0 == 0 {
            return None;
        }
        let find = |cpus: CpuMask| {
            let mut waiting = self.queue.iter().rev();
            waiting.find_map(|(_, id)| {
                let entry = self.entry_ref(*id)?;
                members(both(cpus, entry.affinity.hard)).find(|cpu| entry.can_run_on(*cpu))
            })
        };
        let cpu = find(self.idle).or_else(|| find(self.untimed))?;
        self.kicked(cpu)
    }

    fn kicked(&mut self, cpu: CpuId) -> Option<CpuId> {
        self.idle = self.idle.without(cpu);
        self.untimed = self.untimed.without(cpu);
        Some(cpu)
    }

    /// Takes the current vcpu off `cpu`, for `first` if that waits. If it is awake it is queued.
    fn put_down(&mut self, cpu: CpuId, first: Option<Virtual>, now: Nanos) {
        let slot = &mut self.cpus[at(cpu)];
        let yielding = core::mem::take(&mut slot.yielding);
        let Some(id) = slot.current.take() else {
            return;
        };
        let slot = *slot;
        let online = self.online;
        let Some(rate) = self.entry_ref(id).map(|entry| self.rate(entry)) else {
            return;
        };
        let Some(entry) = self.entry(id) else { return };
        entry.place = Place::Nowhere;
        entry.eager = false;
        entry.confine(&slot, rate);
        if !entry.awake {
            return;
        }
        if yielding && let Some(first) = first {
            entry.actual = entry.actual.later(first);
        }
        entry.settle(online);
        self.enqueue(id, now);
    }

    pub fn schedule(&mut self, cpu: CpuId, now: Nanos) -> Decision {
        self.charge(cpu, now);
        self.idle = self.idle.without(cpu);
        self.untimed = self.untimed.without(cpu);
        if let Some(decision) = self.stays(cpu, now) {
            self.cpus[at(cpu)].yielding = false;
            return decision;
        }
        // The waiter goes first: put down, the old vcpu may come to stand before it.
        let taken = self.candidate(cpu, 0).map(|first| {
            self.queue.remove(first.index);
            first.id
        });
        let first = taken.and_then(|id| Some(self.entry_ref(id)?.actual));
        self.put_down(cpu, first, now);
        let Some(id) = taken else {
            self.idle = CpuMask(self.idle.0 | CpuMask::one(cpu).0);
            self.cpus[at(cpu)].until = None;
            return Decision {
                next: None,
                until: None,
                kick: self.helper(),
            };
        };
        self.put_on(cpu, id, now);
        self.stays(cpu, now).unwrap_or(Decision {
            next: None,
            until: None,
            kick: None,
        })
    }

    fn put_on(&mut self, cpu: CpuId, id: SchedId, now: Nanos) {
        let Some(rate) = self.entry_ref(id).map(|entry| self.rate(entry)) else {
            return;
        };
        let slot = &mut self.cpus[at(cpu)];
        (slot.current, slot.since, slot.charged) = (Some(id), now, now);
        if let Some(entry) = self.entries.get_mut(id.index()) {
            entry.actual = entry.actual.later(slot.floor);
            slot.level = slot.level.later(entry.actual);
            slot.floor = slot.floor.later(entry.actual.minus(rate.advance(LAG_NS)));
            entry.place = Place::Current(cpu);
            (entry.on_cpu, entry.home, entry.eager) = (Some(cpu), cpu, false);
        }
    }

    /// Says which CPU must ask now that `id` is in the queue.
    fn tell(&mut self, id: SchedId, now: Nanos) -> Option<Ask> {
        let entry = self.entry_ref(id)?;
        let home = entry.home;
        // While its registers are still on a CPU no other can run it.
        let here = entry.on_cpu.map_or(self.online, CpuMask::one);
        let allowed = both(both(entry.affinity.hard, self.online), here);
        let soft = entry.affinity.soft;
        if both(self.idle, allowed).0 != 0 {
            let idle = both(self.idle, allowed);
            let cpu = first_from(both(idle, soft), home).or_else(|| first_from(idle, home))?;
            return self.ask(cpu, now);
        }
        let soonest = members(allowed)
            .filter_map(|cpu| Some((self.when_free(cpu, entry, now)?, cpu != home, cpu)))
            .min();
        let (when, _, cpu) = soonest?;
        let slot = &mut self.cpus[at(cpu)];
        if slot.until.is_some_and(|until| until <= when) {
            // It asks in time. One that asks never should know, too.
            let cpu = first_from(both(self.untimed, allowed), home)?;
            return self.ask(cpu, now);
        }
        slot.until = Some(when);
        if core::mem::take(&mut slot.is_free) {
            slot.charged = now;
        }
        self.ask(cpu, when)
    }

    fn ask(&mut self, cpu: CpuId, by: Nanos) -> Option<Ask> {
        let cpu = self.kicked(cpu)?;
        Some(Ask { cpu, by })
    }

    /// When `cpu` could go over to `entry`, which waits.
    fn when_free(&self, cpu: CpuId, entry: &Entry, now: Nanos) -> Option<Nanos> {
        let slot = &self.cpus[at(cpu)];
        let current = self.entry_ref(slot.current?)?;
        let rate = self.rate(current);
        let mut has = self.effective(current);
        if !slot.is_free {
            has = has.plus(rate.advance(now.0.saturating_sub(slot.charged.0)));
        }
        let lead = self.effective(entry).since(has);
        let wait = if lead == 0 { 0 } else { rate.time_for(lead) };
        let safe_until = slot.since.0.saturating_add(self.tunables.rate_limit.0);
        Some(Nanos(now.0.saturating_add(wait).max(safe_until)))
    }

    pub fn wake(&mut self, id: SchedId, now: Nanos) -> Option<Ask> {
        let online = self.online;
        let entry = self.entry(id)?;
        if core::mem::replace(&mut entry.awake, true) {
            return None;
        }
        let (group, place) = (entry.group, entry.place);
        if let Some(group) = self.groups.get_mut(group) {
            group.nr_awake += 1;
        }
        if place != Place::Nowhere {
            return None;
        }
        let entry = self.entry(id)?;
        entry.settle(online);
        entry.eager = true;
        let slot = self.cpus[at(entry.home)];
        let rate = self.rate(self.entry_ref(id)?);
        let entry = self.entry(id)?;
        entry.actual = entry.actual.later(slot.level);
        entry.confine(&slot, rate);
        self.enqueue(id, now);
        self.tell(id, now)
    }

    pub fn sleep(&mut self, id: SchedId) -> Option<CpuId> {
        let entry = self.entry(id)?;
        if !core::mem::replace(&mut entry.awake, false) {
            return match entry.place {
                Place::Current(cpu) => Some(cpu),
                _ => None,
            };
        }
        let (group, place) = (entry.group, entry.place);
        if let Some(group) = self.groups.get_mut(group) {
            group.nr_awake = group.nr_awake.saturating_sub(1);
        }
        match place {
            Place::Current(cpu) => Some(cpu),
            Place::Queued => {
                self.dequeue(id);
                None
            }
            Place::Nowhere => None,
        }
    }

    pub fn saved(&mut self, id: SchedId) -> Option<CpuId> {
        let entry = self.entry(id)?;
        if matches!(entry.place, Place::Current(_)) {
            return None;
        }
        entry.on_cpu.take()?;
        if entry.place != Place::Queued {
            return None;
        }
        // It waited for its registers: others may have passed it over.
        let (hard, home) = (entry.affinity.hard, entry.home);
        let cpu = first_from(both(self.idle, hard), home)
            .or_else(|| first_from(both(self.untimed, hard), home))?;
        self.kicked(cpu)
    }

    pub fn yield_now(&mut self, cpu: CpuId) {
        self.cpus[at(cpu)].yielding = true;
    }

    pub fn is_on_cpu(&self, id: SchedId) -> bool {
        self.entry_ref(id)
            .is_some_and(|entry| entry.on_cpu.is_some())
    }

    pub fn cpu_of(&self, id: SchedId) -> Option<CpuId> {
        let entry = self.entry_ref(id)?;
        Some(entry.on_cpu.unwrap_or(entry.home))
    }

    pub fn affinity(&self, id: SchedId) -> Result<Affinity, SchedError> {
        Ok(self.entry_ref(id).ok_or(SchedError::NoVcpu)?.affinity)
    }

    pub fn set_affinity(
        &mut self,
        id: SchedId,
        affinity: Affinity,
        now: Nanos,
    ) -> Result<Option<CpuId>, SchedError> {
        let online = self.online;
        if both(affinity.hard, online).is_empty() {
            return Err(SchedError::NoCpu);
        }
        let entry = self.entry(id).ok_or(SchedError::NoVcpu)?;
        entry.affinity = affinity;
        match entry.place {
            Place::Current(cpu) => return Ok((!affinity.hard.contains(cpu)).then_some(cpu)),
            Place::Nowhere => return Ok(None),
            Place::Queued => {}
        }
        entry.settle(online);
        let home = entry.home;
        self.dequeue(id);
        let rate = self.entry_ref(id).map(|entry| self.rate(entry));
        let slot = self.cpus[at(home)];
        if let (Some(entry), Some(rate)) = (self.entry(id), rate) {
            entry.confine(&slot, rate);
        }
        self.enqueue(id, now);
        Ok(self.tell(id, now).map(|ask| ask.cpu))
    }
}
