//! What a toolstack asks of a domain and of the machine, beyond a domain's life.

use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::Plain;
use rexen_abi::arch_x86::*;
use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;
use rexen_abi::physdev::PhysdevPciDevice;
use rexen_abi::sysctl::*;
use rexen_abi::xen::{__HYPERVISOR_domctl, __HYPERVISOR_sysctl, XenctlBitmap};

use super::err;
use crate::domain::VcpuFlags;
use crate::evtchn::Virq;
use crate::hypercall::testing::{Asked, DOM0, DOMU, Fake, GUEST};
use crate::hypercall::{Machine, Outcome, shut_down};
use crate::policy::cpuid::Vendor;
use crate::pvmmu::{DomainMm, TableAccess};
use crate::units::{DomId, EvtchnPort, Mfn, VcpuId};

const ARG: u64 = GUEST;
const BUFFER: u64 = GUEST + 0x2000;
const SECOND: u64 = GUEST + 0x6000;
const NOWHERE: u64 = 0x8000_0000_0000;

#[track_caller]
fn domctl_of<T: Plain>(m: &Fake, domain: u16, cmd: u32, arg: &T) -> u64 {
    m.put_domctl(ARG, cmd, domain, arg);
    m.call(0, __HYPERVISOR_domctl, [ARG])
}

/// A domctl on domain 1.
#[track_caller]
fn domctl<T: Plain>(m: &Fake, cmd: u32, arg: &T) -> u64 {
    domctl_of(m, 1, cmd, arg)
}

fn answer<T: Plain>(m: &Fake) -> T {
    m.get(ARG + 16)
}

#[track_caller]
fn sysctl<T: Plain>(m: &Fake, cmd: u32, arg: &T) -> u64 {
    let mut op = XenSysctl {
        cmd,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION,
        ..XenSysctl::default()
    };
    arg.write(&mut op.u).unwrap();
    m.put(ARG, &op);
    m.call(0, __HYPERVISOR_sysctl, [ARG])
}

fn told<T: Plain>(m: &Fake) -> T {
    m.get(ARG + 8)
}

fn context_at(vcpu: u32, ctxt: u64) -> XenDomctlVcpucontext {
    XenDomctlVcpucontext { vcpu, ctxt }
}

fn context() -> VcpuGuestContext {
    let mut context = VcpuGuestContext {
        flags: VGCF_in_kernel | VGCF_online | VGCF_i387_valid | VGCF_syscall_disables_events,
        user_regs: CpuUserRegs {
            rip: 0x1234,
            rdx: 77,
            cs: 0xe033,
            ss: 0xe02b,
            rflags: 0x1202,
            ..CpuUserRegs::default()
        },
        gdt_ents: 16,
        ctrlreg: [0, 0, 0, DOMU.0 << 12, 0, 0, 0, 0],
        kernel_ss: 0xe02b,
        kernel_sp: 0x9999,
        event_callback_eip: 0x1111,
        failsafe_callback_eip: 0x2222,
        syscall_callback_eip: 0x3333,
        fs_base: 0x4444,
        gs_base_kernel: 0x5555,
        gs_base_user: 0x6666,
        ..VcpuGuestContext::default()
    };
    context.gdt_frames[0] = DOMU.0 + 9;
    context.fpu_ctxt[40] = 9;
    context.trap_ctxt[14] = TrapInfo {
        vector: 14,
        flags: 4,
        cs: 0xe033,
        address: 0x7777,
    };
    context
}

#[test]
fn a_context_is_set_and_read_back() {
    let m = Fake::new();
    m.tables(1);
    let domain = m.dom(1);
    domain.vcpus[0].flags.store(VcpuFlags::DOWN, SeqCst);
    let get = context_at(0, BUFFER);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getvcpucontext, &get),
        err(Errno::ENODATA)
    );
    let given = context();
    m.put(BUFFER, &given);
    m.take_asked();
    assert_eq!(domctl(&m, XEN_DOMCTL_setvcpucontext, &get), 0);
    // libxc clears shared_info before.
    assert!(m.take_asked().contains(&Asked::DomainClock(DomId(1))));
    m.check();
    assert_eq!(
        domain.vcpus[0].flags.load(SeqCst),
        VcpuFlags::INITIALISED,
        "up, and neither held nor being set"
    );
    m.put(BUFFER, &VcpuGuestContext::default());
    assert_eq!(domctl(&m, XEN_DOMCTL_getvcpucontext, &get), 0);
    let got: VcpuGuestContext = m.get(BUFFER);
    assert_eq!(got.flags, given.flags);
    assert_eq!(got.user_regs, given.user_regs);
    assert_eq!(got.trap_ctxt, given.trap_ctxt);
    assert_eq!(got.fpu_ctxt, given.fpu_ctxt);
    assert_eq!(
        (got.gdt_ents, got.gdt_frames),
        (given.gdt_ents, given.gdt_frames)
    );
    assert_eq!((got.ctrlreg[3], got.ctrlreg[1]), (DOMU.0 << 12, 0));
    assert_eq!(
        [got.kernel_ss, got.kernel_sp, got.event_callback_eip],
        [given.kernel_ss, given.kernel_sp, given.event_callback_eip]
    );
    assert_eq!(
        [got.fs_base, got.gs_base_kernel, got.gs_base_user],
        [0x4444, 0x5555, 0x6666]
    );
}

