//! A machine in miniature that obeys a scheduler and watches it. It knows the time of everything, and vcpus that compute
//! for ever, or compute and sleep by turns.

use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

use crate::sched::*;
use crate::units::{CpuId, CpuMask, DomId, Nanos, VcpuId};

pub const MS: u64 = 1_000_000;

/// CPUs that obey the scheduler, though not always at once.
pub struct Machine {
    pub sched: Box<dyn Scheduler>,
    pub now: u64,
    pub running: Vec<Option<SchedId>>,
    pub until: Vec<Option<u64>>,
    /// CPUs that must ask.
    kicked: BTreeSet<u32>,
    /// Vcpus taken off whose registers are not saved yet, and where those are.
    unsaved: Vec<Option<SchedId>>,
    pub vcpus: Vec<Vcpu>,
    /// How long each CPU had nothing to do.
    pub idle: Vec<u64>,
    pub switches: u64,
    /// Until when each CPU does not come to answer, as if the machine below had taken it away. Its vcpu seems to run on.
    pub stolen_until: Vec<u64>,
    /// Steals from CPUs by chance: at most for so long.
    pub steal: Option<u64>,
    seed: u64,
}

pub struct Vcpu {
    pub id: SchedId,
    pub dom: u16,
    pub awake: bool,
    pub affinity: Affinity,
    pub ran: u64,
    /// How long it ran on each CPU.
    pub ran_on: Vec<u64>,
    /// Computes for so long, then sleeps for so long; `None`: as it is told.
    pattern: Option<(u64, u64)>,
    /// What is left of computing, and when it wakes.
    left: u64,
    wakes_at: u64,
    woken_at: Option<u64>,
    /// The longest time from waking to running.
    pub latency: u64,
    /// The longest time from being able to run to running.
    pub longest_wait: u64,
    waits_since: Option<u64>,
}

pub fn only(hard: u64) -> Affinity {
    Affinity {
        hard: CpuMask(hard),
        ..Affinity::ANY
    }
}

impl Machine {
    pub fn new(sched: Box<dyn Scheduler>, nr_cpus: u32) -> Self {
        (0..nr_cpus).for_each(|cpu| sched.cpu_online(CpuId(cpu)));
        let cpus = nr_cpus as usize;
        Machine {
            sched,
            now: 0,
            running: vec![None; cpus],
            until: vec![None; cpus],
            kicked: (0..nr_cpus).collect(),
            unsaved: vec![None; cpus],
            vcpus: Vec::new(),
            idle: vec![0; cpus],
            switches: 0,
            stolen_until: vec![0; cpus],
            steal: None,
            seed: 1,
        }
    }

    pub fn now(&self) -> Nanos {
        Nanos(self.now)
    }

    pub fn nr_cpus(&self) -> u32 {
        self.running.len() as u32
    }

    pub fn kick(&mut self, cpu: Option<CpuId>) {
        self.kicked.extend(cpu.map(|cpu| cpu.0));
    }

    /// A vcpu of domain `dom` that sleeps.
    pub fn add_to(&mut self, dom: u16, affinity: Affinity) -> usize {
        let nr = self.vcpus.iter().filter(|vcpu| vcpu.dom == dom).count();
        let who = VcpuRef {
            dom: DomId(dom),
            vcpu: VcpuId(nr as u32),
        };
        let id = self.sched.insert(who, affinity.hard).unwrap();
        self.sched.set_affinity(id, affinity, self.now()).unwrap();
        assert_eq!(self.sched.affinity(id), Ok(affinity));
        self.vcpus.push(Vcpu {
            id,
            dom,
            awake: false,
            affinity,
            ran: 0,
            ran_on: vec![0; self.running.len()],
            pattern: None,
            left: u64::MAX,
            wakes_at: u64::MAX,
            woken_at: None,
            latency: 0,
            longest_wait: 0,
            waits_since: None,
        });
        self.vcpus.len() - 1
    }

    /// A vcpu, two to a domain.
    pub fn add(&mut self, hard: u64) -> usize {
        self.add_to(self.vcpus.len() as u16 / 2, only(hard))
    }

    /// A domain of busy vcpus.
    pub fn add_busy(&mut self, dom: u16, weight: u32, nr_vcpus: u32, affinity: Affinity) {
        for _ in 0..nr_vcpus {
            let v = self.add_to(dom, affinity);
            self.wake(v);
        }
        self.set_weight(dom, weight);
    }

