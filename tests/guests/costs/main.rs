//! Behaviour: what single hypercalls cost, in ticks of the TSC: instructions, under QEMU's `-icount shift=0`.
//! Trigger: each operation of the list, many times over, warm.
//! Expectation: each succeeds. The numbers, a `COST <name> <ticks>` line each, are for `tests/examples/costs.rs`.
#![no_std]
#![no_main]
// UNSAFETY: reads the time-stamp counter.
#![expect(unsafe_code)]

use rexen_abi::plain::Plain;
use rexen_abi::sysctl::{XEN_SYSCTL_physinfo, XenSysctlPhysinfo};
use rexen_guests::{
    abi, check_eq, control, entry, event, guest, hypercall, lone::Lone, memory, report,
};

guest!("costs", main);

const ROUNDS: usize = 32;
/// Requests of a batch.
const BATCH: usize = 32;

const GRANT_MAP: u64 = 0;
const GRANT_UNMAP: u64 = 1;
const GRANT_SETUP: u64 = 2;
const GRANT_COPY: u64 = 5;
const HOST_MAP: u64 = 2;
const PERMIT_ACCESS: u64 = 1;
const SOURCE_IS_GREF: u64 = 1;
const GREF: u64 = 9;

/// Where the first page of the grant table is mapped.
static TABLE: Lone<u64> = Lone::new(0);

fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Runs `act` often, prints what it costs at best, without the two readings of the counter, and checks that it gives 0.
fn measure(name: &str, mut act: impl FnMut() -> i64) {
    let least = |act: &mut dyn FnMut() -> i64| {
        let mut best = u64::MAX;
        let mut result = 0;
        for _ in 0..ROUNDS {
            let start = ticks();
            result |= act();
            best = best.min(ticks() - start);
        }
        (best, result)
    };
    let (nothing, _) = least(&mut || 0);
    let (cost, result) = least(&mut act);
    check_eq!(result, 0, "{name}");
    report::print(format_args!("COST {name} {}", cost - nothing));
}

fn main() {
    event::shared_info();
    event::set_upcall_mask(1);
    memory_of_the_hypervisor();
    page_tables();
    grants();
    events();
}

/// What neither domain 0 has nor is free.
fn memory_of_the_hypervisor() {
    let mut info = XenSysctlPhysinfo::ZERO;
    let result = control::sysctl(XEN_SYSCTL_physinfo, &mut info);
    check_eq!(result, 0, "physinfo");
    let pages = info.total_pages - info.free_pages - entry::start_info().nr_pages;
    report::print(format_args!("COST hypervisor_kib {}", pages * 4));
}

fn page_tables() {
    let page = memory::new_page();
    let entry = memory::entry_address(page, 1).map_or(0, memory::maddr_of);
    let both = [memory::own_pte(page, false), memory::own_pte(page, true)];
    let mut turn = 0;
    let mut next = || {
        turn ^= 1;
        both[turn]
    };
    measure("pte_update_single", || hypercall::mmu_update(entry, next()));
    measure("pte_update_va_mapping_invlpg", || {
        hypercall::update_va_mapping(page, next())
    });

    let pages: [u64; BATCH] = core::array::from_fn(|_| memory::new_page());
    let make = |is_writable| {
        core::array::from_fn::<[u64; 2], BATCH, _>(|n| {
            let entry = memory::entry_address(pages[n], 1).map_or(0, memory::maddr_of);
            [entry, memory::own_pte(pages[n], is_writable)]
        })
    };
    let mut batches = [make(false), make(true)];
    let mut turn = 0;
    measure("pte_update_batch_32", || {
        turn ^= 1;
        let list = batches[turn].as_mut_ptr() as u64;
        hypercall::call(abi::MMU_UPDATE, [list, BATCH as u64, 0, abi::DOMID_SELF])
    });
}

fn grant_op(cmd: u64, argument: &mut [u64]) -> i64 {
    hypercall::call(abi::GRANT_TABLE_OP, [cmd, argument.as_mut_ptr() as u64, 1])
}

fn grants() {
    let mut frame = u64::MAX;
    let mut argument = [abi::DOMID_SELF | 1 << 32, 0, hypercall::pointer(&mut frame)];
    check_eq!(grant_op(GRANT_SETUP, &mut argument), 0, "setup_table");
    let table = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(table, (frame * 4096) | 3),
        0,
        "mapping the table"
    );
    TABLE.set(table);
    let granted = memory::new_page();
    memory::write(
        TABLE.get() + GREF * 8,
        memory::mfn_of(granted) << 32 | PERMIT_ACCESS,
    );
    let window = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(window, 0),
        0,
        "clearing the window"
    );
    measure("grant_map_unmap", || {
        let mut map = [window, HOST_MAP | GREF << 32, 0, 0];
        let mapped = grant_op(GRANT_MAP, &mut map);
        let mut unmap = [window, 0, map[2] >> 32];
        mapped | grant_op(GRANT_UNMAP, &mut unmap) | i64::from((unmap[2] >> 32) as i16)
    });
    let target = memory::mfn_of(memory::new_page());
    for bytes in [64, 4096] {
        let name = if bytes == 64 {
            "grant_copy_64"
        } else {
            "grant_copy_4096"
        };
        measure(name, || {
            let mut copy = [
                GREF,
                0,
                target,
                abi::DOMID_SELF,
                bytes | SOURCE_IS_GREF << 16,
            ];
            grant_op(GRANT_COPY, &mut copy) | i64::from((copy[4] >> 32) as i16)
        });
    }
}

fn events() {
    let Ok(port) = event::bind_ipi(0) else {
        return check_eq!(1, 0, "binding an IPI");
    };
    measure("event_send_self_masked", || event::send(port));
}
