//! Whatever a guest asks, the hypervisor neither panics nor miscounts a frame.
//!
//! Two kinds of guest: one that knows nothing and tries anything, and one that knows the interface, whose calls mostly
//! succeed, and whose mistakes are near misses.

use proptest::collection::vec;
use proptest::prelude::*;

use rexen_abi::arch_x86::*;
use rexen_abi::event_channel::*;
use rexen_abi::grant_table::*;
use rexen_abi::memory::*;
use rexen_abi::physdev::*;
use rexen_abi::vcpu::*;
use rexen_abi::xen::*;

use crate::hypercall::testing::{ALL, DOM0, DOMU, Fake, GUEST, GUEST_SIZE, MAPPED};
use crate::hypercall::{Machine, Outcome};
use crate::pvmmu::TableAccess;
use crate::units::Mfn;

/// Numbers that mean something, more often than not.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..40u64,
        6 => (0..GUEST_SIZE as u64 / 8).prop_map(|n| GUEST + n * 8),
        3 => 0..ALL as u64,
        3 => (DOM0.0..DOMU.1, 0..512u64, 0..4u64).prop_map(|(mfn, at, low)| mfn << 12 | at << 3 | low),
        3 => (DOM0.0..DOMU.1, any::<u8>()).prop_map(|(mfn, flags)| mfn << 12 | u64::from(flags)),
        2 => Just(u64::from(DOMID_SELF)),
        2 => (0..512u64).prop_map(|n| MAPPED + (n << 12)),
        1 => (0..64u32).prop_map(|bit| 1 << bit),
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
}

#[derive(Clone, Debug)]
struct Step {
    dom: u16,
    vcpu: u32,
    number: u32,
    args: [u64; 5],
    memory: Vec<(u64, u64)>,
    stops: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let memory = vec((0..GUEST_SIZE as u64 / 8, word()), 0..24);
    (
        0..2u16,
        0..2u32,
        0..60u32,
        proptest::array::uniform5(word()),
        memory,
        any::<u64>(),
    )
        .prop_map(|(dom, vcpu, number, args, memory, stops)| Step {
            dom,
            vcpu: if dom == 0 { vcpu } else { 0 },
            number,
            args,
            memory,
            stops,
        })
}

