//! Stores: every form that is known, every one that must not be, and what they compute.

use super::*;
use crate::emulate::ptwr::{QuickStore, Unsupported, decode_store, quick_store};

const RIP: u64 = 0xffff_ffff_8100_0000;
const FS: u64 = 0x1000_0000;
const GS: u64 = 0xffff_8880_0000_0000;
const BASES: SegBases = SegBases { fs: FS, gs: GS };

/// Register `number` of [`registers`]: 8-byte aligned and told apart by its second digit.
const fn r(number: u64) -> u64 {
    0xffff_8a00_0000_0000 + number * 0x10_0000 + number * 0x40
}

/// Registers for the address tests; rax is a small number, so that bit strings stay in the first operand.
fn registers() -> Gprs {
    let mut regs = Gprs(core::array::from_fn(|number| r(number as u64)));
    regs.set(reg::RAX, 5);
    regs.set(reg::RCX, r(1));
    regs
}

/// Instruction, its bytes as GNU as assembles it, operand address and size.
#[rustfmt::skip]
const STORES: &[(&str, &[u8], u64, u8)] = &[
    ("mov %rax,(%rdi)", &[0x48, 0x89, 0x07], r(7), 8),
    ("mov %rsi,(%rbx)", &[0x48, 0x89, 0x33], r(3), 8),
    ("mov %r9,0x18(%r13)", &[0x4d, 0x89, 0x4d, 0x18], r(13) + 0x18, 8),
    ("mov %rdx,-8(%rbp)", &[0x48, 0x89, 0x55, 0xf8], r(5) - 8, 8),
    ("mov %rcx,0x12340(%r15)", &[0x49, 0x89, 0x8f, 0x40, 0x23, 0x01, 0x00], r(15) + 0x12340, 8),
    ("mov %r8,(%rsp)", &[0x4c, 0x89, 0x04, 0x24], r(4), 8),
    ("mov %rax,8(%rsp,%rcx,8)", &[0x48, 0x89, 0x44, 0xcc, 0x08], r(4).wrapping_add(r(1).wrapping_mul(8)) + 8, 8),
    ("mov %rax,(%r12)", &[0x49, 0x89, 0x04, 0x24], r(12), 8),
    ("mov %rax,0x10(%r12,%r13,2)", &[0x4b, 0x89, 0x44, 0x6c, 0x10], r(12).wrapping_add(r(13).wrapping_mul(2)) + 0x10, 8),
    ("mov %rax,0x100(,%rbx,4)", &[0x48, 0x89, 0x04, 0x9d, 0x00, 0x01, 0x00, 0x00], r(3).wrapping_mul(4) + 0x100, 8),
    ("mov %rax,0x7ffff000", &[0x48, 0x89, 0x04, 0x25, 0x00, 0xf0, 0xff, 0x7f], 0x7fff_f000, 8),
    ("mov %rax,-0x1000", &[0x48, 0x89, 0x04, 0x25, 0x00, 0xf0, 0xff, 0xff], 0xffff_ffff_ffff_f000, 8),
    ("movq %rax,0x1001(%rip)", &[0x48, 0x89, 0x05, 0x01, 0x10, 0x00, 0x00], RIP + 7 + 0x1001, 8),
    ("movq $0x7f,0x1005(%rip)", &[0x48, 0xc7, 0x05, 0x05, 0x10, 0x00, 0x00, 0x7f, 0x00, 0x00, 0x00], RIP + 11 + 0x1005, 8),
    ("mov %rax,%gs:0x20(%rdi)", &[0x65, 0x48, 0x89, 0x47, 0x20], GS.wrapping_add(r(7)) + 0x20, 8),
    ("mov %rax,%fs:8", &[0x64, 0x48, 0x89, 0x04, 0x25, 0x08, 0x00, 0x00, 0x00], FS + 8, 8),
    ("mov %eax,(%edi)", &[0x67, 0x89, 0x07], r(7) & 0xffff_ffff, 4),
    ("mov %eax,4(%rdi)", &[0x89, 0x47, 0x04], r(7) + 4, 4),
    ("mov %ax,6(%rdi)", &[0x66, 0x89, 0x47, 0x06], r(7) + 6, 2),
    ("mov %al,7(%rdi)", &[0x88, 0x47, 0x07], r(7) + 7, 1),
    ("mov %sil,1(%rdi)", &[0x40, 0x88, 0x77, 0x01], r(7) + 1, 1),
    ("movq $-2,(%rdi)", &[0x48, 0xc7, 0x07, 0xfe, 0xff, 0xff, 0xff], r(7), 8),
    ("movl $0x12345678,4(%rdi)", &[0xc7, 0x47, 0x04, 0x78, 0x56, 0x34, 0x12], r(7) + 4, 4),
    ("movw $0x1234,2(%rdi)", &[0x66, 0xc7, 0x47, 0x02, 0x34, 0x12], r(7) + 2, 2),
    ("movb $0x12,3(%rdi)", &[0xc6, 0x47, 0x03, 0x12], r(7) + 3, 1),
    ("xchg %rax,(%rdi)", &[0x48, 0x87, 0x07], r(7), 8),
    ("xchg %r14,0x8(%r14)", &[0x4d, 0x87, 0x76, 0x08], r(14) + 8, 8),
    ("xchg %eax,(%rdi)", &[0x87, 0x07], r(7), 4),
    ("xchg %ax,2(%rdi)", &[0x66, 0x87, 0x47, 0x02], r(7) + 2, 2),
    ("xchg %al,5(%rdi)", &[0x86, 0x47, 0x05], r(7) + 5, 1),
    ("lock xchg %rbx,(%rdi)", &[0xf0, 0x48, 0x87, 0x1f], r(7), 8),
    ("lock and %rax,(%rdi)", &[0xf0, 0x48, 0x21, 0x07], r(7), 8),
    ("and %rdx,(%rdi)", &[0x48, 0x21, 0x17], r(7), 8),
    ("lock or %r11,(%rdi)", &[0xf0, 0x4c, 0x09, 0x1f], r(7), 8),
    ("lock xor %rax,(%rdi)", &[0xf0, 0x48, 0x31, 0x07], r(7), 8),
    ("lock add %rax,(%rdi)", &[0xf0, 0x48, 0x01, 0x07], r(7), 8),
    ("lock sub %rax,(%rdi)", &[0xf0, 0x48, 0x29, 0x07], r(7), 8),
    ("adc %rax,(%rdi)", &[0x48, 0x11, 0x07], r(7), 8),
    ("sbb %rax,(%rdi)", &[0x48, 0x19, 0x07], r(7), 8),
    ("lock andq $-3,(%rdi)", &[0xf0, 0x48, 0x83, 0x27, 0xfd], r(7), 8),
    ("lock orq $0x42,(%rdi)", &[0xf0, 0x48, 0x83, 0x0f, 0x42], r(7), 8),
    ("lock andb $0xfd,(%rdi)", &[0xf0, 0x80, 0x27, 0xfd], r(7), 1),
    ("lock orb $0x20,1(%rdi)", &[0xf0, 0x80, 0x4f, 0x01, 0x20], r(7) + 1, 1),
    ("lock andl $0x12345678,(%rdi)", &[0xf0, 0x81, 0x27, 0x78, 0x56, 0x34, 0x12], r(7), 4),
    ("andw $0x1234,(%rdi)", &[0x66, 0x81, 0x27, 0x34, 0x12], r(7), 2),
    ("lock subq $0x12345678,(%rdi)", &[0xf0, 0x48, 0x81, 0x2f, 0x78, 0x56, 0x34, 0x12], r(7), 8),
    ("lock btrq $1,(%rdi)", &[0xf0, 0x48, 0x0f, 0xba, 0x37, 0x01], r(7), 8),
    ("lock btsq $63,(%rdi)", &[0xf0, 0x48, 0x0f, 0xba, 0x2f, 0x3f], r(7), 8),
    ("lock btcq $5,(%rdi)", &[0xf0, 0x48, 0x0f, 0xba, 0x3f, 0x05], r(7), 8),
    ("lock btrl $6,4(%rdi)", &[0xf0, 0x0f, 0xba, 0x77, 0x04, 0x06], r(7) + 4, 4),
    ("lock btr %rax,(%rdi)", &[0xf0, 0x48, 0x0f, 0xb3, 0x07], r(7), 8),
    ("lock bts %rax,(%rdi)", &[0xf0, 0x48, 0x0f, 0xab, 0x07], r(7), 8),
    ("btc %rax,(%rdi)", &[0x48, 0x0f, 0xbb, 0x07], r(7), 8),
    ("lock cmpxchg %rdx,(%rdi)", &[0xf0, 0x48, 0x0f, 0xb1, 0x17], r(7), 8),
    ("lock cmpxchg %edx,4(%rdi)", &[0xf0, 0x0f, 0xb1, 0x57, 0x04], r(7) + 4, 4),
    ("cmpxchg %dl,(%rdi)", &[0x0f, 0xb0, 0x17], r(7), 1),
    ("movnti %rax,(%rdi)", &[0x48, 0x0f, 0xc3, 0x07], r(7), 8),
    ("movnti %eax,4(%rdi)", &[0x0f, 0xc3, 0x47, 0x04], r(7) + 4, 4),
    ("stosq", &[0x48, 0xab], r(7), 8),
    ("stosl", &[0xab], r(7), 4),
    ("stosw", &[0x66, 0xab], r(7), 2),
    ("stosb", &[0xaa], r(7), 1),
];

