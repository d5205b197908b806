//! What the guest does without a hypercall of its own: stores to page tables, privileged instructions, selectors, crafted
//! tables, user mode.

use core::sync::atomic::Ordering::Relaxed;

use rexen_guests::{abi, crew, entry, hypercall, machine, memory};

use crate::arguments::Arena;
use crate::calls_memory;
use crate::rng::Rng;
use crate::world::{self, FRAMES, KINDS, MAPPED, MFNS};

/// Stores and atomic changes of several widths, mostly at tables that the guest sees read-only.
pub fn stores(rng: &mut Rng) {
    for _ in 0..1 + rng.below(6) {
        let mut at = world::address(rng);
        if rng.chance(70) {
            let kind = 1 + rng.below(4) as u8;
            let slot = world::slot_of(rng, kind).filter(|&slot| slot < MAPPED);
            at = slot.map_or(at, |slot| world::page(slot) + rng.below(512) * 8);
        }
        let is_vital = at >> 3 & 511 == world::TOP_SLOT || at >> 3 & 511 == world::TOP_SLOT - 1;
        let value = if is_vital {
            world::top_entry()
        } else {
            world::pte(rng, 1)
        };
        let how = if is_vital { 0 } else { rng.below(12) };
        if is_vital {
            at |= 0xff8;
        }
        if !world::is_expendable(at, 16) && !is_vital {
            continue;
        }
        crew::catch(|| match how {
            0..=3 => memory::write(at, value),
            4 => machine!("mov [{}], {:e}", in(reg) at, in(reg) value, options(nostack)),
            5 => machine!("mov [{}], {:x}", in(reg) at, in(reg) value, options(nostack)),
            6 => machine!("xchg [{}], {}", in(reg) at, inout(reg) value => _, options(nostack)),
            7 => {
                let old = memory::read(at);
                machine!("lock cmpxchg [{}], {}", in(reg) at, in(reg) value, inout("rax") old => _, options(nostack));
            }
            8 => machine!("lock or [{}], {}", in(reg) at, in(reg) value & 0x67, options(nostack)),
            9 => machine!("lock btr qword ptr [{}], 1", in(reg) at, options(nostack)),
            10 => machine!("stosq", in("rax") value, inout("rdi") at & !7 => _, options(nostack)),
            _ => memory::write_byte(at, value as u8),
        });
    }
}

/// Makes a page of the pool look like a table of some level, or a page of descriptors, and pins it perhaps.
pub fn craft(rng: &mut Rng) {
    let limit = if rng.chance(60) { 48 } else { MAPPED as u64 };
    let slot = rng.below(limit) as usize;
    let slot = if rng.chance(90) { slot | 3 } else { slot };
    let (va, mfn) = (world::page(slot), MFNS[slot].load(Relaxed));
    if mfn == 0 {
        return;
    }
    let writable = mfn << 12 | 0x27;
    if hypercall::update_va_mapping(va, writable) != 0 {
        hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, mfn, 0);
        if hypercall::update_va_mapping(va, writable) != 0 {
            return;
        }
    }
    let kind = 1 + rng.weighted(&[40, 20, 15, 15, 10]) as u8;
    let nr = rng.pick(&[0, 4, 4, 16, 16, 64, 512]);
    // A catch: the other vcpu may take the page away meanwhile.
    let is_torn = crew::catch(|| {
        if rng.chance(80) {
            hypercall::mmuext(abi::MMUEXT_CLEAR_PAGE, mfn, 0);
        }
        for _ in 0..nr {
            let value = match kind {
                world::DESCRIPTORS => calls_memory::sound_descriptor(rng),
                _ if rng.chance(98) => world::sound_pte(rng, kind),
                _ => world::pte(rng, kind),
            };
            memory::write(va + rng.below(if nr > 64 { 512 } else { 128 }) * 8, value);
        }
        if kind == 4 {
            memory::write(va + world::TOP_SLOT * 8, world::top_entry());
        }
    });
    if is_torn {
        return;
    }
    KINDS[slot].store(kind, Relaxed);
    hypercall::update_va_mapping(va, mfn << 12 | 0x25);
    if kind < world::DESCRIPTORS && rng.chance(75) {
        let pinned = hypercall::mmuext(u32::from(kind) - 1, mfn, 0);
        crate::PINNED.fetch_add(u64::from(pinned == 0), Relaxed);
    }
}

