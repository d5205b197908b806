//! Whatever a guest asks, the hypervisor neither panics nor miscounts a frame.

use proptest::collection::vec;
use proptest::prelude::*;

use rexen_abi::xen::DOMID_SELF;

use crate::hypercall::testing::{ALL, DOM0, DOMU, Fake, GUEST, GUEST_SIZE, MAPPED};
use crate::hypercall::{Machine, Outcome};

/// Numbers that mean something, more often than not.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..40u64,
        6 => (0..GUEST_SIZE as u64 / 8).prop_map(|n| GUEST + n * 8),
        3 => 0..ALL as u64,
        3 => (DOM0.0..DOMU.1, 0..512u64, 0..4u64).prop_map(|(mfn, at, low)| mfn << 12 | at << 3 | low),
        3 => (DOM0.0..DOMU.1, any::<u8>()).prop_map(|(mfn, flags)| mfn << 12 | u64::from(flags)),
        2 => Just(u64::from(DOMID_SELF)),
        2 => (0..512u64).prop_map(|n| MAPPED + (n << 12)),
        1 => (0..64u32).prop_map(|bit| 1 << bit),
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
}

#[derive(Clone, Debug)]
struct Step {
    dom: u16,
    vcpu: u32,
    number: u32,
    args: [u64; 5],
    memory: Vec<(u64, u64)>,
    stops: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let memory = vec((0..GUEST_SIZE as u64 / 8, word()), 0..24);
    (
        0..2u16,
        0..2u32,
        0..60u32,
        proptest::array::uniform5(word()),
        memory,
        any::<u64>(),
    )
        .prop_map(|(dom, vcpu, number, args, memory, stops)| Step {
            dom,
            vcpu: if dom == 0 { vcpu } else { 0 },
            number,
            args,
            memory,
            stops,
        })
}

/// Puts a step's words where its arguments point, so that they are often read.
fn fill(m: &Fake, step: &Step) {
    for (n, (at, word)) in step.memory.iter().enumerate() {
        let pointer = step.args[n % 5];
        let gva = if n < 15 {
            pointer.wrapping_add(n as u64 / 5 * 8)
        } else {
            GUEST + at * 8
        };
        let _ = m.copy_out(gva, &word.to_le_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_hypercalls_breaks_the_hypervisor(steps in vec(step(), 1..60)) {
        let m = Fake::new();
        m.tables(0);
        m.tables(1);
        for step in &steps {
            fill(&m, step);
            m.stops.store(step.stops, std::sync::atomic::Ordering::SeqCst);
            let mut args = step.args;
            for _ in 0..100 {
                match m.turn(step.dom, step.vcpu, step.number, args) {
                    Outcome::Again(next) => args = next,
                    _ => break,
                }
            }
            m.check();
        }
    }
}
