//! domctl: making, stopping and destroying domains.

use std::string::String;
use std::sync::atomic::Ordering::SeqCst;
use std::vec::Vec;

use rexen_abi::Plain;
use rexen_abi::arch_x86::XenArchDomainconfig;
use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;
use rexen_abi::event_channel::*;
use rexen_abi::grant_table::*;
use rexen_abi::memory::*;
use rexen_abi::vcpu::*;
use rexen_abi::xen::*;

use super::err;
use crate::domain::{Ldt, Stage, VcpuFlags};
use crate::hypercall::testing::{DOM0, FREE, Fake, GUEST, MAPPED};
use crate::hypercall::{Machine, Outcome, shut_down, teardown};
use crate::pvmmu::{DomainMm, INVALID_PFN, TableAccess};
use crate::units::{DomId, EvtchnPort, Mfn};

const ARG: u64 = GUEST;
const LIST: u64 = GUEST + 0x1000;
/// The domain that the tests make, and the entry of a grant table that they use.
const NEW: u16 = 2;
const GREF: u32 = 8;

/// A domctl by domain `by`.
fn domctl<T: Plain>(m: &Fake, by: u16, cmd: u32, domain: u16, arg: &T) -> u64 {
    m.put_domctl(ARG, cmd, domain, arg);
    m.call(by, __HYPERVISOR_domctl, [ARG])
}

/// A domctl by domain 0 without a structure.
fn plain(m: &Fake, cmd: u32, domain: u16) -> u64 {
    domctl(m, 0, cmd, domain, &0u8)
}

/// What `xl create` asks for, with two vcpus.
fn asked() -> XenDomctlCreatedomain {
    XenDomctlCreatedomain {
        ssidref: 7,
        handle: [9; 16],
        flags: 0,
        iommu_opts: 0,
        max_vcpus: 2,
        max_evtchn_port: 1023,
        max_grant_frames: -1,
        max_maptrack_frames: -1,
        grant_opts: 1,
        vmtrace_size: 0,
        cpupool_id: 0,
        arch: XenArchDomainconfig::default(),
    }
}

fn create(m: &Fake, domain: u16, asked: &XenDomctlCreatedomain) -> u64 {
    domctl(m, 0, XEN_DOMCTL_createdomain, domain, asked)
}

/// Makes domain [`NEW`].
fn create_new(m: &Fake) {
    assert_eq!(create(m, DOMID_INVALID, &asked()), 0);
    assert_eq!(m.get::<XenDomctl>(ARG).domain, NEW);
    m.dom(NEW).max_pages.store(32, SeqCst);
}

fn info(m: &Fake, domain: u16) -> XenDomctlGetdomaininfo {
    assert_eq!(plain(m, XEN_DOMCTL_getdomaininfo, domain), 0);
    m.get(ARG + 16)
}

fn flags(m: &Fake, domain: u16) -> u32 {
    info(m, domain).flags & 0xffff
}

#[test]
fn a_new_domain_is_paused_and_empty() {
    let m = Fake::new();
    create_new(&m);
    let info = info(&m, NEW);
    assert_eq!(info.flags & 0xffff, XEN_DOMINF_paused);
    assert_eq!((info.domain, info.tot_pages), (NEW, 0));
    assert_eq!((info.handle, info.ssidref), ([9; 16], 7));
    assert_eq!((info.nr_online_vcpus, info.max_vcpu_id), (0, 1));
    let domain = m.dom(NEW);
    assert!(!domain.is_privileged);
    assert_eq!(domain.grants.size(), (1, 64));
    assert_eq!(info.shared_info_frame, domain.shared_info.0);
    assert_eq!(
        m.m2p.lock().unwrap()[&domain.grants.frame(0).unwrap().0],
        INVALID_PFN
    );
    m.check();
}

#[test]
fn a_domain_gets_the_number_it_asks_for_or_a_free_one() {
    let m = Fake::new();
    assert_eq!(create(&m, 1, &asked()), err(Errno::EEXIST));
    assert_eq!(create(&m, 40, &asked()), 0);
    assert_eq!(m.get::<XenDomctl>(ARG).domain, 40);
    for auto in [0, 0x7ff0, DOMID_SELF, DOMID_INVALID] {
        assert_eq!(create(&m, auto, &asked()), 0);
        let id = m.get::<XenDomctl>(ARG).domain;
        assert!(id > 1 && id != 40 && id < 0x7ff0, "{id}");
    }
    m.check();
}