#[test]
fn a_new_context_lets_go_of_what_the_old_one_held() {
    let m = Fake::new();
    let tables = m.tables(1);
    let free = [10, 11].map(|n| DOMU.0 + n);
    m.put(BUFFER, &context());
    assert_eq!(
        domctl(&m, XEN_DOMCTL_setvcpucontext, &context_at(0, BUFFER)),
        0
    );
    let held = m.frames_held(DOMU.0);
    let other = VcpuGuestContext {
        flags: VGCF_in_kernel,
        ctrlreg: [0, free[1] << 12, 0, free[0] << 12, 0, 0, 0, 0],
        gdt_ents: 0,
        ..context()
    };
    m.put(BUFFER, &other);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_setvcpucontext, &context_at(0, BUFFER)),
        0
    );
    m.check();
    assert_eq!(m.frames_held(DOMU.0), held - 1);
    let domain = m.dom(1);
    let vcpu = &domain.vcpus[0];
    assert_eq!(vcpu.user_l4.load(SeqCst), free[1]);
    assert_eq!(vcpu.gdt.lock().entries, 0);
    assert_ne!(
        vcpu.flags.load(SeqCst) & VcpuFlags::DOWN,
        0,
        "not online: down"
    );
    // The bases can be the same.
    assert_eq!(
        domctl(&m, XEN_DOMCTL_setvcpucontext, &context_at(0, BUFFER)),
        0
    );
    m.check();
    let mut state = domain.mm.lock();
    DomainMm::new(m.frames(), &m, &mut state)
        .unpin(tables[0])
        .unwrap();
    drop(state);
    // And a null pointer takes it all away.
    assert_eq!(domctl(&m, XEN_DOMCTL_setvcpucontext, &context_at(0, 0)), 0);
    m.check();
    for frame in free {
        assert_eq!(m.frames_held(frame), 1);
    }
    assert_eq!(vcpu.flags.load(SeqCst), VcpuFlags::DOWN);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getvcpucontext, &context_at(0, BUFFER)),
        err(Errno::ENODATA)
    );
}

#[test]
fn a_bad_context_changes_nothing() {
    let m = Fake::new();
    m.tables(1);
    m.put(BUFFER, &context());
    let set = context_at(0, BUFFER);
    assert_eq!(domctl(&m, XEN_DOMCTL_setvcpucontext, &set), 0);
    let held = (0..40).map(|n| m.frames_held(DOMU.0 + n));
    let before: Vec<u64> = held.clone().collect();
    let mut traps = context();
    traps.trap_ctxt[200].address = NOWHERE;
    for bad in [
        traps,
        VcpuGuestContext {
            ctrlreg: [0, 0, 0, DOM0.0 << 12, 0, 0, 0, 0],
            ..context()
        },
        VcpuGuestContext {
            ctrlreg: [0, DOM0.0 << 12, 0, DOMU.0 << 12, 0, 0, 0, 0],
            ..context()
        },
        VcpuGuestContext {
            fs_base: NOWHERE,
            ..context()
        },
        VcpuGuestContext {
            gdt_ents: 8000,
            ..context()
        },
    ] {
        m.put(BUFFER, &bad);
        assert_eq!(
            domctl(&m, XEN_DOMCTL_setvcpucontext, &set),
            err(Errno::EINVAL)
        );
        m.check();
    }
    assert_eq!(before, held.collect::<Vec<u64>>());
    assert_eq!(domctl(&m, XEN_DOMCTL_getvcpucontext, &set), 0);
    assert_eq!(m.get::<VcpuGuestContext>(BUFFER).user_regs.rdx, 77);
    for (vcpu, at, e) in [
        (1, BUFFER, Errno::EINVAL),
        (u32::MAX, BUFFER, Errno::EINVAL),
        (0, NOWHERE, Errno::EFAULT),
    ] {
        let arg = context_at(vcpu, at);
        assert_eq!(domctl(&m, XEN_DOMCTL_setvcpucontext, &arg), err(e));
        assert_eq!(domctl(&m, XEN_DOMCTL_getvcpucontext, &arg), err(e));
    }
    for cmd in [XEN_DOMCTL_setvcpucontext, XEN_DOMCTL_getvcpucontext] {
        assert_eq!(
            domctl_of(&m, 0, cmd, &set),
            err(Errno::EINVAL),
            "of the caller"
        );
        assert_eq!(domctl_of(&m, 9, cmd, &set), err(Errno::ESRCH));
    }
}

#[test]
fn a_context_is_set_in_pieces() {
    for stops in 0..64 {
        let m = Fake::new();
        let domain = m.dom(1);
        for n in 0..4 {
            let next = Mfn(DOMU.0 + n + 1).maddr() | 7;
            m.write(Mfn(DOMU.0 + n), [0, 64, 0, 9][n as usize], next);
        }
        let context = VcpuGuestContext {
            ctrlreg: [0, (DOMU.0 + 10) << 12, 0, DOMU.0 << 12, 0, 0, 0, 0],
            ..context()
        };
        m.put(BUFFER, &context);
        m.stops.store(stops, SeqCst);
        assert_eq!(
            domctl(&m, XEN_DOMCTL_setvcpucontext, &context_at(0, BUFFER)),
            0
        );
        m.check();
        m.stops.store(stops, SeqCst);
        assert_eq!(domctl(&m, XEN_DOMCTL_setvcpucontext, &context_at(0, 0)), 0);
        m.check();
        assert_eq!(domain.vcpus[0].kernel_l4.load(SeqCst), 0);
    }
}

#[test]
fn a_running_vcpu_is_taken_off_its_cpu_first() {
    let m = Fake::new();
    let arg = context_at(0, BUFFER);
    m.put_domctl(ARG, XEN_DOMCTL_getvcpucontext, 1, &arg);
    m.take_asked();
    m.on_cpu.store(1, SeqCst);
    let args = [ARG, 0, 0, 0, 0];
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_domctl, args),
        Outcome::Again(args)
    );
    let me = (DomId(1), VcpuId(0));
    assert_eq!(m.take_asked(), [Asked::Sleep(me.0, me.1)]);
    assert_eq!(m.turn(0, 0, __HYPERVISOR_domctl, args), Outcome::Done(0));
    assert_eq!(m.take_asked().last(), Some(&Asked::Wake(me.0, me.1)));
}

