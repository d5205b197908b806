//! vcpu_op, sched_op, timers, callbacks, segment bases.

use core::mem::offset_of;
use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::arch_x86::*;
use rexen_abi::callback::*;
use rexen_abi::errno::Errno;
use rexen_abi::event_channel::{
    EVTCHNOP_alloc_unbound, EVTCHNOP_bind_virq, EvtchnAllocUnbound, EvtchnBindVirq,
};
use rexen_abi::sched::*;
use rexen_abi::vcpu::*;
use rexen_abi::xen::*;

use super::err;
use crate::domain::VcpuFlags;
use crate::hypercall::testing::{Asked, DOM0, DOMU, Fake, GUEST};
use crate::hypercall::{Outcome, SegmentBase, deliver};
use crate::pvmmu::TableAccess;
use crate::units::{DomId, EvtchnPort, Mfn, Nanos, VcpuId};

const ARG: u64 = GUEST;
const BAD_ADDRESS: u64 = 0x8000_0000_0000;
const ME: DomId = DomId(0);

fn vcpu(m: &Fake, cmd: u32, id: u32) -> u64 {
    m.call(0, __HYPERVISOR_vcpu_op, [cmd.into(), id.into(), ARG])
}

fn context() -> VcpuGuestContext {
    VcpuGuestContext {
        flags: VGCF_IN_KERNEL,
        user_regs: CpuUserRegs {
            rip: 0x1234,
            cs: 0xe030,
            ss: 0x2b,
            rflags: 0x7_7000,
            ..CpuUserRegs::default()
        },
        gdt_ents: 16,
        gdt_frames: {
            let mut frames = [0; 16];
            frames[0] = DOM0.0 + 9;
            frames
        },
        ctrlreg: [0, 0, 0, DOM0.0 << 12, 0, 0, 0, 0],
        kernel_ss: 0x28,
        kernel_sp: 0x9999,
        event_callback_eip: 0x1111,
        ..VcpuGuestContext::default()
    }
}

#[test]
fn a_vcpu_is_initialised_once_and_then_goes_up() {
    let m = Fake::new();
    m.tables(0);
    assert_eq!(vcpu(&m, VCPUOP_is_up, 1), 0);
    assert_eq!(vcpu(&m, VCPUOP_up, 1), err(Errno::EINVAL));
    m.put(ARG, &context());
    assert_eq!(vcpu(&m, VCPUOP_initialise, 1), 0);
    m.check();
    assert_eq!(vcpu(&m, VCPUOP_initialise, 1), err(Errno::EEXIST));
    assert_eq!(vcpu(&m, VCPUOP_is_up, 1), 0);
    m.take_asked();
    assert_eq!(vcpu(&m, VCPUOP_up, 1), 0);
    assert_eq!(m.take_asked(), [Asked::Wake(ME, VcpuId(1))]);
    assert_eq!(vcpu(&m, VCPUOP_is_up, 1), 1);
    let domain = m.dom(0);
    let v = &domain.vcpus[1];
    let saved = v.saved.lock();
    assert_eq!(
        (saved.regs.rip, saved.regs.cs, saved.regs.ss),
        (0x1234, 0xe033, 0x2b)
    );
    assert_eq!(
        saved.regs.rflags, 0x4_0202,
        "only AC of what was asked, and IF"
    );
    assert_eq!(v.iopl.load(SeqCst), 3);
    assert_eq!(
        (v.kernel_ss.load(SeqCst), v.kernel_sp.load(SeqCst)),
        (0x2b, 0x9999)
    );
    assert_eq!(v.kernel_l4.load(SeqCst), DOM0.0);
    assert_eq!(v.callbacks.event.address.load(SeqCst), 0x1111);
    assert_eq!(v.gdt.lock().entries, 16);
}