/// Ports that the guest leaves alone when it is domain 0: power, reset, PCI configuration, the serial line, clocks.
const SPARED: [core::ops::Range<u64>; 9] = [
    0x20..0x22,
    0x40..0x44,
    0x60..0x65,
    0x70..0x72,
    0x92..0x93,
    0xa0..0xa2,
    0xb2..0xb4,
    0x3f8..0x400,
    0xcf8..0xd00,
];

fn port(rng: &mut Rng) -> u64 {
    let port = if rng.chance(70) {
        rng.below(0x400)
    } else {
        rng.word() & 0xffff
    };
    // Above 0x500 lie the chipset's power registers.
    let is_spared = SPARED
        .iter()
        .any(|range| range.contains(&port) || range.contains(&(port + 3)));
    if entry::is_domain0() && (is_spared || port >= 0x500) {
        0x80
    } else {
        port
    }
}

/// One instruction that only kernels may use, or only the hypervisor.
pub fn instruction(rng: &mut Rng) {
    let [a, b] = [rng.odd(), rng.odd()];
    let at = crew::arena();
    let msr = rng.pick(&[
        0x10,
        0x1b,
        0x3a,
        0x48,
        0x49,
        0x8b,
        0xfe,
        0x174,
        0x175,
        0x176,
        0x179,
        0x17a,
        0x1a0,
        0x1d9,
        0x277,
        0x2ff,
        0x345,
        0x38f,
        0x480,
        0x600,
        0x802,
        0xc000_0080,
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
        0xc000_0103,
        0xc001_0015,
        0xc001_0117,
        0x4000_0000,
    ]);
    let msr = if rng.chance(90) {
        msr
    } else {
        rng.odd() & 0xffff_ffff
    };
    let port = port(rng);
    let l4 = world::sound_root(rng, crate::window()).unwrap_or(0);
    let own_l4 = memory::mfn_of(entry::start_info().pt_base);
    let what = rng.below(44);
    crew::catch(|| match what {
        0 => machine!("cli"),
        1 => machine!("sti"),
        2 => machine!("clts"),
        3 => machine!("wbinvd"),
        4 => machine!("invlpg [{}]", in(reg) a),
        5 => machine!("rdmsr", in("ecx") msr as u32, out("eax") _, out("edx") _),
        6 | 7 => machine!("wrmsr", in("ecx") msr as u32, in("eax") a as u32, in("edx") b as u32),
        8 => machine!("mov {}, cr0", out(reg) _),
        9 => machine!("mov cr0, {}", in(reg) a),
        10 => machine!("mov cr4, {}", in(reg) a),
        11 => machine!("mov {}, cr4", out(reg) _),
        12 => machine!("mov {}, cr3", out(reg) _),
        13 => {
            machine!("mov cr3, {}", in(reg) l4 << 12);
            machine!("mov cr3, {}", in(reg) own_l4 << 12);
        }
        14 => machine!("mov cr2, {}", in(reg) a),
        15 => machine!("mov cr8, {}", in(reg) a),
        16 => machine!("mov dr6, {}", in(reg) a),
        17 => machine!("mov {}, dr7", out(reg) _),
        18 => machine!("lgdt [{}]", in(reg) at),
        19 => machine!("lidt [{}]", in(reg) at),
        20 => machine!("lldt {:x}", in(reg) a),
        21 => machine!("ltr {:x}", in(reg) a),
        22 => machine!("sgdt [{}]", in(reg) at),
        23 => machine!("lmsw {:x}", in(reg) a),
        24 => {
            machine!("cpuid", "mov {0}, {1}", out(reg) _, in(reg) b, inout("eax") a as u32 => _, inout("ecx") b as u32 => _, out("edx") _)
        }
        25 => machine!("xgetbv", in("ecx") (a & 3) as u32, out("eax") _, out("edx") _),
        26 => machine!("xsetbv", in("ecx") (a & 1) as u32, in("eax") b as u32, in("edx") 0),
        27 => machine!("swapgs"),
        28 => machine!("rdpmc", in("ecx") a as u32, out("eax") _, out("edx") _),
        29 => machine!("in al, dx", in("dx") port as u16, out("al") _),
        30 => machine!("in eax, dx", in("dx") port as u16, out("eax") _),
        31 => machine!("out dx, al", in("dx") port as u16, in("al") a as u8),
        32 => machine!("insb", in("dx") port as u16, inout("rdi") at => _),
        33 => machine!("outsb", in("dx") port as u16, inout("rsi") at => _),
        34 => machine!("int 0x82"),
        35 => machine!("int 3"),
        36 => machine!("int 0x20"),
        37 => machine!("ud2"),
        38 => machine!("vmcall"),
        39 => machine!("sysretq"),
        40 => machine!("mov ax, {0:x}", "mov ds, ax", in(reg) a, out("rax") _),
        41 => {
            machine!(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2", inout("eax") 0x4000_0000u32 + (a & 7) as u32 => _, out("ecx") _, out("edx") _)
        }
        42 => machine!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop"),
        _ => machine!("invd"),
    });
    machine!("cld");
}

/// Goes on with another root table, or with the first one.
pub fn root(rng: &mut Rng) {
    let own = memory::mfn_of(entry::start_info().pt_base);
    let root = match rng.chance(60) {
        true => world::sound_root(rng, crate::window()),
        false => Some(own),
    };
    if let Some(root) = root {
        if rng.chance(30) {
            hypercall::mmuext(abi::MMUEXT_PIN_L4_TABLE, root, 0);
        }
        hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, root, 0);
    }
}

