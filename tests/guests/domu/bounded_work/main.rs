//! Behaviour: no guest keeps a CPU in the hypervisor for long, whatever it asks for (docs/bounded-work.md).
//! Trigger: the longest operations there are, one after the other, as domain 0.
//! Expectation: after each, debug key `s` of a hypervisor built with the feature `stretch` prints the longest time without
//! a look at what waits. tests/tests/machines/bounded_work.rs holds it against the bound.
#![no_std]
#![no_main]

use rexen_abi::plain::Plain;
use rexen_abi::sysctl::{XEN_SYSCTL_debug_keys, XenSysctlDebugKeys};
use rexen_guests::{
    abi, check, check_eq, control, event, guest, hypercall, lone::Lone, memory, report,
};

guest!("bounded_work", main);

/// Words of the list that long calls read.
const WORDS: usize = 40_000;
static LIST: Lone<[u64; WORDS]> = Lone::new([0; WORDS]);

fn main() {
    event::shared_info();
    press();
    step("nothing", || {});
    step("multicall", multicall);
    step("mmu_update", mmu_update);
    step("mmuext_op", mmuext);
    step("descriptors", descriptors);
    step("tables", tables);
    reservation();
    step("exchange", exchange);
    step("ports", ports);
    step("grants", grants);
    step("traps", || {
        rexen_guests::trap::install();
    });
    step("console", console);
    domains();
    check!(true, "it came to its end");
}

/// Runs one thing, and has the hypervisor print what of it took longest.
fn step(name: &str, act: impl FnOnce()) {
    act();
    report::print(format_args!("BOUNDED {name}"));
    press();
}

fn press() {
    let mut keys = *b"s";
    let mut argument = XenSysctlDebugKeys::ZERO;
    argument.keys = hypercall::pointer(&mut keys);
    argument.nr_keys = 1;
    check_eq!(
        control::sysctl(XEN_SYSCTL_debug_keys, &mut argument),
        0,
        "debug_keys"
    );
}

fn put(index: usize, word: u64) {
    memory::write(LIST.address() + index as u64 * 8, word);
}

/// A page of the guest's memory that is mapped nowhere, from its end on.
fn spare(index: u64) -> u64 {
    memory::mfn_of_pfn(rexen_guests::entry::start_info().nr_pages - 1 - index)
}

/// As many calls in one as the list takes, each a small one, and then each a copy of a page.
fn multicall() {
    let entries = WORDS / 8;
    let page = memory::new_page();
    for kind in 0..2 {
        for n in 0..entries {
            let words = match kind {
                0 => [abi::XEN_VERSION.into(), 0, 0, 0, 0, 0, 0, 0],
                _ => [
                    u64::from(abi::UPDATE_VA_MAPPING),
                    0,
                    page,
                    memory::own_pte(page, n % 2 == 0),
                    0,
                    0,
                    0,
                    0,
                ],
            };
            for (word, value) in words.into_iter().enumerate() {
                put(n * 8 + word, value);
            }
        }
        let result = hypercall::call(abi::MULTICALL, [LIST.address(), entries as u64]);
        check_eq!(result, 0, "multicall");
    }
}

fn mmu_update() {
    let page = memory::new_page();
    let entry = memory::maddr_of(memory::entry_address(page, 1).unwrap_or(0));
    for n in 0..WORDS / 2 {
        put(n * 2, entry);
        put(n * 2 + 1, memory::own_pte(page, n % 2 == 0));
    }
    let arguments = [LIST.address(), WORDS as u64 / 2, 0, abi::DOMID_SELF];
    check_eq!(hypercall::call(abi::MMU_UPDATE, arguments), 0, "mmu_update");
    // The same word of the machine-to-physical table, as often.
    let mfn = memory::mfn_of(page);
    for n in 0..WORDS / 2 {
        put(n * 2, mfn << 12 | 1);
        put(n * 2 + 1, (page - abi::VIRT_BASE) >> 12);
    }
    check_eq!(
        hypercall::call(abi::MMU_UPDATE, arguments),
        0,
        "M2P updates"
    );
}