#[test]
fn a_domain_that_cannot_be_is_refused() {
    let m = Fake::new();
    let free = m.nr_free_frames();
    type Change = fn(&mut XenDomctlCreatedomain);
    let wrong: [Change; 14] = [
        |a| a.flags = XEN_DOMCTL_CDF_hvm,
        |a| a.flags = XEN_DOMCTL_CDF_hap,
        |a| a.flags = XEN_DOMCTL_CDF_iommu,
        |a| a.flags = XEN_DOMCTL_CDF_vpmu,
        |a| a.flags = 1 << 8,
        |a| a.iommu_opts = 1,
        |a| a.max_vcpus = 0,
        |a| a.max_vcpus = 65,
        |a| a.max_grant_frames = 0,
        |a| a.max_grant_frames = 65,
        |a| a.max_maptrack_frames = i32::MAX,
        |a| a.grant_opts = 0,
        |a| a.grant_opts = 0x11,
        |a| a.vmtrace_size = 1,
    ];
    for (n, change) in wrong.into_iter().enumerate() {
        let mut asked = asked();
        change(&mut asked);
        assert_eq!(create(&m, 0, &asked), err(Errno::EINVAL), "{n}");
    }
    let pool = XenDomctlCreatedomain {
        cpupool_id: 1,
        ..asked()
    };
    assert_eq!(create(&m, 0, &pool), err(Errno::ENOENT));
    let mut emulated = asked();
    emulated.arch.emulation_flags = 1;
    assert_eq!(create(&m, 0, &emulated), err(Errno::EOPNOTSUPP));
    assert!(m.domain(DomId(NEW)).is_none());
    assert_eq!(m.nr_free_frames(), free);
}

#[test]
fn only_domain_0_controls_others_and_not_itself() {
    let m = Fake::new();
    for cmd in [
        XEN_DOMCTL_createdomain,
        XEN_DOMCTL_max_vcpus,
        XEN_DOMCTL_pausedomain,
        XEN_DOMCTL_unpausedomain,
        XEN_DOMCTL_destroydomain,
        XEN_DOMCTL_resumedomain,
        XEN_DOMCTL_setdomainhandle,
        XEN_DOMCTL_getdomaininfo,
    ] {
        for target in [0, 1, 99, DOMID_SELF] {
            assert_eq!(domctl(&m, 1, cmd, target, &asked()), err(Errno::EPERM));
        }
        if cmd == XEN_DOMCTL_createdomain {
            continue;
        }
        assert_eq!(domctl(&m, 0, cmd, 99, &asked()), err(Errno::ESRCH), "{cmd}");
        let harmless = matches!(cmd, XEN_DOMCTL_setdomainhandle | XEN_DOMCTL_getdomaininfo);
        if !harmless {
            assert_eq!(domctl(&m, 0, cmd, 0, &2u32), err(Errno::EINVAL), "{cmd}");
        }
    }
    assert_eq!(m.dom(0).life.stage(), Stage::Alive);
    assert_eq!(flags(&m, 1) & XEN_DOMINF_paused, 0);
}

#[test]
fn vcpus_are_as_many_as_at_creation() {
    let m = Fake::new();
    create_new(&m);
    let max_vcpus = |max| domctl(&m, 0, XEN_DOMCTL_max_vcpus, NEW, &XenDomctlMaxVcpus { max });
    assert_eq!(max_vcpus(2), 0);
    for max in [0, 1, 3, u32::MAX] {
        assert_eq!(max_vcpus(max), err(Errno::EINVAL));
    }
}

#[test]
fn a_handle_can_be_changed() {
    let m = Fake::new();
    assert_eq!(domctl(&m, 0, XEN_DOMCTL_setdomainhandle, 1, &[5u8; 16]), 0);
    assert_eq!(info(&m, 1).handle, [5; 16]);
}

#[test]
fn pauses_are_counted() {
    let m = Fake::new();
    let is_runnable = || m.dom(1).vcpus[0].is_runnable();
    assert_eq!(plain(&m, XEN_DOMCTL_unpausedomain, 1), err(Errno::EINVAL));
    for n in 1..=255 {
        assert_eq!(plain(&m, XEN_DOMCTL_pausedomain, 1), 0, "{n}");
        assert!(!is_runnable());
    }
    assert_eq!(plain(&m, XEN_DOMCTL_pausedomain, 1), err(Errno::EOVERFLOW));
    assert_ne!(flags(&m, 1) & XEN_DOMINF_paused, 0);
    for n in 1..=255 {
        assert!(!is_runnable(), "{n}");
        assert_eq!(plain(&m, XEN_DOMCTL_unpausedomain, 1), 0, "{n}");
    }
    assert!(is_runnable());
    assert_eq!(flags(&m, 1) & XEN_DOMINF_paused, 0);
    assert_eq!(plain(&m, XEN_DOMCTL_unpausedomain, 1), err(Errno::EINVAL));
}

