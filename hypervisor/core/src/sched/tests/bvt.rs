//! BVT's promises: shares, latency, and that nothing else spoils them.

use std::boxed::Box;
use std::vec::Vec;

use proptest::prelude::*;

use super::model::{MS, Machine, only};
use crate::sched::bvt::{LAG_NS, RATE_LIMIT_NS, TURN_NS};
use crate::sched::*;
use crate::units::{CpuId, CpuMask, DomId, Nanos};

const SECOND: u64 = 1000 * MS;

fn machine(nr_cpus: u32) -> Machine {
    Machine::new(Box::new(Bvt::new()), nr_cpus)
}

/// Settles, warms up, and measures for `ns`.
fn measure(machine: &mut Machine, ns: u64) {
    machine.settle();
    machine.pass(SECOND);
    machine.reset();
    machine.pass(ns);
}

#[test]
fn two_guests_and_domain_0_get_their_weights_on_two_cpus() {
    let mut m = machine(2);
    for (dom, weight) in [(0, 256), (1, 512), (2, 1024)] {
        m.add_busy(dom, weight, 2, Affinity::ANY);
    }
    measure(&mut m, 60 * SECOND);
    m.assert_shares(&[(0, 256), (1, 512), (2, 1024)], 1);
    assert_eq!(m.idle, [0, 0]);
    assert_eq!((0..3).map(|dom| m.ran(dom)).sum::<u64>(), 120 * SECOND);
    // Some 5 ms between switches, and both vcpus of a domain get the same.
    assert!(m.switches < 2 * 60 * 1000 / 4, "{} switches", m.switches);
    for pair in m.vcpus.chunks(2) {
        assert!(
            pair[0].ran.abs_diff(pair[1].ran) < 20 * MS,
            "{} and {}",
            pair[0].ran,
            pair[1].ran
        );
    }
}

#[test]
fn shares_hold_on_cpus_that_are_taken_away_at_times() {
    for longest in [30 * MS, 100 * MS, 450 * MS] {
        let mut m = machine(2);
        m.steal = Some(longest);
        for (dom, weight) in [(0, 512), (1, 256), (2, 1024)] {
            m.add_busy(dom, weight, 2, Affinity::ANY);
        }
        measure(&mut m, 60 * SECOND);
        m.assert_shares(&[(0, 512), (1, 256), (2, 1024)], 2);
    }
}

#[test]
fn weight_is_of_a_domain_however_many_vcpus_it_has() {
    let mut m = machine(2);
    m.add_busy(0, 512, 4, Affinity::ANY);
    m.add_busy(1, 256, 1, Affinity::ANY);
    m.add_busy(2, 256, 2, Affinity::ANY);
    measure(&mut m, 30 * SECOND);
    m.assert_shares(&[(0, 512), (1, 256), (2, 256)], 1);
}

#[test]
fn three_equal_vcpus_share_two_cpus_evenly() {
    let mut m = machine(2);
    (0..3).for_each(|dom| m.add_busy(dom, 256, 1, Affinity::ANY));
    measure(&mut m, 10 * SECOND);
    m.assert_shares(&[(0, 1), (1, 1), (2, 1)], 1);
}

#[test]
fn weights_change_at_once() {
    let mut m = machine(1);
    (0..2).for_each(|dom| m.add_busy(dom, 256, 1, Affinity::ANY));
    measure(&mut m, 10 * SECOND);
    m.assert_shares(&[(0, 1), (1, 1)], 1);
    m.set_weight(1, 768);
    m.reset();
    m.pass(10 * SECOND);
    m.assert_shares(&[(0, 1), (1, 3)], 2);
}

#[test]
fn small_weight_is_served_and_large_one_is_no_monopoly() {
    let mut m = machine(1);
    m.add_busy(0, MAX_WEIGHT, 1, Affinity::ANY);
    m.add_busy(1, 16, 1, Affinity::ANY);
    m.add_busy(2, 256, 1, Affinity::ANY);
    measure(&mut m, 300 * SECOND);
    assert!(m.ran(1) > 20 * MS, "{} ms", m.ran(1) / MS);
    m.assert_shares(&[(0, MAX_WEIGHT.into()), (2, 256)], 5);
}

