//! Behaviour: whatever a guest does, the hypervisor stands.
//! Trigger: hypercalls, stores to page tables, privileged instructions, selectors, made up from a seed, on one or two vcpus.
//! Expectation: the guest runs to its end or is ended; the hypervisor neither panics nor hangs, and its counts are right.
//!
//! The command line says `seed=N seconds=N vcpus=N`. What the guest lives on is kept out of the game (`world.rs`), and it
//! catches its own traps; still it may lose its life by its own hand, which is no verdict on the hypervisor. Each few
//! seconds it prints `FUZZ seed=... calls=... errors=... traps=...`; as domain 0 it also has references counted again,
//! with its vcpus still. tests/tests/machines/fuzz.rs reads all this.
#![no_std]
#![no_main]

mod acts;
mod arguments;
mod calls_memory;
mod calls_other;
mod clock;
mod rng;
mod world;

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use rexen_guests::{abi, crew, entry, event, guest, hypercall, lone::Lone, memory, report};

use arguments::{Arena, Call, Then};
use calls_memory::{GRANTS, HANDLES};
use calls_other::{DOMAINS, PORTS};
use rng::Rng;
use world::{FRAMES, KINDS, MFNS};

guest!("fuzz", main);

/// How often vcpu 0 reports.
const REPORT_NS: u64 = 5_000_000_000;

/// Where each vcpu's `vcpu_info` lies.
pub static INFO: Lone<[u64; 2]> = Lone::new([0; 2]);
/// Where shared_info lies.
pub static SHARED: Lone<u64> = Lone::new(0);

/// A page for each vcpu to look at a frame through.
static WINDOWS: Lone<u64> = Lone::new(0);

/// That of the running vcpu.
pub fn window() -> u64 {
    WINDOWS.get() + crew::index() as u64 * memory::PAGE
}

static SEED: AtomicU64 = AtomicU64::new(1);
static SECONDS: AtomicU64 = AtomicU64::new(20);
static WORKERS: AtomicU64 = AtomicU64::new(1);
/// Calls and errors among them.
static CALLS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static ERRORS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// Grants that were mapped.
static MAPPED: AtomicU64 = AtomicU64::new(0);
/// Tables that were pinned.
pub static PINNED: AtomicU64 = AtomicU64::new(0);
/// Calls by number, for one look at the end.
static BY_NUMBER: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static GOOD: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
/// 0: go on; 1: hold still; 2: the end.
static ORDER: AtomicU32 = AtomicU32::new(0);
/// Whether vcpu 1 holds still.
static IS_STILL: AtomicU32 = AtomicU32::new(0);

fn main() {
    for (name, place) in [("seed", &SEED), ("seconds", &SECONDS), ("vcpus", &WORKERS)] {
        if let Some(number) = entry::option(name) {
            place.store(number, Relaxed);
        }
    }
    SHARED.set(event::shared_info());
    let infos = memory::new_page();
    for vcpu in 0..2 {
        let mut argument = [memory::mfn_of(infos), vcpu * 64];
        hypercall::call(abi::VCPU_OP, [10, vcpu, hypercall::pointer(&mut argument)]);
    }
    INFO.set([infos, infos + 64]);
    WINDOWS.set(memory::new_page());
    memory::new_page();
    grants();
    let grant_frame = memory::pte_of(GRANTS.load(Relaxed)) >> 12 & 0xff_ffff_ffff;
    world::init(&[grant_frame, grant_frame + 1, memory::mfn_of(infos)]);
    crew::run_first(INFO.get()[0], first)
}

/// Maps two frames of the grant table.
fn grants() {
    let mut frames = [0u64; 2];
    let mut argument = [
        abi::DOMID_SELF | 2 << 32,
        0,
        hypercall::pointer(&mut frames),
    ];
    hypercall::call(
        abi::GRANT_TABLE_OP,
        [2, hypercall::pointer(&mut argument), 1],
    );
    let pages = [memory::new_page(), memory::new_page()];
    for (page, frame) in pages.into_iter().zip(frames) {
        if hypercall::update_va_mapping(page, frame << 12 | 0x27) != 0 {
            return;
        }
    }
    GRANTS.store(pages[0], Relaxed);
}