#[test]
fn extended_state_is_read_and_checked() {
    let m = Fake::new();
    let ask = |buffer, size, xfeature_mask| XenDomctlVcpuextstate {
        vcpu: 0,
        xfeature_mask,
        size,
        buffer,
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_getvcpuextstate, &ask(0, 0, 0)), 0);
    let told: XenDomctlVcpuextstate = answer(&m);
    assert_eq!(told.xfeature_mask, 7);
    assert!((592..4112).contains(&told.size), "{}", told.size);
    let domain = m.dom(1);
    domain.vcpus[0].saved.lock().fpu.0[41] = 5;
    let whole = ask(BUFFER, told.size, 7);
    assert_eq!(domctl(&m, XEN_DOMCTL_getvcpuextstate, &whole), 0);
    assert_eq!(m.get::<[u64; 2]>(BUFFER), [3, 3]);
    assert_eq!(m.get::<u8>(BUFFER + 16 + 41), 5);
    assert_eq!(
        m.get::<u64>(BUFFER + 16 + 512),
        3,
        "x87 and SSE are in the image"
    );
    for bad in [
        ask(BUFFER, told.size - 1, 7),
        ask(BUFFER, told.size, 3),
        ask(BUFFER, u64::MAX, 7),
    ] {
        assert_eq!(
            domctl(&m, XEN_DOMCTL_getvcpuextstate, &bad),
            err(Errno::EINVAL)
        );
    }
    let set = |m: &Fake| domctl(m, XEN_DOMCTL_setvcpuextstate, &whole);
    m.put(BUFFER, &[3u64, 3]);
    m.put(BUFFER + 16 + 41, &6u8);
    m.put(BUFFER + 16 + 24, &u32::MAX);
    assert_eq!(set(&m), 0);
    assert_eq!(domain.vcpus[0].saved.lock().fpu.0[41], 6);
    assert_eq!(
        domain.vcpus[0].saved.lock().fpu.0[24..28],
        [0xff, 0xff, 0, 0],
        "MXCSR has no bits that fault"
    );
    let refused = |at: u64, value: u64| {
        let before = m.get::<u64>(at);
        m.put(at, &value);
        assert_eq!(set(&m), err(Errno::EINVAL), "{at:#x} {value:#x}");
        m.put(at, &before);
    };
    refused(BUFFER, 0);
    refused(BUFFER, 9);
    refused(BUFFER + 8, 1);
    refused(BUFFER + 8, 0x203);
    refused(BUFFER + 16 + 512, 0x80);
    refused(BUFFER + 16 + 520, 1 << 63);
    refused(BUFFER + 16 + 568, 1);
    assert_eq!(set(&m), 0);
    m.put(BUFFER, &[0u64, 0]);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_setvcpuextstate, &ask(BUFFER, 16, 0)),
        0,
        "nothing used yet"
    );
    for size in [0, 15, 17, 591, told.size + 1, u64::MAX] {
        let bad = ask(BUFFER, size, 0);
        m.put(BUFFER, &[3u64, 3]);
        assert_eq!(
            domctl(&m, XEN_DOMCTL_setvcpuextstate, &bad),
            err(Errno::EINVAL),
            "{size}"
        );
    }
}

#[test]
fn entry_points_for_32_bit_code_are_canonical() {
    let m = Fake::new();
    let arg = XenDomctlExtVcpucontext {
        vcpu: 0,
        size: 40,
        syscall32_callback_eip: 0x1000,
        sysenter_callback_eip: 0x2000,
        sysenter_disables_events: 1,
        ..XenDomctlExtVcpucontext::default()
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_set_ext_vcpucontext, &arg), 0);
    assert_eq!(domctl(&m, XEN_DOMCTL_get_ext_vcpucontext, &arg), 0);
    let got: XenDomctlExtVcpucontext = answer(&m);
    assert_eq!(got.size, 64);
    assert_eq!(
        (got.syscall32_callback_eip, got.sysenter_callback_eip),
        (0x1000, 0x2000)
    );
    assert_eq!(
        (got.syscall32_disables_events, got.sysenter_disables_events),
        (0, 1)
    );
    for bad in [
        XenDomctlExtVcpucontext {
            sysenter_callback_eip: NOWHERE,
            ..arg
        },
        XenDomctlExtVcpucontext { size: 8, ..arg },
    ] {
        assert_eq!(
            domctl(&m, XEN_DOMCTL_set_ext_vcpucontext, &bad),
            err(Errno::EINVAL)
        );
    }
    let none = XenDomctlExtVcpucontext { vcpu: 1, ..arg };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_get_ext_vcpucontext, &none),
        err(Errno::ESRCH)
    );
}