fn mmuext() {
    let pages = [memory::new_page(), memory::new_page()].map(memory::mfn_of);
    for cmd in [
        abi::MMUEXT_TLB_FLUSH_LOCAL,
        10, // TLB_FLUSH_ALL
        11, // INVLPG_ALL
        abi::MMUEXT_CLEAR_PAGE,
        abi::MMUEXT_COPY_PAGE,
    ] {
        let arg1 = if cmd == 11 { abi::VIRT_BASE } else { spare(0) };
        for n in 0..1000 {
            put(n * 3, cmd.into());
            put(n * 3 + 1, arg1);
            put(n * 3 + 2, pages[1]);
        }
        let result = hypercall::call(abi::MMUEXT_OP, [LIST.address(), 1000, 0, abi::DOMID_SELF]);
        check_eq!(result, 0, "mmuext_op {cmd}");
    }
}

/// A GDT and an LDT as large as they may be, all descriptors there.
fn descriptors() {
    let pages: [u64; 16] = core::array::from_fn(|_| memory::new_page());
    for (index, page) in pages.into_iter().enumerate() {
        for n in 0..512 {
            memory::write(page + n * 8, 0x00cf_f300_0000_ffff);
        }
        memory::seal(page);
        put(index, memory::mfn_of(page));
    }
    let result = hypercall::call(abi::SET_GDT, [LIST.address(), 14 * 512]);
    check_eq!(result, 0, "set_gdt");
    check_eq!(
        hypercall::call(abi::SET_GDT, [LIST.address(), 0]),
        0,
        "no GDT"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_SET_LDT, pages[0], 8192),
        0,
        "set_ldt"
    );
    check_eq!(hypercall::mmuext(abi::MMUEXT_SET_LDT, 0, 0), 0, "no LDT");
}

/// How many level-1 tables the tree has.
const LEAVES: u64 = 100;

/// A tree of full tables: pinned and unpinned at each level, loaded as root without a pin, and left again.
fn tables() {
    let window = memory::new_page();
    let page = memory::mfn_of(memory::new_page());
    let fill = |mfn: u64, entry: &dyn Fn(u64) -> u64| {
        check_eq!(
            hypercall::update_va_mapping(window, mfn << 12 | 0x67),
            0,
            "a window to {mfn:#x}"
        );
        for n in 0..512 {
            memory::write(window + n * 8, entry(n));
        }
        check_eq!(hypercall::update_va_mapping(window, 0), 0, "no window");
    };
    let [l4, l3, l2] = [1000, 1001, 1002].map(spare);
    for leaf in 0..LEAVES {
        fill(spare(1100 + leaf), &|_| page << 12 | 0x67);
    }
    fill(l2, &|n| spare(1100 + n % LEAVES) << 12 | 0x67);
    fill(l3, &|_| l2 << 12 | 0x67);
    let own = rexen_guests::entry::start_info().pt_base;
    let top = memory::read(own + 511 * 8);
    fill(l4, &|n| match n {
        511 => top,
        0..256 => l3 << 12 | 0x67,
        _ => 0,
    });
    for (cmd, table) in [(0, spare(1100)), (1, l2), (2, l3), (3, l4)] {
        check_eq!(
            hypercall::mmuext(cmd, table, 0),
            0,
            "pinning level {cmd} + 1"
        );
        check_eq!(
            hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, table, 0),
            0,
            "unpinning it"
        );
    }
    let load = |mfn| hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, mfn, 0);
    check_eq!(load(l4), 0, "loading a root that is not pinned");
    check_eq!(load(memory::mfn_of(own)), 0, "leaving it");
    // A bad entry at the very end of the last table: everything is undone.
    fill(spare(1100 + LEAVES - 1), &|n| match n {
        511 => 1 << 51 | 1,
        _ => page << 12 | 0x67,
    });
    check!(hypercall::mmuext(3, l4, 0) != 0, "pinning a bad tree");
}