/// Instructions that are no store known here: loads, comparisons, registers only, misaligned, and other opcodes.
#[rustfmt::skip]
const REFUSED: &[(&str, &[u8])] = &[
    ("mov %rax,%rbx", &[0x48, 0x89, 0xc3]),
    ("mov (%rdi),%rax", &[0x48, 0x8b, 0x07]),
    ("add (%rdi),%rax", &[0x48, 0x03, 0x07]),
    ("cmp %rax,(%rdi)", &[0x48, 0x39, 0x07]),
    ("cmpq $1,(%rdi)", &[0x48, 0x83, 0x3f, 0x01]),
    ("test %rax,(%rdi)", &[0x48, 0x85, 0x07]),
    ("btq $1,(%rdi)", &[0x48, 0x0f, 0xba, 0x27, 0x01]),
    ("bt %rax,(%rdi)", &[0x48, 0x0f, 0xa3, 0x07]),
    ("push (%rdi)", &[0xff, 0x37]),
    ("incq (%rdi)", &[0x48, 0xff, 0x07]),
    ("notq (%rdi)", &[0x48, 0xf7, 0x17]),
    ("rep stosq", &[0xf3, 0x48, 0xab]),
    ("movsq", &[0x48, 0xa5]),
    ("xadd %rax,(%rdi)", &[0x48, 0x0f, 0xc1, 0x07]),
    ("cmpxchg16b (%rdi)", &[0x48, 0x0f, 0xc7, 0x0f]),
    ("movups %xmm0,(%rdi)", &[0x0f, 0x11, 0x07]),
    ("movntdq %xmm0,(%rdi)", &[0x66, 0x0f, 0xe7, 0x07]),
    ("xchg %ah,1(%rdi)", &[0x86, 0x67, 0x01]),
    ("mov %ah,(%rdi)", &[0x88, 0x27]),
    ("mov %rax,4(%rdi)", &[0x48, 0x89, 0x47, 0x04]),
    ("mov %eax,2(%rdi)", &[0x89, 0x47, 0x02]),
    ("mov %ax,1(%rdi)", &[0x66, 0x89, 0x47, 0x01]),
    ("mov %cs,(%rdi)", &[0x8c, 0x0f]),
    ("xchg %rax,%rbx", &[0x48, 0x93]),
    ("shlq (%rdi)", &[0x48, 0xd1, 0x27]),
    ("rdmsr", &[0x0f, 0x32]),
];