#[test]
fn the_time_stamp_counters_number_is_a_vcpus_own() {
    let m = Fake::new();
    let arg = |msr_count, msrs| XenDomctlVcpuMsrs {
        vcpu: 0,
        msr_count,
        msrs,
    };
    let entry = |index, reserved, value| XenDomctlVcpuMsr {
        index,
        reserved,
        value,
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_get_vcpu_msrs, &arg(0, 0)), 0);
    assert_eq!(answer::<XenDomctlVcpuMsrs>(&m).msr_count, 1);
    assert_eq!(domctl(&m, XEN_DOMCTL_get_vcpu_msrs, &arg(1, BUFFER)), 0);
    assert_eq!(
        answer::<XenDomctlVcpuMsrs>(&m).msr_count,
        0,
        "zero is not worth saving"
    );
    m.dom(1).vcpus[0].tsc_aux.store(8, SeqCst);
    assert_eq!(domctl(&m, XEN_DOMCTL_get_vcpu_msrs, &arg(1, BUFFER)), 0);
    assert_eq!(m.get::<XenDomctlVcpuMsr>(BUFFER), entry(0xc000_0103, 0, 8));
    assert_eq!(
        domctl(&m, XEN_DOMCTL_get_vcpu_msrs, &arg(0, BUFFER)),
        err(Errno::ENOBUFS)
    );
    for bad in [
        entry(0x10, 0, 1),
        entry(0xc000_0103, 1, 1),
        entry(0xc000_0103, 0, 1 << 32),
    ] {
        m.put(BUFFER, &bad);
        assert_eq!(
            domctl(&m, XEN_DOMCTL_set_vcpu_msrs, &arg(1, BUFFER)),
            err(Errno::EINVAL)
        );
    }
    assert_eq!(
        domctl(&m, XEN_DOMCTL_set_vcpu_msrs, &arg(u32::MAX, BUFFER)),
        err(Errno::EINVAL)
    );
}

#[test]
fn an_nmi_can_be_sent_to_a_vcpu() {
    let m = Fake::new();
    let to = |trigger, vcpu| XenDomctlSendtrigger { trigger, vcpu };
    assert_eq!(domctl(&m, XEN_DOMCTL_sendtrigger, &to(0, 0)), 0);
    let flags = m.dom(1).vcpus[0].flags.load(SeqCst);
    assert_ne!(flags & VcpuFlags::NMI_PENDING, 0);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_sendtrigger, &to(0, 7)),
        err(Errno::ESRCH)
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_sendtrigger, &to(3, 0)),
        err(Errno::ENOSYS)
    );
}

fn bitmap(bitmap: u64, nr_bits: u32) -> XenctlBitmap {
    XenctlBitmap { bitmap, nr_bits }
}

#[test]
fn affinity_is_told_as_far_as_it_has_an_effect() {
    let m = Fake::new();
    let arg = XenDomctlVcpuaffinity {
        vcpu: 0,
        flags: XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT,
        cpumap_hard: bitmap(BUFFER, 12),
        cpumap_soft: bitmap(BUFFER + 64, 200),
    };
    m.put(BUFFER, &[0xa5u8; 128]);
    m.put(BUFFER, &0xf_fffeu64);
    m.put(BUFFER + 64, &3u64);
    assert_eq!(domctl(&m, XEN_DOMCTL_setvcpuaffinity, &arg), 0);
    assert_eq!(m.get::<[u8; 2]>(BUFFER), [2, 0]);
    assert_eq!(m.get::<u8>(BUFFER + 2), 0xf, "beyond its end");
    assert_eq!(m.get::<u8>(BUFFER + 64), 2);
    assert_eq!(m.get::<[u8; 24]>(BUFFER + 65), [0; 24]);
    assert_eq!(m.get::<u8>(BUFFER + 89), 0xa5, "beyond its end");
    assert_eq!(domctl(&m, XEN_DOMCTL_getvcpuaffinity, &arg), 0);
    assert_eq!(m.get::<[u8; 2]>(BUFFER), [0xfe, 0xf], "as it was set");
    for bad in [
        XenDomctlVcpuaffinity { flags: 0, ..arg },
        XenDomctlVcpuaffinity { flags: 9, ..arg },
        XenDomctlVcpuaffinity { vcpu: 1, ..arg },
        XenDomctlVcpuaffinity {
            cpumap_hard: bitmap(0, 12),
            ..arg
        },
    ] {
        for cmd in [XEN_DOMCTL_setvcpuaffinity, XEN_DOMCTL_getvcpuaffinity] {
            assert_eq!(domctl(&m, cmd, &bad), err(Errno::EINVAL));
        }
    }
    m.put(BUFFER, &4u64);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_setvcpuaffinity, &arg),
        err(Errno::EINVAL),
        "no CPU that is there"
    );
    let huge = XenDomctlVcpuaffinity {
        cpumap_hard: bitmap(BUFFER, u32::MAX),
        ..arg
    };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getvcpuaffinity, &huge),
        err(Errno::E2BIG)
    );
    m.put(BUFFER, &1u64);
    let nodes = |bits| XenDomctlNodeaffinity {
        nodemap: bitmap(BUFFER, bits),
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_setnodeaffinity, &nodes(64)), 0);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_setnodeaffinity, &nodes(0)),
        err(Errno::EINVAL)
    );
    m.put(BUFFER, &u64::MAX);
    assert_eq!(domctl(&m, XEN_DOMCTL_getnodeaffinity, &nodes(64)), 0);
    assert_eq!(m.get::<u64>(BUFFER), 1);
}

#[test]
fn a_vcpu_is_described() {
    let m = Fake::new();
    let arg = XenDomctlGetvcpuinfo::default();
    assert_eq!(domctl(&m, XEN_DOMCTL_getvcpuinfo, &arg), 0);
    let info: XenDomctlGetvcpuinfo = answer(&m);
    assert_eq!((info.online, info.blocked, info.running), (1, 0, 0));
    let none = XenDomctlGetvcpuinfo { vcpu: 1, ..arg };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getvcpuinfo, &none),
        err(Errno::EINVAL)
    );
}

