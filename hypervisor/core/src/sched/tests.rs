//! Round robin under random load, watched by a machine in miniature.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::round_robin::TURN_NS;
use super::*;

const NR_CPUS: u32 = 4;
const MS: u64 = 1_000_000;

/// CPUs that obey the scheduler, though not always at once.
struct Machine {
    sched: RoundRobin,
    now: u64,
    running: Vec<Option<SchedId>>,
    until: Vec<Option<u64>>,
    /// CPUs that must ask.
    kicked: BTreeSet<u32>,
    /// Vcpus taken off whose registers are not saved yet, and where those are.
    unsaved: Vec<Option<SchedId>>,
    vcpus: Vec<Vcpu>,
}

struct Vcpu {
    id: SchedId,
    awake: bool,
    affinity: CpuMask,
    ran: u64,
}

impl Machine {
    fn new(nr_cpus: u32) -> Self {
        let sched = RoundRobin::new();
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
        }
    }

    fn now(&self) -> Nanos {
        Nanos(self.now)
    }

    fn kick(&mut self, cpu: Option<CpuId>) {
        self.kicked.extend(cpu.map(|cpu| cpu.0));
    }

    fn add(&mut self, affinity: u64) -> usize {
        let number = self.vcpus.len() as u32;
        let who = VcpuRef {
            dom: DomId(number as u16 / 2),
            vcpu: VcpuId(number % 2),
        };
        let id = self.sched.insert(who, CpuMask(affinity)).unwrap();
        self.vcpus.push(Vcpu {
            id,
            awake: false,
            affinity: CpuMask(affinity),
            ran: 0,
        });
        self.vcpus.len() - 1
    }

    fn wake(&mut self, v: usize) {
        let kick = self.sched.wake(self.vcpus[v].id, self.now());
        self.vcpus[v].awake = true;
        self.kick(kick);
    }

    fn sleep(&mut self, v: usize) {
        let kick = self.sched.sleep(self.vcpus[v].id);
        self.vcpus[v].awake = false;
        self.kick(kick);
    }

    fn save(&mut self, cpu: u32) {
        if let Some(id) = self.unsaved[cpu as usize].take() {
            let kick = self.sched.saved(id);
            self.kick(kick);
        }
    }

    /// `cpu` asks. Its registers of before must have been saved by then.
    fn ask(&mut self, cpu: u32) {
        self.save(cpu);
        self.kicked.remove(&cpu);
        let decision = self.sched.schedule(CpuId(cpu), self.now());
        let next = decision.next.map(|(id, _)| id);
        self.kick(decision.kick);
        let slot = cpu as usize;
        if next != self.running[slot] {
            self.unsaved[slot] = self.running[slot];
            self.running[slot] = next;
        }
        self.until[slot] = decision.until.map(|until| until.0);
        if let Some(id) = next {
            let vcpu = self.vcpus.iter().find(|v| v.id == id).unwrap();
            assert!(vcpu.awake, "{id:?} was chosen asleep");
            assert!(
                vcpu.affinity.contains(CpuId(cpu)),
                "{id:?} may not run on CPU {cpu}"
            );
            assert!(decision.until.is_none_or(|until| until.0 > self.now));
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

    /// Lets `ns` pass, in which timers expire.
    fn pass(&mut self, ns: u64) {
        let end = self.now + ns;
        loop {
            let soonest = self
                .until
                .iter()
                .flatten()
                .copied()
                .min()
                .filter(|until| *until <= end);
            let step_to = soonest.unwrap_or(end).max(self.now);
            for id in self.running.iter().flatten() {
                let vcpu = self.vcpus.iter_mut().find(|v| v.id == *id).unwrap();
                vcpu.ran += step_to - self.now;
            }
            self.now = step_to;
            if soonest.is_none() {
                return;
            }
            for cpu in 0..self.running.len() as u32 {
                if self.until[cpu as usize].is_some_and(|until| until <= self.now) {
                    self.ask(cpu);
                }
            }
        }
    }

    /// Lets every CPU that must ask do so, and save. Then the work must be shared out.
    fn settle(&mut self) {
        for _ in 0..1000 {
            (0..self.running.len() as u32).for_each(|cpu| self.save(cpu));
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
                let mut may = vcpu
                    .affinity
                    .iter()
                    .filter(|cpu| cpu.0 < self.running.len() as u32);
                assert!(
                    may.all(|cpu| self.running[cpu.0 as usize].is_some()),
                    "{:?} waits beside an idle CPU",
                    vcpu.id
                );
                assert!(
                    self.until.iter().any(Option::is_some),
                    "{:?} waits and no timer is set",
                    vcpu.id
                );
            }
        }
    }
}

fn only(hard: CpuMask) -> Affinity {
    Affinity {
        hard,
        ..Affinity::ANY
    }
}