fn decode(bytes: &[u8], regs: &Gprs) -> Result<crate::emulate::ptwr::Store, Unsupported> {
    decode_store(bytes, regs, RIP, 0, BASES)
}

#[test]
fn every_known_store_has_its_address_size_and_length() {
    let regs = registers();
    for (text, bytes, va, size) in STORES {
        // Bytes that follow in memory must not matter: they let the quick path see the same instruction.
        for tail in [0usize, 12] {
            let mut code = bytes.to_vec();
            code.resize(bytes.len() + tail, 0xcc);
            code.truncate(15);
            let store = decode(&code, &regs).unwrap_or_else(|_| panic!("{text} is refused"));
            assert_eq!(
                (store.va, store.size, usize::from(store.len)),
                (*va, *size, bytes.len()),
                "{text}: {:#x} instead of {va:#x}",
                store.va
            );
        }
    }
}

#[test]
fn what_is_no_known_store_is_refused() {
    let regs = registers();
    for (text, bytes) in REFUSED {
        let mut code = bytes.to_vec();
        code.resize(15, 0xcc);
        assert_eq!(decode(&code, &regs), Err(Unsupported), "{text}");
        assert_eq!(decode(bytes, &regs), Err(Unsupported), "{text}");
    }
}

#[test]
fn a_truncated_store_is_refused() {
    let regs = registers();
    for (text, bytes, ..) in STORES {
        for len in 0..bytes.len() {
            assert_eq!(
                decode(&bytes[..len], &regs),
                Err(Unsupported),
                "{len} bytes of {text}"
            );
        }
    }
}

