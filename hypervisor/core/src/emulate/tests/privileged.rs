//! Privileged instructions: which are known to whom, and what each does to registers, memory and host.

use super::*;
use crate::emulate::decode::Segment;
use crate::emulate::privop::{
    Code, Decoded, FORCED_CPUID, NotEmulated, Outcome, Port, PrivHost, PrivOp, QuickOp, StringIo,
    decode, execute, execute_quick, forced_cpuid, quick,
};
use PrivOp::*;

const fn io(size: u8, rep: bool, address32: bool) -> StringIo {
    StringIo {
        size,
        rep,
        address32,
        segment: Segment::Flat,
    }
}

/// What a guest kernel may have emulated: instruction, bytes as GNU as assembles them, meaning.
#[rustfmt::skip]
const KERNEL: &[(&str, &[u8], PrivOp)] = &[
    ("in $0x71,%al", &[0xe4, 0x71], In { port: Port::Immediate(0x71), size: 1 }),
    ("in $0x71,%eax", &[0xe5, 0x71], In { port: Port::Immediate(0x71), size: 4 }),
    ("in %dx,%al", &[0xec], In { port: Port::Dx, size: 1 }),
    ("in %dx,%ax", &[0x66, 0xed], In { port: Port::Dx, size: 2 }),
    ("in %dx,%eax", &[0xed], In { port: Port::Dx, size: 4 }),
    ("out %al,$0x70", &[0xe6, 0x70], Out { port: Port::Immediate(0x70), size: 1 }),
    ("out %eax,$0x70", &[0xe7, 0x70], Out { port: Port::Immediate(0x70), size: 4 }),
    ("out %al,%dx", &[0xee], Out { port: Port::Dx, size: 1 }),
    ("out %ax,%dx", &[0x66, 0xef], Out { port: Port::Dx, size: 2 }),
    ("out %eax,%dx", &[0xef], Out { port: Port::Dx, size: 4 }),
    ("insb", &[0x6c], Ins(io(1, false, false))),
    ("insw", &[0x66, 0x6d], Ins(io(2, false, false))),
    ("insl", &[0x6d], Ins(io(4, false, false))),
    ("rep insb", &[0xf3, 0x6c], Ins(io(1, true, false))),
    ("rep insw", &[0x66, 0xf3, 0x6d], Ins(io(2, true, false))),
    ("outsb", &[0x6e], Outs(io(1, false, false))),
    ("rep outsl", &[0xf3, 0x6f], Outs(io(4, true, false))),
    ("rep outsb %gs:(%rsi),%dx", &[0x65, 0xf3, 0x6e], Outs(StringIo { segment: Segment::Gs, ..io(1, true, false) })),
    ("rep insb (%dx),%es:(%edi)", &[0x67, 0xf3, 0x6c], Ins(io(1, true, true))),
    ("cli", &[0xfa], Cli),
    ("sti", &[0xfb], Sti),
    ("clts", &[0x0f, 0x06], Clts),
    ("mov %cr0,%rax", &[0x0f, 0x20, 0xc0], ReadCr { cr: 0, register: 0 }),
    ("mov %cr2,%r9", &[0x41, 0x0f, 0x20, 0xd1], ReadCr { cr: 2, register: 9 }),
    ("mov %cr3,%rdi", &[0x0f, 0x20, 0xdf], ReadCr { cr: 3, register: 7 }),
    ("mov %cr4,%rdx", &[0x0f, 0x20, 0xe2], ReadCr { cr: 4, register: 2 }),
    ("mov %rax,%cr0", &[0x0f, 0x22, 0xc0], WriteCr { cr: 0, register: 0 }),
    ("mov %r10,%cr3", &[0x41, 0x0f, 0x22, 0xda], WriteCr { cr: 3, register: 10 }),
    ("mov %rcx,%cr4", &[0x0f, 0x22, 0xe1], WriteCr { cr: 4, register: 1 }),
    ("mov %db7,%rax", &[0x0f, 0x21, 0xf8], ReadDr { dr: 7, register: 0 }),
    ("mov %rsi,%db3", &[0x0f, 0x23, 0xde], WriteDr { dr: 3, register: 6 }),
    ("mov %r8,%db6", &[0x41, 0x0f, 0x23, 0xf0], WriteDr { dr: 6, register: 8 }),
    ("rdmsr", &[0x0f, 0x32], Rdmsr),
    ("wrmsr", &[0x0f, 0x30], Wrmsr),
    ("rdtsc", &[0x0f, 0x31], Rdtsc),
    ("rdtscp", &[0x0f, 0x01, 0xf9], Rdtscp),
    ("cpuid", &[0x0f, 0xa2], Cpuid),
    ("xsetbv", &[0x0f, 0x01, 0xd1], Xsetbv),
    ("wbinvd", &[0x0f, 0x09], Wbinvd),
    ("int $0x80", &[0xcd, 0x80], Int(0x80)),
    ("int $0x20", &[0xcd, 0x20], Int(0x20)),
    ("int3", &[0xcc], Int(3)),
];