#[test]
fn a_bad_context_is_refused_and_holds_nothing() {
    let m = Fake::new();
    m.tables(0);
    let good = context();
    let mut many = vec![(
        "user mode without a user base",
        VcpuGuestContext { flags: 0, ..good },
    )];
    for (what, context) in [
        (
            "a base that is no L4",
            VcpuGuestContext {
                ctrlreg: [0, 0, 0, DOMU.0 << 12, 0, 0, 0, 0],
                ..good
            },
        ),
        (
            "a user base that is none",
            VcpuGuestContext {
                ctrlreg: [0, u64::MAX, 0, DOM0.0 << 12, 0, 0, 0, 0],
                ..good
            },
        ),
        (
            "callback",
            VcpuGuestContext {
                event_callback_eip: BAD_ADDRESS,
                ..good
            },
        ),
        (
            "failsafe",
            VcpuGuestContext {
                failsafe_callback_eip: BAD_ADDRESS,
                ..good
            },
        ),
        (
            "syscall",
            VcpuGuestContext {
                syscall_callback_eip: BAD_ADDRESS,
                ..good
            },
        ),
        (
            "fs base",
            VcpuGuestContext {
                fs_base: BAD_ADDRESS,
                ..good
            },
        ),
        (
            "gs base",
            VcpuGuestContext {
                gs_base_kernel: BAD_ADDRESS,
                ..good
            },
        ),
        (
            "user gs base",
            VcpuGuestContext {
                gs_base_user: BAD_ADDRESS,
                ..good
            },
        ),
        (
            "a long GDT",
            VcpuGuestContext {
                gdt_ents: 7169,
                ..good
            },
        ),
        (
            "a very long GDT",
            VcpuGuestContext {
                gdt_ents: 1 << 40,
                ..good
            },
        ),
        (
            "a GDT of another's",
            VcpuGuestContext {
                gdt_frames: [DOMU.0; 16],
                ..good
            },
        ),
        (
            "a long LDT",
            VcpuGuestContext {
                ldt_ents: 8193,
                ..good
            },
        ),
        (
            "an LDT askew",
            VcpuGuestContext {
                ldt_ents: 1,
                ldt_base: 8,
                ..good
            },
        ),
    ] {
        many.push((what, context));
    }
    let mut traps = good;
    traps.trap_ctxt[7].address = BAD_ADDRESS;
    many.push(("a trap", traps));
    for (what, context) in many {
        m.put(ARG, &context);
        assert_eq!(vcpu(&m, VCPUOP_initialise, 1), err(Errno::EINVAL), "{what}");
        m.check();
    }
    m.put(
        ARG,
        &VcpuGuestContext {
            debugreg: [0xffff_8000_0000_0000, 0, 0, 0, 0, 0, 0, 0],
            ..good
        },
    );
    assert_eq!(
        vcpu(&m, VCPUOP_initialise, 1),
        err(Errno::EPERM),
        "a breakpoint on the hypervisor"
    );
    let late = GUEST + 0x8000 - 5000;
    assert_eq!(
        m.call(0, __HYPERVISOR_vcpu_op, [VCPUOP_initialise.into(), 1, late]),
        err(Errno::EFAULT)
    );
    m.check();
    m.put(ARG, &good);
    assert_eq!(vcpu(&m, VCPUOP_initialise, 1), 0, "after all that");
}

#[test]
fn the_fpu_image_of_a_context_has_no_bad_mxcsr() {
    let m = Fake::new();
    m.tables(0);
    let mut with_fpu = context();
    with_fpu.flags |= VGCF_I387_VALID;
    with_fpu.fpu_ctxt = [0xff; 512];
    m.put(ARG, &with_fpu);
    assert_eq!(vcpu(&m, VCPUOP_initialise, 1), 0);
    let domain = m.dom(0);
    let saved = domain.vcpus[1].saved.lock();
    assert_eq!(saved.fpu.0[24..28], [0xff, 0xff, 0, 0]);
    assert_eq!(
        saved.fpu.0[512..520],
        [3, 0, 0, 0, 0, 0, 0, 0],
        "the XSAVE header is ours"
    );
    assert_eq!(offset_of!(VcpuGuestContext, user_regs), 0x208);
}

#[test]
fn an_interrupted_initialisation_goes_on() {
    let m = Fake::new();
    m.put(ARG, &context());
    for n in 0..3 {
        m.write(Mfn(DOM0.0 + n), 0, (DOM0.0 + n + 1) << 12 | 7);
    }
    m.stops.store(u64::MAX, SeqCst);
    let args = [VCPUOP_initialise.into(), 1, ARG, 0, 0];
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_vcpu_op, args),
        Outcome::Again(args)
    );
    assert_eq!(vcpu(&m, VCPUOP_initialise, 1), 0);
    m.check();
}