#[test]
fn an_instruction_longer_than_15_bytes_is_refused() {
    let regs = registers();
    let mut code = vec![0x66; 12];
    code.extend([0x48, 0x89, 0x07]);
    assert_eq!(decode(&code, &regs).map(|store| store.len), Ok(15));
    code.insert(0, 0x66);
    assert_eq!(decode(&code, &regs), Err(Unsupported));
}

#[test]
fn lock_is_refused_where_processors_refuse_it() {
    let regs = registers();
    for code in [
        &[0xf0, 0x48, 0x89, 0x07][..],
        &[0xf0, 0xc6, 0x07, 1],
        &[0xf0, 0x48, 0x0f, 0xc3, 0x07],
        &[0xf0, 0xab],
    ] {
        assert_eq!(decode(code, &regs), Err(Unsupported), "{code:x?}");
    }
}

#[test]
fn a_rex_prefix_counts_only_directly_before_the_opcode() {
    // 48 66 89 07: the 0x66 voids REX.W, so this is mov %ax,(%rdi).
    assert_eq!(
        decode(&[0x48, 0x66, 0x89, 0x07], &registers()).map(|store| store.size),
        Ok(2)
    );
}

#[test]
fn random_bytes_never_panic_and_decode_to_at_most_15_bytes() {
    let mut random = Random::new(1);
    let mut decoded = 0;
    for round in 0..300_000 {
        let mut code: [u8; 16] = core::array::from_fn(|_| random.next() as u8);
        // Half of them begin like a store, or nothing would be found.
        if round & 1 == 0 {
            let (_, known, ..) = STORES[random.below(STORES.len())];
            let keep = 1 + random.below(known.len());
            code[..keep].copy_from_slice(&known[..keep]);
        }
        let regs = Gprs(core::array::from_fn(|_| random.next() & !7));
        let code = &code[..random.below(17)];
        let Ok(store) = decode_store(code, &regs, random.next(), random.next(), BASES) else {
            continue;
        };
        decoded += 1;
        assert!((1..=15).contains(&store.len) && usize::from(store.len) <= code.len());
        assert!(matches!(store.size, 1 | 2 | 4 | 8) && store.va % u64::from(store.size) == 0);
        let old = random.next();
        let update = store.compute(old, random.next());
        // Nothing outside the operand may change.
        let mask = (u64::MAX >> (64 - 8 * u32::from(store.size))) << (8 * (store.va & 7));
        assert_eq!(update.entry & !mask, old & !mask);
        assert!(update.writes || update.entry == old);
    }
    assert!(decoded > 1000, "{decoded}");
}

