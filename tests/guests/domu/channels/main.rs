//! Behaviour: events between two domains (pv-abi 5.3, 5.5), of which each may use either ABI, and channels that are closed
//! and bound again while the other end lives.
//! Trigger: `role=ask` binds to the port of `role=answer`, sends and waits for the answer a few times, closes, and begins
//! again; `fifo=1` in either makes it use the FIFO ABI.
//! Expectation: no event is lost, whoever uses which ABI; a closed end leaves the other waiting for its domain.
#![no_std]
#![no_main]
// UNSAFETY: atomic access to the event words that the hypervisor shares.
#![expect(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use rexen_guests::{
    abi, check, check_eq, entry, event, fail, guest, hypercall, lone::Lone, memory,
};

guest!("channels", main);

/// How often the channel is made anew, and events on each.
const CHANNELS: u32 = 60;
const EVENTS: u32 = 5;
/// How often the answerer's port is looked for, and how far.
const PATIENCE: u32 = 10_000;
const PORTS: u32 = 32;

const STATUS_UNBOUND: u32 = 1;
const STATUS_INTERDOMAIN: u32 = 2;

const FIFO_PENDING: u32 = 1 << 31;
const FIFO_MASKED: u32 = 1 << 30;
const FIFO_LINKED: u32 = 1 << 29;
const FIFO_LINK: u32 = (1 << 17) - 1;

/// The control block and the event words, if this domain uses the FIFO ABI.
static FIFO: Lone<Option<[u64; 2]>> = Lone::new(None);
/// The head of the one queue that is used: that of the default priority.
static HEAD: Lone<u32> = Lone::new(0);
const PRIORITY: u64 = 7;

fn word(va: u64) -> &'static AtomicU32 {
    // SAFETY: (1) callers name aligned words of pages that stay mapped; (2) they are only ever accessed atomically.
    unsafe { AtomicU32::from_ptr(va as *mut u32) }
}

fn main() {
    event::shared_info();
    if entry::option("fifo") == Some(1) {
        begin_fifo();
    }
    match entry::text_option("role") {
        Some("answer") => answer(),
        _ => ask(),
    }
}

fn begin_fifo() {
    let [block, array] = [memory::new_page(), memory::new_page()];
    let mut init = [memory::mfn_of(block), 0, 0];
    let result = hypercall::call(abi::EVENT_CHANNEL_OP, [11, hypercall::pointer(&mut init)]);
    check_eq!(result, 0, "init_control");
    for port in 0..1024 {
        word(array + port * 4).store(FIFO_MASKED, SeqCst);
    }
    let mut expand = [memory::mfn_of(array)];
    let result = hypercall::call(abi::EVENT_CHANNEL_OP, [12, hypercall::pointer(&mut expand)]);
    check_eq!(result, 0, "expand_array");
    FIFO.set(Some([block, array]));
}

/// Lets events of the port in.
fn open(port: u32) {
    check_eq!(event::unmask(port), 0, "unmask");
}

/// Takes an event of `port`, as a kernel does in its upcall.
fn take(port: u32) -> bool {
    // evtchn_upcall_pending: the upcall is masked, and looked for here.
    memory::write_byte(event::shared_info(), 0);
    match FIFO.get() {
        Some([block, array]) => take_fifo(block, array, port),
        None => {
            memory::write(event::shared_info() + 8, 0);
            let at = event::shared_info() + event::PENDING + u64::from(port / 64) * 8;
            // SAFETY: as `word`.
            let pending = unsafe { AtomicU64::from_ptr(at as *mut u64) };
            pending.fetch_and(!(1 << (port % 64)), SeqCst) >> (port % 64) & 1 == 1
        }
    }
}

/// Takes all events off the queue; whether one was of `port`.
fn take_fifo(block: u64, array: u64, port: u32) -> bool {
    let mut found = false;
    while word(block).fetch_and(!(1 << PRIORITY), SeqCst) >> PRIORITY & 1 == 1 || HEAD.get() != 0 {
        if HEAD.get() == 0 {
            HEAD.set(word(block + 8 + 4 * PRIORITY).load(SeqCst));
        }
        while HEAD.get() != 0 {
            let event = word(array + u64::from(HEAD.get()) * 4);
            let mut old = event.load(SeqCst);
            while let Err(now) =
                event.compare_exchange(old, old & !(FIFO_LINKED | FIFO_LINK), SeqCst, SeqCst)
            {
                old = now;
            }
            let taken = event.fetch_and(!FIFO_PENDING, SeqCst) & FIFO_PENDING != 0;
            found |= taken && HEAD.get() == port;
            HEAD.set(old & FIFO_LINK);
        }
    }
    found
}

/// Waits for an event of `port` and takes it.
fn wait(port: u32) {
    while !take(port) {
        let mut ports = [port];
        let mut poll = [hypercall::pointer(&mut ports), 1, 0];
        let result = hypercall::call(
            abi::SCHED_OP,
            [abi::SCHEDOP_POLL, hypercall::pointer(&mut poll)],
        );
        check_eq!(result, 0, "poll");
    }
}

/// State of a port, and the other domain.
fn status(port: u32) -> (u32, u32) {
    let mut words = [abi::DOMID_SELF as u32, port, 0, 0, 0, 0];
    check_eq!(event::op(5, &mut words), 0, "status");
    (words[2], words[4])
}

fn answer() {
    let peer = entry::peer(1);
    let port = match event::alloc_unbound(peer) {
        Ok(port) => port,
        Err(error) => fail!("alloc_unbound: {error}"),
    };
    // The other may be here already: it has found the port, and even its first event counts.
    let state = status(port).0;
    check!(
        state == STATUS_UNBOUND || state == STATUS_INTERDOMAIN,
        "the state of a new port: {state}"
    );
    open(port);
    loop {
        wait(port);
        // Into the void if the other has closed.
        check_eq!(event::send(port), 0, "the answer");
    }
}

fn ask() {
    let peer = entry::peer(0);
    let far = find(peer);
    for channel in 0..CHANNELS {
        let port = match event::bind_interdomain(peer, far) {
            Ok(port) => port,
            Err(error) => fail!("binding channel {channel}: {error}"),
        };
        open(port);
        // Binding itself counts as an event.
        while take(port) {}
        let state = (STATUS_INTERDOMAIN, u32::from(peer));
        check_eq!(status(port), state, "the state of a bound port");
        for _ in 0..EVENTS {
            check_eq!(event::send(port), 0, "send");
            wait(port);
        }
        // The last one's answer may come while the port is being closed.
        check_eq!(event::send(port), 0, "the last send");
        check_eq!(event::close(port), 0, "close");
    }
}

/// Finds the port that the other domain offers, and closes the channel again.
fn find(peer: u16) -> u32 {
    for _ in 0..PATIENCE {
        for port in 1..PORTS {
            if let Ok(mine) = event::bind_interdomain(peer, port) {
                check_eq!(event::close(mine), 0, "closing a channel unused");
                return port;
            }
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    fail!("domain {peer} offers no port")
}