extern "C" fn first() -> ! {
    crew::install();
    let mut workers = WORKERS.load(Relaxed).clamp(1, 2);
    if workers == 2 {
        let context = memory::new_page();
        memory::new_page();
        let started = crew::start(1, INFO.get()[1], context, second);
        if started != 0 {
            report::print(format_args!("FUZZ no second vcpu: {started}"));
            workers = 1;
        }
    }
    WORKERS.store(workers, Relaxed);
    report::print(format_args!(
        "FUZZ start seed={} seconds={} vcpus={workers} domain0={}",
        SEED.load(Relaxed),
        SECONDS.load(Relaxed),
        entry::is_domain0()
    ));
    let start = clock::now();
    let mut next = start + REPORT_NS;
    let mut worker = Worker::new();
    loop {
        for _ in 0..64 {
            worker.guarded_step();
        }
        let now = clock::now();
        if now > next {
            next = now + REPORT_NS;
            say("");
            recount();
        }
        if now - start > SECONDS.load(Relaxed) * 1_000_000_000 {
            break;
        }
    }
    recount();
    ORDER.store(2, SeqCst);
    if entry::is_domain0() {
        // What took longest, if the hypervisor was built to measure it (docs/bounded-work.md).
        debug_key(b's');
    }
    for (number, (calls, good)) in BY_NUMBER.iter().zip(&GOOD).enumerate() {
        let (calls, good) = (calls.load(Relaxed), good.load(Relaxed));
        if calls > 0 {
            report::print(format_args!(
                "FUZZ by number={number} calls={calls} good={good}"
            ));
        }
    }
    report::print(format_args!(
        "FUZZ pinned={} mapped={}",
        PINNED.load(Relaxed),
        MAPPED.load(Relaxed)
    ));
    say("end ");
    let (calls, errors) = (total(&CALLS), total(&ERRORS));
    report::check(
        calls > 0 && errors < calls,
        format_args!("{calls} calls, {errors} errors"),
    );
    report::finish()
}

extern "C" fn second() -> ! {
    crew::install();
    let mut worker = Worker::new();
    loop {
        while ORDER.load(SeqCst) != 0 {
            IS_STILL.store(1, SeqCst);
            core::hint::spin_loop();
        }
        IS_STILL.store(0, SeqCst);
        worker.guarded_step();
    }
}

fn total(counts: &[AtomicU64]) -> u64 {
    counts.iter().map(|count| count.load(Relaxed)).sum()
}

fn say(word: &str) {
    let (upcalls, traps) = crew::counts();
    report::print(format_args!(
        "FUZZ {word}seed={} calls={} errors={} traps={traps} upcalls={upcalls}",
        SEED.load(Relaxed),
        total(&CALLS),
        total(&ERRORS)
    ));
}

/// Domain 0 has every reference counted again, while its vcpus do nothing.
fn recount() {
    if !entry::is_domain0() {
        return;
    }
    ORDER.store(1, SeqCst);
    if WORKERS.load(Relaxed) == 2 {
        // It may be down, or asleep in a poll.
        while IS_STILL.load(SeqCst) == 0 {
            hypercall::call(abi::VCPU_OP, [1, 1, 0]);
            core::hint::spin_loop();
        }
    }
    debug_key(b'C');
    IS_STILL.store(0, SeqCst);
    ORDER.store(0, SeqCst);
}

/// Presses a debug key, as domain 0 may.
fn debug_key(key: u8) {
    let mut keys = u64::from(key);
    let mut op = [0u64; 17];
    op[0] = 7 | 0x15 << 32;
    op[1] = hypercall::pointer(&mut keys);
    op[2] = 1;
    let result = hypercall::call(35, [hypercall::pointer(&mut op)]);
    if result != 0 {
        report::print(format_args!("FUZZ no debug key: {result}"));
    }
}

