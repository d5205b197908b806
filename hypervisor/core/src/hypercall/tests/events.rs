//! event_channel_op and physdev_op.

use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::errno::Errno;
use rexen_abi::event_channel::*;
use rexen_abi::physdev::*;
use rexen_abi::xen::*;

use super::err;
use crate::domain::VcpuFlags;
use crate::evtchn::{VCPU_INFO_BYTES, Virq};
use crate::hypercall::testing::{Asked, DOM0, DOMU, Fake, GUEST, NR_GSIS};
use crate::hypercall::{Machine, MsiRequest, Outcome, raise_global_virq};
use crate::pvmmu::TableAccess;
use crate::units::{DomId, EvtchnPort, Mfn, Pirq, VcpuId};

const ARG: u64 = GUEST;

fn evtchn(m: &Fake, dom: u16, cmd: u32) -> u64 {
    m.call(dom, __HYPERVISOR_event_channel_op, [cmd.into(), ARG])
}

fn alloc(m: &Fake, dom: u16, remote: u16) -> u32 {
    m.put(
        ARG,
        &EvtchnAllocUnbound {
            dom: DOMID_SELF,
            remote_dom: remote,
            port: 0,
        },
    );
    assert_eq!(evtchn(m, dom, EVTCHNOP_alloc_unbound), 0);
    m.get::<EvtchnAllocUnbound>(ARG).port
}

fn bind(m: &Fake, dom: u16, remote: u16, port: u32) -> u32 {
    m.put(
        ARG,
        &EvtchnBindInterdomain {
            remote_dom: remote,
            remote_port: port,
            local_port: 0,
        },
    );
    assert_eq!(evtchn(m, dom, EVTCHNOP_bind_interdomain), 0);
    m.get::<EvtchnBindInterdomain>(ARG).local_port
}

fn send(m: &Fake, dom: u16, port: u32) -> u64 {
    m.put(ARG, &EvtchnSend { port });
    evtchn(m, dom, EVTCHNOP_send)
}

fn status(m: &Fake, dom: u16, of: u16, port: u32) -> (u64, EvtchnStatus) {
    m.put(
        ARG,
        &EvtchnStatus {
            dom: of,
            port,
            ..EvtchnStatus::default()
        },
    );
    (evtchn(m, dom, EVTCHNOP_status), m.get(ARG))
}

fn is_pending(m: &Fake, dom: u16, port: u32) -> bool {
    let word = m.read(m.dom(dom).shared_info, 0x800 / 8 + port as usize / 64);
    word >> (port % 64) & 1 != 0
}

#[test]
fn an_event_crosses_from_one_domain_to_another() {
    let m = Fake::new();
    let far = alloc(&m, 1, 0);
    let near = bind(&m, 0, 1, far);
    m.take_asked();
    assert!(!is_pending(&m, 1, far));
    assert_eq!(send(&m, 0, near), 0);
    assert!(is_pending(&m, 1, far));
    assert_eq!(m.take_asked(), [Asked::Kick(DomId(1), VcpuId(0))]);
    assert_eq!(send(&m, 0, near), 0);
    assert_eq!(m.take_asked(), [], "pending already");
    let (result, found) = status(&m, 0, DOMID_SELF, near);
    assert_eq!(result, 0);
    assert_eq!(
        (found.status, found.u, found.u_port),
        (EVTCHNSTAT_interdomain, 1, far)
    );
}

#[test]
fn a_blocked_vcpu_wakes_for_an_event() {
    let m = Fake::new();
    let far = alloc(&m, 1, 0);
    let near = bind(&m, 0, 1, far);
    m.dom(1).vcpus[0].flags.fetch_or(VcpuFlags::BLOCKED, SeqCst);
    m.take_asked();
    assert_eq!(send(&m, 0, near), 0);
    assert_eq!(m.take_asked(), [Asked::Wake(DomId(1), VcpuId(0))]);
    assert!(m.dom(1).vcpus[0].is_runnable());
}

