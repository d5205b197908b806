//! Calls on everything but memory: events, vcpus, callbacks, devices, control.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rexen_guests::{abi, crew, memory};

use crate::arguments::{Arena, Call, Then, count, domain, place};
use crate::clock;
use crate::rng::Rng;
use crate::world::{self, MFNS};

/// Ports that were given to us.
pub static PORTS: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];
/// Domains that we made.
pub static DOMAINS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

fn port(rng: &mut Rng) -> u64 {
    match rng.weighted(&[70, 25, 5]) {
        0 => u64::from(PORTS[rng.below(32) as usize].load(Relaxed)),
        1 => rng.below(64),
        _ => rng.odd() & 0xffff_ffff,
    }
}

fn vcpu(rng: &mut Rng) -> u64 {
    if rng.chance(90) {
        rng.below(3)
    } else {
        rng.odd() & 0xffff_ffff
    }
}

/// `event_channel_op`.
pub fn event_channel_op(rng: &mut Rng, arena: &mut Arena) -> Call {
    let number = rng.weighted(&[10, 10, 3, 12, 20, 6, 12, 8, 8, 10, 1, 2, 3, 4, 1]) as u64;
    let whom = domain(rng);
    let (words, then_at) = match number {
        0 => ([whom | port(rng) << 32, 0, 0], 8),
        1 => (
            [
                if rng.chance(90) {
                    rng.below(24)
                } else {
                    rng.odd() & 0xffff_ffff
                } | vcpu(rng) << 32,
                0,
                0,
            ],
            8,
        ),
        2 => ([rng.below(64) | rng.below(4) << 32, 0, 0], 8),
        5 => ([whom | port(rng) << 32, 0, 0], 0),
        6 => ([whom & 0xffff | domain(rng) << 16, 0, 0], 4),
        7 => ([vcpu(rng), 0, 0], 4),
        8 => ([port(rng) | vcpu(rng) << 32, 0, 0], 0),
        10 => ([whom, 0, 0], 0),
        11 => (
            [
                world::mappable(rng),
                rng.below(4096) & !7 | vcpu(rng) << 32,
                0,
            ],
            0,
        ),
        12 => ([world::mappable(rng), 0, 0], 0),
        13 => ([port(rng) | rng.below(18) << 32, 0, 0], 0),
        _ => ([port(rng), 0, 0], 0),
    };
    let at = arena.words(words);
    let then = if then_at != 0 {
        Then::Port(at + then_at)
    } else {
        Then::Nothing
    };
    Call::new(abi::EVENT_CHANNEL_OP, [number, place(rng, at, 24)]).then(then)
}

/// `vcpu_op`.
pub fn vcpu_op(rng: &mut Rng, arena: &mut Arena, workers: usize) -> Call {
    let mut number = rng.pick(&[0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 13]);
    let mut who = vcpu(rng);
    let mut then = Then::Nothing;
    let argument = match number {
        0 => {
            // For a vcpu that never runs.
            let at = arena.take(5168);
            crew::fill_context(at, 1, 0);
            for _ in 0..1 + rng.below(4) {
                let value = match rng.below(3) {
                    0 => world::mappable(rng),
                    1 => world::address(rng),
                    _ => rng.odd(),
                };
                memory::write(at + rng.below(5168 / 8) * 8, value);
            }
            who = who.max(workers as u64);
            at
        }
        1 | 2 => {
            // Vcpu 0 stays up, and only a vcpu that has code to run goes up.
            if workers < 2 || who != 1 {
                number = 3;
            }
            then = Then::Up;
            0
        }
        5 | 13 => {
            let area = if rng.chance(50) {
                arena.take(48)
            } else {
                world::address(rng)
            };
            arena.words([if world::is_expendable(area, 64) || rng.chance(50) {
                area
            } else {
                world::pool_address(rng)
            }])
        }
        6 => arena.words([if rng.chance(90) {
            1_000_000 + rng.below(1 << 24)
        } else {
            rng.odd()
        }]),
        8 => {
            let when = clock::now().wrapping_add(rng.below(1 << 20));
            arena.words([if rng.chance(90) { when } else { rng.odd() }, rng.below(2)])
        }
        10 => {
            who = who.max(2);
            arena.words([world::mappable(rng), rng.below(4096) & !63])
        }
        _ => arena.take(64),
    };
    if matches!(number, 5 | 13) {
        // What is registered is written to later: the arena is, and the pool.
        return Call::new(abi::VCPU_OP, [number, who, argument]);
    }
    Call::new(abi::VCPU_OP, [number, who, place(rng, argument, 16)]).then(then)
}