/// Puts a step's words where its arguments point, so that they are often read.
fn fill(m: &Fake, step: &Step) {
    for (n, (at, word)) in step.memory.iter().enumerate() {
        let pointer = step.args[n % 5];
        let gva = if n < 15 {
            pointer.wrapping_add(n as u64 / 5 * 8)
        } else {
            GUEST + at * 8
        };
        let _ = m.copy_out(gva, &word.to_le_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_hypercalls_breaks_the_hypervisor(steps in vec(step(), 1..60)) {
        let m = Fake::new();
        m.tables(0);
        m.tables(1);
        for step in &steps {
            fill(&m, step);
            m.stops.store(step.stops, std::sync::atomic::Ordering::SeqCst);
            let mut args = step.args;
            for _ in 0..100 {
                match m.turn(step.dom, step.vcpu, step.number, args) {
                    Outcome::Again(next) => args = next,
                    _ => break,
                }
            }
            m.check();
        }
    }
}

const SELF: u64 = DOMID_SELF as u64;
const ARG: u64 = GUEST;
const LIST: u64 = GUEST + 0x3000;
const OUT: u64 = GUEST + 0x4000;

/// What a knowing guest does, in three numbers that say which frame, slot, flag.
#[derive(Clone, Copy, Debug)]
struct Move {
    dom: u16,
    what: u8,
    a: u64,
    b: u64,
    c: u64,
    stops: u64,
}

fn next_move() -> impl Strategy<Value = Move> {
    let number = || prop_oneof![8 => 0..16u64, 2 => 0..64u64];
    (0..2u16, 0..30u8, number(), number(), number(), any::<u64>()).prop_map(
        |(dom, what, a, b, c, stops)| Move {
            dom,
            what,
            a,
            b,
            c,
            stops,
        },
    )
}

impl Move {
    /// One of the few frames that this guest plays with; now and then another domain's.
    fn frame(&self, n: u64) -> u64 {
        let (own, other) = if self.dom == 0 {
            (DOM0.0, DOMU.0)
        } else {
            (DOMU.0, DOM0.0)
        };
        if n == 63 { other } else { own + n % 16 }
    }

    fn entry(&self, n: u64, flags: u64) -> u64 {
        self.frame(n) << 12 | [7, 5, 0x67, 0x65, 0][flags as usize % 5]
    }

    /// Prepares memory, and says which hypercall that is for; none for what a guest does without.
    fn prepare(&self, m: &Fake) -> Option<(u32, [u64; 5])> {
        let &Move { a, b, c, .. } = self;
        let ext = |cmd, arg1, arg2| {
            m.put(ARG, &MmuextOp { cmd, arg1, arg2 });
            Some((__HYPERVISOR_mmuext_op, [ARG, 1, 0, SELF, 0]))
        };
        let memory = |cmd: u32| Some((__HYPERVISOR_memory_op, [cmd.into(), ARG, 0, 0, 0]));
        let evtchn = |cmd: u32| Some((__HYPERVISOR_event_channel_op, [cmd.into(), ARG, 0, 0, 0]));
        let grant = |cmd: u32| Some((__HYPERVISOR_grant_table_op, [cmd.into(), ARG, 1, 0, 0]));
        let vcpu = |cmd: u32, id| Some((__HYPERVISOR_vcpu_op, [cmd.into(), id, ARG, 0, 0]));
        let reservation = |extent_start, nr_extents, extent_order| XenMemoryReservation {
            extent_start,
            nr_extents,
            extent_order: extent_order as u32,
            mem_flags: 0,
            domid: DOMID_SELF,
        };
        match self.what {
            // A store to memory that is no table, as the guest can make any time.
            0 | 1 => {
                let mfn = Mfn(self.frame(a));
                let word = m.frames().word(mfn);
                if !word.frame_type().is_checked() && word.owner().0 == self.dom {
                    m.write(
                        mfn,
                        b as usize % 4,
                        if c < 16 { self.entry(c, b) } else { 0 },
                    );
                }
                None
            }
            2..=4 => {
                let update = MmuUpdate {
                    ptr: self.frame(a) << 12 | (b % 4) << 3,
                    val: self.entry(c, a ^ b),
                };
                m.put(ARG, &update);
                m.put(
                    ARG + 16,
                    &MmuUpdate {
                        val: self.entry(b, c),
                        ..update
                    },
                );
                Some((__HYPERVISOR_mmu_update, [ARG, 1 + c % 2, 0, SELF, 0]))
            }
            5 => Some((
                __HYPERVISOR_update_va_mapping,
                [MAPPED + ((a % 4) << 12), self.entry(b, c), c % 4, 0, 0],
            )),
            6 => ext(MMUEXT_PIN_L1_TABLE + a as u32 % 4, self.frame(b), 0),
            7 => ext(MMUEXT_UNPIN_TABLE, self.frame(a), 0),
            8 => ext(MMUEXT_NEW_BASEPTR, self.frame(a), 0),
            9 => ext(
                MMUEXT_NEW_USER_BASEPTR,
                if b == 0 { 0 } else { self.frame(a) },
                0,
            ),
            10 => ext(MMUEXT_COPY_PAGE, self.frame(a), self.frame(b)),
            11 => ext(MMUEXT_CLEAR_PAGE, self.frame(a), 0),
            12 => {
                m.put(LIST, &[self.frame(a), self.frame(b)]);
                Some((
                    __HYPERVISOR_set_gdt,
                    [LIST, [0, 16, 600, 1024][c as usize % 4], 0, 0, 0],
                ))
            }
            13 => Some((
                __HYPERVISOR_update_descriptor,
                [self.frame(a) << 12 | (b % 4) << 3, c << 40, 0, 0, 0],
            )),
            14 => {
                m.put(LIST, &[a, b, c]);
                m.put(ARG, &reservation(LIST, 1 + a % 3, b % 2));
                memory(XENMEM_populate_physmap)
            }
            15 => {
                m.put(LIST, &[self.frame(a), self.frame(b)]);
                m.put(ARG, &reservation(LIST, 1 + c % 2, 0));
                memory(XENMEM_decrease_reservation)
            }
            16 => {
                m.put(
                    LIST,
                    &[
                        self.frame(a),
                        self.frame(b),
                        self.frame(c),
                        self.frame(a ^ b),
                    ],
                );
                m.put(OUT, &[a, b]);
                let (input, output) = (reservation(LIST, 4, 0), reservation(OUT, 2, 1));
                m.put(
                    ARG,
                    &XenMemoryExchange {
                        input,
                        output,
                        nr_exchanged: 0,
                    },
                );
                memory(XENMEM_exchange)
            }
            17 => {
                let (offset, vcpu) = ([0, 64, 4032, 4][a as usize % 4], b as u32 % 2);
                m.put(
                    ARG,
                    &EvtchnInitControl {
                        control_gfn: self.frame(c),
                        offset,
                        vcpu,
                        ..Default::default()
                    },
                );
                evtchn(EVTCHNOP_init_control)
            }
            18 => {
                m.put(
                    ARG,
                    &EvtchnExpandArray {
                        array_gfn: self.frame(a),
                    },
                );
                evtchn(EVTCHNOP_expand_array)
            }
            19 => {
                m.put(ARG, &EvtchnReset { dom: DOMID_SELF });
                evtchn(EVTCHNOP_reset).filter(|_| a < 4)
            }
            20 => {
                m.put(
                    ARG,
                    &VcpuRegisterVcpuInfo {
                        mfn: self.frame(a),
                        offset: (b as u32 % 4) * 8,
                        rsvd: 0,
                    },
                );
                vcpu(VCPUOP_register_vcpu_info, c % 2)
            }
            21 => {
                m.put(
                    ARG,
                    &PhysdevPirqEoiGmfn {
                        gmfn: self.frame(a),
                    },
                );
                Some((
                    __HYPERVISOR_physdev_op,
                    [PHYSDEVOP_pirq_eoi_gmfn_v2.into(), ARG, 0, 0, 0],
                ))
            }
            22 => {
                let context = VcpuGuestContext {
                    flags: VGCF_IN_KERNEL,
                    gdt_ents: a % 3 * 300,
                    gdt_frames: [self.frame(b); 16],
                    ctrlreg: [
                        0,
                        if a < 2 { self.frame(c) << 12 } else { 0 },
                        0,
                        self.frame(a) << 12,
                        0,
                        0,
                        0,
                        0,
                    ],
                    ..VcpuGuestContext::default()
                };
                m.put(ARG, &context);
                vcpu(VCPUOP_initialise, 1)
            }
            23 => {
                m.put(
                    ARG,
                    &GnttabSetupTable {
                        dom: DOMID_SELF,
                        nr_frames: 1 + a as u32 % 2,
                        status: 0,
                        frame_list: LIST,
                    },
                );
                grant(GNTTABOP_setup_table)
            }
            24 => {
                // The other domain permits it first.
                if let Some(table) = m.dom(1 - self.dom).grants.frame(0) {
                    let other = Move {
                        dom: 1 - self.dom,
                        ..*self
                    };
                    let flags = GTF_permit_access | if c % 2 == 0 { GTF_readonly } else { 0 };
                    m.write(
                        table,
                        8 + a as usize % 2,
                        u64::from(flags) | u64::from(self.dom) << 16 | other.frame(b) << 32,
                    );
                }
                let readonly = if c % 2 == 0 { GNTMAP_readonly } else { 0 };
                let device = if c % 5 == 0 { GNTMAP_device_map } else { 0 };
                let map = GnttabMapGrantRef {
                    host_addr: MAPPED + ((c % 4) << 12),
                    flags: GNTMAP_host_map | readonly | device,
                    gref: 8 + a as u32 % 2,
                    dom: 1 - self.dom,
                    ..Default::default()
                };
                m.put(ARG, &map);
                grant(GNTTABOP_map_grant_ref)
            }
            25 => {
                // Whatever version the other's table is of, some word of it accepts.
                if let Some(table) = m.dom(1 - self.dom).grants.frame(0) {
                    let header = u64::from(GTF_accept_transfer) | u64::from(self.dom) << 16;
                    m.write(table, 10, header);
                }
                m.put(
                    ARG,
                    &GnttabTransfer {
                        mfn: self.frame(a),
                        domid: 1 - self.dom,
                        gref: [10, 5][b as usize % 2],
                        status: 0,
                    },
                );
                grant(GNTTABOP_transfer)
            }
            26 => {
                let version = 1 + a as u32 % 2;
                m.put(ARG, &GnttabSetVersion { version });
                grant(GNTTABOP_set_version)
            }
            27 => {
                let granted = GnttabCopyPtr {
                    u: 8 + a % 2,
                    domid: 1 - self.dom,
                    offset: b as u16 * 8,
                };
                let own = GnttabCopyPtr {
                    u: self.frame(c),
                    domid: DOMID_SELF,
                    offset: 0,
                };
                let flags = [GNTCOPY_source_gref, GNTCOPY_dest_gref][b as usize % 2];
                let is_from = flags == GNTCOPY_source_gref;
                m.put(
                    ARG,
                    &GnttabCopy {
                        source: if is_from { granted } else { own },
                        dest: if is_from { own } else { granted },
                        len: 24,
                        flags,
                        status: 0,
                    },
                );
                grant(GNTTABOP_copy)
            }
            28 => {
                m.put(
                    ARG,
                    &GnttabUnmapAndReplace {
                        host_addr: MAPPED + ((c % 4) << 12),
                        new_addr: MAPPED + ((b % 4) << 12),
                        handle: a as u32 % 3,
                        status: 0,
                    },
                );
                grant(GNTTABOP_unmap_and_replace)
            }
            _ => {
                let host_addr = MAPPED + ((c % 4) << 12);
                m.put(
                    ARG,
                    &GnttabUnmapGrantRef {
                        host_addr,
                        dev_bus_addr: 0,
                        handle: a as u32 % 3,
                        status: 0,
                    },
                );
                grant(GNTTABOP_unmap_grant_ref)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_guest_that_knows_the_interface_makes_it_miscount(moves in vec(next_move(), 1..80)) {
        let m = Fake::new();
        m.tables(0);
        m.tables(1);
        for step in &moves {
            if let Some((number, mut args)) = step.prepare(&m) {
                m.stops.store(step.stops, std::sync::atomic::Ordering::SeqCst);
                for _ in 0..100 {
                    match m.turn(step.dom, 0, number, args) {
                        Outcome::Again(next) => args = next,
                        _ => break,
                    }
                }
            }
            m.check();
        }
    }
}