/// Loads data segment registers with selectors of the guest's GDT and LDT, and others.
pub fn selectors(rng: &mut Rng) {
    for _ in 0..3 {
        let selector = match rng.below(5) {
            0 => rng.word() & 0xffff,
            1 => rng.below(32) << 3 | rng.below(8),
            2 => 0xe000 | rng.below(64) << 3 | rng.below(4),
            3 => abi::FLAT_SS64,
            _ => 0,
        };
        let which = rng.below(4);
        crew::catch(|| match which {
            0 => machine!("mov ds, {:x}", in(reg) selector),
            1 => machine!("mov es, {:x}", in(reg) selector),
            2 => machine!("mov fs, {:x}", in(reg) selector),
            _ => machine!("mov gs, {:x}", in(reg) selector),
        });
    }
    // String instructions and every other data access use ds and es: flat in 64-bit mode whatever they hold.
    if rng.chance(50) {
        machine!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", "mov gs, {0:e}", in(reg) 0u64);
    }
}

/// The iret hypercall with a frame in which one word is odd; it comes back by the frame or by a trap.
pub fn iret(rng: &mut Rng) {
    let (mut rip, mut cs, mut flags, mut ss) = (None, abi::KERNEL_CS, 0x202, abi::FLAT_SS64);
    match rng.below(5) {
        0 => rip = Some(world::address(rng)),
        // No selector of 32-bit code: it would cut the stack pointer, and with it the guest's life.
        1 => cs = rng.pick(&[0, 0xe000, 0xe008, 0xe010, 0xe028, 0xe038, 0xe040]),
        // Neither single steps nor alignment checks: they would go on in the guest's own code.
        2 => flags = rng.odd() & !0x4_0100,
        3 => ss = rng.word() & 0xffff,
        _ => {}
    }
    crew::catch(|| {
        let (landing, stack) = crew::landing();
        // Code of the pool may take words from its stack: then the frame of its fault must not lie where the catch is.
        let rsp = if rip.is_some() { stack - 4096 } else { stack };
        machine!(
            "sub rsp, 512",
            "push {ss}", "push {rsp}", "push {flags}", "push {cs}", "push {rip}", "push 0", "push 0", "push 0", "push 0",
            "mov eax, 23", "syscall", "ud2",
            rsp = in(reg) rsp, ss = in(reg) ss, flags = in(reg) flags, cs = in(reg) cs, rip = in(reg) rip.unwrap_or(landing),
            options(noreturn));
    });
}