/// `sched_op`: all but what ends or stops the guest for good.
pub fn sched_op(rng: &mut Rng, arena: &mut Arena) -> Call {
    match rng.weighted(&[40, 40, 8, 4, 8]) {
        0 => Call::new(abi::SCHED_OP, [0]),
        1 => {
            let nr = rng.below(5);
            let ports = arena.take(32);
            for n in 0..4 {
                memory::write(ports + n * 8, port(rng) | port(rng) << 32);
            }
            let ports = if rng.chance(90) {
                ports
            } else {
                world::address(rng)
            };
            let until = match rng.below(3) {
                0 => 1,
                _ => clock::now() + rng.below(300_000),
            };
            let nr = if rng.chance(95) {
                nr
            } else {
                rng.odd() & 0xffff_ffff
            };
            // Where this structure lies must be certain: a wild timeout would be for ever.
            let at = arena.words([ports, nr, until.max(1)]);
            Call::new(abi::SCHED_OP, [3, at])
        }
        2 => {
            let at = arena.words([(0x8000 | rng.below(0xffff)) & 0xffff | rng.below(8) << 32]);
            Call::new(abi::SCHED_OP, [4, at])
        }
        3 => {
            let at = arena.words([(3 + rng.below(100)) | rng.odd() << 32]);
            Call::new(abi::SCHED_OP, [6, at])
        }
        _ => {
            let at = arena.words([rng.odd()]);
            Call::new(abi::SCHED_OP, [7 + rng.below(20), at])
        }
    }
}

/// `set_trap_table` with garbage, or with nothing.
pub fn set_trap_table(rng: &mut Rng, arena: &mut Arena) -> Call {
    let nr = 1 + rng.below(300);
    let at = arena.take((nr + 1) * 16);
    for n in 0..nr {
        let cs = rng.pick(&[abi::FLAT_CS64, abi::FLAT_CS64, 0, 8, 0xe008, 0x7b, 0xffff]);
        memory::write(at + n * 16, rng.below(256) | rng.below(256) << 8 | cs << 16);
        let handler = if rng.chance(90) { rng.odd() | 1 } else { 0 };
        memory::write(at + n * 16 + 8, handler);
    }
    let at = if rng.chance(5) {
        0
    } else {
        place(rng, at, nr * 16)
    };
    Call::new(abi::SET_TRAP_TABLE, [at]).then(Then::Install)
}

/// Callbacks, NMI handlers and the kernel stack.
pub fn callbacks(rng: &mut Rng, arena: &mut Arena) -> Call {
    let call = match rng.below(5) {
        0 | 1 => {
            let kind = if rng.chance(85) {
                rng.below(8)
            } else {
                rng.odd() & 0xffff
            };
            let at = arena.words([kind | rng.below(4) << 16, rng.odd()]);
            Call::new(abi::CALLBACK_OP, [rng.below(3), place(rng, at, 16)])
        }
        2 => Call::new(4, [rng.odd(), rng.odd(), rng.odd()]),
        3 => {
            let at = arena.words([rng.odd(), rng.odd()]);
            Call::new(28, [rng.below(3), place(rng, at, 16)])
        }
        _ => Call::new(abi::STACK_SWITCH, [rng.odd(), rng.odd()]),
    };
    call.then(Then::Install)
}

/// The many small calls.
pub fn small(rng: &mut Rng, arena: &mut Arena) -> Call {
    match rng.below(8) {
        0 => {
            let at = arena.take(1024);
            Call::new(abi::XEN_VERSION, [rng.below(13), place(rng, at, 1024)])
        }
        1 => {
            let register = if rng.chance(95) {
                rng.below(8)
            } else {
                rng.odd()
            };
            let value = match register {
                0..=3 => world::address(rng),
                7 => rng.word() & 0xffff_03ff,
                _ => rng.odd(),
            };
            Call::new(abi::SET_DEBUGREG, [register, value])
        }
        2 => Call::new(abi::GET_DEBUGREG, [rng.below(10)]),
        3 => Call::new(
            abi::SET_SEGMENT_BASE,
            [
                rng.below(5),
                if rng.chance(50) {
                    world::address(rng)
                } else {
                    rng.odd()
                },
            ],
        ),
        4 => Call::new(abi::FPU_TASKSWITCH, [rng.below(3)]),
        5 => {
            let when = clock::now().wrapping_add(rng.below(1 << 21));
            Call::new(
                abi::SET_TIMER_OP,
                [if rng.chance(80) { when } else { rng.odd() }],
            )
        }
        6 => {
            let kind = if rng.chance(80) {
                rng.below(6)
            } else {
                rng.odd()
            };
            Call::new(abi::VM_ASSIST, [rng.below(3), kind])
        }
        _ => console(rng, arena),
    }
}