#[test]
fn sending_needs_a_channel_or_an_ipi() {
    let m = Fake::new();
    assert_eq!(send(&m, 0, 0), err(Errno::EINVAL));
    assert_eq!(send(&m, 0, u32::MAX), err(Errno::EINVAL));
    let unbound = alloc(&m, 0, 1);
    assert_eq!(send(&m, 0, unbound), 0, "into the void");
    m.put(
        ARG,
        &EvtchnBindVirq {
            virq: VIRQ_TIMER,
            vcpu: 1,
            port: 0,
        },
    );
    assert_eq!(evtchn(&m, 0, EVTCHNOP_bind_virq), 0);
    let virq = m.get::<EvtchnBindVirq>(ARG).port;
    assert_eq!(send(&m, 0, virq), err(Errno::EINVAL));
    assert_eq!(
        m.call(0, __HYPERVISOR_event_channel_op, [EVTCHNOP_send.into(), 8]),
        err(Errno::EFAULT)
    );
}

#[test]
fn an_ipi_reaches_the_vcpu_it_is_bound_to() {
    let m = Fake::new();
    m.put(ARG, &EvtchnBindIpi { vcpu: 1, port: 0 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_bind_ipi), 0);
    let port = m.get::<EvtchnBindIpi>(ARG).port;
    assert_eq!(send(&m, 0, port), 0);
    assert_eq!(m.take_asked(), [Asked::Kick(DomId(0), VcpuId(1))]);
    m.put(ARG, &EvtchnBindIpi { vcpu: 2, port: 0 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_bind_ipi), err(Errno::ENOENT));
    m.put(ARG, &EvtchnBindVcpu { port, vcpu: 0 });
    assert_eq!(
        evtchn(&m, 0, EVTCHNOP_bind_vcpu),
        err(Errno::EINVAL),
        "an IPI cannot move"
    );
}

#[test]
fn virqs_are_bound_once_and_global_ones_on_vcpu_0() {
    let m = Fake::new();
    let bind = |virq, vcpu| {
        m.put(
            ARG,
            &EvtchnBindVirq {
                virq,
                vcpu,
                port: 0,
            },
        );
        evtchn(&m, 0, EVTCHNOP_bind_virq)
    };
    assert_eq!(bind(VIRQ_CONSOLE, 0), 0);
    assert_eq!(bind(VIRQ_CONSOLE, 0), err(Errno::EEXIST));
    assert_eq!(bind(VIRQ_CON_RING, 1), err(Errno::EINVAL));
    assert_eq!(bind(VIRQ_TIMER, 2), err(Errno::ENOENT));
    assert_eq!(bind(NR_VIRQS, 0), err(Errno::EINVAL));
    assert_eq!(bind(u32::MAX, 0), err(Errno::EINVAL));
}

#[test]
fn a_domain_may_not_make_ports_of_others() {
    let m = Fake::new();
    m.put(
        ARG,
        &EvtchnAllocUnbound {
            dom: 0,
            remote_dom: 1,
            port: 0,
        },
    );
    assert_eq!(evtchn(&m, 1, EVTCHNOP_alloc_unbound), err(Errno::EPERM));
    m.put(
        ARG,
        &EvtchnAllocUnbound {
            dom: 1,
            remote_dom: DOMID_SELF,
            port: 0,
        },
    );
    assert_eq!(evtchn(&m, 0, EVTCHNOP_alloc_unbound), 0);
    let port = m.get::<EvtchnAllocUnbound>(ARG).port;
    assert_eq!(status(&m, 0, 1, port).1.u, 0, "reserved for the caller");
    assert_eq!(status(&m, 1, 0, 1).0, err(Errno::EPERM));
    m.put(ARG, &EvtchnReset { dom: 0 });
    assert_eq!(evtchn(&m, 1, EVTCHNOP_reset), err(Errno::EPERM));
    m.put(
        ARG,
        &EvtchnBindInterdomain {
            remote_dom: 9,
            remote_port: 1,
            local_port: 0,
        },
    );
    assert_eq!(evtchn(&m, 1, EVTCHNOP_bind_interdomain), err(Errno::ESRCH));
}

#[test]
fn a_closed_end_leaves_the_other_waiting() {
    let m = Fake::new();
    let far = alloc(&m, 1, 0);
    let near = bind(&m, 0, 1, far);
    m.put(ARG, &EvtchnClose { port: near });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_close), 0);
    assert_eq!(evtchn(&m, 0, EVTCHNOP_close), err(Errno::EINVAL));
    let (_, found) = status(&m, 1, DOMID_SELF, far);
    assert_eq!((found.status, found.u), (EVTCHNSTAT_unbound, 0));
    assert_eq!(send(&m, 1, far), 0);
}

