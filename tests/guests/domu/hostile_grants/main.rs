//! Attack: a granter that takes a page back while others map it (pv-abi 13; XSA-218, 224, 227, 234).
//! Trigger: two domains of two vcpus. The mapper maps and unmaps the same grants on both vcpus, writes through them, and
//! unmaps everything wrongly; the granter revokes, makes the pages tables and takes them back.
//! Expectation: a page that is mapped stays plain; when the entry says that nobody uses it, nobody does; no count is lost.
//! Harmless to Xen.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use rexen_guests::{abi, check, check_eq, entry, fail, guest, hypercall, memory, smp};

guest!("hostile_grants", main);

const MAP: u64 = 0;
const UNMAP: u64 = 1;
const SETUP: u64 = 2;
/// The first grant in use, and how many.
const FIRST: u64 = 16;
const GRANTS: u64 = 4;
const ROUNDS: u64 = 300;
/// The granter's entry 8 says how far it is: the mapper starts when it reads this, through grant 8 itself.
const CONTROL: u64 = 8;
const READY: u64 = 0x52454144;
const OVER: u64 = 0x4f564552;
/// GTF_permit_access; GTF_reading and GTF_writing.
const PERMIT: u32 = 1;
const IN_USE: u32 = 0x18;

fn main() {
    match entry::text_option("role") {
        Some("grant") => granter(),
        Some("map") => mapper(),
        role => fail!("role {role:?}"),
    }
}

/// The other domain of the two, by its place in the round.
fn other() -> u16 {
    entry::peer(entry::option("other").unwrap_or(0) as usize)
}

// The granter.