#[derive(Clone, Debug)]
enum Op {
    Wake(usize),
    Sleep(usize),
    Affinity(usize, u64),
    Yield(u32),
    Pass(u64),
    Ask(u32),
    Save(u32),
    Settle,
}

fn op() -> impl Strategy<Value = Op> {
    let vcpu = 0..8usize;
    let cpu = 0..NR_CPUS;
    prop_oneof![
        4 => vcpu.clone().prop_map(Op::Wake),
        3 => vcpu.clone().prop_map(Op::Sleep),
        1 => (vcpu, 1..1u64 << NR_CPUS).prop_map(|(v, mask)| Op::Affinity(v, mask)),
        1 => cpu.clone().prop_map(Op::Yield),
        2 => (1..25 * MS).prop_map(Op::Pass),
        3 => cpu.clone().prop_map(Op::Ask),
        2 => cpu.prop_map(Op::Save),
        1 => Just(Op::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_vcpu_is_lost_doubled_or_misplaced(ops in prop::collection::vec(op(), 1..150)) {
        let mut machine = Machine::new(NR_CPUS);
        for _ in 0..8 {
            machine.add(u64::MAX);
        }
        for op in &ops {
            match *op {
                Op::Wake(v) => machine.wake(v),
                Op::Sleep(v) => machine.sleep(v),
                Op::Affinity(v, mask) => {
                    machine.vcpus[v].affinity = CpuMask(mask);
                    let now = machine.now();
                    let kick = machine.sched.set_affinity(machine.vcpus[v].id, only(CpuMask(mask)), now).unwrap();
                    machine.kick(kick);
                }
                Op::Yield(cpu) => {
                    if machine.sched.yield_now(CpuId(cpu)) {
                        machine.ask(cpu);
                    }
                }
                Op::Pass(ns) => {
                    // Kicks are soon, next to time that passes.
                    machine.settle();
                    machine.pass(ns);
                }
                Op::Ask(cpu) => machine.ask(cpu),
                Op::Save(cpu) => machine.save(cpu),
                Op::Settle => machine.settle(),
            }
        }
        machine.settle();
        // Whoever is awake gets to run.
        let before: Vec<u64> = machine.vcpus.iter().map(|v| v.ran).collect();
        for _ in 0..20 {
            machine.pass(TURN_NS);
            machine.settle();
        }
        for (vcpu, before) in machine.vcpus.iter().zip(before) {
            assert_eq!(vcpu.awake, vcpu.ran > before, "{:?}", vcpu.id);
        }
    }

    #[test]
    fn busy_vcpus_on_one_cpu_differ_by_a_turn_at_most(count in 2..7usize, naps in prop::collection::vec((0..6usize, 1..9 * MS), 0..60)) {
        let mut machine = Machine::new(1);
        for _ in 0..=count {
            machine.add(1);
        }
        // The last one naps as it likes; the others are busy.
        for v in 0..count {
            machine.wake(v);
        }
        machine.settle();
        for (kind, ns) in naps {
            if kind % 2 == 0 { machine.wake(count) } else { machine.sleep(count) }
            machine.settle();
            machine.pass(ns);
            let ran: Vec<u64> = machine.vcpus[..count].iter().map(|v| v.ran).collect();
            let spread = ran.iter().max().unwrap() - ran.iter().min().unwrap();
            assert!(spread <= TURN_NS, "{ran:?}");
            // Napping brings no more than its share, and a turn.
            let least = ran.iter().min().unwrap();
            assert!(machine.vcpus[count].ran <= least + 2 * TURN_NS, "{} beside {ran:?}", machine.vcpus[count].ran);
        }
    }
}

#[test]
fn lone_vcpu_runs_without_a_timer_and_yields_for_nothing() {
    let mut machine = Machine::new(1);
    let v = machine.add(1);
    machine.wake(v);
    machine.settle();
    assert_eq!(
        (machine.running[0], machine.until[0]),
        (Some(machine.vcpus[v].id), None)
    );
    assert!(!machine.sched.yield_now(CpuId(0)));
}

#[test]
fn yielding_lets_the_waiting_vcpu_run() {
    let mut machine = Machine::new(1);
    let (a, b) = (machine.add(1), machine.add(1));
    machine.wake(a);
    machine.settle();
    machine.wake(b);
    machine.settle();
    let first = machine.running[0];
    assert!(machine.sched.yield_now(CpuId(0)));
    machine.ask(0);
    assert!(machine.running[0].is_some() && machine.running[0] != first);
}

#[test]
fn waking_vcpu_goes_to_an_idle_cpu_and_that_one_is_kicked() {
    let mut machine = Machine::new(3);
    let (a, b) = (machine.add(0b111), machine.add(0b110));
    machine.wake(a);
    machine.settle();
    let busy = machine.running.iter().position(Option::is_some).unwrap() as u32;
    let kick = machine.sched.wake(machine.vcpus[b].id, Nanos(5)).unwrap();
    assert!(kick.0 != busy && kick.0 != 0);
}

#[test]
fn waking_vcpu_interrupts_a_busy_one_soon() {
    let mut machine = Machine::new(1);
    let (hog, io) = (machine.add(1), machine.add(1));
    machine.wake(hog);
    machine.settle();
    machine.pass(3 * MS);
    machine.wake(io);
    machine.settle();
    assert_eq!(machine.running[0], Some(machine.vcpus[io].id));
    machine.sleep(io);
    machine.settle();
    machine.wake(io);
    machine.settle();
    machine.pass(MS);
    assert_eq!(
        machine.running[0],
        Some(machine.vcpus[io].id),
        "the hog had its half millisecond"
    );
}

#[test]
fn vcpu_runs_nowhere_else_until_its_registers_are_saved() {
    let mut machine = Machine::new(2);
    let v = machine.add(0b11);
    machine.wake(v);
    machine.settle();
    let home = machine.running.iter().position(Option::is_some).unwrap() as u32;
    let other = CpuId(1 - home);
    machine.sleep(v);
    machine.ask(home);
    assert!(machine.sched.is_on_cpu(machine.vcpus[v].id));
    assert_eq!(
        machine.sched.remove(machine.vcpus[v].id),
        Err(SchedError::Busy)
    );
    machine.wake(v);
    assert_eq!(machine.sched.schedule(other, Nanos(1)).next, None);
    machine.settle();
    assert!(machine.running.contains(&Some(machine.vcpus[v].id)));
}

#[test]
fn only_a_sleeping_saved_vcpu_can_be_removed_and_its_entry_is_used_again() {
    let mut machine = Machine::new(1);
    let v = machine.add(1);
    let id = machine.vcpus[v].id;
    machine.wake(v);
    assert_eq!(machine.sched.remove(id), Err(SchedError::Busy));
    machine.settle();
    machine.sleep(v);
    machine.settle();
    assert_eq!(machine.sched.remove(id), Ok(()));
    assert_eq!(machine.sched.remove(id), Err(SchedError::NoVcpu));
    assert_eq!(machine.sched.wake(id, Nanos(0)), None);
    assert_eq!(
        machine.sched.set_affinity(id, only(CpuMask(1)), Nanos(0)),
        Err(SchedError::NoVcpu)
    );
    assert_eq!(
        machine.sched.insert(
            VcpuRef {
                dom: DomId(9),
                vcpu: VcpuId(0)
            },
            CpuMask(1)
        ),
        Ok(id)
    );
}

#[test]
fn affinity_to_offline_cpus_is_refused() {
    let mut machine = Machine::new(2);
    let v = machine.add(0b11);
    let who = VcpuRef {
        dom: DomId(1),
        vcpu: VcpuId(0),
    };
    assert_eq!(
        machine.sched.insert(who, CpuMask(0b100)),
        Err(SchedError::NoCpu)
    );
    let got = machine
        .sched
        .set_affinity(machine.vcpus[v].id, only(CpuMask::EMPTY), Nanos(0));
    assert_eq!(got, Err(SchedError::NoCpu));
}

#[test]
fn schedulers_are_found_by_name() {
    assert_eq!(scheduler_named("rr").unwrap().name, "rr");
    assert!(scheduler_named("credit2").is_none());
    for entry in SCHEDULERS {
        assert_eq!((entry.build)().name(), entry.name);
    }
}

proptest! {
    #[test]
    fn runstate_times_add_up_to_the_age(steps in prop::collection::vec((0..4u8, 0..1_000_000u64), 0..50)) {
        let born = 500;
        let mut runstate = Runstate::new(Nanos(born));
        let (mut now, mut sums, mut kind) = (born, [0u64; 4], 3usize);
        for (next, ns) in steps {
            now += ns;
            sums[kind] += ns;
            kind = usize::from(next);
            let next = [
                RunstateKind::Running,
                RunstateKind::Runnable,
                RunstateKind::Blocked,
                RunstateKind::Offline,
            ][kind];
            runstate.enter(next, Nanos(now));
            let info = runstate.as_entered();
            prop_assert_eq!((info.time, info.state, info.state_entry_time), (sums, kind as u32, Nanos(now)));
        }
        let info = runstate.at(Nanos(now + 17));
        sums[kind] += 17;
        prop_assert_eq!(info.time, sums);
        prop_assert_eq!(info.time.iter().sum::<u64>(), now + 17 - born);
    }
}

#[test]
fn clock_that_steps_back_takes_no_time_away() {
    let mut runstate = Runstate::new(Nanos(100));
    runstate.enter(RunstateKind::Running, Nanos(90));
    runstate.enter(RunstateKind::Blocked, Nanos(150));
    assert_eq!(runstate.as_entered().time, [50, 0, 0, 0]);
}