#[test]
fn domain_0_resets_only_a_paused_domain() {
    let m = Fake::new();
    alloc(&m, 1, 0);
    m.put(ARG, &EvtchnReset { dom: 1 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_reset), err(Errno::EINVAL));
    m.dom(1).life.control().pause().unwrap();
    assert_eq!(evtchn(&m, 0, EVTCHNOP_reset), 0);
    assert_eq!(status(&m, 0, 1, 1).1.status, EVTCHNSTAT_closed);
}

#[test]
fn an_interrupted_reset_goes_on_and_closes_all() {
    let m = Fake::new();
    let ports: Vec<_> = (0..50).map(|_| alloc(&m, 1, 0)).collect();
    m.stops.store(u64::MAX, SeqCst);
    m.put(ARG, &EvtchnReset { dom: DOMID_SELF });
    let args = [EVTCHNOP_reset.into(), ARG, 0, 0, 0];
    let go_on = [EVTCHNOP_reset_cont.into(), ARG, 0, 0, 0];
    assert_eq!(evtchn(&m, 1, EVTCHNOP_reset_cont), err(Errno::EBUSY));
    assert_eq!(
        m.turn(1, 0, __HYPERVISOR_event_channel_op, args),
        Outcome::Again(go_on)
    );
    assert_eq!(evtchn(&m, 1, EVTCHNOP_reset), err(Errno::EBUSY));
    // What is opened behind it stays open.
    let behind = alloc(&m, 1, 0);
    m.put(ARG, &EvtchnReset { dom: DOMID_SELF });
    assert_eq!(evtchn(&m, 1, EVTCHNOP_reset_cont), err(Errno::EAGAIN));
    let state = |port| status(&m, 1, DOMID_SELF, port).1.status;
    assert_eq!(behind, ports[0]);
    assert_eq!(state(behind), EVTCHNSTAT_unbound);
    m.put(ARG, &EvtchnReset { dom: DOMID_SELF });
    assert_eq!(evtchn(&m, 1, EVTCHNOP_reset), 0);
    assert!(
        ports
            .iter()
            .all(|port| status(&m, 1, DOMID_SELF, *port).1.status == EVTCHNSTAT_closed)
    );
}

#[test]
fn fifo_frames_are_held_until_a_reset() {
    let m = Fake::new();
    let (control, array) = (DOM0.0 + 9, DOM0.0 + 10);
    let init = |offset, vcpu, gfn| {
        m.put(
            ARG,
            &EvtchnInitControl {
                control_gfn: gfn,
                offset,
                vcpu,
                ..EvtchnInitControl::default()
            },
        );
        evtchn(&m, 0, EVTCHNOP_init_control)
    };
    m.put(
        ARG,
        &EvtchnSetPriority {
            port: 1,
            priority: 0,
        },
    );
    assert_eq!(evtchn(&m, 0, EVTCHNOP_set_priority), err(Errno::ENOSYS));
    for (offset, vcpu, gfn) in [
        (4, 0, control),
        (4096 - 64, 0, control),
        (0, 0, DOMU.0),
        (0, 0, u64::MAX),
    ] {
        assert_eq!(init(offset, vcpu, gfn), err(Errno::EINVAL));
    }
    assert_eq!(init(0, 2, control), err(Errno::ENOENT));
    m.check();
    assert_eq!(init(0, 0, control), 0);
    assert_eq!(m.get::<EvtchnInitControl>(ARG).link_bits, 17);
    assert_eq!(init(128, 0, control), err(Errno::EINVAL), "it has one");
    m.put(ARG, &EvtchnExpandArray { array_gfn: array });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_expand_array), 0);
    m.check();
    assert_eq!(m.frames_held(array), 2);
    let port = alloc(&m, 0, 1);
    m.put(ARG, &EvtchnSetPriority { port, priority: 0 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_set_priority), 0);
    m.put(ARG, &EvtchnSetPriority { port, priority: 16 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_set_priority), err(Errno::EINVAL));
    m.put(ARG, &EvtchnReset { dom: DOMID_SELF });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_reset), 0);
    assert_eq!((m.frames_held(array), m.frames_held(control)), (1, 1));
    m.check();
}

#[test]
fn unmasking_delivers_what_is_pending() {
    let m = Fake::new();
    let far = alloc(&m, 1, 0);
    let near = bind(&m, 0, 1, far);
    let masks = 0xa00 / 8 + far as usize / 64;
    m.write(m.dom(1).shared_info, masks, u64::MAX);
    m.take_asked();
    assert_eq!(send(&m, 0, near), 0);
    assert_eq!(m.take_asked(), []);
    m.put(ARG, &EvtchnUnmask { port: far });
    assert_eq!(evtchn(&m, 1, EVTCHNOP_unmask), 0);
    assert_eq!(m.take_asked(), [Asked::Kick(DomId(1), VcpuId(0))]);
    assert_eq!(evtchn(&m, 1, 99), err(Errno::ENOSYS));
    assert_eq!(VCPU_INFO_BYTES, 64);
}