#[test]
fn the_quick_path_takes_mov_and_xchg_of_8_bytes_and_says_what_the_other_says() {
    let mut random = Random::new(4);
    let mut taken = [0; 2];
    for round in 0..200_000 {
        let mut code: [u8; 15] = core::array::from_fn(|_| random.next() as u8);
        if round & 7 != 0 {
            code[0] = 0x40 | random.below(16) as u8;
            code[1] = 0x86 + random.below(4) as u8;
        }
        let regs = Gprs(core::array::from_fn(|_| random.next() & !7));
        let general = decode_store(&code, &regs, RIP, 0, BASES);
        let va = general.map_or(0, |store| store.va);
        let Some(quick) = quick_store(&code, &regs, va) else {
            continue;
        };
        taken[usize::from(quick.exchanges)] += 1;
        let store = general.unwrap();
        let update = store.compute(0x1234, 0);
        assert_eq!(
            (quick.entry, quick.len, store.size),
            (update.entry, store.len, 8),
            "{code:x?}"
        );
        assert_eq!(
            update.writeback,
            quick.exchanges.then_some((quick.register, 0x1234)),
            "{code:x?}"
        );
        assert_eq!(
            quick_store(&code, &regs, va ^ 8),
            None,
            "another place than the one that faulted"
        );
    }
    assert!(taken.iter().all(|count| *count > 1000), "{taken:?}");
}

#[test]
fn the_quick_path_takes_what_linux_compiles_to() {
    let regs = registers();
    // mov %rsi,(%rbx); xchg %rax,(%rdi); mov %rdx,-8(%rbp); mov %rcx,0x12340(%r15)
    let expect = |code: &[u8], va, register, exchanges| {
        let mut padded = code.to_vec();
        padded.resize(15, 0xcc);
        let entry = regs.get(register);
        let expected = QuickStore {
            entry,
            len: code.len() as u8,
            exchanges,
            register,
        };
        assert_eq!(quick_store(&padded, &regs, va), Some(expected), "{code:x?}");
    };
    expect(&[0x48, 0x89, 0x33], r(3), 6, false);
    expect(&[0x48, 0x87, 0x07], r(7), 0, true);
    expect(&[0x48, 0x89, 0x55, 0xf8], r(5) - 8, 2, false);
    expect(
        &[0x49, 0x89, 0x8f, 0x40, 0x23, 0x01, 0x00],
        r(15) + 0x12340,
        1,
        false,
    );
    assert_eq!(
        quick_store(&[0x48, 0x89, 0x33], &regs, r(3)),
        None,
        "too few bytes to look at in one go"
    );
}

/// One whole instruction: the entry, rflags and registers after it.
fn run(code: &[u8], regs: &mut Gprs, old: u64, flags: u64) -> (u64, bool, u64) {
    let store = decode(code, regs).unwrap();
    let update = store.compute(old, flags);
    if let Some((register, value)) = update.writeback {
        regs.set(register, value);
    }
    (update.entry, update.writes, update.rflags)
}

const SEVERAL: u64 = rflags::IF | rflags::CF | rflags::OF | 2;

#[test]
fn mov_replaces_the_entry_and_nothing_else() {
    let mut regs = registers();
    assert_eq!(
        run(&[0x48, 0x89, 0x17], &mut regs, 0x67, SEVERAL),
        (r(2), true, SEVERAL)
    );
    assert_eq!(regs, registers());
}

#[test]
fn xchg_hands_the_old_entry_to_the_register() {
    let mut regs = registers();
    assert_eq!(
        run(
            &[0x48, 0x87, 0x17],
            &mut regs,
            0x8000_0000_1234_5067,
            SEVERAL
        ),
        (r(2), true, SEVERAL)
    );
    assert_eq!(regs.get(reg::RDX), 0x8000_0000_1234_5067);
}

#[test]
fn narrow_xchg_merges_as_the_architecture_does() {
    // 32 bits clear the upper half, 16 and 8 bits leave the rest.
    for (code, entry, register) in [
        (&[0x87, 0x17][..], 0x1111_2222_0020_0080, 0x3333_4444),
        (
            &[0x66, 0x87, 0x17],
            0x1111_2222_3333_0080,
            0xffff_8a00_0020_4444,
        ),
        (&[0x86, 0x17], 0x1111_2222_3333_4480, 0xffff_8a00_0020_0044),
    ] {
        let mut regs = registers();
        assert_eq!(
            run(code, &mut regs, 0x1111_2222_3333_4444, 0).0,
            entry,
            "{code:x?}"
        );
        assert_eq!(regs.get(reg::RDX), register, "{code:x?}");
    }
}

