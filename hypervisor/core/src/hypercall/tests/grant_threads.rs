//! Granter and mapper on two CPUs at once. Grants change under locks only, so that real threads, and a recount when they
//! stand still, show what a model checker would.

use std::vec::Vec;

use super::grants::{ALL, Act, GRANTER, MAPPER, Pair};
use crate::hypercall::Machine;
use crate::hypercall::testing::Fake;

/// Pairs of domains, and what each of the two does.
const PAIRS: u64 = 60;
const ACTS: usize = 200;

/// The next number of a sequence that begins with its seed.
fn random(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn granter_and_mapper_may_act_at_once() {
    let m = Fake::new();
    let free = m.nr_free_frames();
    for seed in 0..PAIRS {
        let pair = Pair::new(&m);
        let run = |id: u16| {
            let is_death = |act: Act| matches!(act, Act::KillGranter | Act::KillMapper);
            let own = ALL.into_iter().filter(|act| Pair::who(*act) == id);
            let (deaths, acts): (Vec<Act>, Vec<Act>) = own.partition(|act| is_death(*act));
            let mut state = seed * 2 + u64::from(id);
            // Some die young.
            let life = random(&mut state) % (ACTS * 2);
            for n in 0..ACTS {
                if n >= life {
                    deaths.iter().for_each(|act| pair.act(*act));
                } else {
                    pair.act(acts[random(&mut state) % acts.len()]);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| run(GRANTER));
            scope.spawn(|| run(MAPPER));
        });
        pair.check();
        pair.end();
        assert_eq!(m.nr_free_frames(), free, "free frames after pair {seed}");
        m.forget();
    }
}