#[test]
fn memory_has_a_limit_and_frames_have_types() {
    let m = Fake::new();
    let tables = m.tables(1);
    let kib = |max_memkb| XenDomctlMaxMem { max_memkb };
    assert_eq!(domctl(&m, XEN_DOMCTL_max_mem, &kib(4099)), 0);
    assert_eq!(m.dom(1).max_pages.load(SeqCst), 1024);
    assert_eq!(domctl(&m, XEN_DOMCTL_max_mem, &kib(u64::MAX)), 0);
    assert_eq!(m.dom(1).max_pages.load(SeqCst), u64::from(u32::MAX));

    let asked = [
        tables[0].0,
        tables[1].0,
        tables[2].0,
        tables[3].0,
        DOMU.0 + 8,
        DOM0.0,
        2,
        u64::MAX,
    ];
    m.put(BUFFER, &asked);
    let list = |num, array| XenDomctlGetpageframeinfo3 { num, array };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getpageframeinfo3, &list(8, BUFFER)),
        0
    );
    assert_eq!(
        m.get::<[u64; 8]>(BUFFER),
        [
            0xc000_0000,
            0x3000_0000,
            0x2000_0000,
            0x1000_0000,
            0,
            0xf000_0000,
            0xf000_0000,
            0xf000_0000
        ]
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getpageframeinfo3, &list(1025, BUFFER)),
        err(Errno::E2BIG)
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getpageframeinfo3, &list(1024, BUFFER)),
        0
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_getpageframeinfo3, &list(1, NOWHERE)),
        err(Errno::EFAULT)
    );

    let page = |gmfn| XenDomctlHypercallInit { gmfn };
    assert_eq!(domctl(&m, XEN_DOMCTL_hypercall_init, &page(DOMU.0 + 8)), 0);
    assert_eq!(m.read(Mfn(DOMU.0 + 8), 4), 0x0000_0001_b853_4151);
    m.check();
    for gmfn in [tables[0].0, DOM0.0, u64::MAX] {
        assert_eq!(
            domctl(&m, XEN_DOMCTL_hypercall_init, &page(gmfn)),
            err(Errno::EACCES)
        );
    }
    let shadow = |op| XenDomctlShadowOp {
        op,
        ..XenDomctlShadowOp::default()
    };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_shadow_op, &shadow(0)),
        err(Errno::EINVAL)
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_shadow_op, &shadow(32)),
        err(Errno::EOPNOTSUPP)
    );
    for (bits, result) in [
        (64u32, 0),
        (32, err(Errno::EINVAL)),
        (0, err(Errno::EINVAL)),
    ] {
        assert_eq!(domctl(&m, XEN_DOMCTL_set_address_size, &bits), result);
    }
    assert_eq!(domctl(&m, XEN_DOMCTL_get_address_size, &0u32), 0);
    assert_eq!(answer::<u32>(&m), 64);
}

#[test]
fn permissions_are_those_that_the_caller_has() {
    let m = Fake::new();
    let domain = m.dom(1);
    let ports = |first_port, nr_ports, allow_access| XenDomctlIoportPermission {
        first_port,
        nr_ports,
        allow_access,
    };
    let port_op = |arg| domctl(&m, XEN_DOMCTL_ioport_permission, &arg);
    assert_eq!(port_op(ports(0x300, 8, 1)), err(Errno::EPERM));
    m.dom(0).ports.allowed.try_allow(0x300..=0x307).unwrap();
    assert_eq!(port_op(ports(0x300, 8, 1)), 0);
    assert!(domain.ports.allowed.contains_range(0x300..=0x307));
    assert_eq!(port_op(ports(0x300, 9, 1)), err(Errno::EPERM));
    assert_eq!(port_op(ports(0x301, 1, 0)), 0);
    assert!(!domain.ports.allowed.contains(0x301));
    for bad in [
        ports(0xffff, 2, 1),
        ports(u32::MAX, 2, 1),
        ports(0, u32::MAX, 0),
    ] {
        assert_eq!(port_op(bad), err(Errno::EINVAL));
    }

    let frames = |first_mfn, nr_mfns, allow_access| XenDomctlIomemPermission {
        first_mfn,
        nr_mfns,
        allow_access,
    };
    let memory_op = |arg| domctl(&m, XEN_DOMCTL_iomem_permission, &arg);
    assert_eq!(memory_op(frames(0xfec00, 2, 1)), 0);
    assert!(domain.control.io_memory.lock().contains(0xfec01));
    assert_eq!(
        memory_op(frames(DOM0.0, 1, 1)),
        err(Errno::EPERM),
        "RAM is not I/O memory"
    );
    assert_eq!(memory_op(frames(0xfec00, 1, 0)), 0);
    assert!(!domain.control.io_memory.lock().contains(0xfec00));
    for (first, count, e) in [
        (0, 0, Errno::EINVAL),
        (u64::MAX, 2, Errno::EINVAL),
        (0x100000, 1 << 40, Errno::E2BIG),
    ] {
        assert_eq!(memory_op(frames(first, count, 1)), err(e));
    }

    let pirq = |pirq, allow_access| XenDomctlIrqPermission {
        pirq,
        allow_access,
        ..XenDomctlIrqPermission::default()
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_irq_permission, &pirq(5, 1)), 0);
    assert!(domain.control.pirqs.lock().contains(5));
    assert_eq!(
        domctl(&m, XEN_DOMCTL_irq_permission, &pirq(24, 1)),
        err(Errno::EINVAL)
    );
}

#[test]
fn the_clock_and_the_debugger_are_set() {
    let m = Fake::new();
    m.take_asked();
    let offset = XenDomctlSettimeoffset {
        time_offset_seconds: -3600,
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_settimeoffset, &offset), 0);
    assert_eq!(m.dom(1).control.time_offset.load(SeqCst), -3600);
    assert_eq!(m.take_asked(), [Asked::DomainClock(DomId(1))]);
    assert_eq!(domctl(&m, XEN_DOMCTL_setdebugging, &1u8), 0);
    assert!(m.dom(1).control.debugged.load(SeqCst));
    assert_eq!(
        domctl_of(&m, 0, XEN_DOMCTL_setdebugging, &1u8),
        err(Errno::EINVAL)
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_set_virq_handler, &24u32),
        err(Errno::EINVAL)
    );
    assert_eq!(
        domctl(&m, XEN_DOMCTL_set_virq_handler, &0u32),
        err(Errno::EINVAL),
        "each vcpu has its own"
    );
}