#[test]
fn vcpu_that_cannot_use_its_weight_gets_a_whole_cpu_and_the_rest_share_theirs() {
    let mut m = machine(2);
    m.add_busy(0, 10_000, 1, Affinity::ANY);
    m.add_busy(1, 256, 1, Affinity::ANY);
    m.add_busy(2, 512, 2, Affinity::ANY);
    measure(&mut m, 60 * SECOND);
    assert!(m.ran(0) >= 59 * SECOND, "{} ms", m.ran(0) / MS);
    m.assert_shares(&[(1, 256), (2, 512)], 3);
    // It has no claim to what it could not use.
    m.add_busy(0, 256, 1, Affinity::ANY);
    m.settle();
    m.pass(SECOND);
    m.reset();
    m.pass(10 * SECOND);
    m.assert_shares(&[(0, 256), (1, 256), (2, 512)], 5);
}

#[test]
fn pinned_vcpus_stay_and_share_their_cpu_and_others_do_without_it() {
    let mut m = machine(2);
    m.add_busy(0, 256, 1, only(0b01));
    m.add_busy(1, 512, 1, only(0b01));
    m.add_busy(2, 256, 1, Affinity::ANY);
    measure(&mut m, 30 * SECOND);
    m.assert_shares(&[(0, 1), (1, 2)], 2);
    assert_eq!(
        m.ran(0) + m.ran(1),
        30 * SECOND,
        "the third has a CPU for itself"
    );
    for vcpu in &m.vcpus[..2] {
        assert_eq!(vcpu.ran_on[1], 0);
    }
}

#[test]
fn pinned_guest_has_its_weight_where_that_can_be() {
    let mut m = machine(2);
    m.add_busy(0, 256, 2, Affinity::ANY);
    m.add_busy(1, 512, 2, only(0b10));
    m.add_busy(2, 1024, 2, Affinity::ANY);
    measure(&mut m, 60 * SECOND);
    m.assert_shares(&[(0, 256), (1, 512), (2, 1024)], 2);
    assert!(m.vcpus[2..4].iter().all(|vcpu| vcpu.ran_on[0] == 0));
}

#[test]
fn crowd_on_one_cpu_keeps_its_weights_and_owes_little_when_it_is_let_go() {
    let mut m = machine(2);
    for dom in 0..3 {
        m.add_busy(dom, 256 << dom, 1, only(0b01));
    }
    m.add_busy(3, 256, 1, only(0b10));
    m.add_busy(4, 256, 1, only(0b10));
    measure(&mut m, 60 * SECOND);
    m.assert_shares(&[(0, 1), (1, 2), (2, 4)], 2);
    m.assert_shares(&[(3, 1), (4, 1)], 2);
    // Half an hour of different loads later, all CPUs are for all.
    (0..5).for_each(|v| m.set_affinity(v, Affinity::ANY));
    (0..3).for_each(|dom| m.set_weight(dom, 256));
    m.settle();
    m.pass(4 * SECOND);
    m.reset();
    m.pass(10 * SECOND);
    m.assert_shares(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)], 2);
    let longest = m.vcpus.iter().map(|v| v.longest_wait).max().unwrap();
    assert!(longest <= 4 * TURN_NS, "{} us", longest / 1000);
}

#[test]
fn waking_in_a_crowd_does_not_starve_one_that_is_pinned() {
    let mut m = machine(2);
    m.add_busy(0, 256, 3, only(0b01));
    m.add_busy(1, 256, 2, only(0b10));
    let napper = m.add_pattern(2, MS, 20 * MS, only(0b01));
    measure(&mut m, 60 * SECOND);
    assert!(m.vcpus[napper].latency <= 2 * TURN_NS);
    assert!(m.vcpus[napper].ran > 60 * SECOND / 30);
}

#[test]
fn soft_affinity_is_kept_while_there_is_room() {
    let mut m = machine(2);
    let soft = |mask| Affinity {
        soft: CpuMask(mask),
        ..Affinity::ANY
    };
    m.add_busy(0, 256, 1, soft(0b10));
    m.add_busy(1, 256, 1, soft(0b01));
    measure(&mut m, SECOND);
    assert_eq!(
        (m.vcpus[0].ran_on[1], m.vcpus[1].ran_on[0]),
        (SECOND, SECOND)
    );
    // More work than CPUs: nobody idles out of love.
    m.add_busy(2, 256, 1, soft(0b10));
    measure(&mut m, 10 * SECOND);
    assert_eq!(m.idle, [0, 0]);
    m.assert_shares(&[(0, 1), (1, 1), (2, 1)], 5);
    assert!(m.vcpus[1].ran_on[0] > 9 * m.vcpus[1].ran_on[1]);
}