/// What nobody has emulated.
#[rustfmt::skip]
const REFUSED: &[(&str, &[u8])] = &[
    ("hlt", &[0xf4]),
    ("mov %cr8,%rax", &[0x44, 0x0f, 0x20, 0xc0]),
    ("mov %rax,%cr8", &[0x44, 0x0f, 0x22, 0xc0]),
    ("lmsw %ax", &[0x0f, 0x01, 0xf0]),
    ("smsw %ax", &[0x66, 0x0f, 0x01, 0xe0]),
    ("invlpg (%rax)", &[0x0f, 0x01, 0x38]),
    ("lgdt (%rax)", &[0x0f, 0x01, 0x10]),
    ("lidt (%rax)", &[0x0f, 0x01, 0x18]),
    ("ltr %ax", &[0x0f, 0x00, 0xd8]),
    ("swapgs", &[0x0f, 0x01, 0xf8]),
    ("sysretq", &[0x48, 0x0f, 0x07]),
    ("iretq", &[0x48, 0xcf]),
    ("wbnoinvd", &[0xf3, 0x0f, 0x09]),
    ("invd", &[0x0f, 0x08]),
    ("monitor", &[0x0f, 0x01, 0xc8]),
    ("mwait", &[0x0f, 0x01, 0xc9]),
    ("rdpmc", &[0x0f, 0x33]),
    ("vmcall", &[0x0f, 0x01, 0xc1]),
    ("popf", &[0x9d]),
    ("nop", &[0x90]),
    ("xgetbv", &[0x0f, 0x01, 0xd0]),
    ("clac", &[0x0f, 0x01, 0xca]),
    ("stac", &[0x0f, 0x01, 0xcb]),
    ("rdfsbase %rax", &[0xf3, 0x48, 0x0f, 0xae, 0xc0]),
];