#[test]
fn stores_of_part_of_an_entry_keep_the_rest() {
    let mut regs = registers();
    // movl $0x12345678,4(%rdi); movb $0x12,3(%rdi)
    let (entry, ..) = run(
        &[0xc7, 0x47, 4, 0x78, 0x56, 0x34, 0x12],
        &mut regs,
        u64::MAX,
        0,
    );
    assert_eq!(entry, 0x1234_5678_ffff_ffff);
    assert_eq!(run(&[0xc6, 0x47, 3, 0x12], &mut regs, 0, 0).0, 0x1200_0000);
}

#[test]
fn clearing_the_writable_bit_reports_whether_it_was_set() {
    // lock btrq $1,(%rdi), as in ptep_set_wrprotect; only CF changes.
    let code = [0xf0, 0x48, 0x0f, 0xba, 0x37, 1];
    let mut regs = registers();
    assert_eq!(
        run(&code, &mut regs, 0x67, rflags::ZF),
        (0x65, true, rflags::ZF | rflags::CF)
    );
    assert_eq!(
        run(&code, &mut regs, 0x65, SEVERAL),
        (0x65, true, SEVERAL & !rflags::CF)
    );
    // The byte form that compilers make of a constant bit: lock andb $0xfd,(%rdi).
    assert_eq!(
        run(&[0xf0, 0x80, 0x27, 0xfd], &mut regs, 0x1_0067, 0).0,
        0x1_0065
    );
}

#[test]
fn bit_operations_set_clear_and_complement() {
    let mut regs = registers(); // rax = 5
    for (code, clear, set) in [
        (&[0x48, 0x0f, 0xab, 0x07][..], 0x20, 0x20),
        (&[0x48, 0x0f, 0xb3, 0x07], 0, 0),
        (&[0x48, 0x0f, 0xbb, 0x07], 0x20, 0),
    ] {
        assert_eq!(run(code, &mut regs, 0, 0), (clear, true, 0), "{code:x?}");
        assert_eq!(
            run(code, &mut regs, 0x20, 0),
            (set, true, rflags::CF),
            "{code:x?}"
        );
    }
}

#[test]
fn a_bit_number_in_a_register_reaches_other_entries() {
    let mut regs = registers();
    for (number, va) in [
        (63u64, r(7)),
        (64, r(7) + 8),
        (64 * 511 + 3, r(7) + 511 * 8),
        (u64::MAX, r(7) - 8),
    ] {
        regs.set(reg::RAX, number);
        assert_eq!(
            decode(&[0xf0, 0x48, 0x0f, 0xab, 0x07], &regs).unwrap().va,
            va,
            "bit {number}"
        );
        assert_eq!(
            run(&[0xf0, 0x48, 0x0f, 0xab, 0x07], &mut regs, 0, 0).0,
            1 << (number & 63)
        );
    }
    regs.set(reg::RAX, 0xdead_0000_ffff_ffe0);
    assert_eq!(
        decode(&[0x0f, 0xab, 0x07], &regs).unwrap().va,
        r(7) - 4,
        "32-bit operands use eax, signed"
    );
}

#[test]
fn cmpxchg_writes_only_what_it_expected() {
    let code = [0xf0, 0x48, 0x0f, 0xb1, 0x17];
    let mut regs = registers();
    regs.set(reg::RAX, 0x67);
    let (entry, writes, flags) = run(&code, &mut regs, 0x67, 0);
    assert_eq!(
        (entry, writes, flags & rflags::ZF),
        (r(2), true, rflags::ZF)
    );
    assert_eq!(regs.get(reg::RAX), 0x67);
    let (entry, writes, flags) = run(&code, &mut regs, 0x65, rflags::ZF);
    assert_eq!((entry, writes, flags & rflags::ZF), (0x65, false, 0));
    assert_eq!(regs.get(reg::RAX), 0x65);
}

#[test]
fn narrow_cmpxchg_compares_its_part_and_merges_rax() {
    let mut regs = registers();
    regs.set(reg::RAX, 0xaaaa_bbbb_cccc_dddd);
    // cmpxchg %edx,4(%rdi) against the upper half.
    let (entry, writes, _) = run(&[0x0f, 0xb1, 0x57, 4], &mut regs, 0xcccc_dddd_0000_0001, 0);
    assert_eq!((entry, writes), (0x0020_0080_0000_0001, true));
    run(&[0x0f, 0xb0, 0x17], &mut regs, 0x77, 0);
    assert_eq!(regs.get(reg::RAX), 0xaaaa_bbbb_cccc_dd77);
    run(&[0x0f, 0xb1, 0x17], &mut regs, 0x77, 0);
    assert_eq!(regs.get(reg::RAX), 0x77);
}