fn physdev(m: &Fake, dom: u16, cmd: u32) -> u64 {
    m.call(dom, __HYPERVISOR_physdev_op, [cmd.into(), ARG])
}

fn bind_pirq(m: &Fake, dom: u16, pirq: u32) -> (u64, u32) {
    m.put(
        ARG,
        &EvtchnBindPirq {
            pirq,
            flags: 1,
            port: 0,
        },
    );
    (
        evtchn(m, dom, EVTCHNOP_bind_pirq),
        m.get::<EvtchnBindPirq>(ARG).port,
    )
}

#[test]
fn a_pirq_is_bound_at_the_machine_and_unbound_on_close() {
    let m = Fake::new();
    let (result, port) = bind_pirq(&m, 0, 17);
    assert_eq!(result, 0);
    assert_eq!(m.take_asked(), [Asked::Bind(Pirq(17))]);
    assert_eq!(bind_pirq(&m, 0, 17).0, err(Errno::EEXIST));
    assert_eq!(bind_pirq(&m, 0, 5000).0, err(Errno::EINVAL));
    assert_eq!(bind_pirq(&m, 1, 18).0, err(Errno::EPERM));
    m.put(ARG, &EvtchnBindVcpu { port, vcpu: 1 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_bind_vcpu), 0);
    assert_eq!(m.take_asked(), [Asked::Moved(Pirq(17))]);
    m.put(ARG, &PhysdevEoi { irq: 17 });
    assert_eq!(physdev(&m, 0, PHYSDEVOP_eoi), 0);
    assert_eq!(m.take_asked(), [Asked::Eoi(Pirq(17))]);
    m.put(ARG, &EvtchnClose { port });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_close), 0);
    assert_eq!(m.take_asked(), [Asked::Unbind(Pirq(17))]);
    m.put(ARG, &PhysdevEoi { irq: 17 });
    assert_eq!(physdev(&m, 0, PHYSDEVOP_eoi), err(Errno::EINVAL));
}

#[test]
fn a_pirq_that_the_machine_refuses_is_not_bound() {
    let m = Fake::new();
    assert_eq!(bind_pirq(&m, 0, 13).0, err(Errno::EINVAL));
    assert_eq!(m.take_asked(), [Asked::Bind(Pirq(13))]);
    assert_eq!(m.dom(0).events.port_of_pirq(Pirq(13)), None);
}

#[test]
fn the_eoi_map_shows_which_pirqs_need_an_eoi() {
    let m = Fake::new();
    let map = Mfn(DOM0.0 + 9);
    assert_eq!(bind_pirq(&m, 0, 16).0, 0);
    m.put(ARG, &PhysdevPirqEoiGmfn { gmfn: DOMU.0 });
    assert_eq!(
        physdev(&m, 0, PHYSDEVOP_pirq_eoi_gmfn_v2),
        err(Errno::EINVAL)
    );
    m.put(ARG, &PhysdevPirqEoiGmfn { gmfn: map.0 });
    assert_eq!(physdev(&m, 0, PHYSDEVOP_pirq_eoi_gmfn_v2), 0);
    assert_eq!(
        physdev(&m, 0, PHYSDEVOP_pirq_eoi_gmfn_v2),
        err(Errno::EBUSY)
    );
    assert_eq!(m.read(map, 0), 1 << 16);
    let (_, port) = bind_pirq(&m, 0, 17);
    assert_eq!(bind_pirq(&m, 0, 4).0, 0, "an edge, which needs none");
    assert_eq!(m.read(map, 0), 3 << 16);
    m.put(ARG, &EvtchnClose { port });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_close), 0);
    assert_eq!(m.read(map, 0), 1 << 16);
    m.check();
}