/// A host that answers from a few fields and remembers what it was told.
#[derive(Default)]
struct Host {
    deny_io: bool,
    deny_iopl: bool,
    fault: Option<Fault>,
    input: u32,
    log: Vec<(&'static str, u64, u64)>,
}

impl Host {
    fn answer(&mut self, what: &'static str, number: u64, value: u64) -> Result<u64, Fault> {
        self.log.push((what, number, value));
        self.fault.map_or(Ok(0x1122_3344_5566_7788), Err)
    }
}

impl PrivHost for Host {
    fn io_allowed(&mut self, _: u16, _: u8) -> bool {
        !self.deny_io
    }
    fn iopl_allowed(&mut self) -> bool {
        !self.deny_iopl
    }
    fn io_in(&mut self, port: u16, size: u8) -> u32 {
        self.log.push(("in", port.into(), size.into()));
        self.input = self.input.wrapping_add(0x0101_0101);
        self.input
    }
    fn io_out(&mut self, port: u16, _: u8, value: u32) {
        self.log.push(("out", port.into(), value.into()));
    }
    fn read_cr(&mut self, cr: u8) -> Result<u64, Fault> {
        self.answer("read_cr", cr.into(), 0)
    }
    fn write_cr(&mut self, cr: u8, value: u64) -> Result<(), Fault> {
        self.answer("write_cr", cr.into(), value).map(drop)
    }
    fn read_dr(&mut self, dr: u8) -> Result<u64, Fault> {
        self.answer("read_dr", dr.into(), 0)
    }
    fn write_dr(&mut self, dr: u8, value: u64) -> Result<(), Fault> {
        self.answer("write_dr", dr.into(), value).map(drop)
    }
    fn read_msr(&mut self, msr: u32) -> Result<u64, Fault> {
        self.answer("read_msr", msr.into(), 0)
    }
    fn write_msr(&mut self, msr: u32, value: u64) -> Result<(), Fault> {
        self.answer("write_msr", msr.into(), value).map(drop)
    }
    fn read_tsc(&mut self) -> Result<u64, Fault> {
        self.answer("tsc", 0, 0)
    }
    fn tsc_aux(&mut self) -> Result<u32, Fault> {
        Ok(7)
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        [leaf, subleaf, 3, 4]
    }
    fn xsetbv(&mut self, index: u32, value: u64) -> Result<(), Fault> {
        self.answer("xsetbv", index.into(), value).map(drop)
    }
    fn wbinvd(&mut self) {
        self.log.push(("wbinvd", 0, 0));
    }
}

/// Guest memory of 4 KiB at `BASE`.
struct Memory(Vec<u8>);

const BASE: u64 = 0x5000;

impl Memory {
    fn new() -> Self {
        Memory(vec![0; 4096])
    }
    fn range(&self, va: u64, len: usize) -> Result<core::ops::Range<usize>, Fault> {
        let start = va.wrapping_sub(BASE) as usize;
        let range = start..start.saturating_add(len);
        if self.0.get(range.clone()).is_some() {
            Ok(range)
        } else {
            Err(Fault::Page { va, error: 2 })
        }
    }
}

impl GuestMem for Memory {
    fn read(&mut self, va: u64, into: &mut [u8]) -> Result<(), Fault> {
        let range = self.range(va, into.len())?;
        into.copy_from_slice(&self.0[range]);
        Ok(())
    }
    fn write(&mut self, va: u64, from: &[u8]) -> Result<(), Fault> {
        let range = self.range(va, from.len())?;
        self.0[range].copy_from_slice(from);
        Ok(())
    }
    fn probe_write(&mut self, va: u64, len: usize) -> Result<(), Fault> {
        self.range(va, len).map(drop)
    }
}

fn run(op: PrivOp, regs: &mut Gprs, host: &mut Host) -> Outcome {
    run_with(op, regs, 0, &mut Memory::new(), host)
}

fn run_with(
    op: PrivOp,
    regs: &mut Gprs,
    flags: u64,
    memory: &mut Memory,
    host: &mut Host,
) -> Outcome {
    execute(
        Decoded { op, len: 2 },
        regs,
        flags,
        SegBases::default(),
        memory,
        host,
    )
}

const DONE: Outcome = Outcome::Done { advance: 2 };

fn regs(values: &[(u8, u64)]) -> Gprs {
    let mut regs = Gprs::default();
    for (register, value) in values {
        regs.set(*register, *value);
    }
    regs
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut code = bytes.to_vec();
    code.resize(15, 0xcc);
    code
}

#[test]
fn a_guest_kernel_has_these_instructions_emulated() {
    for (text, bytes, op) in KERNEL {
        let expected = Ok(Decoded {
            op: *op,
            len: bytes.len() as u8,
        });
        assert_eq!(
            decode(bytes, Mode::Kernel, Code::Bits64),
            expected,
            "{text}"
        );
        assert_eq!(
            decode(&padded(bytes), Mode::Kernel, Code::Bits64),
            expected,
            "{text}"
        );
        for len in 0..bytes.len() {
            assert_eq!(
                decode(&bytes[..len], Mode::Kernel, Code::Bits64),
                Err(NotEmulated),
                "{len} of {text}"
            );
        }
    }
}

#[test]
fn all_others_are_refused() {
    for (text, bytes) in REFUSED {
        for mode in [Mode::Kernel, Mode::User] {
            assert_eq!(
                decode(&padded(bytes), mode, Code::Bits64),
                Err(NotEmulated),
                "{text}"
            );
            assert_eq!(
                decode(&padded(bytes), mode, Code::Bits32),
                Err(NotEmulated),
                "{text}"
            );
        }
    }
}

#[test]
fn user_space_has_no_privileged_state_emulated() {
    for (text, bytes, op) in KERNEL {
        let kernel_only = matches!(
            op,
            Clts | ReadCr { .. }
                | WriteCr { .. }
                | ReadDr { .. }
                | WriteDr { .. }
                | Rdmsr
                | Wrmsr
                | Xsetbv
                | Wbinvd
        );
        assert_eq!(
            decode(bytes, Mode::User, Code::Bits64).is_err(),
            kernel_only,
            "{text}"
        );
    }
}

#[test]
fn a_lock_prefix_is_never_emulated() {
    for (text, bytes, _) in KERNEL {
        let mut code = vec![0xf0];
        code.extend(*bytes);
        assert_eq!(
            decode(&code, Mode::Kernel, Code::Bits64),
            Err(NotEmulated),
            "{text}"
        );
    }
}

#[test]
fn code_of_32_bits_has_no_rex_but_into_and_32_bit_addresses() {
    let decode32 = |bytes: &[u8]| decode(bytes, Mode::User, Code::Bits32).map(|decoded| decoded.op);
    assert_eq!(
        decode32(&[0xec]),
        Ok(In {
            port: Port::Dx,
            size: 1
        })
    );
    assert_eq!(decode32(&[0xf3, 0x6c]), Ok(Ins(io(1, true, true))));
    assert_eq!(decode32(&[0xce]), Ok(Int(4)));
    assert_eq!(decode(&[0xce], Mode::User, Code::Bits64), Err(NotEmulated));
    assert_eq!(decode32(&[0x40, 0xec]), Err(NotEmulated), "inc %eax");
    assert_eq!(
        decode32(&[0x67, 0x6c]),
        Err(NotEmulated),
        "16-bit addresses"
    );
    assert_eq!(
        decode(&[0x0f, 0x32], Mode::Kernel, Code::Bits32),
        Err(NotEmulated)
    );
}

#[test]
fn moves_to_control_registers_ignore_the_mode_bits() {
    assert_eq!(
        decode(&[0x0f, 0x20, 0x18], Mode::Kernel, Code::Bits64)
            .unwrap()
            .op,
        ReadCr { cr: 3, register: 0 }
    );
}

#[test]
fn random_bytes_never_panic_and_decode_to_at_most_15_bytes() {
    let mut random = Random::new(3);
    for round in 0..300_000 {
        let mut code: [u8; 16] = core::array::from_fn(|_| random.next() as u8);
        if round & 1 == 0 {
            let (_, known, _) = KERNEL[random.below(KERNEL.len())];
            code[..known.len()].copy_from_slice(known);
        }
        let code = &code[..random.below(17)];
        let mode = if round & 2 == 0 {
            Mode::Kernel
        } else {
            Mode::User
        };
        let width = if round & 4 == 0 {
            Code::Bits64
        } else {
            Code::Bits32
        };
        let _ = forced_cpuid(code);
        let mut regs = Gprs(core::array::from_fn(|_| random.next()));
        let mut host = Host {
            fault: (round & 8 == 0).then_some(Fault::Original),
            ..Host::default()
        };
        if let Some(op) = quick(code) {
            execute_quick(op, &mut regs, &mut host);
        }
        let Ok(decoded) = decode(code, mode, width) else {
            continue;
        };
        assert!((1..=15).contains(&decoded.len) && usize::from(decoded.len) <= code.len());
        let bases = SegBases {
            fs: random.next(),
            gs: random.next(),
        };
        execute(
            decoded,
            &mut regs,
            random.next(),
            bases,
            &mut Memory::new(),
            &mut host,
        );
        assert!(host.log.len() <= 300, "one call stays short");
    }
}

#[test]
fn quick_agrees_with_decode() {
    for (text, bytes, op) in KERNEL {
        let expected = match *op {
            Rdmsr => Some(QuickOp::Rdmsr),
            Wrmsr => Some(QuickOp::Wrmsr),
            In { port, size } if bytes[0] != 0x66 => Some(QuickOp::In {
                port,
                size,
                len: bytes.len() as u8,
            }),
            Out { port, size } if bytes[0] != 0x66 => Some(QuickOp::Out {
                port,
                size,
                len: bytes.len() as u8,
            }),
            _ => None,
        };
        assert_eq!(quick(&padded(bytes)), expected, "{text}");
    }
    for (text, bytes) in REFUSED {
        assert_eq!(quick(&padded(bytes)), None, "{text}");
    }
    assert_eq!(quick(&[0xec]), None, "one byte is too little to look at");
}

#[test]
fn only_cpuid_may_stand_behind_the_forced_emulation_prefix() {
    assert_eq!(
        forced_cpuid(b"\x0f\x0bxen\x0f\xa2"),
        Some(Decoded { op: Cpuid, len: 7 })
    );
    assert_eq!(forced_cpuid(b"\x0f\x0bxen\x0f\x31"), None);
    assert_eq!(forced_cpuid(b"\x0f\x0bxem\x0f\xa2"), None);
    for len in 0..7 {
        assert_eq!(forced_cpuid(&FORCED_CPUID[..len]), None);
    }
}

#[test]
fn in_merges_into_rax_as_the_architecture_does() {
    for (size, expected) in [
        (1, 0xffff_ffff_ffff_ff01),
        (2, 0xffff_ffff_ffff_0101),
        (4, 0x0101_0101),
    ] {
        let mut regs = regs(&[(reg::RAX, u64::MAX), (reg::RDX, 0xdead_0000_0000_0cf8)]);
        let mut host = Host::default();
        assert_eq!(
            run(
                In {
                    port: Port::Dx,
                    size
                },
                &mut regs,
                &mut host
            ),
            DONE
        );
        assert_eq!(regs.get(reg::RAX), expected);
        assert_eq!(host.log, [("in", 0xcf8, size.into())]);
    }
}

#[test]
fn out_sends_only_the_operand() {
    for (size, expected) in [(1, 0x78), (2, 0x5678), (4, 0x1234_5678)] {
        let mut host = Host::default();
        let op = Out {
            port: Port::Immediate(0x70),
            size,
        };
        assert_eq!(
            run(
                op,
                &mut regs(&[(reg::RAX, 0xffff_ffff_1234_5678)]),
                &mut host
            ),
            DONE
        );
        assert_eq!(host.log, [("out", 0x70, expected)]);
    }
}

#[test]
fn without_iopl_or_bitmap_io_faults_and_touches_no_port() {
    for op in [
        In {
            port: Port::Dx,
            size: 1,
        },
        Out {
            port: Port::Dx,
            size: 1,
        },
        Ins(io(1, false, false)),
        Outs(io(1, false, false)),
    ] {
        let mut host = Host {
            deny_io: true,
            ..Host::default()
        };
        assert_eq!(
            run(
                op,
                &mut regs(&[(reg::RDI, BASE), (reg::RSI, BASE)]),
                &mut host
            ),
            Outcome::Fault(Fault::Original)
        );
        assert_eq!(host.log, []);
    }
}

#[test]
fn cli_and_sti_do_nothing_but_need_iopl() {
    for op in [Cli, Sti] {
        assert_eq!(run(op, &mut Gprs::default(), &mut Host::default()), DONE);
        let mut host = Host {
            deny_iopl: true,
            ..Host::default()
        };
        assert_eq!(
            run(op, &mut Gprs::default(), &mut host),
            Outcome::Fault(Fault::Original)
        );
    }
}

#[test]
fn clts_clears_ts_alone() {
    let mut host = Host::default();
    assert_eq!(run(Clts, &mut Gprs::default(), &mut host), DONE);
    assert_eq!(host.log[1], ("write_cr", 0, 0x1122_3344_5566_7780));
}

#[test]
fn rdmsr_and_wrmsr_use_edx_and_eax() {
    let mut host = Host::default();
    let mut regs = regs(&[
        (reg::RCX, 0xffff_ffff_c000_0102),
        (reg::RAX, u64::MAX),
        (reg::RDX, 0xaaaa_bbbb_0000_0001),
    ]);
    assert_eq!(run(Wrmsr, &mut regs, &mut host), DONE);
    assert_eq!(run(Rdmsr, &mut regs, &mut host), DONE);
    assert_eq!(
        host.log,
        [
            ("write_msr", 0xc000_0102, 0x1_ffff_ffff),
            ("read_msr", 0xc000_0102, 0)
        ]
    );
    assert_eq!(
        (regs.get(reg::RAX), regs.get(reg::RDX)),
        (0x5566_7788, 0x1122_3344)
    );
}

#[test]
fn what_the_host_refuses_faults_and_leaves_the_registers() {
    let fault = Fault::GeneralProtection(0);
    for op in [
        Rdmsr,
        Wrmsr,
        Rdtsc,
        Rdtscp,
        Xsetbv,
        Clts,
        ReadCr { cr: 3, register: 1 },
        WriteCr { cr: 3, register: 1 },
        ReadDr { dr: 7, register: 1 },
        WriteDr { dr: 7, register: 1 },
    ] {
        let mut host = Host {
            fault: Some(fault),
            ..Host::default()
        };
        let mut regs = Gprs::default();
        assert_eq!(
            run(op, &mut regs, &mut host),
            Outcome::Fault(fault),
            "{op:?}"
        );
        assert_eq!(regs, Gprs::default(), "{op:?}");
    }
}

#[test]
fn control_and_debug_registers_go_through_the_named_register() {
    let mut host = Host::default();
    let mut regs = regs(&[(9, 0x77)]);
    run(WriteCr { cr: 4, register: 9 }, &mut regs, &mut host);
    run(WriteDr { dr: 7, register: 9 }, &mut regs, &mut host);
    assert_eq!(host.log, [("write_cr", 4, 0x77), ("write_dr", 7, 0x77)]);
    run(
        ReadCr {
            cr: 2,
            register: 10,
        },
        &mut regs,
        &mut host,
    );
    run(
        ReadDr {
            dr: 6,
            register: 11,
        },
        &mut regs,
        &mut host,
    );
    assert_eq!(
        (regs.get(10), regs.get(11)),
        (0x1122_3344_5566_7788, 0x1122_3344_5566_7788)
    );
}

#[test]
fn cpuid_rdtscp_and_xsetbv_move_the_right_registers() {
    let mut host = Host::default();
    let mut regs = regs(&[(reg::RAX, 0xffff_ffff_0000_000d), (reg::RCX, 1)]);
    run(Cpuid, &mut regs, &mut host);
    assert_eq!(
        [0, 3, 1, 2].map(|register| regs.get(register)),
        [0xd, 1, 3, 4]
    );
    run(Rdtscp, &mut regs, &mut host);
    assert_eq!(
        [0, 2, 1].map(|register| regs.get(register)),
        [0x5566_7788, 0x1122_3344, 7]
    );
    regs.set(reg::RCX, 0);
    run(Xsetbv, &mut regs, &mut host);
    assert_eq!(host.log.last(), Some(&("xsetbv", 0, 0x1122_3344_5566_7788)));
}

#[test]
fn software_interrupts_go_to_the_caller() {
    let mut host = Host::default();
    let expected = Outcome::Interrupt {
        vector: 0x20,
        advance: 2,
    };
    assert_eq!(run(Int(0x20), &mut Gprs::default(), &mut host), expected);
    let into = |flags| {
        let decoded = Decoded { op: Int(4), len: 1 };
        execute(
            decoded,
            &mut Gprs::default(),
            flags,
            SegBases::default(),
            &mut Memory::new(),
            &mut Host::default(),
        )
    };
    assert_eq!(into(0), Outcome::Done { advance: 1 });
    assert_eq!(
        into(rflags::OF),
        Outcome::Interrupt {
            vector: 4,
            advance: 1
        }
    );
}

#[test]
fn rep_insb_fills_memory_and_ends_with_its_count_at_zero() {
    let (mut host, mut memory) = (Host::default(), Memory::new());
    let mut regs = regs(&[(reg::RCX, 3), (reg::RDI, BASE + 1), (reg::RDX, 0x511)]);
    assert_eq!(
        run_with(
            Ins(io(1, true, false)),
            &mut regs,
            0,
            &mut memory,
            &mut host
        ),
        DONE
    );
    assert_eq!(memory.0[..5], [0, 1, 2, 3, 0]);
    assert_eq!((regs.get(reg::RCX), regs.get(reg::RDI)), (0, BASE + 4));
}

#[test]
fn a_long_rep_restarts_with_its_progress_in_the_registers() {
    let (mut host, mut memory) = (Host::default(), Memory::new());
    let mut regs = regs(&[(reg::RCX, 1000), (reg::RDI, BASE), (reg::RDX, 0x1f0)]);
    let mut calls = 1;
    while run_with(
        Ins(io(4, true, false)),
        &mut regs,
        0,
        &mut memory,
        &mut host,
    ) == Outcome::Restart
    {
        calls += 1;
        assert_eq!(regs.get(reg::RDI) - BASE, 4 * (1000 - regs.get(reg::RCX)));
    }
    assert_eq!(calls, 4);
    assert_eq!(
        (host.log.len(), regs.get(reg::RCX), regs.get(reg::RDI)),
        (1000, 0, BASE + 4000)
    );
    assert_eq!(
        memory.0[3996..4000],
        1000u32.wrapping_mul(0x0101_0101).to_le_bytes()
    );
}

#[test]
fn outs_reads_memory_and_runs_backwards_under_df() {
    let (mut host, mut memory) = (Host::default(), Memory::new());
    memory.0[..4].copy_from_slice(&[1, 2, 3, 4]);
    let mut regs = regs(&[(reg::RCX, 2), (reg::RSI, BASE + 2), (reg::RDX, 0x3f8)]);
    assert_eq!(
        run_with(
            Outs(io(2, true, false)),
            &mut regs,
            rflags::DF,
            &mut memory,
            &mut host
        ),
        DONE
    );
    assert_eq!(host.log, [("out", 0x3f8, 0x0403), ("out", 0x3f8, 0x0201)]);
    assert_eq!(regs.get(reg::RSI), BASE - 2);
}

#[test]
fn a_fault_in_mid_string_keeps_what_was_done_and_reads_no_further_value() {
    let (mut host, mut memory) = (Host::default(), Memory::new());
    let mut regs = regs(&[(reg::RCX, 8), (reg::RDI, BASE + 4094)]);
    let outcome = run_with(
        Ins(io(1, true, false)),
        &mut regs,
        0,
        &mut memory,
        &mut host,
    );
    assert_eq!(
        outcome,
        Outcome::Fault(Fault::Page {
            va: BASE + 4096,
            error: 2
        })
    );
    assert_eq!(
        (regs.get(reg::RCX), regs.get(reg::RDI), host.log.len()),
        (6, BASE + 4096, 2)
    );
}

#[test]
fn a_string_of_count_zero_touches_nothing() {
    let mut host = Host {
        deny_io: true,
        ..Host::default()
    };
    assert_eq!(
        run(Ins(io(1, true, false)), &mut Gprs::default(), &mut host),
        DONE
    );
    assert_eq!(host.log, []);
}

#[test]
fn addresses_of_32_bits_use_and_clear_the_upper_halves() {
    let (mut host, mut memory) = (Host::default(), Memory::new());
    let high = 0xdead_0000_0000_0000;
    let mut regs = regs(&[(reg::RCX, high | 2), (reg::RDI, high | BASE)]);
    assert_eq!(
        run_with(Ins(io(1, true, true)), &mut regs, 0, &mut memory, &mut host),
        DONE
    );
    assert_eq!((regs.get(reg::RCX), regs.get(reg::RDI)), (0, BASE + 2));
}

#[test]
fn outs_honours_the_bases_of_fs_and_gs() {
    let (mut host, mut memory) = (Host::default(), Memory::new());
    memory.0[0x10] = 0x5a;
    let op = Outs(StringIo {
        segment: Segment::Gs,
        ..io(1, false, false)
    });
    let bases = SegBases { fs: 0, gs: BASE };
    execute(
        Decoded { op, len: 2 },
        &mut regs(&[(reg::RSI, 0x10)]),
        0,
        bases,
        &mut memory,
        &mut host,
    );
    assert_eq!(host.log, [("out", 0, 0x5a)]);
}

#[test]
fn the_guest_frame_numbers_its_registers_as_x86_does() {
    let mut frame = CpuUserRegs {
        rax: 1,
        rsp: 2,
        r15: 3,
        ..Default::default()
    };
    assert_eq!(
        [reg::RAX, reg::RSP, 15].map(|number| frame.get(number)),
        [1, 2, 3]
    );
    for number in 0..16 {
        frame.set(number, 100 + u64::from(number));
    }
    let seen = [
        frame.rax, frame.rcx, frame.rdx, frame.rbx, frame.rsp, frame.rbp, frame.rsi, frame.rdi,
    ];
    assert_eq!(seen, [100, 101, 102, 103, 104, 105, 106, 107]);
    let seen = [
        frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
    ];
    assert_eq!(seen, [108, 109, 110, 111, 112, 113, 114, 115]);
    assert!((0..16).all(|number| frame.get(number) == 100 + u64::from(number)));
}

#[test]
fn the_frame_as_words_is_laid_out_as_the_frame() {
    let mut words = FrameWords::default();
    for number in 0..16 {
        words.set(number, 100 + u64::from(number));
        assert_eq!(words.get(number), 100 + u64::from(number));
    }
    let offsets = [
        core::mem::offset_of!(CpuUserRegs, rax),
        core::mem::offset_of!(CpuUserRegs, rcx),
        core::mem::offset_of!(CpuUserRegs, rdx),
        core::mem::offset_of!(CpuUserRegs, rbx),
        core::mem::offset_of!(CpuUserRegs, rsp),
        core::mem::offset_of!(CpuUserRegs, rbp),
        core::mem::offset_of!(CpuUserRegs, rsi),
        core::mem::offset_of!(CpuUserRegs, rdi),
        core::mem::offset_of!(CpuUserRegs, r8),
        core::mem::offset_of!(CpuUserRegs, r9),
        core::mem::offset_of!(CpuUserRegs, r10),
        core::mem::offset_of!(CpuUserRegs, r11),
        core::mem::offset_of!(CpuUserRegs, r12),
        core::mem::offset_of!(CpuUserRegs, r13),
        core::mem::offset_of!(CpuUserRegs, r14),
        core::mem::offset_of!(CpuUserRegs, r15),
    ];
    for (number, offset) in offsets.into_iter().enumerate() {
        assert_eq!(words.0[offset / 8], 100 + number as u64);
    }
}
