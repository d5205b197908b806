//! What every scheduler must do, checked under random load; and what is each one's own (`bvt.rs`, `round_robin.rs`).

mod bvt;
mod model;
mod round_robin;

use std::vec::Vec;

use proptest::prelude::*;

use self::model::{MS, Machine, only};
use super::*;
use crate::units::{CpuId, CpuMask, DomId, Nanos, VcpuId};

const NR_CPUS: u32 = 4;

/// A machine for each scheduler.
fn machines(nr_cpus: u32) -> impl Iterator<Item = Machine> {
    SCHEDULERS
        .iter()
        .map(move |entry| Machine::new((entry.build)(), nr_cpus))
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
        for mut machine in machines(NR_CPUS) {
        for _ in 0..8 {
            machine.add(u64::MAX);
        }
        for op in &ops {
            match *op {
                Op::Wake(v) => machine.wake(v),
                Op::Sleep(v) => machine.sleep(v),
                Op::Affinity(v, mask) => {
                    machine.set_affinity(v, only(mask));
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
            machine.pass(10 * MS);
            machine.settle();
        }
        for (vcpu, before) in machine.vcpus.iter().zip(before) {
            assert_eq!(vcpu.awake, vcpu.ran > before, "{:?}", vcpu.id);
        }
        }
    }
}

#[test]
fn lone_vcpu_runs_without_a_timer_and_yields_for_nothing() {
    for mut machine in machines(1) {
        let v = machine.add(1);
        machine.wake(v);
        machine.settle();
        assert_eq!(
            (machine.running[0], machine.until[0]),
            (Some(machine.vcpus[v].id), None)
        );
        assert!(!machine.sched.yield_now(CpuId(0)));
    }
}

#[test]
fn yielding_lets_the_waiting_vcpu_run() {
    for mut machine in machines(1) {
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
}

#[test]
fn waking_vcpu_goes_to_an_idle_cpu_and_that_one_is_kicked() {
    for mut machine in machines(3) {
        let (a, b) = (machine.add(0b111), machine.add(0b110));
        machine.wake(a);
        machine.settle();
        let busy = machine.running.iter().position(Option::is_some).unwrap() as u32;
        let kick = machine
            .sched
            .wake(machine.vcpus[b].id, Nanos(5))
            .unwrap()
            .cpu;
        assert!(kick.0 != busy && kick.0 != 0);
    }
}

#[test]
fn waking_vcpu_interrupts_a_busy_one_soon() {
    for mut machine in machines(1) {
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
}

#[test]
fn vcpu_runs_nowhere_else_until_its_registers_are_saved() {
    for mut machine in machines(2) {
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
}

#[test]
fn only_a_sleeping_saved_vcpu_can_be_removed_and_its_entry_is_used_again() {
    for mut machine in machines(1) {
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
            machine.sched.set_affinity(id, only(1), Nanos(0)),
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
}

#[test]
fn affinity_to_offline_cpus_is_refused() {
    for mut machine in machines(2) {
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
            .set_affinity(machine.vcpus[v].id, only(0), Nanos(0));
        assert_eq!(got, Err(SchedError::NoCpu));
    }
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

#[test]
fn idle_time_is_what_lies_between_begin_and_end() {
    let mut idle = IdleTime::new();
    idle.begin(Nanos(10));
    idle.begin(Nanos(15));
    assert_eq!(idle.at(Nanos(30)), Nanos(20));
    idle.end(Nanos(40));
    assert_eq!(idle.at(Nanos(90)), Nanos(30));
    idle.end(Nanos(95));
    idle.begin(Nanos(100));
    assert_eq!(idle.at(Nanos(101)), Nanos(31));
}
