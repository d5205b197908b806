//! Behaviour: what operations between two domains cost, in ticks of the TSC: instructions, under QEMU's `-icount shift=0`.
//! Trigger: `role=ask` sends events to `role=answer`, maps its grant, copies from it, many times over, warm, on one CPU.
//! Expectation: each succeeds. The numbers, a `COST <name> <ticks>` line each, are for `tests/examples/costs.rs`.
#![no_std]
#![no_main]
// UNSAFETY: reads the time-stamp counter.
#![expect(unsafe_code)]

use rexen_guests::{
    abi, check_eq, entry, event, fail, guest, hypercall, lone::Lone, memory, report, trap,
};

guest!("costs_pair", main);

const ROUNDS: usize = 200;
/// How often the other side is given time to be ready.
const PATIENCE: usize = 10_000;
/// The most ports that are tried for the answerer's.
const PORTS: u32 = 32;

const GRANT_MAP: u64 = 0;
const GRANT_UNMAP: u64 = 1;
const GRANT_SETUP: u64 = 2;
const GRANT_COPY: u64 = 5;
const HOST_MAP: u64 = 2;
const PERMIT_ACCESS: u64 = 1;
const SOURCE_IS_GREF: u64 = 1;
/// The answerer's grant: the page where its handler leaves the time.
const GREF: u64 = 9;

/// The page where the answerer's handler leaves the time, in the answerer.
static STAMP: Lone<u64> = Lone::new(0);
static PORT: Lone<u32> = Lone::new(0);

fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn main() {
    event::shared_info();
    match entry::text_option("role") {
        Some("answer") => answer(),
        _ => ask(),
    }
}

fn grant_op(cmd: u64, argument: &mut [u64]) -> i64 {
    hypercall::call(abi::GRANT_TABLE_OP, [cmd, argument.as_mut_ptr() as u64, 1])
}

fn block() {
    hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_BLOCK, 0]);
}

fn answer() {
    // The plan names the answerer first.
    let peer = u64::from(entry::peer(1));
    let mut frame = u64::MAX;
    let mut argument = [abi::DOMID_SELF | 1 << 32, 0, hypercall::pointer(&mut frame)];
    check_eq!(grant_op(GRANT_SETUP, &mut argument), 0, "setup_table");
    let table = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(table, (frame * 4096) | 3),
        0,
        "mapping the table"
    );
    STAMP.set(memory::new_page());
    let entry = memory::mfn_of(STAMP.get()) << 32 | peer << 16 | PERMIT_ACCESS;
    memory::write(table + GREF * 8, entry);
    trap::set_hook(Some(note_time));
    match event::alloc_unbound(peer as u16) {
        Ok(port) => PORT.set(port),
        Err(error) => fail!("alloc_unbound: {error}"),
    }
    event::set_port_mask(PORT.get(), false);
    loop {
        block();
    }
}

/// The answerer's event handler: leaves the time, then takes the event and says that it has.
fn note_time(frame: &mut trap::Frame) -> bool {
    if frame.vector != trap::EVENT {
        return false;
    }
    let now = ticks();
    event::note_upcall();
    if event::is_pending(PORT.get()) {
        event::clear_pending(PORT.get());
        memory::write(STAMP.get(), now);
        event::send(PORT.get());
    }
    true
}

fn ask() {
    let peer = u64::from(entry::peer(0));
    let port = bind(peer);
    PORT.set(port);
    trap::set_hook(Some(take));
    event::set_port_mask(port, false);
    let window = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(window, 0),
        0,
        "clearing the window"
    );
    let (status, handle) = map(window, peer);
    check_eq!(status, 0, "mapping the stamp");
    let mut best = u64::MAX;
    for _ in 0..ROUNDS {
        memory::write(window, 0);
        let sent = ticks();
        check_eq!(event::send(port), 0, "send");
        while memory::read(window) == 0 {
            block();
        }
        best = best.min(memory::read(window) - sent);
    }
    report::print(format_args!("COST event_send_to_handler {best}"));
    check_eq!(unmap(window, handle), 0, "unmapping the stamp");
    measure("grant_map_unmap_of_other", || {
        let (status, handle) = map(window, peer);
        status | unmap(window, handle)
    });
    let target = memory::mfn_of(memory::new_page());
    measure("grant_copy_4096_of_other", || {
        let mut copy = [
            GREF,
            peer,
            target,
            abi::DOMID_SELF,
            4096 | SOURCE_IS_GREF << 16,
        ];
        grant_op(GRANT_COPY, &mut copy) | i64::from((copy[4] >> 32) as i16)
    });
}

/// The asker's event handler.
fn take(frame: &mut trap::Frame) -> bool {
    if frame.vector == trap::EVENT {
        event::note_upcall();
        event::clear_pending(PORT.get());
    }
    frame.vector == trap::EVENT
}

/// Binds to the answerer's port, when there is one.
fn bind(peer: u64) -> u32 {
    for _ in 0..PATIENCE {
        for port in 1..PORTS {
            let mut words = [peer as u32, port, 0];
            if event::op(0, &mut words) == 0 {
                return words[2];
            }
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    fail!("domain {peer} offers no port")
}

fn map(window: u64, peer: u64) -> (i64, u64) {
    let mut map = [window, HOST_MAP | GREF << 32, peer, 0];
    let result = grant_op(GRANT_MAP, &mut map);
    (result | i64::from((map[2] >> 16) as i16), map[2] >> 32)
}

fn unmap(window: u64, handle: u64) -> i64 {
    let mut unmap = [window, 0, handle];
    grant_op(GRANT_UNMAP, &mut unmap) | i64::from((unmap[2] >> 32) as i16)
}

/// Runs `act` often, prints what it costs at best, and checks that it gives 0.
fn measure(name: &str, mut act: impl FnMut() -> i64) {
    let mut best = u64::MAX;
    let mut result = 0;
    for _ in 0..ROUNDS {
        let start = ticks();
        result |= act();
        best = best.min(ticks() - start);
    }
    check_eq!(result, 0, "{name}");
    report::print(format_args!("COST {name} {best}"));
}