#[test]
fn there_is_no_vcpu_beyond_the_last() {
    let m = Fake::new();
    for cmd in 0..14 {
        assert_eq!(vcpu(&m, cmd, 2), err(Errno::ENOENT));
        assert_eq!(vcpu(&m, cmd, u32::MAX), err(Errno::ENOENT));
    }
    assert_eq!(vcpu(&m, 99, 0), err(Errno::ENOSYS));
    assert_eq!(vcpu(&m, VCPUOP_get_physid, 0), err(Errno::EINVAL));
}

#[test]
fn the_last_vcpu_that_goes_down_switches_the_domain_off() {
    let m = Fake::new();
    assert_eq!(vcpu(&m, VCPUOP_down, 0), 0);
    assert!(m.take_asked().contains(&Asked::ShutDown(SHUTDOWN_poweroff)));
    assert!(!m.dom(0).vcpus[0].is_runnable());
}

#[test]
fn runstates_are_told() {
    let m = Fake::new();
    assert_eq!(vcpu(&m, VCPUOP_get_runstate_info, 0), 0);
    let info = m.get::<VcpuRunstateInfo>(ARG);
    assert_eq!(
        (info.state, info.time),
        (RUNSTATE_offline, [0, 0, 0, 1_000_000_000])
    );
    m.put(ARG, &VcpuRegisterRunstateMemoryArea { addr: GUEST + 64 });
    assert_eq!(vcpu(&m, VCPUOP_register_runstate_memory_area, 0), 0);
    assert_eq!(
        m.get::<VcpuRunstateInfo>(GUEST + 64).state,
        RUNSTATE_offline
    );
    m.put(ARG, &VcpuRegisterRunstateMemoryArea { addr: 8 });
    assert_eq!(
        vcpu(&m, VCPUOP_register_runstate_memory_area, 0),
        err(Errno::EFAULT)
    );
    assert_eq!(m.dom(0).vcpus[0].runstate_area.load(SeqCst), GUEST + 64);
}

fn bind_timer(m: &Fake) -> u32 {
    m.put(
        ARG,
        &EvtchnBindVirq {
            virq: VIRQ_TIMER,
            vcpu: 0,
            port: 0,
        },
    );
    assert_eq!(
        m.call(
            0,
            __HYPERVISOR_event_channel_op,
            [EVTCHNOP_bind_virq.into(), ARG]
        ),
        0
    );
    m.take_asked();
    m.get::<EvtchnBindVirq>(ARG).port
}

fn timer_fired(m: &Fake, port: u32) -> bool {
    let word = m.dom(0).shared_info;
    let pending = m.read(word, 0x800 / 8) >> port & 1 != 0;
    m.write(word, 0x800 / 8, 0);
    pending
}

#[test]
fn a_oneshot_timer_is_set_and_a_past_one_fires_at_once() {
    let m = Fake::new();
    let port = bind_timer(&m);
    let now = m.clock.load(SeqCst);
    let set = |at| {
        m.put(
            ARG,
            &VcpuSetSingleshotTimer {
                timeout_abs_ns: at,
                flags: VCPU_SSHOTTMR_future,
            },
        );
        vcpu(&m, VCPUOP_set_singleshot_timer, 0)
    };
    assert_eq!(set(now + 5), 0);
    assert!(!timer_fired(&m, port));
    assert_eq!(
        m.dom(0).vcpus[0].timers.singleshot().map_or(0, |at| at.0),
        now + 5
    );
    assert_eq!(m.take_asked(), [Asked::Timers(VcpuId(0))]);
    assert_eq!(set(now), 0);
    assert!(timer_fired(&m, port));
    assert_eq!(
        m.dom(0).vcpus[0].timers.singleshot().map_or(0, |at| at.0),
        0
    );
    assert_eq!(
        vcpu(&m, VCPUOP_set_singleshot_timer, 1),
        err(Errno::EINVAL),
        "another vcpu's"
    );
    assert_eq!(
        vcpu(&m, VCPUOP_stop_singleshot_timer, 1),
        err(Errno::EINVAL)
    );
}