#[test]
fn waking_vcpu_runs_when_the_rate_limit_is_over() {
    let mut m = machine(2);
    (0..2).for_each(|dom| m.add_busy(dom, 1024, 2, Affinity::ANY));
    for n in 0..3 {
        m.add_pattern(2 + n, MS / 5, 7 * MS + 1000 * u64::from(n), Affinity::ANY);
    }
    measure(&mut m, 20 * SECOND);
    for vcpu in &m.vcpus[4..] {
        // Three of them may wake at once.
        let bound = 2 * RATE_LIMIT_NS + 2 * MS;
        assert!(vcpu.latency <= bound, "{} us", vcpu.latency / 1000);
        assert!(
            vcpu.ran > SECOND / 2,
            "they lost time: {} ms",
            vcpu.ran / MS
        );
    }
}

#[test]
fn napping_brings_no_more_than_a_share() {
    for (run, sleep) in [
        (4 * MS, MS / 100),
        (MS, MS / 10),
        (MS / 10, MS / 100),
        (9 * MS, MS),
    ] {
        let mut m = machine(1);
        m.add_busy(0, 256, 1, Affinity::ANY);
        m.add_pattern(1, run, sleep, Affinity::ANY);
        measure(&mut m, 20 * SECOND);
        let least = 20 * SECOND * 48 / 100;
        assert!(
            m.ran(0) >= least,
            "{} ms beside ({run}, {sleep})",
            m.ran(0) / MS
        );
    }
}

#[test]
fn long_sleep_saves_nothing_up() {
    let mut m = machine(1);
    m.add_busy(0, 256, 1, Affinity::ANY);
    m.add_pattern(1, SECOND, 60 * SECOND, Affinity::ANY);
    m.settle();
    m.pass(70 * SECOND);
    assert!(m.vcpus[0].longest_wait <= 2 * TURN_NS + 1000);
}

#[test]
fn running_alone_is_not_held_against_anyone() {
    let mut m = machine(2);
    m.add_busy(0, 256, 1, Affinity::ANY);
    m.settle();
    m.pass(100 * SECOND);
    m.add_busy(1, 1024, 1, Affinity::ANY);
    m.settle();
    m.pass(100 * SECOND);
    m.add_busy(2, 256, 1, Affinity::ANY);
    m.settle();
    m.pass(SECOND);
    m.reset();
    m.pass(20 * SECOND);
    // The second would have four sixths of two CPUs, but has one vcpu.
    assert!(m.ran(1) >= 19 * SECOND);
    m.assert_shares(&[(0, 1), (2, 1)], 3);
}

#[test]
fn warped_vcpu_comes_sooner_but_gets_no_more() {
    let run = |by: u64, limit: u64| {
        let mut m = machine(1);
        (0..3).for_each(|dom| m.add_busy(dom, 256, 1, Affinity::ANY));
        // Wants more than a quarter, so that it has to wait.
        let v = m.add_pattern(3, 3 * MS, 4 * MS, Affinity::ANY);
        let warp = Warp {
            by: Nanos(by),
            limit: Nanos(limit),
            pause: Nanos(50 * MS),
        };
        let params = Params {
            warp,
            ..Params::default()
        };
        m.sched.set_params(DomId(3), &params).unwrap();
        assert_eq!(m.sched.params(DomId(3)), Ok(params));
        measure(&mut m, 30 * SECOND);
        (m.vcpus[v].ran, m.vcpus[v].latency)
    };
    let (plain, plain_latency) = run(0, 0);
    let (warped, _) = run(40 * MS, 0);
    let (limited, _) = run(40 * MS, MS);
    let fair = 30 * SECOND / 4;
    for ran in [plain, warped, limited] {
        assert!(ran.abs_diff(fair) < fair / 20, "{} ms", ran / MS);
    }
    assert!(plain_latency > 4 * MS);
    // It comes first until it has borrowed all that it may, and then waits as long as without.
    let mut m = machine(1);
    (0..3).for_each(|dom| m.add_busy(dom, 256, 1, Affinity::ANY));
    let v = m.add_pattern(3, 2 * MS, 20 * MS, Affinity::ANY);
    let params = Params {
        warp: Warp {
            by: Nanos(40 * MS),
            ..Warp::default()
        },
        ..Params::default()
    };
    m.sched.set_params(DomId(3), &params).unwrap();
    measure(&mut m, 10 * SECOND);
    assert!(m.vcpus[v].latency <= RATE_LIMIT_NS + 1000);
    assert!(m.vcpus[v].longest_wait <= RATE_LIMIT_NS + 1000);
}