/// Notes frames that came: as many extents of 2^`order` as `result` says of the list at `list`. Those beyond what the pool
/// holds go back, or the domain would soon have all that it may have.
pub fn took(list: u64, result: i64, order: u64) {
    let mut slot = 0;
    let mut back = [0u64; 64];
    let mut nr_back = 0;
    for n in 0..result.clamp(0, 512) as u64 {
        let first = memory::read(list + n * 8);
        if first == 0 || first >= 1 << 40 {
            continue;
        }
        for mfn in first..first + (1 << order.min(10)) {
            while slot < FRAMES && MFNS[slot].load(Relaxed) != 0 {
                slot += 1;
            }
            if world::is_precious(mfn) {
                continue;
            }
            if slot < FRAMES && MFNS[slot].compare_exchange(0, mfn, SeqCst, SeqCst).is_ok() {
                KINDS[slot].store(0, Relaxed);
            } else {
                back[nr_back] = mfn;
                nr_back += 1;
                if nr_back == back.len() {
                    give_back(&mut back);
                    nr_back = 0;
                }
            }
        }
    }
    give_back(&mut back[..nr_back]);
}

fn give_back(frames: &mut [u64]) {
    let mut op = [
        frames.as_mut_ptr() as u64,
        frames.len() as u64,
        0,
        abi::DOMID_SELF,
    ];
    hypercall::call(abi::MEMORY_OP, [1, hypercall::pointer(&mut op)]);
}

fn gave(list: u64, result: i64, order: u64) {
    for n in 0..result.clamp(0, 512) as u64 {
        let first = memory::read(list + n * 8);
        let extent = first..first.saturating_add(1 << order.min(10));
        for own in MFNS
            .iter()
            .filter(|own| extent.contains(&own.load(Relaxed)))
        {
            own.store(0, Relaxed);
        }
    }
}

/// One vcpu's part.
struct Worker {
    rng: Rng,
    index: usize,
}

impl Worker {
    fn new() -> Self {
        let index = crew::index();
        Self {
            rng: Rng::new(
                SEED.load(Relaxed)
                    .wrapping_mul(2)
                    .wrapping_add(index as u64),
            ),
            index,
        }
    }

    /// A step, and handlers anew if something cut it off.
    fn guarded_step(&mut self) {
        if crew::catch(|| self.step()) {
            crew::install();
        }
    }

    /// Something, and what must follow it.
    fn step(&mut self) {
        let mut arena = Arena::new();
        let rng = &mut self.rng;
        match rng.weighted(&[700, 60, 120, 60, 15, 8, 10, 25, 4, 20, 6, 3]) {
            0 => {
                let call = make(rng, &mut arena);
                self.issue(call);
            }
            1 => self.multicall(&mut arena),
            2 => acts::stores(rng),
            3 => acts::craft(rng),
            4 => acts::instruction(rng),
            5 => acts::selectors(rng),
            6 => acts::iret(rng),
            7 => calls_memory::grant_entry(rng),
            8 => acts::user(rng),
            9 => acts::events(rng, INFO.get()[self.index]),
            10 => acts::root(rng),
            _ => acts::sweep(rng, &mut arena),
        }
        if self.rng.chance(2) {
            crew::install_callbacks();
            if self.index == 0 && WORKERS.load(Relaxed) == 2 {
                hypercall::call(abi::VCPU_OP, [1, 1, 0]);
            }
        }
    }

    fn multicall(&mut self, arena: &mut Arena) {
        let (thens, call) = calls_other::multicall(&mut self.rng, arena, make);
        let list = call.args[0];
        self.issue(call);
        // First of all the handlers: what follows may trap.
        if thens.iter().any(|then| matches!(then, Then::Install)) {
            crew::install();
        }
        for (n, then) in (0..).zip(thens) {
            self.follow(then, memory::read(list + n * 64 + 8).cast_signed());
        }
    }