    /// A vcpu that computes for `run` and sleeps for `sleep`, again and again.
    pub fn add_pattern(&mut self, dom: u16, run: u64, sleep: u64, affinity: Affinity) -> usize {
        let v = self.add_to(dom, affinity);
        self.vcpus[v].pattern = Some((run, sleep));
        self.vcpus[v].wakes_at = self.now;
        v
    }

    pub fn set_weight(&mut self, dom: u16, weight: u32) {
        let params = Params {
            weight,
            ..self.sched.params(DomId(dom)).unwrap()
        };
        self.sched.set_params(DomId(dom), &params).unwrap();
    }

    pub fn set_affinity(&mut self, v: usize, affinity: Affinity) {
        self.vcpus[v].affinity = affinity;
        let kick = self
            .sched
            .set_affinity(self.vcpus[v].id, affinity, self.now());
        self.kick(kick.unwrap());
    }

    pub fn wake(&mut self, v: usize) {
        let ask = self.sched.wake(self.vcpus[v].id, self.now());
        let vcpu = &mut self.vcpus[v];
        if !vcpu.awake {
            (vcpu.awake, vcpu.woken_at) = (true, Some(self.now));
            if !self.running.contains(&Some(vcpu.id)) {
                vcpu.waits_since = Some(self.now);
            }
            vcpu.wakes_at = u64::MAX;
            vcpu.left = vcpu.pattern.map_or(u64::MAX, |(run, _)| run);
        }
        match ask {
            // As a CPU does that has woken someone for itself.
            Some(ask) if ask.by > self.now() => {
                let until = &mut self.until[ask.cpu.0 as usize];
                *until = Some(until.map_or(ask.by.0, |at| at.min(ask.by.0)));
            }
            ask => self.kick(ask.map(|ask| ask.cpu)),
        }
    }

    pub fn sleep(&mut self, v: usize) {
        let kick = self.sched.sleep(self.vcpus[v].id);
        let vcpu = &mut self.vcpus[v];
        (vcpu.awake, vcpu.waits_since) = (false, None);
        if let Some((_, sleep)) = vcpu.pattern {
            vcpu.wakes_at = self.now + sleep;
        }
        self.kick(kick);
    }

    pub fn save(&mut self, cpu: u32) {
        if let Some(id) = self.unsaved[cpu as usize].take() {
            let kick = self.sched.saved(id);
            self.kick(kick);
        }
    }

    /// `cpu` asks. Its registers of before must have been saved by then.
    pub fn ask(&mut self, cpu: u32) {
        self.save(cpu);
        self.kicked.remove(&cpu);
        let decision = self.sched.schedule(CpuId(cpu), self.now());
        let next = decision.next.map(|(id, _)| id);
        self.kick(decision.kick);
        let slot = cpu as usize;
        if next != self.running[slot] {
            let now = self.now;
            self.switches += 1;
            if let Some(old) = self.running[slot] {
                let vcpu = self.vcpus.iter_mut().find(|v| v.id == old).unwrap();
                vcpu.waits_since = vcpu.awake.then_some(now);
            }
            self.unsaved[slot] = self.running[slot];
            self.running[slot] = next;
        }
        self.until[slot] = decision.until.map(|until| until.0);
        if let Some(id) = next {
            let now = self.now;
            let vcpu = self.vcpus.iter_mut().find(|v| v.id == id).unwrap();
            assert!(vcpu.awake, "{id:?} was chosen asleep");
            assert!(
                vcpu.affinity.hard.contains(CpuId(cpu)),
                "{id:?} may not run on CPU {cpu}"
            );
            assert!(decision.until.is_none_or(|until| until.0 > self.now));
            if let Some(woken) = vcpu.woken_at.take() {
                vcpu.latency = vcpu.latency.max(now - woken);
            }
            if let Some(since) = vcpu.waits_since.take() {
                vcpu.longest_wait = vcpu.longest_wait.max(now - since);
            }
        } else {
            assert_eq!(decision.until, None);
        }
        self.check();
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        for id in self.running.iter().chain(&self.unsaved).flatten() {
            assert!(seen.insert(*id), "{id:?} is on two CPUs");
        }
    }