#[test]
fn set_timer_op_stops_sets_and_clamps() {
    let m = Fake::new();
    let port = bind_timer(&m);
    let now = m.clock.load(SeqCst);
    let singleshot = |at: u64| {
        assert_eq!(m.call(0, __HYPERVISOR_set_timer_op, [at]), 0);
        m.dom(0).vcpus[0].timers.singleshot().map_or(0, |at| at.0)
    };
    assert_eq!(singleshot(now + 7), now + 7);
    assert_eq!(singleshot(0), 0);
    assert!(!timer_fired(&m, port));
    assert_eq!(singleshot(1), 0);
    assert!(timer_fired(&m, port));
    for absurd in [u64::MAX, 1 << 63, now + (1 << 50)] {
        assert_eq!(singleshot(absurd), now + 100_000_000);
    }
}

#[test]
fn periods_are_at_least_a_millisecond() {
    let m = Fake::new();
    for (period_ns, result) in [
        (1_000_000, 0),
        (999_999, err(Errno::EINVAL)),
        (u64::MAX, err(Errno::EINVAL)),
        (0, err(Errno::EINVAL)),
    ] {
        m.put(ARG, &VcpuSetPeriodicTimer { period_ns });
        assert_eq!(vcpu(&m, VCPUOP_set_periodic_timer, 0), result);
        assert_eq!(m.dom(0).vcpus[0].timers.period_ns(), Some(1_000_000));
    }
    assert_eq!(vcpu(&m, VCPUOP_stop_periodic_timer, 0), 0);
    assert_eq!(m.dom(0).vcpus[0].timers.period_ns(), None);
}

#[test]
fn a_vcpu_info_moves_once_to_an_aligned_place_of_the_domains() {
    let m = Fake::new();
    let register = |mfn, offset| {
        m.put(
            ARG,
            &VcpuRegisterVcpuInfo {
                mfn,
                offset,
                rsvd: 0,
            },
        );
        vcpu(&m, VCPUOP_register_vcpu_info, 0)
    };
    for offset in [4, 4096 - 56, 4096, u32::MAX - 7] {
        assert_eq!(register(DOM0.0 + 9, offset), err(Errno::ENXIO), "{offset}");
    }
    assert_eq!(register(DOMU.0, 0), err(Errno::EINVAL));
    m.check();
    m.write(Mfn(1), 0, 0x100);
    assert_eq!(register(DOM0.0 + 9, 4096 - 64), 0);
    assert!(m.take_asked().contains(&Asked::InfoMoved(VcpuId(0))));
    assert_eq!(
        m.read(Mfn(DOM0.0 + 9), 504),
        0x101,
        "masked as before, and pending"
    );
    m.check();
    assert_eq!(register(DOM0.0 + 10, 0), err(Errno::EINVAL));
    m.check();
}

#[test]
fn a_vcpu_info_of_another_vcpu_moves_only_while_it_is_down() {
    let m = Fake::new();
    let register = |by| {
        m.put(
            ARG,
            &VcpuRegisterVcpuInfo {
                mfn: DOM0.0 + 9,
                offset: 0,
                rsvd: 0,
            },
        );
        m.call_by(
            0,
            by,
            __HYPERVISOR_vcpu_op,
            [VCPUOP_register_vcpu_info.into(), u64::from(1 - by), ARG],
        )
    };
    assert_eq!(register(1), err(Errno::EINVAL), "vcpu 0 is up");
    assert_eq!(register(0), 0);
    m.check();
}

#[test]
fn an_nmi_wakes_a_blocked_vcpu_once() {
    let m = Fake::new();
    m.dom(0).vcpus[0].flags.fetch_or(VcpuFlags::BLOCKED, SeqCst);
    assert_eq!(vcpu(&m, VCPUOP_send_nmi, 0), 0);
    assert_eq!(m.take_asked(), [Asked::Wake(ME, VcpuId(0))]);
    assert_eq!(vcpu(&m, VCPUOP_send_nmi, 0), 0);
    assert_eq!(m.take_asked(), []);
}

fn sched(m: &Fake, cmd: u32) -> u64 {
    m.call(0, __HYPERVISOR_sched_op, [cmd.into(), ARG])
}

#[test]
fn blocking_unmasks_events_and_sleeps() {
    let m = Fake::new();
    m.write(Mfn(1), 0, 0x100);
    assert_eq!(sched(&m, SCHEDOP_block), 0);
    assert_eq!(m.read(Mfn(1), 0), 0);
    assert_eq!(m.take_asked(), [Asked::Sleep(ME, VcpuId(0))]);
    assert!(!m.dom(0).vcpus[0].is_runnable());
}