#[test]
fn yielding_vcpu_goes_behind_the_first_that_waits() {
    let mut m = machine(1);
    (0..2).for_each(|dom| m.add_busy(dom, 256, 1, Affinity::ANY));
    m.settle();
    for _ in 0..10 {
        m.pass(MS / 10);
        let before = m.running[0];
        assert!(m.sched.yield_now(CpuId(0)));
        m.ask(0);
        assert_ne!(m.running[0], before);
    }
}

#[test]
fn turn_and_rate_limit_can_be_set() {
    let mut m = machine(1);
    (0..2).for_each(|dom| m.add_busy(dom, 256, 1, Affinity::ANY));
    measure(&mut m, SECOND);
    let before = m.switches;
    let slower = Tunables {
        turn: Nanos(40 * MS),
        rate_limit: Nanos(2 * MS),
    };
    m.sched.set_tunables(&slower).unwrap();
    assert_eq!(m.sched.tunables(), Ok(slower));
    measure(&mut m, SECOND);
    assert!(m.switches * 4 < before, "{} and {before}", m.switches);
    let bad = Tunables {
        rate_limit: Nanos(41 * MS),
        ..slower
    };
    assert_eq!(m.sched.set_tunables(&bad), Err(SchedError::BadValue));
    for weight in [0, MAX_WEIGHT + 1] {
        let params = Params {
            weight,
            ..Params::default()
        };
        let got = m.sched.set_params(DomId(0), &params);
        assert_eq!(got, Err(SchedError::BadValue));
    }
    assert_eq!(m.sched.params(DomId(9)), Err(SchedError::NoVcpu));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Any domains that can all have their share do have it.
    #[test]
    fn shares_hold_for_any_weights(weights in prop::collection::vec(64..2048u32, 2..7), nr_cpus in 1..4u32, nappers in 0..3u16) {
        let mut m = machine(nr_cpus);
        let mut wanted = Vec::new();
        for (dom, weight) in weights.iter().enumerate() {
            m.add_busy(dom as u16, *weight, nr_cpus, Affinity::ANY);
            wanted.push((dom as u16, u64::from(*weight)));
        }
        for n in 0..nappers {
            m.add_pattern(100 + n, MS / 10, 3 * MS, Affinity::ANY);
        }
        measure(&mut m, 60 * SECOND);
        m.assert_shares(&wanted, 3);
        prop_assert_eq!(m.idle.iter().sum::<u64>(), 0);
        let all: u64 = m.vcpus.iter().map(|v| v.ran).sum();
        prop_assert_eq!(all, 60 * SECOND * u64::from(nr_cpus));
    }

    /// Nobody waits for ever, whatever is pinned, napping or weighs little.
    #[test]
    fn nobody_starves(vcpus in prop::collection::vec((1..8u64, 32..1024u32, 0..20_000u64, 0..20_000u64), 1..12)) {
        let mut m = machine(3);
        for (n, (mask, weight, run, sleep)) in vcpus.iter().enumerate() {
            let dom = n as u16;
            if n % 2 == 0 {
                m.add_busy(dom, *weight, 1, only(*mask));
            } else {
                m.add_pattern(dom, 1000 * (run + 1), 1000 * (sleep + 1), only(*mask));
                m.set_weight(dom, *weight);
            }
        }
        m.settle();
        m.pass(20 * SECOND);
        for vcpu in &m.vcpus {
            // The others may have to catch up with the longest run of the lightest one beside the heaviest.
            let bound = 12 * (LAG_NS + 2 * TURN_NS) * 1024 / 32;
            prop_assert!(vcpu.longest_wait < bound, "{} ms", vcpu.longest_wait / MS);
            prop_assert!(vcpu.ran > 0);
        }
    }
}