fn reserve(cmd: u64, nr: u64, order: u64) -> i64 {
    let mut op = [LIST.address(), nr, order, abi::DOMID_SELF];
    hypercall::call(abi::MEMORY_OP, [cmd, hypercall::pointer(&mut op)])
}

/// Memory away and back: single frames, and the largest blocks.
fn reservation() {
    (0..2048).for_each(|n| put(n, spare(4096 + n as u64)));
    step("decrease", || {
        check_eq!(reserve(1, 2048, 0), 2048, "frames away");
    });
    (0..2048).for_each(|n| put(n, 4096 + n as u64));
    step("populate", || {
        check_eq!(reserve(6, 2048, 0), 2048, "frames back");
    });
    for (order, names) in [
        (9, ["populate_order_9", "decrease_order_9"]),
        (12, ["populate_order_12", "decrease_order_12"]),
    ] {
        put(0, 4096);
        step(names[0], || {
            check_eq!(reserve(6, 1, order), 1, "an extent of order {order}");
        });
        step(names[1], || {
            check_eq!(reserve(1, 1, order), 1, "order {order} away");
        });
    }
}

/// Frames for others: single ones, and for a block.
fn exchange() {
    for (order_in, order_out) in [(0, 0), (0, 9)] {
        let nr = 512;
        for n in 0..nr {
            put(n, spare(8192 + n as u64 + order_out * 100));
            put(1024 + n, 0x3000);
        }
        let out = LIST.address() + 8192;
        let mut op = [
            LIST.address(),
            nr as u64 >> order_in,
            order_in,
            abi::DOMID_SELF,
            out,
            nr as u64 >> order_out,
            order_out,
            abi::DOMID_SELF,
            0,
        ];
        let result = hypercall::call(abi::MEMORY_OP, [11, hypercall::pointer(&mut op)]);
        check_eq!(result, 0, "exchange to order {order_out}: {} done", op[8]);
    }
}

/// All the ports there are, then none; then the FIFO ABI.
fn ports() {
    let mut nr = 0;
    while nr < 4000 && event::alloc_unbound(0).is_ok() {
        nr += 1;
    }
    report::print(format_args!("{nr} ports"));
    check_eq!(event::op(10, &mut [abi::DOMID_SELF as u32]), 0, "reset");
    let control = memory::new_page();
    let mfn = memory::mfn_of(control);
    let mut init = [mfn as u32, (mfn >> 32) as u32, 0, 0, 0, 0];
    check_eq!(event::op(11, &mut init), 0, "init_control");
    for _ in 0..4 {
        let array = memory::mfn_of(memory::new_page());
        let mut expand = [array as u32, (array >> 32) as u32];
        check_eq!(event::op(12, &mut expand), 0, "expand_array");
    }
    while event::alloc_unbound(0).is_ok() {}
    check_eq!(
        event::op(10, &mut [abi::DOMID_SELF as u32]),
        0,
        "reset with FIFO"
    );
}

fn grant_op(cmd: u64, size: usize, nr: usize, fill: impl Fn(usize) -> [u64; 5]) -> i64 {
    for n in 0..nr {
        for (word, value) in fill(n).into_iter().take(size / 8).enumerate() {
            put(n * size / 8 + word, value);
        }
    }
    hypercall::call(abi::GRANT_TABLE_OP, [cmd, LIST.address(), nr as u64])
}