#[test]
fn a_suspended_domain_tells_who_subscribed() {
    for (port, reason, subscriber) in [(0, 2, false), (1, 2, true), (1, 3, false), (9, 2, false)] {
        let m = Fake::new();
        let dom_exc = m
            .dom(0)
            .events
            .bind_virq(&m, Virq::DOM_EXC, VcpuId(0))
            .unwrap();
        let domain = m.dom(1);
        let here = domain.events.alloc_unbound(&m, DomId(0)).unwrap();
        assert_eq!(here, EvtchnPort(1));
        let (there, _) = m
            .dom(0)
            .events
            .bind_interdomain(&m, &domain.events, here)
            .unwrap();
        // The new channel is pending from the start.
        m.write(m.dom(0).shared_info, 256, 0);
        let pending = |port: EvtchnPort| m.dom(0).events.is_pending(&m, port).unwrap();
        let port = XenDomctlSubscribe { port };
        assert_eq!(domctl(&m, XEN_DOMCTL_subscribe, &port), 0);
        shut_down(&m, &domain, reason);
        assert_eq!(
            (pending(there), pending(dom_exc)),
            (subscriber, !subscriber)
        );
    }
}

/// Each leaf of a domain's policy.
fn policy_of(m: &Fake, domain: u16) -> Vec<XenCpuidLeaf> {
    let arg = XenDomctlCpuPolicy {
        nr_leaves: 192,
        leaves: BUFFER,
        msrs: SECOND,
        ..XenDomctlCpuPolicy::default()
    };
    assert_eq!(domctl_of(m, domain, XEN_DOMCTL_get_cpu_policy, &arg), 0);
    let count = answer::<XenDomctlCpuPolicy>(m).nr_leaves;
    (0..u64::from(count))
        .map(|n| m.get(BUFFER + n * 24))
        .collect()
}

#[test]
fn a_policy_is_changed_until_the_domain_runs() {
    let m = Fake::new();
    let domain = m.dom(1);
    let mut leaves = policy_of(&m, 1);
    assert!(leaves.len() >= 10);
    assert!(
        leaves
            .iter()
            .all(|leaf| !(matches!(leaf.leaf, 4 | 7 | 0xb | 0xd)
                && leaf.subleaf == XEN_CPUID_NO_SUBLEAF)),
        "libxc wants subleaves of these"
    );
    assert!(domain.policy.now().cpuid.has("sse2"));
    let count = |number| leaves.iter().filter(|leaf| leaf.leaf == number).count();
    assert_eq!(
        [0x4000_0000, 0x4000_0100, 0x8000_0008].map(count),
        [1; 3],
        "libxc writes these back"
    );
    let one = leaves.iter().position(|leaf| leaf.leaf == 1).unwrap();
    let set = |m: &Fake, leaves: &[XenCpuidLeaf], msrs: &[XenMsrEntry]| {
        for (n, leaf) in leaves.iter().enumerate() {
            m.put(BUFFER + n as u64 * 24, leaf);
        }
        for (n, msr) in msrs.iter().enumerate() {
            m.put(SECOND + n as u64 * 16, msr);
        }
        let arg = XenDomctlCpuPolicy {
            nr_leaves: leaves.len() as u32,
            nr_msrs: msrs.len() as u32,
            leaves: BUFFER,
            msrs: SECOND,
            ..XenDomctlCpuPolicy::default()
        };
        domctl(m, XEN_DOMCTL_set_cpu_policy, &arg)
    };
    let msr = |idx, val| XenMsrEntry { idx, flags: 0, val };
    leaves[one].d &= !(1 << 26);
    assert_eq!(set(&m, &leaves, &[msr(0xce, 0)]), 0);
    assert!(!domain.policy.now().cpuid.has("sse2"));
    assert_eq!(domain.policy.now().limits.vendor, Vendor::Intel);

    // VMX is not to be had, nor is a register that tells more than CPUID.
    let mut greedy = leaves.clone();
    greedy[one].c |= 1 << 5;
    assert_eq!(set(&m, &greedy, &[]), err(Errno::EINVAL));
    let told: XenDomctlCpuPolicy = answer(&m);
    assert_eq!(
        (told.err_leaf, told.err_subleaf, told.err_msr),
        (1, u32::MAX, u32::MAX)
    );
    assert_eq!(set(&m, &leaves, &[msr(0xce, 1 << 31)]), err(Errno::EINVAL));
    assert_eq!(answer::<XenDomctlCpuPolicy>(&m).err_msr, 0xce);
    assert_eq!(set(&m, &[leaves[one]; 193], &[]), err(Errno::E2BIG));
    let arg = XenDomctlCpuPolicy {
        nr_leaves: 1,
        leaves: BUFFER,
        ..XenDomctlCpuPolicy::default()
    };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_get_cpu_policy, &arg),
        err(Errno::ENOBUFS)
    );

    let tsc = |tsc_mode| XenDomctlTscInfo {
        tsc_mode,
        incarnation: 3,
        ..XenDomctlTscInfo::default()
    };
    assert_eq!(domctl(&m, XEN_DOMCTL_settscinfo, &tsc(0)), 0);
    assert_eq!(
        domctl(&m, XEN_DOMCTL_settscinfo, &tsc(1)),
        err(Errno::EOPNOTSUPP)
    );
    assert_eq!(domctl(&m, XEN_DOMCTL_gettscinfo, &tsc(0)), 0);
    let told: XenDomctlTscInfo = answer(&m);
    assert_eq!(
        (told.tsc_mode, told.incarnation, told.gtsc_khz),
        (0, 3, 1_000_000)
    );

    // The domain runs: its policy is settled.
    assert!(!domain.policy.get().cpuid.has("sse2"));
    assert_eq!(set(&m, &leaves, &[]), err(Errno::EEXIST));
    assert_eq!(
        domctl(&m, XEN_DOMCTL_settscinfo, &tsc(0)),
        err(Errno::EEXIST)
    );
}