#[test]
fn the_first_kind_of_eoi_map_unmasks_too() {
    let m = Fake::new();
    m.put(ARG, &PhysdevPirqEoiGmfn { gmfn: DOM0.0 + 9 });
    assert_eq!(physdev(&m, 0, PHYSDEVOP_pirq_eoi_gmfn_v1), 0);
    let (_, port) = bind_pirq(&m, 0, 17);
    let masks = 0xa00 / 8 + port as usize / 64;
    m.write(m.dom(0).shared_info, masks, u64::MAX);
    m.put(ARG, &PhysdevEoi { irq: 17 });
    assert_eq!(physdev(&m, 0, PHYSDEVOP_eoi), 0);
    assert_eq!(m.read(m.dom(0).shared_info, masks), !(1 << port));
}

#[test]
fn iopl_and_io_bitmaps_are_any_vcpus() {
    let m = Fake::new();
    for (iopl, result) in [(3, 0), (4, err(Errno::EINVAL)), (0x101, err(Errno::EINVAL))] {
        m.put(ARG, &PhysdevSetIopl { iopl });
        assert_eq!(physdev(&m, 1, PHYSDEVOP_set_iopl), result);
        assert_eq!(m.dom(1).vcpus[0].iopl.load(SeqCst), 3);
    }
    m.put(
        ARG,
        &PhysdevSetIobitmap {
            bitmap: 77,
            nr_ports: 65536,
        },
    );
    assert_eq!(physdev(&m, 1, PHYSDEVOP_set_iobitmap), 0);
    assert_eq!(m.dom(1).vcpus[0].port_bitmap.lock().address, 77);
    m.put(
        ARG,
        &PhysdevSetIobitmap {
            bitmap: 77,
            nr_ports: 65537,
        },
    );
    assert_eq!(physdev(&m, 1, PHYSDEVOP_set_iobitmap), err(Errno::EINVAL));
}

#[test]
fn hardware_is_domain_0s_only() {
    let m = Fake::new();
    for cmd in (0..40)
        .filter(|cmd| ![PHYSDEVOP_eoi, PHYSDEVOP_set_iopl, PHYSDEVOP_set_iobitmap].contains(cmd))
    {
        assert_eq!(physdev(&m, 1, cmd), err(Errno::EPERM), "{cmd}");
    }
    assert_eq!(m.take_asked(), []);
}

#[test]
fn gsis_are_mapped_to_themselves_and_msis_made() {
    let m = Fake::new();
    let map = |op: PhysdevMapPirq| {
        m.put(
            ARG,
            &PhysdevMapPirq {
                domid: DOMID_SELF,
                ..op
            },
        );
        (
            physdev(&m, 0, PHYSDEVOP_map_pirq),
            m.get::<PhysdevMapPirq>(ARG).pirq,
        )
    };
    let gsi = PhysdevMapPirq {
        kind: MAP_PIRQ_TYPE_GSI,
        index: 9,
        pirq: -1,
        ..PhysdevMapPirq::default()
    };
    assert_eq!(map(gsi), (0, 9));
    assert_eq!(map(PhysdevMapPirq { pirq: 9, ..gsi }), (0, 9));
    assert_eq!(map(PhysdevMapPirq { pirq: 8, ..gsi }).0, err(Errno::EINVAL));
    assert_eq!(
        map(PhysdevMapPirq {
            index: NR_GSIS as i32,
            ..gsi
        })
        .0,
        err(Errno::EINVAL)
    );
    let msi = PhysdevMapPirq {
        kind: MAP_PIRQ_TYPE_MSI_SEG,
        index: -1,
        pirq: -1,
        bus: 0x0001_0002,
        devfn: 0x18,
        entry_nr: 3,
        table_base: 0xfe00_0000,
        ..PhysdevMapPirq::default()
    };
    assert_eq!(map(msi), (0, NR_GSIS as i32));
    let request = MsiRequest {
        segment: 1,
        bus: 2,
        devfn: 0x18,
        entry: 3,
        table_base: 0xfe00_0000,
    };
    assert_eq!(m.take_asked(), [Asked::MapMsi(request)]);
    assert_eq!(
        map(PhysdevMapPirq { devfn: 0xff, ..msi }).0,
        err(Errno::ENODEV)
    );
    assert_eq!(
        map(PhysdevMapPirq {
            kind: MAP_PIRQ_TYPE_MULTI_MSI,
            ..msi
        })
        .0,
        err(Errno::EOPNOTSUPP)
    );
    m.put(
        ARG,
        &PhysdevUnmapPirq {
            domid: DOMID_SELF,
            pirq: NR_GSIS as i32,
        },
    );
    assert_eq!(physdev(&m, 0, PHYSDEVOP_unmap_pirq), 0);
    m.put(
        ARG,
        &PhysdevUnmapPirq {
            domid: DOMID_SELF,
            pirq: -1,
        },
    );
    assert_eq!(physdev(&m, 0, PHYSDEVOP_unmap_pirq), err(Errno::EINVAL));
}