fn console(rng: &mut Rng, arena: &mut Arena) -> Call {
    let at = arena.words([0x2e2e_2e2e_7a7a_7566]);
    match rng.below(30) {
        0 => Call::new(abi::CONSOLE_IO, [0, 4, at]),
        1..=9 => Call::new(
            abi::CONSOLE_IO,
            [
                0,
                rng.below(8),
                rng.pick(&[0, 1 << 47, 0xffff_8000_0000_0000, u64::MAX]),
            ],
        ),
        10..=19 => Call::new(
            abi::CONSOLE_IO,
            [1, rng.below(64), world::pool_address(rng) & !63],
        ),
        _ => Call::new(abi::CONSOLE_IO, [2 + rng.below(9), rng.odd(), at]),
    }
}

/// `physdev_op`.
pub fn physdev_op(rng: &mut Rng, arena: &mut Arena) -> Call {
    let number = rng.pick(&[
        5, 6, 7, 8, 10, 12, 12, 13, 13, 14, 14, 15, 16, 17, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        31, 40,
    ]);
    let at = arena.take(72);
    for word in 0..6 {
        let value = match rng.below(5) {
            0 => domain(rng) | rng.below(4) << 32,
            1 => rng.below(64) | rng.below(64) << 32,
            2 => world::mappable(rng),
            3 => world::address(rng),
            _ => rng.odd(),
        };
        memory::write(at + word * 8, value);
    }
    Call::new(abi::PHYSDEV_OP, [number, place(rng, at, 48)])
}

fn made(rng: &mut Rng) -> u64 {
    match u64::from(DOMAINS[rng.below(4) as usize].load(Relaxed)) {
        0 => 1 + rng.below(8),
        domain => domain,
    }
}

/// The toolstack's words on itself that do no harm.
const OF_ITSELF: [u64; 12] = [5, 13, 14, 25, 36, 43, 59, 61, 63, 69, 72, 82];

/// `domctl`: on domains that we made, mostly.
pub fn domctl(rng: &mut Rng, arena: &mut Arena) -> Call {
    let at = arena.take(144);
    let mut number = match rng.weighted(&[60, 30, 10]) {
        0 => rng.pick(&[
            1, 1, 2, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 15, 16, 17, 25, 27, 28, 29, 35, 61, 82,
        ]),
        1 => rng.below(90),
        _ => rng.odd() & 0xffff,
    };
    let mut whom = if rng.chance(85) {
        made(rng)
    } else {
        domain(rng)
    };
    if matches!(whom, 0 | 0x7ff0) && !OF_ITSELF.contains(&number) {
        // On domain 0 itself only questions.
        if rng.chance(50) {
            whom = made(rng)
        } else {
            number = rng.pick(&OF_ITSELF)
        }
    }
    for word in 2..18 {
        let value = match rng.below(6) {
            0 => world::pool_address(rng) & !7,
            1 => world::mappable(rng),
            2 => rng.odd(),
            3 => rng.below(4) | rng.below(4) << 32,
            _ => 0,
        };
        memory::write(at + word * 8, value);
    }
    let version = if rng.chance(97) {
        0x15
    } else {
        rng.odd() & 0xffff_ffff
    };
    memory::write(at, number | version << 32);
    memory::write(at + 8, whom & 0xffff);
    let mut then = Then::Nothing;
    match number {
        1 if rng.chance(90) => {
            for word in 2..10 {
                memory::write(at + word * 8, 0);
            }
            // flags and iommu_opts; max_vcpus and ports; grant frames and maptrack; grant_opts.
            memory::write(at + 16 + 20, rng.pick(&[0, 0, 0, 1 << 4]));
            memory::write(at + 16 + 28, (1 + rng.below(3)) | 1023 << 32);
            memory::write(at + 16 + 36, rng.below(65) | rng.below(64) << 32);
            memory::write(at + 16 + 44, rng.below(3));
            if rng.chance(20) {
                memory::write(at + 16 + rng.below(8) * 8, rng.odd());
            }
            if rng.chance(90) {
                memory::write(at + 8, 0);
            }
            then = Then::Domain(at + 8);
        }
        11 => memory::write(at + 16, rng.below(1 << 16)),
        12 if rng.chance(60) => {
            // The domain has no tables of its own yet: its context names frames that it does not own.
            let context = arena.take(5168);
            crew::fill_context(context, 1, 0);
            memory::write(at + 16, rng.below(3));
            memory::write(at + 24, context);
        }
        15 if rng.chance(80) => memory::write(at + 16, 1 + rng.below(3)),
        _ => {}
    }
    let at = if matches!(then, Then::Domain(_)) {
        at
    } else {
        place(rng, at, 144)
    };
    Call::new(36, [at]).then(then)
}