#[test]
fn policies_and_features_of_the_machine_are_told() {
    let m = Fake::new();
    let ask = |index, leaves| XenSysctlCpuPolicy {
        index,
        nr_leaves: 192,
        leaves,
        msrs: if leaves == 0 { 0 } else { SECOND },
        ..XenSysctlCpuPolicy::default()
    };
    assert_eq!(sysctl(&m, XEN_SYSCTL_get_cpu_policy, &ask(4, 0)), 0);
    let most: XenSysctlCpuPolicy = told(&m);
    assert!(most.nr_leaves >= 140 && most.nr_msrs >= 2, "{most:?}");
    for index in [0, 1, 2, 4] {
        assert_eq!(
            sysctl(&m, XEN_SYSCTL_get_cpu_policy, &ask(index, BUFFER)),
            0
        );
        let told: XenSysctlCpuPolicy = told(&m);
        assert!((5..most.nr_leaves).contains(&told.nr_leaves));
        assert_eq!(told.nr_msrs, 0);
    }
    for (index, e) in [
        (3, Errno::EOPNOTSUPP),
        (5, Errno::EOPNOTSUPP),
        (6, Errno::EINVAL),
    ] {
        assert_eq!(
            sysctl(&m, XEN_SYSCTL_get_cpu_policy, &ask(index, BUFFER)),
            err(e)
        );
    }
    let reserved = XenSysctlCpuPolicy {
        reserved: 1,
        ..ask(4, BUFFER)
    };
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_get_cpu_policy, &reserved),
        err(Errno::EINVAL)
    );

    let words = |index, nr_features, features| XenSysctlCpuFeatureset {
        index,
        nr_features,
        features,
    };
    let asked = |arg| sysctl(&m, XEN_SYSCTL_get_cpu_featureset, &arg);
    assert_eq!(asked(words(2, 0, 0)), 0);
    assert_eq!(told::<XenSysctlCpuFeatureset>(&m).nr_features, 14);
    assert_eq!(asked(words(1, 20, BUFFER)), 0);
    assert_eq!(told::<XenSysctlCpuFeatureset>(&m).nr_features, 14);
    assert_eq!(m.get::<u32>(BUFFER), 1 << 26);
    assert_eq!(asked(words(1, 3, BUFFER)), err(Errno::ENOBUFS));
    assert_eq!(told::<XenSysctlCpuFeatureset>(&m).nr_features, 3);
    assert_eq!(asked(words(3, 14, BUFFER)), err(Errno::EOPNOTSUPP));
    assert_eq!(asked(words(9, 14, BUFFER)), err(Errno::EINVAL));
}

#[test]
fn the_machine_has_one_node_and_one_pool() {
    let m = Fake::new();
    let cpus = |num_cpus, cputopo| XenSysctlCputopoinfo { num_cpus, cputopo };
    assert_eq!(sysctl(&m, XEN_SYSCTL_cputopoinfo, &cpus(0, 0)), 0);
    assert_eq!(told::<XenSysctlCputopoinfo>(&m).num_cpus, 2);
    assert_eq!(sysctl(&m, XEN_SYSCTL_cputopoinfo, &cpus(9, BUFFER)), 0);
    assert_eq!(m.get::<[u32; 6]>(BUFFER), [0, 0, 0, 1, 0, 0]);

    let nodes = |num_nodes, meminfo, distance| XenSysctlNumainfo {
        num_nodes,
        meminfo,
        distance,
    };
    assert_eq!(sysctl(&m, XEN_SYSCTL_numainfo, &nodes(0, 0, 0)), 0);
    assert_eq!(told::<XenSysctlNumainfo>(&m).num_nodes, 1);
    let both = nodes(1, BUFFER, SECOND);
    assert_eq!(sysctl(&m, XEN_SYSCTL_numainfo, &both), 0);
    assert_eq!(m.get::<[u64; 2]>(BUFFER), [256 << 12, 128 << 12]);
    assert_eq!(m.get::<u32>(SECOND), 10);
    m.put(SECOND, &7u32);
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_numainfo, &nodes(0, BUFFER, SECOND)),
        0
    );
    assert_eq!(m.get::<u32>(SECOND), 7, "no room");

    let devices = |num_devs, devs| XenSysctlPcitopoinfo {
        num_devs,
        devs,
        nodes: SECOND,
    };
    m.put(BUFFER, &PhysdevPciDevice::default());
    assert_eq!(sysctl(&m, XEN_SYSCTL_pcitopoinfo, &devices(1, BUFFER)), 0);
    assert_eq!(m.get::<u32>(SECOND), u32::MAX);
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_pcitopoinfo, &devices(1, 0)),
        err(Errno::EINVAL)
    );

    let idle = XenSysctlGetcpuinfo {
        max_cpus: 1,
        info: BUFFER,
        nr_cpus: 0,
    };
    assert_eq!(sysctl(&m, XEN_SYSCTL_getcpuinfo, &idle), 0);
    assert_eq!(told::<XenSysctlGetcpuinfo>(&m).nr_cpus, 1);

    let pool = |op, cpupool_id| XenSysctlCpupoolOp {
        op,
        cpupool_id,
        cpumap: bitmap(BUFFER, 8),
        ..XenSysctlCpupoolOp::default()
    };
    let pool_op = |op, id| sysctl(&m, XEN_SYSCTL_cpupool_op, &pool(op, id));
    assert_eq!(pool_op(XEN_SYSCTL_CPUPOOL_OP_INFO, 0), 0);
    assert_eq!(told::<XenSysctlCpupoolOp>(&m).n_dom, 2);
    assert_eq!(m.get::<u8>(BUFFER), 3);
    assert_eq!(
        pool_op(XEN_SYSCTL_CPUPOOL_OP_INFO, 1),
        err(Errno::ENOENT),
        "ends the enumeration"
    );
    assert_eq!(pool_op(XEN_SYSCTL_CPUPOOL_OP_FREEINFO, 0), 0);
    assert_eq!(m.get::<u8>(BUFFER), 0);
    assert_eq!(
        pool_op(XEN_SYSCTL_CPUPOOL_OP_CREATE, 5),
        err(Errno::EOPNOTSUPP)
    );
    assert_eq!(pool_op(XEN_SYSCTL_CPUPOOL_OP_DESTROY, 0), err(Errno::EBUSY));
    assert_eq!(pool_op(XEN_SYSCTL_CPUPOOL_OP_RMCPU, 0), err(Errno::EBUSY));
    assert_eq!(pool_op(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0), 0);
    assert_eq!(
        pool_op(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 3),
        err(Errno::ENOENT)
    );
    assert_eq!(pool_op(99, 0), err(Errno::ENOSYS));
}