#[test]
fn the_first_start_settles_the_policy() {
    let m = Fake::new();
    create_new(&m);
    let change = || {
        let domain = m.dom(NEW);
        let policy = (*domain.policy.now()).clone();
        domain.policy.change(policy).is_ok()
    };
    assert_eq!(plain(&m, XEN_DOMCTL_pausedomain, NEW), 0);
    assert_eq!(plain(&m, XEN_DOMCTL_unpausedomain, NEW), 0);
    assert!(change(), "it was paused twice");
    assert_eq!(plain(&m, XEN_DOMCTL_unpausedomain, NEW), 0);
    assert!(!change());
    assert_eq!(plain(&m, XEN_DOMCTL_pausedomain, NEW), 0);
    assert!(!change());
}

/// Binds VIRQ_DOM_EXC of domain 0.
fn bind_dom_exc(m: &Fake) -> EvtchnPort {
    m.put(
        ARG,
        &EvtchnBindVirq {
            virq: VIRQ_DOM_EXC,
            vcpu: 0,
            port: 0,
        },
    );
    assert_eq!(evtchn(m, 0, EVTCHNOP_bind_virq), 0);
    EvtchnPort(m.get::<EvtchnBindVirq>(ARG).port)
}

/// Whether the event came since the last time.
fn take_event(m: &Fake, port: EvtchnPort) -> bool {
    let at = 0x800 / 8 + port.0 as usize / 64;
    let pending = m.read(m.dom(0).shared_info, at);
    m.write(m.dom(0).shared_info, at, pending & !(1 << (port.0 % 64)));
    pending >> (port.0 % 64) & 1 != 0
}

#[test]
fn the_toolstack_is_told_of_each_end() {
    let m = Fake::new();
    create_new(&m);
    let port = bind_dom_exc(&m);
    assert!(!take_event(&m, port), "all is well");
    shut_down(&m, &m.dom(1), 3);
    assert!(take_event(&m, port), "a shutdown");
    let shutdown = flags(&m, 1);
    assert_ne!(shutdown & XEN_DOMINF_shutdown, 0);
    assert_eq!(plain(&m, XEN_DOMCTL_destroydomain, NEW), 0);
    assert!(take_event(&m, port), "a destruction");
    m.put(ARG, &EvtchnClose { port: port.0 });
    assert_eq!(evtchn(&m, 0, EVTCHNOP_close), 0);
    let port = bind_dom_exc(&m);
    assert!(take_event(&m, port), "what came before somebody listened");
}

#[test]
fn a_domain_that_was_shut_down_can_be_resumed() {
    let m = Fake::new();
    shut_down(&m, &m.dom(1), 2);
    assert!(!m.dom(1).vcpus[0].is_runnable());
    assert_eq!(info(&m, 1).flags >> XEN_DOMINF_shutdownshift & 0xff, 2);
    assert_eq!(plain(&m, XEN_DOMCTL_resumedomain, 1), 0);
    assert!(m.dom(1).vcpus[0].is_runnable());
    assert!(!m.dom(1).is_shut_down());
    shut_down(&m, &m.dom(1), 0);
    assert!(!m.dom(1).vcpus[0].is_runnable(), "and shut down again");
}

fn evtchn(m: &Fake, dom: u16, cmd: u32) -> u64 {
    m.call(dom, __HYPERVISOR_event_channel_op, [cmd.into(), ARG])
}

/// Binds a port of `near` to a new one of `far`.
fn connect(m: &Fake, near: u16, far: u16) {
    let dom = DOMID_SELF;
    m.put(
        ARG,
        &EvtchnAllocUnbound {
            dom,
            remote_dom: near,
            port: 0,
        },
    );
    assert_eq!(evtchn(m, far, EVTCHNOP_alloc_unbound), 0);
    let port = m.get::<EvtchnAllocUnbound>(ARG).port;
    m.put(
        ARG,
        &EvtchnBindInterdomain {
            remote_dom: far,
            remote_port: port,
            local_port: 0,
        },
    );
    assert_eq!(evtchn(m, near, EVTCHNOP_bind_interdomain), 0);
}