#[test]
fn nobody_sleeps_on_a_pending_event_or_nmi() {
    let m = Fake::new();
    m.write(Mfn(1), 0, 0x101);
    assert_eq!(sched(&m, SCHEDOP_block), 0);
    // Someone who ends an earlier sleep may have seen the flag, and told the scheduler of a sleep: this is the last word.
    assert_eq!(m.take_asked(), [Asked::Wake(ME, VcpuId(0))]);
    assert!(m.dom(0).vcpus[0].is_runnable());
    m.write(Mfn(1), 0, 0);
    m.dom(0).vcpus[0]
        .flags
        .fetch_or(VcpuFlags::NMI_PENDING, SeqCst);
    assert_eq!(sched(&m, SCHEDOP_block), 0);
    assert!(m.dom(0).vcpus[0].is_runnable());
}

fn port(m: &Fake) -> u32 {
    m.put(
        ARG,
        &EvtchnAllocUnbound {
            dom: DOMID_SELF,
            remote_dom: 1,
            port: 0,
        },
    );
    assert_eq!(
        m.call(
            0,
            __HYPERVISOR_event_channel_op,
            [EVTCHNOP_alloc_unbound.into(), ARG]
        ),
        0
    );
    m.get::<EvtchnAllocUnbound>(ARG).port
}

fn poll(m: &Fake, ports: &[u32], timeout: u64) -> u64 {
    ports
        .iter()
        .zip(0..)
        .for_each(|(port, n)| m.put(ARG + 64 + n * 4, port));
    m.put(
        ARG,
        &SchedPoll {
            ports: ARG + 64,
            nr_ports: ports.len() as u32,
            timeout,
        },
    );
    m.take_asked();
    sched(m, SCHEDOP_poll)
}

#[test]
fn a_poll_sleeps_until_its_port_is_pending_though_masked() {
    let m = Fake::new();
    let (one, other) = (port(&m), port(&m));
    m.write(Mfn(1), 0xa00 / 8, u64::MAX);
    assert_eq!(poll(&m, &[one], 0), 0);
    assert_eq!(m.take_asked(), [Asked::Sleep(ME, VcpuId(0))]);
    let domain = m.dom(0);
    deliver(
        &m,
        &domain,
        EvtchnPort(other),
        domain.events.raise(&m, EvtchnPort(other)),
    );
    assert!(!domain.vcpus[0].is_runnable(), "another port");
    deliver(
        &m,
        &domain,
        EvtchnPort(one),
        domain.events.raise(&m, EvtchnPort(one)),
    );
    assert!(domain.vcpus[0].is_runnable());
    assert!(m.take_asked().contains(&Asked::Wake(ME, VcpuId(0))));
    assert_eq!(poll(&m, &[one], 0), 0, "pending already");
    assert!(domain.vcpus[0].is_runnable());
}

#[test]
fn a_poll_with_a_past_timeout_or_bad_ports_does_not_sleep() {
    let m = Fake::new();
    let one = port(&m);
    let now = m.clock.load(SeqCst);
    assert_eq!(poll(&m, &[one], now), 0);
    assert_eq!(m.take_asked(), [Asked::Wake(ME, VcpuId(0))]);
    assert_eq!(poll(&m, &[0], 0), err(Errno::EINVAL));
    assert_eq!(poll(&m, &[u32::MAX, one], 0), err(Errno::EINVAL));
    assert_eq!(poll(&m, &[one; 129], 0), err(Errno::EINVAL));
    assert!(m.dom(0).vcpus[0].is_runnable());
    assert_eq!(poll(&m, &[one], now + 9), 0);
    assert_eq!(m.dom(0).vcpus[0].timers.poll_end(), Some(Nanos(now + 9)));
    assert_eq!(
        m.take_asked(),
        [Asked::Timers(VcpuId(0)), Asked::Sleep(ME, VcpuId(0))]
    );
}