/// The largest table; every batch as long as it may be.
fn grants() {
    let mut frames = [0u64; 64];
    let list = hypercall::pointer(&mut frames);
    let mut setup = [abi::DOMID_SELF | 64 << 32, 0, list];
    check_eq!(
        hypercall::call(abi::GRANT_TABLE_OP, [2, hypercall::pointer(&mut setup), 1]),
        0,
        "setup_table"
    );
    let table = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(table, frames[0] << 12 | 0x67),
        0,
        "mapping the table"
    );
    for n in 0..500 {
        memory::write(table + n * 8, spare(2048 + n) << 32 | 1);
    }
    let copy = |n: usize| {
        [
            n as u64 % 500,
            0,
            spare(2600),
            abi::DOMID_SELF,
            4096 | 1 << 16,
        ]
    };
    check_eq!(grant_op(5, 40, 2000, copy), 0, "copies");
    let window = memory::new_page();
    check_eq!(hypercall::update_va_mapping(window, 0), 0, "a window");
    let map = |n: usize| [window, 2 | (n as u64 % 500) << 32, 0, 0, 0];
    check_eq!(grant_op(0, 32, 1, map), 0, "one mapping");
    check_eq!(grant_op(0, 32, 2000, map), 0, "mappings over each other");
    let handle = |n: usize| [window, 0, n as u64, 0, 0];
    check_eq!(grant_op(1, 24, 2000, handle), 0, "unmappings");
    for version in [2, 1] {
        let mut argument = [version];
        let result = hypercall::call(
            abi::GRANT_TABLE_OP,
            [8, hypercall::pointer(&mut argument), 1],
        );
        report::print(format_args!("version {version}: {result}"));
    }
}

/// The log, read whole, and a long line.
fn console() {
    let text = LIST.address();
    for n in 0..2048 {
        put(n, 0x2e2e_2e2e_2e2e_2e2e);
    }
    put(2047, 0x0a2e_2e2e_2e2e_2e2e);
    hypercall::call(abi::CONSOLE_IO, [0, 2048 * 8, text]);
    let mut op = [0u64; 17];
    op[0] = 1 | 0x15 << 32;
    op[2] = text;
    op[3] = 256 * 1024;
    hypercall::call(35, [hypercall::pointer(&mut op)]);
}

fn domctl(number: u64, domain: u64, words: &[u64], answer: &mut u64) -> i64 {
    let mut op = [0u64; 18];
    op[0] = number | 0x15 << 32;
    op[1] = domain;
    op[2..2 + words.len()].copy_from_slice(words);
    let result = hypercall::call(36, [hypercall::pointer(&mut op)]);
    *answer = op[1] & 0xffff;
    result
}

/// A domain with many vcpus, ports, grants and frames: made, filled, destroyed.
fn domains() {
    const VCPUS: u64 = 32;
    let mut id = 0;
    let mut words = [0u64; 8];
    words[3] = VCPUS << 32; // max_vcpus at 28
    words[4] = 4095 | 64 << 32; // max_evtchn_port at 32, max_grant_frames at 36
    words[5] = 1024 | 2 << 32; // max_maptrack_frames at 40, grant_opts at 44
    step("createdomain", || {
        check_eq!(domctl(1, 0, &words, &mut id), 0, "createdomain");
    });
    let mut none = 0;
    check_eq!(domctl(15, id, &[VCPUS], &mut none), 0, "max_vcpus");
    check_eq!(domctl(11, id, &[1 << 20], &mut none), 0, "max_mem");
    step("filling", || fill(id));
    step("destroydomain", || {
        check_eq!(domctl(2, id, &[], &mut none), 0, "destroydomain");
    });
}

/// Gives the domain frames and ports.
fn fill(id: u64) {
    let mut filled = 0;
    for order in [9, 9, 9, 9, 0] {
        let nr = if order == 9 { 1 } else { 2048 };
        for n in 0..nr {
            put(n, filled + n as u64);
        }
        let mut op = [LIST.address(), nr as u64, order, id];
        let came = hypercall::call(abi::MEMORY_OP, [6, hypercall::pointer(&mut op)]);
        check_eq!(came, nr as i64, "populating with order {order}");
        filled += (nr as u64) << order;
    }
    for n in 0..4000 {
        let mut words = [id as u32, 0];
        if event::op(6, &mut words) != 0 {
            report::print(format_args!("{n} ports of domain {id}"));
            break;
        }
    }
}