#[test]
fn stos_steps_rdi_in_the_direction_of_df() {
    let mut regs = registers();
    assert_eq!(run(&[0x48, 0xab], &mut regs, 9, 0).0, 5);
    assert_eq!(regs.get(reg::RDI), r(7) + 8);
    let store = decode_store(&[0xab], &regs, RIP, rflags::DF, BASES).unwrap();
    assert_eq!(
        store.compute(0, rflags::DF).writeback,
        Some((reg::RDI, r(7) + 4))
    );
}

/// What the manuals say of `op`, computed in wide integers: result and arithmetic flags.
fn model(op: u8, old: u64, operand: u64, bits: u32, carry: bool) -> (u64, u64) {
    let limit = 1u128 << bits;
    let (a, b, c) = (u128::from(old), u128::from(operand), u128::from(carry));
    let signed = |value: u128| {
        if value >= limit / 2 {
            value as i128 - limit as i128
        } else {
            value as i128
        }
    };
    let (sa, sb, sc) = (signed(a), signed(b), c as i128);
    let (wide, exact, nibble_carry) = match op {
        0 => (a + b, sa + sb, (a & 15) + (b & 15) > 15),
        2 => (a + b + c, sa + sb + sc, (a & 15) + (b & 15) + c > 15),
        3 => (a.wrapping_sub(b + c), sa - sb - sc, (a & 15) < (b & 15) + c),
        5 => (a.wrapping_sub(b), sa - sb, (a & 15) < (b & 15)),
        1 => (a | b, signed(a | b), false),
        4 => (a & b, signed(a & b), false),
        _ => (a ^ b, signed(a ^ b), false),
    };
    let result = wide % limit;
    let mut flags = 0;
    for (condition, flag) in [
        (wide >= limit, rflags::CF),
        (
            (0..8).filter(|bit| result >> bit & 1 == 1).count() % 2 == 0,
            rflags::PF,
        ),
        (nibble_carry, rflags::AF),
        (result == 0, rflags::ZF),
        (result >= limit / 2, rflags::SF),
        (signed(result) != exact, rflags::OF),
    ] {
        flags |= if condition { flag } else { 0 };
    }
    (result as u64, flags)
}

#[test]
fn arithmetic_agrees_with_a_model_in_wide_integers() {
    let mut random = Random::new(2);
    let interesting = [
        0u64,
        1,
        0x7f,
        0x80,
        0xff,
        0x7fff_ffff,
        0x8000_0000,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ];
    let pick = |random: &mut Random| {
        if random.below(2) == 0 {
            interesting[random.below(interesting.len())]
        } else {
            random.next()
        }
    };
    for _ in 0..100_000 {
        let op = [0u8, 1, 2, 3, 4, 5, 6][random.below(7)];
        let (size, prefix): (u32, &[u8]) =
            [(1, &[][..]), (2, &[0x66]), (4, &[]), (8, &[0x48])][random.below(4)];
        let (old, operand, carry) = (pick(&mut random), pick(&mut random), random.below(2) == 1);
        let mut code = prefix.to_vec();
        code.extend([op << 3 | u8::from(size > 1), 0x17]); // op %rdx,(%rdi)
        let mut regs = registers();
        regs.set(reg::RDX, operand);
        let flags = rflags::IF | rflags::ARITHMETIC & !rflags::CF | u64::from(carry);
        let (entry, writes, after) = run(&code, &mut regs, old, flags);
        let bits = size * 8;
        let mask = u64::MAX >> (64 - bits);
        let (result, arithmetic) = model(op, old & mask, operand & mask, bits, carry);
        assert!(writes);
        assert_eq!(
            entry,
            old & !mask | result,
            "op {op} size {size} {old:#x} {operand:#x} {carry}"
        );
        assert_eq!(
            after,
            rflags::IF | arithmetic,
            "op {op} size {size} {old:#x} {operand:#x} {carry}"
        );
    }
}