    /// Lets `ns` pass, in which timers expire and vcpus do as they are told.
    pub fn pass(&mut self, ns: u64) {
        let end = self.now + ns;
        loop {
            let timers = self.until.iter().zip(&self.stolen_until);
            let timers = timers.filter_map(|(until, stolen)| Some((*until)?.max(*stolen)));
            let wakings = self.vcpus.iter().map(|v| v.wakes_at);
            let sleeping = self
                .running
                .iter()
                .flatten()
                .map(|id| self.vcpus.iter().find(|v| v.id == *id).unwrap().left)
                .map(|left| self.now.saturating_add(left));
            let soonest = timers.chain(wakings).chain(sleeping).min();
            let step_to = soonest.unwrap_or(end).clamp(self.now, end);
            self.account(step_to - self.now);
            self.now = step_to;
            let mut done = true;
            for cpu in 0..self.nr_cpus() {
                let is_here = self.stolen_until[cpu as usize] <= self.now;
                if is_here && self.until[cpu as usize].is_some_and(|until| until <= self.now) {
                    self.maybe_steal(cpu);
                    self.ask(cpu);
                    done = false;
                }
            }
            if !done {
                self.settle();
            }
            for v in 0..self.vcpus.len() {
                let vcpu = &self.vcpus[v];
                if vcpu.awake && vcpu.left == 0 {
                    self.sleep(v);
                } else if !vcpu.awake && vcpu.wakes_at <= self.now {
                    self.wake(v);
                } else {
                    continue;
                }
                self.settle();
                done = false;
            }
            if done && step_to == end {
                return;
            }
        }
    }

    /// Takes a CPU away after one in eight of its timers.
    fn maybe_steal(&mut self, cpu: u32) {
        let Some(longest) = self.steal else { return };
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let random = self.seed >> 33;
        if random.is_multiple_of(8) {
            self.stolen_until[cpu as usize] = self.now + random / 8 * 16 % longest;
        }
    }

    fn account(&mut self, ns: u64) {
        for (cpu, id) in self.running.iter().enumerate() {
            match id {
                Some(id) => {
                    let vcpu = self.vcpus.iter_mut().find(|v| v.id == *id).unwrap();
                    vcpu.ran += ns;
                    vcpu.ran_on[cpu] += ns;
                    if vcpu.left != u64::MAX {
                        vcpu.left -= ns;
                    }
                }
                None => self.idle[cpu] += ns,
            }
        }
    }

    /// Lets every CPU that must ask do so, and save. Then the work must be shared out.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            (0..self.nr_cpus()).for_each(|cpu| self.save(cpu));
            match self.kicked.first().copied() {
                Some(cpu) => self.ask(cpu),
                None => {
                    self.check_shared_out();
                    return;
                }
            }
        }
        panic!("CPUs kick each other for ever");
    }

    fn check_shared_out(&self) {
        for vcpu in &self.vcpus {
            let on = self.running.iter().position(|id| *id == Some(vcpu.id));
            assert!(on.is_none() || vcpu.awake, "{:?} sleeps and runs", vcpu.id);
            if vcpu.awake && on.is_none() {
                let hard = vcpu.affinity.hard;
                for cpu in hard.iter().filter(|cpu| cpu.0 < self.nr_cpus()) {
                    assert!(
                        self.running[cpu.0 as usize].is_some(),
                        "{:?} waits beside idle CPU {cpu:?}",
                        vcpu.id
                    );
                }
                assert!(
                    self.until.iter().any(Option::is_some),
                    "{:?} waits and no timer is set",
                    vcpu.id
                );
            }
        }
    }

    /// What the vcpus of a domain ran.
    pub fn ran(&self, dom: u16) -> u64 {
        let of_dom = self.vcpus.iter().filter(|v| v.dom == dom);
        of_dom.map(|v| v.ran).sum()
    }

    /// Forgets what was measured so far.
    pub fn reset(&mut self) {
        for vcpu in &mut self.vcpus {
            vcpu.ran = 0;
            vcpu.ran_on.fill(0);
            (vcpu.latency, vcpu.longest_wait) = (0, 0);
        }
        self.idle.fill(0);
        self.switches = 0;
    }

    /// Checks that domains ran in these proportions, within `percent` of each one's part.
    pub fn assert_shares(&self, wanted: &[(u16, u64)], percent: u64) {
        let weights: u64 = wanted.iter().map(|(_, weight)| weight).sum();
        let total: u64 = wanted.iter().map(|(dom, _)| self.ran(*dom)).sum();
        for (dom, weight) in wanted {
            let fair = total * weight / weights;
            let ran = self.ran(*dom);
            assert!(
                ran.abs_diff(fair) <= fair * percent / 100,
                "domain {dom} ran {} ms, its part of {} ms is {} ms",
                ran / MS,
                total / MS,
                fair / MS
            );
        }
    }
}
