//! Round robin's own promise: turns.

use std::boxed::Box;
use std::vec::Vec;

use proptest::prelude::*;

use super::model::{MS, Machine};
use crate::sched::round_robin::TURN_NS;
use crate::sched::*;

proptest! {
    #[test]
    fn busy_vcpus_on_one_cpu_differ_by_a_turn_at_most(count in 2..7usize, naps in prop::collection::vec((0..6usize, 1..9 * MS), 0..60)) {
        let mut machine = Machine::new(Box::new(RoundRobin::new()), 1);
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