#[test]
fn a_shutdown_stops_all_vcpus_and_the_first_reason_stands() {
    let m = Fake::new();
    m.put(
        ARG,
        &SchedShutdown {
            reason: SHUTDOWN_reboot,
        },
    );
    assert_eq!(
        m.call(1, __HYPERVISOR_sched_op, [SCHEDOP_shutdown.into(), ARG]),
        0
    );
    assert_eq!(m.dom(1).shutdown.load(SeqCst), SHUTDOWN_reboot);
    assert!(!m.dom(1).vcpus[0].is_runnable());
    m.put(
        ARG,
        &SchedRemoteShutdown {
            domain_id: 1,
            reason: SHUTDOWN_crash,
        },
    );
    assert_eq!(sched(&m, SCHEDOP_remote_shutdown), 0);
    assert_eq!(m.dom(1).shutdown.load(SeqCst), SHUTDOWN_reboot);
    assert_eq!(
        m.call(
            1,
            __HYPERVISOR_sched_op,
            [SCHEDOP_remote_shutdown.into(), ARG]
        ),
        err(Errno::EPERM)
    );
}

#[test]
fn an_announced_reason_is_the_one_that_counts() {
    let m = Fake::new();
    m.put(
        ARG,
        &SchedShutdown {
            reason: SHUTDOWN_crash,
        },
    );
    assert_eq!(sched(&m, SCHEDOP_shutdown_code), 0);
    m.put(
        ARG,
        &SchedShutdown {
            reason: SHUTDOWN_reboot,
        },
    );
    assert_eq!(sched(&m, SCHEDOP_shutdown), 0);
    assert!(m.take_asked().contains(&Asked::ShutDown(SHUTDOWN_crash)));
}

#[test]
fn watchdogs_are_set_in_seconds() {
    let m = Fake::new();
    m.put(ARG, &SchedWatchdog { id: 0, timeout: 2 });
    assert_eq!(sched(&m, SCHEDOP_watchdog), 1);
    let at = |seconds: u64| crate::units::Nanos(seconds * 1_000_000_000);
    assert!(!m.dom(0).watchdogs.expired(at(2)));
    assert!(m.dom(0).watchdogs.expired(at(3)));
    assert_eq!(sched(&m, 99), err(Errno::ENOSYS));
}

#[test]
fn traps_are_set_up_to_the_end_of_the_list() {
    let m = Fake::new();
    let trap = |vector, address| TrapInfo {
        vector,
        flags: 0xff,
        cs: 0xe030,
        address,
    };
    for (n, t) in [trap(3, 0x33), trap(14, 0xee), trap(0, 0), trap(4, 0x44)]
        .iter()
        .enumerate()
    {
        m.put(ARG + n as u64 * 16, t);
    }
    assert_eq!(m.call(0, __HYPERVISOR_set_trap_table, [ARG]), 0);
    let domain = m.dom(0);
    let slot = |vector: usize| {
        let slot = &domain.vcpus[0].traps[vector];
        (slot.address.load(SeqCst), slot.meta.load(SeqCst))
    };
    assert_eq!(slot(3), (0x33, 0x7_e033));
    assert_eq!(slot(14).0, 0xee);
    assert_eq!(slot(4).0, 0);
    m.put(ARG, &trap(5, BAD_ADDRESS));
    assert_eq!(
        m.call(0, __HYPERVISOR_set_trap_table, [ARG]),
        err(Errno::EINVAL)
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_set_trap_table, [8]),
        err(Errno::EFAULT)
    );
    assert_eq!(m.call(0, __HYPERVISOR_set_trap_table, [0]), 0);
    assert_eq!(slot(3), (0, 0));
}

#[test]
fn a_trap_list_without_end_can_be_interrupted() {
    let m = Fake::new();
    for n in 0..100u64 {
        m.put(
            ARG + n * 16,
            &TrapInfo {
                vector: n as u8,
                flags: 0,
                cs: 0,
                address: 1,
            },
        );
    }
    m.stops.store(1, SeqCst);
    let again = Outcome::Again([ARG + 64 * 16, 1, 2, 3, 4]);
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_set_trap_table, [ARG, 1, 2, 3, 4]),
        again
    );
}