/// Runs one instruction of user mode, in the first page tables; it comes back by a trap or a system call.
pub fn user(rng: &mut Rng) {
    if hypercall::mmuext(
        abi::MMUEXT_NEW_USER_BASEPTR,
        memory::mfn_of(entry::start_info().pt_base),
        0,
    ) != 0
    {
        return;
    }
    let code: u64 = match rng.below(6) {
        // syscall; int 0x80; int3; hlt; in al,dx; and whatever this is.
        0 => 0x0b0f_050f,
        1 => 0x0b0f_80cd,
        2 => 0xcc,
        3 => 0xf4,
        4 => 0x000b_0fec,
        _ => {
            let bytes = rng.word() & 0xffff;
            // Nothing that jumps: it could jump to itself for ever, and nobody would call the vcpu back. Nothing that
            // repeats: rcx may be its own address, and user mode sees all of the guest.
            let jumps = |byte: u64| matches!(byte, 0x70..=0x7f | 0xe0..=0xeb | 0xf2 | 0xf3 | 0xff);
            match jumps(bytes & 0xff) || jumps(bytes >> 8) {
                true => 0x0b0f,
                false => bytes | 0x0b0f_0b0f_0000,
            }
        }
    };
    let at = crew::arena() + 64;
    memory::write(at, code | 0x0b0f << 48);
    let (rsp, flags) = (
        crew::arena() + 2048,
        if rng.chance(80) {
            0x202
        } else {
            rng.word() & 0x24_4fd5
        },
    );
    let in_syscall = if rng.chance(50) { 0x100u64 } else { 0 };
    let selector = if rng.chance(80) {
        abi::FLAT_CS64 | 3
    } else {
        rng.word() & 0xffff | 3
    };
    let frame = [
        0,
        0,
        0,
        in_syscall,
        at,
        selector,
        flags,
        rsp,
        abi::FLAT_SS64 | 3,
    ];
    // Whatever the code is, its registers point into the pool.
    let pool = world::page(rng.below(MAPPED as u64) as usize) + 2048;
    crew::catch(|| {
        machine!(
            "sub rsp, 72", "mov rcx, 9", "mov rdi, rsp", "rep movsq",
            "mov rbx, rax", "mov rbp, rax", "mov rcx, rax", "mov rdx, rax", "mov rsi, rax", "mov rdi, rax",
            "mov r8, rax", "mov r9, rax", "mov r10, rax", "mov r12, rax", "mov r13, rax", "mov r14, rax", "mov r15, rax",
            "mov eax, 23", "syscall", "ud2",
            in("rsi") frame.as_ptr(), in("rax") pool, options(noreturn));
    });
}

/// Sleeps with an event already there, and changes its own event flags.
pub fn events(rng: &mut Rng, info: u64) {
    match rng.below(4) {
        0 => memory::write_byte(info + 1, 0),
        1 => memory::write_byte(info + 1, 1),
        2 => {
            memory::write_byte(info + 1, 1);
            memory::write_byte(info, 1);
            crew::catch(|| {
                hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_BLOCK, 0]);
            });
        }
        _ => {
            memory::write(crate::SHARED.get() + 0x800, 0);
            memory::write(crate::SHARED.get() + 0xa00, rng.word() & rng.word());
        }
    }
}

/// Now and then: some of the pool back to how it was, as far as it can be.
pub fn sweep(rng: &mut Rng, arena: &mut Arena) {
    let first = rng.below(FRAMES as u64) as usize;
    for n in 0..96 {
        let slot = (first + n) % FRAMES;
        let mfn = MFNS[slot].load(Relaxed);
        if mfn == 0 {
            continue;
        }
        hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, mfn, 0);
        // Whatever a frame of ours is, we may map it read-only; another one was lost on some way.
        let is_ours = hypercall::update_va_mapping(crate::window(), mfn << 12 | 0x25) == 0;
        hypercall::update_va_mapping(crate::window(), 0);
        if !is_ours {
            MFNS[slot].store(0, Relaxed);
        } else if slot < MAPPED
            && hypercall::update_va_mapping(world::page(slot), mfn << 12 | 0x27) == 0
        {
            KINDS[slot].store(0, Relaxed);
        }
    }
    // Frames in place of those that were given away.
    let lost = |mfn: &&core::sync::atomic::AtomicU64| mfn.load(Relaxed) == 0;
    for _ in 0..4 {
        if MFNS.iter().filter(lost).count() < 64 {
            break;
        }
        let list = arena.take(64 * 8);
        for n in 0..64 {
            memory::write(list + n * 8, 5000 + n);
        }
        let op = arena.words([list, 64, 0, abi::DOMID_SELF]);
        let got = hypercall::call(abi::MEMORY_OP, [6, op]);
        crate::took(list, got, 0);
    }
    for handle in &calls_memory::HANDLES {
        let number = handle.swap(0, Relaxed);
        if number != 0 && rng.chance(50) {
            let op = arena.words([world::pool_address(rng) & !0xfff, 0, u64::from(number)]);
            hypercall::call(abi::GRANT_TABLE_OP, [1, op, 1]);
        }
    }
}
