//! Reading and writing structures as bytes: what goes in comes out, padding does not.

use rexen_abi::Plain;
use rexen_abi::arch_x86::{CpuUserRegs, IretContext, TrapInfo, VcpuGuestContext};
use rexen_abi::event_channel::{EvtchnAllocUnbound, EvtchnSend};
use rexen_abi::memory::{E820Entry, XenMemoryExchange};
use rexen_abi::plain::Layout;
use rexen_abi::sched::SchedPoll;
use rexen_abi::xen::*;

/// George Marsaglia's xorshift64: enough disorder for bytes, and the same on every run.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// For any bytes: reading, writing over other bytes and reading again gives the same value; writing puts each byte of
/// a field where it was and zero everywhere else; nothing beyond the structure is touched; short buffers are refused.
///
/// `is_field` tells the bytes that carry data, nested structures' padding excluded.
fn check<T: Plain + PartialEq + std::fmt::Debug>(name: &str, is_field: impl Fn(usize) -> bool) {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..50 {
        let input = random.bytes(T::SIZE + 3);
        let value = T::read(&input).unwrap();
        let old = random.bytes(T::SIZE + 3);
        let mut output = old.clone();
        value.write(&mut output).unwrap();
        for at in 0..T::SIZE {
            let expected = if is_field(at) { input[at] } else { 0 };
            assert_eq!(output[at], expected, "{name}, byte {at}");
        }
        assert_eq!(
            output[T::SIZE..],
            old[T::SIZE..],
            "{name} wrote past its end"
        );
        assert_eq!(T::read(&output), Some(value), "{name}");

        let mut short = input[..T::SIZE - 1].to_vec();
        assert_eq!(T::read(&short), None, "{name}");
        let before = short.clone();
        assert_eq!(value.write(&mut short), None, "{name}");
        assert_eq!(
            short, before,
            "{name} wrote into a buffer that is too short"
        );
        let mut unchanged = value;
        assert_eq!(unchanged.fill(&short), None);
        assert_eq!(unchanged, value, "{name} changed on a failed read");
    }
    let mut zero = vec![0xff; T::SIZE];
    T::ZERO.write(&mut zero).unwrap();
    assert!(zero.iter().all(|byte| *byte == 0), "{name}");
}

/// Whether byte `at` lies in a field other than the named pads.
fn in_field(layout: Layout, pads: &[&str], at: usize) -> bool {
    layout.fields.iter().any(|field| {
        !pads.contains(&field.c_path) && (field.offset..field.offset + field.size).contains(&at)
    })
}

const REGS_PADS: &[&str] = &[
    "_pad0", "_pad1", "_pad2", "_pad3", "_pad4", "_pad5", "_pad6",
];

#[test]
fn hot_structures_survive_and_their_padding_does_not() {
    check::<MmuUpdate>("MmuUpdate", |_| true);
    check::<MulticallEntry>("MulticallEntry", |_| true);
    check::<EvtchnSend>("EvtchnSend", |_| true);
    check::<EvtchnAllocUnbound>("EvtchnAllocUnbound", |_| true);
    check::<IretContext>("IretContext", |_| true);
    // Written out, not derived from the layout: cmd 0..4, a hole, two words.
    check::<MmuextOp>("MmuextOp", |at| !(4..8).contains(&at));
    check::<SchedPoll>("SchedPoll", |at| !(12..16).contains(&at));
    check::<E820Entry>("E820Entry", |_| true);
}

#[test]
fn large_and_nested_structures_survive_and_their_padding_does_not() {
    check::<CpuUserRegs>("CpuUserRegs", |at| {
        in_field(CpuUserRegs::LAYOUT, REGS_PADS, at)
    });
    check::<TrapInfo>("TrapInfo", |at| in_field(TrapInfo::LAYOUT, &[], at));
    check::<VcpuGuestContext>("VcpuGuestContext", |at| match at {
        0x208..0x2d0 => in_field(CpuUserRegs::LAYOUT, REGS_PADS, at - 0x208),
        0x2d0..0x12d0 => in_field(TrapInfo::LAYOUT, &[], (at - 0x2d0) % 16),
        _ => true,
    });
    let in_vcpu_info = |at: usize| match at % 64 {
        2..8 => false,
        0x24..0x28 => false, // time.pad0
        0x3e..0x40 => false, // time.pad1
        _ => true,
    };
    check::<VcpuInfo>("VcpuInfo", in_vcpu_info);
    check::<SharedInfo>("SharedInfo", |at| at >= 0x800 || in_vcpu_info(at));
    check::<StartInfo>("StartInfo", |at| in_field(StartInfo::LAYOUT, &[], at));
    // Two reservations whose last six bytes are padding, then a word.
    check::<XenMemoryExchange>("XenMemoryExchange", |at| {
        at >= 64 || !(26..32).contains(&(at % 32))
    });
    check::<[u16; 3]>("[u16; 3]", |_| true);
    check::<[MmuextOp; 4]>("[MmuextOp; 4]", |at| !(4..8).contains(&(at % 24)));
}

#[test]
fn bytes_are_little_endian_and_in_c_order() {
    let op = MmuextOp {
        cmd: MMUEXT_SET_LDT,
        arg1: 0x1122_3344_5566_7788,
        arg2: 0x42,
    };
    let mut expected = [0; 24];
    expected[0] = 13;
    expected[8..16].copy_from_slice(&[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    expected[16] = 0x42;
    assert_eq!(op.to_bytes(), expected);
    assert_eq!(MmuextOp::from_bytes(&expected), op);
    assert_eq!(MmuextOp::read(&expected), Some(op));

    let entry = E820Entry {
        addr: 0x10_0000,
        size: 0x2000,
        kind: 2,
    };
    assert_eq!(
        entry.to_bytes(),
        [
            0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0
        ]
    );
}

/// The numbers that hand-written memory accesses use, as the reference states them.
#[test]
fn offsets_of_shared_memory_are_the_known_ones() {
    use rexen_abi::xen::{
        shared_info_offset as s, vcpu_info_offset as v, vcpu_time_info_offset as t,
    };
    assert_eq!([s::VCPU_INFO, s::VCPU_INFO_SIZE, s::END], [0, 64, 0xc40]);
    assert_eq!([s::EVTCHN_PENDING, s::EVTCHN_MASK], [0x800, 0xa00]);
    assert_eq!(
        [s::WC_VERSION, s::WC_SEC, s::WC_NSEC, s::WC_SEC_HI],
        [0xc00, 0xc04, 0xc08, 0xc0c]
    );
    assert_eq!(
        [s::ARCH, s::MAX_PFN, s::PFN_TO_MFN_FRAME_LIST_LIST],
        [0xc10, 0xc10, 0xc18]
    );
    assert_eq!(
        [s::NMI_REASON, s::P2M_CR3, s::P2M_VADDR, s::P2M_GENERATION],
        [0xc20, 0xc28, 0xc30, 0xc38]
    );
    assert_eq!(
        [v::UPCALL_PENDING, v::UPCALL_MASK, v::PENDING_SEL],
        [0, 1, 8]
    );
    assert_eq!([v::CR2, v::TIME, v::SIZE], [0x10, 0x20, 64]);
    assert_eq!(
        [
            t::VERSION,
            t::TSC_TIMESTAMP,
            t::SYSTEM_TIME,
            t::TSC_TO_SYSTEM_MUL,
            t::TSC_SHIFT,
            t::FLAGS
        ],
        [0, 8, 16, 24, 28, 29]
    );
    assert_eq!(StartInfo::dom0_console(0x490, 0x28), 0x28_0000_0490);
}