#[test]
fn scheduling_parameters_belong_to_the_scheduler_that_runs() {
    let m = Fake::new();
    let number = m.scheduler().number();
    let domain_op = |sched_id, cmd| XenDomctlSchedulerOp {
        sched_id,
        cmd,
        u: [0; 2],
    };
    assert_eq!(
        domctl(&m, XEN_DOMCTL_scheduler_op, &domain_op(number + 1, 1)),
        err(Errno::EINVAL)
    );
    assert_eq!(sysctl(&m, XEN_SYSCTL_sched_id, &0u32), 0);
    assert_eq!(told::<u32>(&m), number);
    let machine_op = |cpupool_id, sched_id, cmd| XenSysctlSchedulerOp {
        cpupool_id,
        sched_id,
        cmd,
        u: [0; 2],
    };
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_scheduler_op, &machine_op(1, number, 1)),
        err(Errno::ESRCH)
    );
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_scheduler_op, &machine_op(0, number + 1, 1)),
        err(Errno::EINVAL)
    );
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_scheduler_op, &machine_op(0, number, 0)),
        err(Errno::EINVAL),
        "a slice of nothing"
    );
}

#[test]
fn what_there_is_not_is_refused_cleanly() {
    let m = Fake::new();
    for (cmd, e) in [
        (XEN_DOMCTL_setvnumainfo, Errno::EOPNOTSUPP),
        (XEN_DOMCTL_get_paging_mempool_size, Errno::EOPNOTSUPP),
        (XEN_DOMCTL_assign_device, Errno::ENODEV),
        (XEN_DOMCTL_gdbsx_guestmemio, Errno::ENOSYS),
        (XEN_DOMCTL_psr_alloc, Errno::ENOSYS),
        (9999, Errno::ENOSYS),
    ] {
        assert_eq!(domctl(&m, cmd, &[0xffu8; 128]), err(e), "{cmd}");
    }
    for (cmd, e) in [
        (XEN_SYSCTL_psr_alloc, Errno::ENODEV),
        (XEN_SYSCTL_get_pmstat, Errno::ENODEV),
        (XEN_SYSCTL_coverage_op, Errno::EOPNOTSUPP),
        (XEN_SYSCTL_livepatch_op, Errno::ENOSYS),
        (XEN_SYSCTL_perfc_op, Errno::ENOSYS),
    ] {
        assert_eq!(sysctl(&m, cmd, &[0xffu8; 128]), err(e), "{cmd}");
    }
}

/// Whatever the arguments are: an answer, and the frames' counts are right afterwards.
#[test]
fn noise_is_answered() {
    let mut seed = 3u64;
    let mut random = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 32
    };
    let commands = (9..=13)
        .chain(14..=29)
        .chain(35..=36)
        .chain(42..=43)
        .chain(59..=63)
        .chain(66..=74)
        .chain(82..=86)
        .filter(|cmd| *cmd != XEN_DOMCTL_max_vcpus && *cmd != XEN_DOMCTL_resumedomain);
    let commands: Vec<u32> = commands.collect();
    for _ in 0..30 {
        let m = Fake::new();
        m.tables(1);
        for _ in 0..100 {
            let mut arg = [0u8; 128];
            for word in arg.as_chunks_mut::<8>().0 {
                let value = match random() % 6 {
                    0 => random(),
                    1 => GUEST + random() % 0x8000,
                    2 => random() << 32 | random(),
                    3 => DOMU.0 + random() % 16,
                    4 => ((random() % 4) << 32) | (random() % 4),
                    _ => random() % 3,
                };
                *word = value.to_le_bytes();
            }
            if random() % 4 == 0 {
                m.put(BUFFER, &context());
                arg[8..16].copy_from_slice(&BUFFER.to_le_bytes());
            }
            let cmd = commands[random() as usize % commands.len()];
            domctl_of(&m, (random() % 3) as u16, cmd, &arg);
            sysctl(&m, (random() % 32) as u32, &arg);
            m.check();
        }
    }
}