    fn issue(&mut self, call: Call) {
        let mut result = -1;
        crew::catch(|| result = hypercall::call_words(call.number, call.args));
        CALLS[self.index].fetch_add(1, Relaxed);
        let number = call.number as usize & 63;
        BY_NUMBER[number].fetch_add(1, Relaxed);
        if (-4096..0).contains(&result) {
            ERRORS[self.index].fetch_add(1, Relaxed);
        } else {
            GOOD[number].fetch_add(1, Relaxed);
        }
        self.follow(call.then, result);
    }

    fn follow(&mut self, then: Then, result: i64) {
        match then {
            Then::Nothing => {}
            Then::Install => crew::install(),
            Then::OwnTables => {
                let own = memory::mfn_of(entry::start_info().pt_base);
                if self.rng.chance(70) {
                    hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, own, 0);
                }
            }
            Then::Took(list, order) => took(list, result, order),
            Then::Gave(list, order) => gave(list, result, order),
            Then::Exchanged(op) => {
                let order = |at: u64| memory::read(at + 16) & 0xffff_ffff;
                let (given, taken) = match result {
                    0 => (memory::read(op + 8), memory::read(op + 40)),
                    _ => (memory::read(op + 64).min(512), 0),
                };
                gave(memory::read(op), given.cast_signed(), order(op));
                took(memory::read(op + 32), taken.cast_signed(), order(op + 32));
            }
            Then::Port(at) => {
                if result == 0 {
                    let port = memory::read(at & !7) >> (at % 8 * 8);
                    PORTS[self.rng.below(32) as usize].store(port as u32, Relaxed);
                }
            }
            Then::Handles(list, nr) => {
                for n in 0..nr {
                    let answer = memory::read(list + n * 32 + 16);
                    if answer >> 16 & 0xffff == 0 && result == 0 {
                        MAPPED.fetch_add(1, Relaxed);
                        HANDLES[self.rng.below(64) as usize].store((answer >> 32) as u32, Relaxed);
                    }
                }
            }
            Then::Domain(at) => {
                if result == 0 {
                    let domain = memory::read(at) & 0xffff;
                    DOMAINS[self.rng.below(4) as usize].store(domain as u32, Relaxed);
                }
            }
            Then::Up => {
                if self.index == 0 && WORKERS.load(Relaxed) == 2 {
                    hypercall::call(abi::VCPU_OP, [1, 1, 0]);
                }
            }
        }
    }
}

fn make(rng: &mut Rng, arena: &mut Arena) -> Call {
    let workers = WORKERS.load(Relaxed) as usize;
    match rng.weighted(&[
        180, 120, 150, 90, 150, 100, 25, 30, 20, 30, 4, 6, 50, 30, 20, 15, 10, 8,
    ]) {
        0 => calls_memory::mmu_update(rng, arena),
        1 => calls_memory::update_va_mapping(rng),
        2 => calls_memory::mmuext_op(rng, arena),
        3 => calls_memory::memory_op(rng, arena),
        4 => calls_memory::grant_table_op(rng, arena),
        5 => calls_other::event_channel_op(rng, arena),
        6 => calls_other::vcpu_op(rng, arena, workers),
        7 => calls_other::sched_op(rng, arena),
        8 => calls_memory::set_gdt(rng, arena),
        9 => calls_memory::update_descriptor(rng),
        10 => calls_other::set_trap_table(rng, arena),
        11 => calls_other::callbacks(rng, arena),
        12 => calls_other::small(rng, arena),
        13 => calls_other::physdev_op(rng, arena),
        14 => calls_other::domctl(rng, arena),
        15 => calls_other::on_domain(rng, arena),
        16 => calls_other::sysctl(rng, arena),
        _ => calls_other::noise(rng),
    }
}