/// Gives domain [`NEW`] pages, by domain 0, and returns them.
fn populate(m: &Fake, count: u64) -> Vec<Mfn> {
    for n in 0..count {
        m.put(LIST + n * 8, &(100 + n));
    }
    m.put(
        ARG,
        &XenMemoryReservation {
            extent_start: LIST,
            nr_extents: count,
            extent_order: 0,
            mem_flags: 0,
            domid: NEW,
        },
    );
    let done = m.call(
        0,
        __HYPERVISOR_memory_op,
        [XENMEM_populate_physmap.into(), ARG],
    );
    assert_eq!(done, count);
    (0..count).map(|n| Mfn(m.get(LIST + n * 8))).collect()
}

/// Lets `granter` permit `grantee` to map `mfn` by entry [`GREF`].
fn permit(m: &Fake, granter: u16, grantee: u16, mfn: Mfn) {
    let entry = u64::from(GTF_permit_access) | u64::from(grantee) << 16 | mfn.0 << 32;
    let table = m.dom(granter).grants.frame(0).unwrap();
    m.write(table, GREF as usize, entry);
}

/// Lets `grantee` map what `granter` permits, as page `page` of the tables that [`Fake::tables`] made.
fn map_grant(m: &Fake, grantee: u16, granter: u16, page: u64) -> u32 {
    m.put(
        ARG,
        &GnttabMapGrantRef {
            host_addr: MAPPED + page * 4096,
            flags: GNTMAP_host_map,
            gref: GREF,
            dom: granter,
            ..GnttabMapGrantRef::default()
        },
    );
    let cmd = GNTTABOP_map_grant_ref.into();
    assert_eq!(
        m.call(grantee, __HYPERVISOR_grant_table_op, [cmd, ARG, 1]),
        0
    );
    let mapped = m.get::<GnttabMapGrantRef>(ARG);
    assert_eq!(mapped.status, GNTST_okay);
    mapped.handle
}

fn unmap_grant(m: &Fake, grantee: u16, page: u64, handle: u32) {
    m.put(
        ARG,
        &GnttabUnmapGrantRef {
            host_addr: MAPPED + page * 4096,
            dev_bus_addr: 0,
            handle,
            status: 1,
        },
    );
    let cmd = GNTTABOP_unmap_grant_ref.into();
    assert_eq!(
        m.call(grantee, __HYPERVISOR_grant_table_op, [cmd, ARG, 1]),
        0
    );
    assert_eq!(m.get::<GnttabUnmapGrantRef>(ARG).status, GNTST_okay);
}

/// Builds domain [`NEW`] as a toolstack does and lets it use everything there is: page tables, descriptors, ports of all
/// kinds, the FIFO ABI, its own vcpu_info, grants of others. Returns its pages.
fn build_lively(m: &Fake) -> Vec<Mfn> {
    create_new(m);
    let pages = populate(m, 16);
    let domain = m.dom(NEW);
    let [l4, l3, l2, l1] = [pages[0], pages[1], pages[2], pages[3]];
    m.write(l4, 0, l3.maddr() | 7);
    m.write(l3, 64, l2.maddr() | 7);
    m.write(l2, 0, l1.maddr() | 7);
    m.write(l1, 0, pages[4].maddr() | 7);
    m.write(l1, 511, pages[5].maddr() | 5);
    // A table that nobody pins but one level up does, and one pinned by itself.
    m.write(l3, 65, pages[6].maddr() | 7);
    let pin = |level: u32, mfn: Mfn| {
        m.put(
            ARG,
            &MmuextOp {
                cmd: level - 1,
                arg1: mfn.0,
                ..MmuextOp::default()
            },
        );
        m.call(0, __HYPERVISOR_mmuext_op, [ARG, 1, 0, NEW.into()])
    };
    assert_eq!(pin(4, l4), 0);
    assert_eq!(pin(2, pages[6]), 0);
    {
        let mut state = domain.mm.lock();
        let mut mm = DomainMm::new(m.frames(), m, &mut state);
        mm.replace_base(None, Some(l4)).unwrap();
        mm.hold_descriptors(pages[7]).unwrap();
    }
    domain.vcpus[0].kernel_l4.store(l4.0, SeqCst);
    let mut ldt = Ldt {
        base: MAPPED,
        entries: 1,
        ..Ldt::default()
    };
    ldt.frames[0] = Some(pages[7]);
    *domain.vcpus[0].ldt.lock() = ldt;
    domain.vcpus[0]
        .flags
        .fetch_or(VcpuFlags::INITIALISED, SeqCst);
    domain.vcpus[0].flags.fetch_and(!VcpuFlags::DOWN, SeqCst);
    drop(domain);
    assert_eq!(plain(m, XEN_DOMCTL_unpausedomain, NEW), 0);

    m.put(LIST, &pages[8].0);
    assert_eq!(m.call(NEW, __HYPERVISOR_set_gdt, [LIST, 512]), 0);
    m.put(
        ARG,
        &VcpuRegisterVcpuInfo {
            mfn: pages[9].0,
            offset: 64,
            rsvd: 0,
        },
    );
    let register = VCPUOP_register_vcpu_info.into();
    assert_eq!(m.call(NEW, __HYPERVISOR_vcpu_op, [register, 0, ARG]), 0);
    connect(m, NEW, 0);
    connect(m, 1, NEW);
    connect(m, NEW, NEW);
    m.put(
        ARG,
        &EvtchnInitControl {
            control_gfn: pages[10].0,
            ..EvtchnInitControl::default()
        },
    );
    assert_eq!(evtchn(m, NEW, EVTCHNOP_init_control), 0);
    m.put(
        ARG,
        &EvtchnExpandArray {
            array_gfn: pages[11].0,
        },
    );
    assert_eq!(evtchn(m, NEW, EVTCHNOP_expand_array), 0);
    for virq in [VIRQ_TIMER, VIRQ_DEBUG] {
        m.put(
            ARG,
            &EvtchnBindVirq {
                virq,
                vcpu: 0,
                port: 0,
            },
        );
        assert_eq!(evtchn(m, NEW, EVTCHNOP_bind_virq), 0);
    }
    permit(m, 0, NEW, Mfn(DOM0.0 + 20));
    map_grant(m, NEW, 0, 10);
    m.check();
    pages
}