#[test]
fn gsis_are_set_up_and_io_apics_read() {
    let m = Fake::new();
    m.put(
        ARG,
        &PhysdevSetupGsi {
            gsi: 16,
            triggering: 1,
            polarity: 1,
        },
    );
    assert_eq!(physdev(&m, 0, PHYSDEVOP_setup_gsi), 0);
    assert_eq!(m.take_asked(), [Asked::SetupGsi(16, true, true)]);
    m.put(
        ARG,
        &PhysdevSetupGsi {
            gsi: 9,
            triggering: 1,
            polarity: 0,
        },
    );
    assert_eq!(physdev(&m, 0, PHYSDEVOP_setup_gsi), err(Errno::EEXIST));
    m.put(
        ARG,
        &PhysdevSetupGsi {
            gsi: -1,
            triggering: 1,
            polarity: 0,
        },
    );
    assert_eq!(physdev(&m, 0, PHYSDEVOP_setup_gsi), err(Errno::EINVAL));
    m.take_asked();
    let read = PhysdevApic {
        apic_physbase: 0xfec0_0000,
        reg: 1,
        value: 0,
    };
    m.put(ARG, &read);
    assert_eq!(physdev(&m, 0, PHYSDEVOP_apic_read), 0);
    assert_eq!(m.get::<PhysdevApic>(ARG).value, 1);
    m.put(
        ARG,
        &PhysdevApic {
            reg: 0x10,
            value: 0x200,
            ..read
        },
    );
    assert_eq!(
        physdev(&m, 0, PHYSDEVOP_apic_write),
        err(Errno::EINVAL),
        "an SMI"
    );
    m.put(ARG, &PhysdevIrq { irq: 5, vector: 0 });
    assert_eq!(physdev(&m, 0, PHYSDEVOP_alloc_irq_vector), 0);
    assert_eq!(m.get::<PhysdevIrq>(ARG).vector, 5);
    m.put(
        ARG,
        &PhysdevPciDeviceAdd {
            bus: 2,
            devfn: 8,
            ..PhysdevPciDeviceAdd::default()
        },
    );
    assert_eq!(physdev(&m, 0, PHYSDEVOP_pci_device_add), 0);
    assert_eq!(m.take_asked(), [Asked::Device(2, 8, true)]);
    assert_eq!(physdev(&m, 0, PHYSDEVOP_dbgp_op), err(Errno::ENOSYS));
}

#[test]
fn a_global_virq_goes_to_the_domain_that_domain_0_names() {
    let m = Fake::new();
    let bind = |dom, virq: Virq| {
        let op = EvtchnBindVirq {
            virq: virq.number().into(),
            ..Default::default()
        };
        m.put(ARG, &op);
        assert_eq!(evtchn(&m, dom, EVTCHNOP_bind_virq), 0);
        EvtchnPort(m.get::<EvtchnBindVirq>(ARG).port)
    };
    let ports = [bind(0, Virq::DOM_EXC), bind(1, Virq::DOM_EXC)];
    let pending = || {
        [0, 1].map(|dom| {
            m.dom(dom)
                .events
                .is_pending(&m, ports[usize::from(dom)])
                .unwrap()
        })
    };
    assert_eq!(m.virq_handlers().set(Virq::DOM_EXC, DomId(1)), Ok(()));
    assert!(m.virq_handlers().set(Virq::TIMER, DomId(1)).is_err());
    raise_global_virq(&m, Virq::DOM_EXC);
    assert_eq!(pending(), [false, true]);
    m.virq_handlers().forget(DomId(1));
    raise_global_virq(&m, Virq::DOM_EXC);
    assert_eq!(pending(), [true, true]);
}

#[test]
fn a_domain_has_no_more_ports_than_its_limit_whoever_asks() {
    let m = Fake::new();
    let limit = m.dom(1).events.port_limit();
    // Port 0 is none.
    for _ in 1..limit {
        alloc(&m, 1, 0);
    }
    for by in [0, 1] {
        m.put(
            ARG,
            &EvtchnAllocUnbound {
                dom: 1,
                ..Default::default()
            },
        );
        assert_eq!(evtchn(&m, by, EVTCHNOP_alloc_unbound), err(Errno::ENOSPC));
    }
    alloc(&m, 0, 1);
}