/// `memory_op` and `mmu_update` on a domain that we made.
pub fn on_domain(rng: &mut Rng, arena: &mut Arena) -> Call {
    let whom = made(rng);
    let list = arena.take(64);
    let nr = 1 + rng.below(8);
    match rng.below(4) {
        0 | 1 => {
            for n in 0..nr {
                memory::write(list + n * 8, rng.below(4096));
            }
            let op = arena.words([list, nr, rng.pick(&[0, 0, 0, 3, 9]), whom]);
            Call::new(abi::MEMORY_OP, [6, op])
        }
        2 => {
            let op = arena.words([list, whom, rng.below(4), 0]);
            Call::new(abi::MEMORY_OP, [rng.pick(&[3, 4, 14, 24]), op])
        }
        _ => {
            // Map a frame of it, if the number happens to be one: frames lie close to those that we gave away.
            let mfn = MFNS[world::slot(rng)]
                .load(Relaxed)
                .wrapping_add(rng.below(64));
            let mfn = if world::is_precious(mfn) { 0 } else { mfn };
            let op = arena.words([world::entry_of_page(rng), mfn << 12 | 7]);
            Call::new(
                abi::MMU_UPDATE,
                [op, 1, 0, whom | (rng.below(2) * 0x7ff1) << 16],
            )
        }
    }
}

/// `sysctl` and `platform_op`: questions.
pub fn sysctl(rng: &mut Rng, arena: &mut Arena) -> Call {
    let at = arena.take(136);
    for word in 1..17 {
        let value = match rng.below(4) {
            0 => world::pool_address(rng) & !7,
            1 => rng.odd(),
            _ => rng.below(64),
        };
        memory::write(at + word * 8, value);
    }
    if rng.chance(10) {
        // Firmware and CPU questions.
        let number = rng.pick(&[33, 41, 49, 50, 54, 58, 61, 62, 63, 64]);
        memory::write(at, number | 0x0300_0000 << 32);
        return Call::new(7, [place(rng, at, 136)]);
    }
    // Not 2 and 7 (traces, debug keys), 11 and 14 (CPUs and pages away).
    let number = rng.pick(&[
        1, 3, 4, 5, 6, 6, 8, 9, 10, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 29, 30, 99,
    ]);
    let version = if rng.chance(97) {
        0x15
    } else {
        rng.odd() & 0xffff_ffff
    };
    memory::write(at, number | version << 32);
    Call::new(35, [place(rng, at, 136)])
}

/// Calls that need not exist, with any arguments that cannot hurt.
pub fn noise(rng: &mut Rng) -> Call {
    let number = rng.pick(&[
        6, 10, 11, 16, 27, 31, 34, 37, 38, 39, 40, 41, 42, 48, 49, 55, 56, 64, 1000,
    ]);
    let word = |rng: &mut Rng| {
        if rng.chance(50) {
            world::address(rng)
        } else {
            rng.odd()
        }
    };
    Call::new(
        number,
        [word(rng), word(rng), word(rng), word(rng), word(rng)],
    )
}

/// `multicall` of calls that the given generator makes.
pub fn multicall(
    rng: &mut Rng,
    arena: &mut Arena,
    mut make: impl FnMut(&mut Rng, &mut Arena) -> Call,
) -> ([Then; 8], Call) {
    let right = 1 + rng.below(8);
    let list = arena.take(right * 64);
    let mut thens = [Then::Nothing; 8];
    for (n, then) in (0..right).zip(thens.iter_mut()) {
        let call = make(rng, arena);
        *then = call.then;
        let at = list + n * 64;
        memory::write(at, call.number);
        for (argument, value) in (0..).zip(call.args) {
            memory::write(at + 16 + argument * 8, value);
        }
    }
    if rng.chance(3) {
        memory::write(list, 13);
    }
    let nr = count(rng, right).min(right);
    (thens, Call::new(abi::MULTICALL, [list, nr]))
}