/// Domain 0 and 1 as the tests start with them.
fn start() -> Fake {
    let m = Fake::new();
    m.tables(0);
    m.tables(1);
    for id in [0, 1] {
        crate::hypercall::furnish(&m, &m.dom(id)).unwrap();
    }
    m
}

/// What must be as before when a domain is gone.
fn account(m: &Fake) -> (u64, Vec<(u64, bool)>, Vec<String>) {
    let domains = [0, 1].map(|id| m.dom(id));
    let words = (DOM0.0..FREE.1).map(|mfn| m.frames().word(Mfn(mfn)));
    let words = words.filter(|word| word.owner() < DomId(NEW));
    (
        m.nr_free_frames(),
        domains
            .iter()
            .map(|d| (d.tot_pages.load(SeqCst), d.grants.is_used()))
            .collect(),
        words
            .map(|word| std::format!("{:?} {}", word.owner(), word.refs()))
            .collect(),
    )
}

/// Destroys the domain, stopped whenever it looks whether to stop if `at_each_look`, else at the looks that are bits of
/// `stops`. Returns how many turns it took.
fn destroy(m: &Fake, stops: u64, at_each_look: bool) -> u32 {
    m.stops.store(stops, SeqCst);
    for turn in 1..1000 {
        if at_each_look {
            m.stops.store(u64::MAX, SeqCst);
        }
        m.put_domctl(ARG, XEN_DOMCTL_destroydomain, NEW, &0u8);
        match m.turn(0, 0, __HYPERVISOR_domctl, [ARG, 5, 5, 5, 5]) {
            Outcome::Done(result) => {
                m.stops.store(0, SeqCst);
                assert_eq!(result, 0);
                return turn;
            }
            Outcome::Again(args) => assert_eq!(args, [ARG, 5, 5, 5, 5]),
            Outcome::Replaced => panic!(),
        }
        m.check();
    }
    panic!("the destruction does not end");
}

#[test]
fn a_destroyed_domain_leaves_nothing_behind_wherever_it_is_interrupted() {
    let mut longest = 0;
    // Once without a stop, then with one at each look that there is, then with all.
    for n in 0..=65 {
        let m = start();
        let before = account(&m);
        build_lively(&m);
        assert_ne!(account(&m), before);
        let turns = match n {
            0 => destroy(&m, 0, false),
            65 => destroy(&m, 0, true),
            n => {
                // The vcpus are slow to leave their CPUs, too.
                m.on_cpu.store(n & 3, SeqCst);
                destroy(&m, 1 << (n - 1), false)
            }
        };
        longest = longest.max(turns);
        teardown::reap(&m);
        assert!(m.domain(DomId(NEW)).is_none(), "{n}");
        // Domain 0 and 1 close the ports whose other ends are gone.
        assert_eq!(account(&m), before, "{n}");
        m.check();
    }
    assert!(longest > 40, "{longest}");
}