fn granter() {
    let mapper = u64::from(other());
    let mut frame = u64::MAX;
    let mut setup = [abi::DOMID_SELF | 1 << 32, 0, hypercall::pointer(&mut frame)];
    check_eq!(
        hypercall::call(
            abi::GRANT_TABLE_OP,
            [SETUP, hypercall::pointer(&mut setup), 1]
        ),
        0,
        "setup_table"
    );
    let table = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(table, (frame * memory::PAGE) | 3),
        0,
        "mapping the table"
    );
    let offer = |gref: u64, page: u64| {
        memory::write(
            table + gref * 8,
            memory::mfn_of(page) << 32 | mapper << 16 | u64::from(PERMIT),
        );
    };
    let control = memory::new_page();
    let pages: [u64; GRANTS as usize] = core::array::from_fn(|_| memory::new_page());
    offer(CONTROL, control);
    for (gref, page) in (FIRST..).zip(pages) {
        offer(gref, page);
    }
    memory::write(control, READY);
    let (mut in_use, mut revoked) = (0, 0);
    for round in 0..ROUNDS {
        let index = round % GRANTS;
        let (gref, page) = (FIRST + index, pages[index as usize]);
        let flags = table + gref * 8;
        // Ends the grant as Linux does: the flags go to 0 if nobody uses it.
        let seen = memory::read_u32(flags);
        if seen & IN_USE != 0 {
            in_use += 1;
        }
        if exchange(flags, u32::from(mapper as u16) << 16 | PERMIT, 0) {
            revoked += 1;
            // Nobody maps it: it can be a table, and then nobody's store changes it.
            memory::clear(page);
            memory::seal(page);
            check_eq!(
                memory::pin(page, 1),
                0,
                "round {round}: pinning a page that nobody maps"
            );
            for _ in 0..300 {
                core::hint::spin_loop();
            }
            check_eq!(
                memory::read(page),
                0,
                "round {round}: a table is changed by another domain"
            );
            check_eq!(memory::unpin(page), 0, "unpinning");
            check_eq!(memory::set_writable(page, true), 0, "mapping it writable");
            offer(gref, page);
        } else if seen & IN_USE != 0 {
            memory::seal(page);
            let pinned = memory::pin(page, 1);
            // The mapper may just have let go.
            if pinned == 0 {
                check_eq!(memory::unpin(page), 0, "unpinning");
            }
            check_eq!(memory::set_writable(page, true), 0, "mapping it writable");
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    memory::write(control, OVER);
    check!(
        revoked > 0,
        "{revoked} of {ROUNDS} grants were revoked, {in_use} seen in use"
    );
    // The mapper says when it has unmapped all of them.
    wait_for(control + 8, OVER);
    for gref in FIRST..FIRST + GRANTS {
        check_eq!(
            memory::read_u32(table + gref * 8) & IN_USE,
            0,
            "grant {gref} at the end"
        );
    }
}

/// Compares and exchanges four bytes.
fn exchange(va: u64, old: u32, new: u32) -> bool {
    let seen: u32;
    rexen_guests::machine!("lock cmpxchg [{va}], {new:e}", va = in(reg) va, new = in(reg) new, inout("eax") old => seen);
    seen == old
}

fn wait_for(va: u64, value: u64) {
    for _ in 0..2_000_000 {
        if memory::read(va) == value {
            return;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    check!(false, "waiting for the other domain");
}

// The mapper.

static GRANTER: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);
static IS_DOWN: AtomicBool = AtomicBool::new(false);
static MAPPED: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

/// Status, and handle.
fn map(window: u64, gref: u64) -> (i16, u32) {
    let mut argument = [window, 2 | gref << 32, GRANTER.load(SeqCst), 0];
    hypercall::call(
        abi::GRANT_TABLE_OP,
        [MAP, hypercall::pointer(&mut argument), 1],
    );
    ((argument[2] >> 16) as i16, (argument[2] >> 32) as u32)
}

fn unmap(window: u64, handle: u32) -> i16 {
    let mut argument = [window, 0, u64::from(handle)];
    hypercall::call(
        abi::GRANT_TABLE_OP,
        [UNMAP, hypercall::pointer(&mut argument), 1],
    );
    (argument[2] >> 32) as i16
}

/// Maps, writes, and unmaps: once rightly and many times wrongly.
fn storm(windows: &[u64], start: u64) {
    let mut number = start;
    while !IS_OVER.load(SeqCst) {
        number += 1;
        let gref = FIRST + number % GRANTS;
        let window = windows[(number % windows.len() as u64) as usize];
        let (status, handle) = map(window, gref);
        if status != 0 {
            REFUSED.fetch_add(1, SeqCst);
            continue;
        }
        MAPPED.fetch_add(1, SeqCst);
        smp::write(window, 0x1234_5000 + number);
        // Wrong handle, wrong address, then right, then again.
        let wrong = [
            unmap(window, handle ^ 0x40),
            unmap(window + memory::PAGE * 9, handle),
        ];
        let right = unmap(window, handle);
        if wrong.contains(&0) || right != 0 {
            WRONG.fetch_add(1, SeqCst);
        }
    }
}

extern "C" fn second(window: u64) {
    storm(&[abi::VIRT_BASE | u64::from(smp::argument(window))], 1);
    IS_DOWN.store(true, SeqCst);
}

fn mapper() {
    GRANTER.store(u64::from(other()), SeqCst);
    let [control, one, two, other] = core::array::from_fn(|_| memory::new_page());
    for page in [control, one, two, other] {
        memory::unmap(page);
    }
    let mut status = (1, 0);
    for _ in 0..2_000_000 {
        status = map(control, CONTROL);
        if status.0 == 0 {
            break;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    check_eq!(status.0, 0, "mapping the control page");
    wait_for(control, READY);
    check_eq!(smp::start(1, second, other as u32), 0, "starting vcpu 1");
    watch_and_storm(control, &[one, two]);
    IS_OVER.store(true, SeqCst);
    for _ in 0..2_000_000 {
        if IS_DOWN.load(SeqCst) {
            break;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    check!(IS_DOWN.load(SeqCst), "vcpu 1 ends");
    check!(
        MAPPED.load(SeqCst) > 10,
        "{} maps, {} refused",
        MAPPED.load(SeqCst),
        REFUSED.load(SeqCst)
    );
    check_eq!(WRONG.load(SeqCst), 0, "unmaps with a wrong answer");
    memory::write(control + 8, OVER);
    check_eq!(unmap(control, status.1), 0, "unmapping the control page");
}

/// The storm on vcpu 0, which looks now and then whether the granter has done its rounds.
fn watch_and_storm(control: u64, windows: &[u64]) {
    for round in 0.. {
        for window in windows {
            let gref = FIRST + round % GRANTS;
            let (status, handle) = map(*window, gref);
            if status == 0 {
                MAPPED.fetch_add(1, SeqCst);
                smp::write(*window, round);
                if unmap(*window, handle) != 0 {
                    WRONG.fetch_add(1, SeqCst);
                }
            }
        }
        if memory::read(control) == OVER {
            return;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
}
