//! Behaviour: two vcpus of a domain give frames back and take others at the same time, while other domains do the same
//! (pv-abi 4.7).
//! Trigger: each vcpu takes its own half of the spare pages, a batch after the other: marks them, unmaps them, gives
//! them back, populates their places and maps what came.
//! Expectation: all of a batch comes back, M2P follows, nobody else has the frames, the reservation is as before; with the
//! option `secret`, no frame shows what another domain wrote there. (Xen scrubs only what a dying domain leaves.)
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rexen_guests::{abi, check, check_eq, entry, guest, hypercall, memory, smp};

guest!("balloon", main);

const DECREASE: u64 = 1;
const CURRENT: u64 = 3;
const POPULATE: u64 = 6;
/// Pages of a batch, and how often each vcpu changes all of its own.
const BATCH: usize = 16;
const ROUNDS: u64 = 2;
/// Bytes from one word of a page that is looked at to the next.
const STRIDE: usize = 128;
/// How often what is left of a batch is asked for: frames that another vcpu gives back just now still count.
const PATIENCE: u32 = 100_000;
/// The upper half of a mark; the lower has the domain's tag and the page.
const MARK: u64 = 0xba11_0000_0000_0000;

/// What went wrong: a number that says where, and the value. The first stands.
static WRONG: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Vcpus that are through.
static DONE: AtomicU64 = AtomicU64::new(0);

fn op(cmd: u64, list: &mut [u64]) -> i64 {
    let mut reservation = [
        list.as_mut_ptr() as u64,
        list.len() as u64,
        0,
        abi::DOMID_SELF,
    ];
    hypercall::call(abi::MEMORY_OP, [cmd, hypercall::pointer(&mut reservation)])
}

fn current() -> i64 {
    hypercall::call(
        abi::MEMORY_OP,
        [CURRENT, hypercall::pointer(&mut [abi::DOMID_SELF])],
    )
}

fn expect(place: u64, got: u64, wanted: u64) {
    if got != wanted && WRONG[0].compare_exchange(0, place, SeqCst, SeqCst).is_ok() {
        WRONG[1].store(got, SeqCst);
    }
}

fn mark(page: u64) -> u64 {
    MARK | entry::option("tag").unwrap_or(0) << 40 | (page / memory::PAGE)
}

fn change(pages: &[u64; BATCH], is_secret: bool) {
    let mut list = [0u64; BATCH];
    for (page, mfn) in pages.iter().zip(&mut list) {
        *mfn = memory::mfn_of(*page);
        for at in (0..memory::PAGE).step_by(STRIDE) {
            smp::write(page + at, mark(*page));
        }
        expect(1, memory::unmap(*page) as u64, 0);
    }
    expect(2, op(DECREASE, &mut list) as u64, BATCH as u64);
    for (page, pfn) in pages.iter().zip(&mut list) {
        *pfn = (page - abi::VIRT_BASE) / memory::PAGE;
    }
    let mut done = 0;
    for _ in 0..PATIENCE {
        done += op(POPULATE, &mut list[done..]).max(0) as usize;
        if done == BATCH {
            break;
        }
    }
    expect(3, done as u64, BATCH as u64);
    for (page, mfn) in pages.iter().zip(list).take(done) {
        let pfn = (page - abi::VIRT_BASE) / memory::PAGE;
        let m2p = smp::read(abi::MACH2PHYS_VIRT_START + mfn * 8);
        expect(4, m2p.unwrap_or(u64::MAX), pfn);
        memory::write(entry::start_info().mfn_list + pfn * 8, mfn);
        let mapped = hypercall::update_va_mapping(*page, (mfn * memory::PAGE) | 7);
        expect(5, mapped as u64, 0);
        for at in (0..memory::PAGE).step_by(STRIDE) {
            let found = smp::read(page + at).unwrap_or(u64::MAX);
            if is_secret {
                expect(6, found, 0);
            }
        }
    }
}

/// Changes every page of the half of the spare pages that is `half`'s.
extern "C" fn work(half: u64) {
    let half = u64::from(smp::argument(half));
    let is_secret = entry::option("secret").is_some();
    for _ in 0..ROUNDS {
        let mut index = half;
        loop {
            let pages = core::array::from_fn(|n| memory::spare_page(index + 2 * n as u64));
            if pages.iter().any(Option::is_none) {
                break;
            }
            change(&pages.map(Option::unwrap_or_default), is_secret);
            index += 2 * BATCH as u64;
        }
    }
    DONE.fetch_add(1, SeqCst);
}

fn main() {
    let pages = current();
    check_eq!(smp::start(1, work, 1), 0, "starting vcpu 1");
    work(0);
    while DONE.load(SeqCst) < 2 {
        // SCHEDOP_yield.
        hypercall::call(abi::SCHED_OP, [0, 0]);
    }
    let wrong = WRONG.each_ref().map(|word| word.load(SeqCst));
    check!(
        wrong[0] == 0,
        "at place {} there was {:#x}",
        wrong[0],
        wrong[1]
    );
    check_eq!(current(), pages, "the reservation");
}