#[test]
fn a_dead_domain_stays_listed_while_others_use_its_frames() {
    let m = start();
    let before = account(&m);
    let pages = build_lively(&m);
    permit(&m, NEW, 1, pages[12]);
    let handle = map_grant(&m, 1, NEW, 0);
    // Domain 0 maps a page of it, its shared_info, and its grant table.
    let domain = m.dom(NEW);
    let l1 = Mfn(DOM0.0 + 3);
    let foreign = [
        pages[13],
        domain.shared_info,
        domain.grants.frame(0).unwrap(),
    ];
    drop(domain);
    let map = |n: u64, entry: u64| {
        m.put(
            ARG,
            &MmuUpdate {
                ptr: l1.maddr() + n * 8,
                val: entry,
            },
        );
        m.call(0, __HYPERVISOR_mmu_update, [ARG, 1, 0, NEW.into()])
    };
    for (n, mfn) in foreign.iter().enumerate() {
        assert_eq!(map(n as u64, mfn.maddr() | 7), 0);
    }
    assert_eq!(destroy(&m, 0, false), 1);
    assert_eq!(flags(&m, NEW) & XEN_DOMINF_dying, XEN_DOMINF_dying);
    assert_eq!(
        map(7, pages[13].maddr() | 7),
        err(Errno::EBUSY),
        "no new uses"
    );
    assert_eq!(plain(&m, XEN_DOMCTL_destroydomain, NEW), 0, "again");

    unmap_grant(&m, 1, 0, handle);
    assert_eq!(info(&m, NEW).tot_pages, 2, "the page, and the grant table");
    for n in 0..3 {
        assert_eq!(info(&m, NEW).domain, NEW, "{n}");
        assert_eq!(map(n, 0), 0);
    }
    assert_eq!(plain(&m, XEN_DOMCTL_getdomaininfo, NEW), err(Errno::ESRCH));
    assert_eq!(account(&m), before);
    m.check();
}

#[test]
fn a_dying_domain_is_given_nothing() {
    let m = start();
    let pages = build_lively(&m);
    m.on_cpu.store(1, SeqCst);
    m.put_domctl(ARG, XEN_DOMCTL_destroydomain, NEW, &0u8);
    let turn = m.turn(0, 0, __HYPERVISOR_domctl, [ARG, 0, 0, 0, 0]);
    assert!(matches!(turn, Outcome::Again(_)));
    assert_eq!(flags(&m, NEW) & XEN_DOMINF_dying, 0, "not dead yet");
    assert!(m.dom(NEW).vcpus.iter().all(|vcpu| !vcpu.is_runnable()));

    let tot = m.dom(NEW).tot_pages.load(SeqCst);
    let populate = XenMemoryReservation {
        extent_start: LIST,
        nr_extents: 1,
        extent_order: 0,
        mem_flags: 0,
        domid: NEW,
    };
    m.put(ARG, &populate);
    let cmd = XENMEM_populate_physmap.into();
    assert_eq!(m.call(0, __HYPERVISOR_memory_op, [cmd, ARG]), 0);
    assert_eq!(m.dom(NEW).tot_pages.load(SeqCst), tot);
    m.put(
        ARG,
        &MmuextOp {
            cmd: MMUEXT_PIN_L1_TABLE,
            arg1: pages[14].0,
            ..MmuextOp::default()
        },
    );
    let pinned = m.call(0, __HYPERVISOR_mmuext_op, [ARG, 1, 0, NEW.into()]);
    assert_eq!(pinned, err(Errno::EINVAL));
    m.put(
        ARG,
        &EvtchnAllocUnbound {
            dom: NEW,
            remote_dom: 0,
            port: 0,
        },
    );
    assert_eq!(evtchn(&m, 0, EVTCHNOP_alloc_unbound), err(Errno::EINVAL));
    assert_eq!(plain(&m, XEN_DOMCTL_resumedomain, NEW), 0);
    assert_eq!(plain(&m, XEN_DOMCTL_pausedomain, NEW), 0);
    assert_eq!(plain(&m, XEN_DOMCTL_unpausedomain, NEW), 0);
    assert!(m.dom(NEW).vcpus.iter().all(|vcpu| !vcpu.is_runnable()));
    assert_eq!(destroy(&m, 0, false), 1);
    m.check();
}