#[test]
fn callbacks_are_registered_by_type() {
    let m = Fake::new();
    let register = |kind, flags, address| {
        m.put(
            ARG,
            &CallbackRegister {
                kind,
                flags,
                address,
            },
        );
        m.call(
            0,
            __HYPERVISOR_callback_op,
            [CALLBACKOP_register.into(), ARG],
        )
    };
    assert_eq!(
        register(CALLBACKTYPE_syscall, CALLBACKF_mask_events, 0x55),
        0
    );
    assert_eq!(register(CALLBACKTYPE_event, 0, 0x66), 0);
    let domain = m.dom(0);
    let callbacks = &domain.vcpus[0].callbacks;
    assert_eq!(callbacks.syscall.address.load(SeqCst), 0x55);
    assert!(callbacks.syscall.masks_events.load(SeqCst));
    assert!(
        callbacks.event.masks_events.load(SeqCst),
        "upcalls always mask"
    );
    assert_eq!(
        register(CALLBACKTYPE_failsafe, 0, BAD_ADDRESS),
        err(Errno::EINVAL)
    );
    assert_eq!(
        register(CALLBACKTYPE_sysenter_deprecated, 0, 1),
        err(Errno::ENOSYS)
    );
    assert_eq!(register(6, 0, 1), err(Errno::ENOSYS));
    let unregister = |kind| {
        m.put(ARG, &CallbackUnregister { kind, unused: 0 });
        m.call(
            0,
            __HYPERVISOR_callback_op,
            [CALLBACKOP_unregister.into(), ARG],
        )
    };
    assert_eq!(unregister(CALLBACKTYPE_event), err(Errno::EINVAL));
    assert_eq!(unregister(CALLBACKTYPE_nmi), 0);
    assert_eq!(
        m.call(0, __HYPERVISOR_callback_op, [2, ARG]),
        err(Errno::ENOSYS)
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_set_callbacks, [1, 2, BAD_ADDRESS]),
        err(Errno::EINVAL)
    );
    assert_eq!(callbacks.event.address.load(SeqCst), 0x66, "all or nothing");
    assert_eq!(m.call(0, __HYPERVISOR_set_callbacks, [1, 2, 3]), 0);
    assert_eq!(callbacks.failsafe.address.load(SeqCst), 2);
}

#[test]
fn the_kernel_stack_gets_a_ring_3_selector() {
    let m = Fake::new();
    assert_eq!(m.call(0, __HYPERVISOR_stack_switch, [0x1_0028, 0x7777]), 0);
    let domain = m.dom(0);
    let v = &domain.vcpus[0];
    assert_eq!(
        (v.kernel_ss.load(SeqCst), v.kernel_sp.load(SeqCst)),
        (0x2b, 0x7777)
    );
    assert_eq!(m.take_asked(), [Asked::EntryChanged(VcpuId(0))]);
}

#[test]
fn segment_bases_are_canonical() {
    let m = Fake::new();
    let set =
        |which: u32, base: u64| m.call(0, __HYPERVISOR_set_segment_base, [which.into(), base]);
    for (which, segment) in [
        (0, SegmentBase::Fs),
        (1, SegmentBase::GsUser),
        (2, SegmentBase::GsKernel),
    ] {
        assert_eq!(set(which, 0xffff_8880_0000_0000), 0);
        assert_eq!(
            m.take_asked(),
            [Asked::Segment(segment, 0xffff_8880_0000_0000)]
        );
        assert_eq!(set(which, BAD_ADDRESS), err(Errno::EINVAL));
        assert_eq!(m.take_asked(), []);
    }
    for (selector, loaded) in [(0x28, 0x2b), (0, 0), (3, 0), (0x1_0033, 0x33)] {
        assert_eq!(set(3, selector), 0);
        assert_eq!(m.take_asked(), [Asked::GsSelector(loaded)]);
    }
    assert_eq!(set(4, 0), err(Errno::EINVAL));
}

#[test]
fn debug_registers_and_ts_are_the_vcpus_own() {
    let m = Fake::new();
    assert_eq!(m.call(0, __HYPERVISOR_set_debugreg, [0, 0x4000]), 0);
    assert_eq!(m.take_asked(), [Asked::Debug(VcpuId(0))]);
    assert_eq!(m.call(0, __HYPERVISOR_get_debugreg, [0]), 0x4000);
    assert_eq!(
        m.call(0, __HYPERVISOR_set_debugreg, [0, 0xffff_8000_0000_0000]),
        err(Errno::EPERM)
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_set_debugreg, [9, 0]),
        err(Errno::ENODEV)
    );
    assert_eq!(m.take_asked(), []);
    assert_eq!(m.call(0, __HYPERVISOR_set_debugreg, [7, 1]), 0);
    assert!(m.dom(0).vcpus[0].debug_active.load(SeqCst));
    assert_eq!(m.call(0, __HYPERVISOR_fpu_taskswitch, [1]), 0);
    assert!(m.dom(0).vcpus[0].ts.load(SeqCst));
}
