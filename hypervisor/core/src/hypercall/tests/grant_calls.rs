//! grant_table_op beyond mapping and copying: versions, status frames, transfers, the table as a resource.

use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::errno::Errno;
use rexen_abi::grant_table::*;
use rexen_abi::memory::*;
use rexen_abi::xen::*;

use super::err;
use crate::hypercall::testing::{DOM0, DOMU, Fake, GUEST, MAPPED};
use crate::hypercall::{Machine, Outcome};
use crate::pvmmu::{Refs, TableAccess};
use crate::units::{DomId, Mfn};

const ARG: u64 = GUEST;
const LIST: u64 = GUEST + 0x1000;

fn op<T: rexen_abi::Plain>(m: &Fake, dom: u16, cmd: u32, arg: &T) -> u64 {
    m.put(ARG, arg);
    m.call(dom, __HYPERVISOR_grant_table_op, [cmd.into(), ARG, 1])
}

fn setup(m: &Fake, dom: u16, nr_frames: u32) -> i16 {
    let setup = GnttabSetupTable {
        dom: DOMID_SELF,
        nr_frames,
        status: 9,
        frame_list: LIST,
    };
    assert_eq!(op(m, dom, GNTTABOP_setup_table, &setup), 0);
    m.get::<GnttabSetupTable>(ARG).status
}

#[test]
fn a_long_growth_and_a_change_of_version_stop_and_go_on() {
    let m = Fake::new();
    for cmd in [GNTTABOP_setup_table, GNTTABOP_set_version] {
        if cmd == GNTTABOP_setup_table {
            let setup = GnttabSetupTable {
                dom: DOMID_SELF,
                nr_frames: 16,
                status: 9,
                frame_list: LIST,
            };
            m.put(ARG, &setup);
        } else {
            m.put(ARG, &GnttabSetVersion { version: 2 });
        }
        m.stops.store(u64::MAX, SeqCst);
        let args = [cmd.into(), ARG, 1, 0, 0];
        let mut turns = 0;
        while m.turn(1, 0, __HYPERVISOR_grant_table_op, args) != Outcome::Done(0) {
            turns += 1;
            m.check();
        }
        assert!(turns > 0, "{cmd}");
        m.stops.store(0, SeqCst);
    }
    let grants = &m.dom(1).grants;
    assert_eq!((grants.size().0, grants.version()), (16, 2));
    assert_eq!(grants.status_size().0, 2);
    let listed: [u64; 16] = m.get(LIST);
    for (mfn, n) in listed.into_iter().zip(0..) {
        assert_eq!(Some(Mfn(mfn)), grants.frame(n));
    }
    m.check();
}

#[test]
fn status_frames_are_told_to_those_who_may_know() {
    let m = Fake::new();
    assert_eq!(setup(&m, 1, 9), GNTST_okay);
    let get = |by: u16, nr_frames, dom, frame_list| {
        let get = GnttabGetStatusFrames {
            nr_frames,
            dom,
            status: 9,
            frame_list,
        };
        assert_eq!(op(&m, by, GNTTABOP_get_status_frames, &get), 0);
        m.get::<GnttabGetStatusFrames>(ARG).status
    };
    assert_eq!(
        get(1, 1, DOMID_SELF, LIST),
        GNTST_general_error,
        "version 1"
    );
    let ask = XenMemAcquireResource {
        domid: 1,
        kind: XENMEM_resource_grant_table,
        id: XENMEM_resource_grant_table_id_status,
        nr_frames: 2,
        frame_list: LIST,
        ..Default::default()
    };
    let acquire = |ask: &XenMemAcquireResource| {
        m.put(ARG, ask);
        m.call(
            0,
            __HYPERVISOR_memory_op,
            [XENMEM_acquire_resource.into(), ARG],
        )
    };
    assert_eq!(acquire(&ask), err(Errno::EINVAL), "version 1");
    assert_eq!(
        op(
            &m,
            1,
            GNTTABOP_set_version,
            &GnttabSetVersion { version: 2 }
        ),
        0
    );
    assert_eq!(get(1, 2, DOMID_SELF, LIST), GNTST_okay);
    let told: [u64; 2] = m.get(LIST);
    let grants = &m.dom(1).grants;
    assert_eq!(
        [Some(Mfn(told[0])), Some(Mfn(told[1]))],
        [0, 1].map(|n| grants.status_frame(n))
    );
    assert_eq!(get(1, 3, DOMID_SELF, LIST), GNTST_general_error);
    assert_eq!(get(1, 1, DOMID_SELF, 0x10), GNTST_bad_virt_addr);
    assert_eq!(get(1, 1, 0, LIST), GNTST_permission_denied);
    assert_eq!(get(0, 1, 1, LIST), GNTST_okay);
    assert_eq!(get(0, 1, 77, LIST), GNTST_bad_domain);
    m.put(LIST, &[0u64; 2]);
    assert_eq!(acquire(&ask), 0);
    assert_eq!(m.get::<[u64; 2]>(LIST), told);
    assert_eq!(
        acquire(&XenMemAcquireResource { frame: 1, ..ask }),
        err(Errno::EINVAL)
    );
    let size = XenMemAcquireResource {
        nr_frames: 0,
        frame_list: 0,
        ..ask
    };
    assert_eq!(acquire(&size), 0);
    assert_eq!(m.get::<XenMemAcquireResource>(ARG).nr_frames, 2);
    m.check();
}

/// Domain 1 gives its frame `mfn` to domain 0's entry `gref`.
fn transfer(m: &Fake, mfn: u64, domid: u16, gref: u32) -> i16 {
    let transfer = GnttabTransfer {
        mfn,
        domid,
        gref,
        status: 9,
    };
    assert_eq!(op(m, 1, GNTTABOP_transfer, &transfer), 0);
    m.get::<GnttabTransfer>(ARG).status
}

#[test]
fn a_frame_changes_hands_or_stays_where_it_is() {
    let m = Fake::new();
    assert_eq!(setup(&m, 0, 1), GNTST_okay);
    let table = m.dom(0).grants.frame(0).unwrap();
    let accept = |gref: usize, from: u64| m.write(table, gref, 0x55 << 32 | from << 16 | 2);
    let (given, used) = (DOMU.0 + 9, DOMU.0 + 10);
    let refs = Refs {
        frames: m.frames(),
        host: &m,
    };
    refs.hold(Mfn(used), DomId(1)).unwrap();
    accept(8, 1);
    accept(9, 7);
    for (mfn, domid, gref, status) in [
        (used, 0, 8, GNTST_bad_page),
        (DOM0.0 + 9, 0, 8, GNTST_bad_page),
        (1 << 40, 0, 8, GNTST_bad_page),
        (given, 77, 8, GNTST_bad_domain),
        (given, 0, 9, GNTST_general_error),
        (given, 0, 10, GNTST_general_error),
        (given, 0, 1 << 20, GNTST_general_error),
        (given, DOMID_SELF, 8, GNTST_general_error),
    ] {
        assert_eq!(
            transfer(&m, mfn, domid, gref),
            status,
            "{mfn:#x} {domid} {gref}"
        );
        assert_eq!(m.frames().word(Mfn(given)).owner(), DomId(1));
    }
    let dom0 = m.dom(0);
    let full = dom0.max_pages.swap(dom0.tot_pages.load(SeqCst), SeqCst);
    assert_eq!(transfer(&m, given, 0, 8), GNTST_general_error, "no room");
    dom0.max_pages.store(full, SeqCst);
    m.write(Mfn(given), 3, 0x1234);
    m.flushed.lock().unwrap().clear();
    assert_eq!(transfer(&m, given, 0, 8), GNTST_okay);
    assert_eq!(
        *m.flushed.lock().unwrap(),
        [DomId(1)],
        "it may have it cached"
    );
    assert_eq!(m.frames().word(Mfn(given)).owner(), DomId(0));
    assert_eq!(m.read(table, 8), given << 32 | 1 << 16 | 2 | 4 | 8);
    assert_eq!(m.m2p.lock().unwrap()[&given], 0x55);
    assert_eq!(m.read(Mfn(given), 3), 0x1234, "it keeps its contents");
    assert_eq!(transfer(&m, given, 0, 8), GNTST_bad_page, "it is gone");
    refs.release(Mfn(used));
    m.check();
}

#[test]
fn one_flush_for_many_unmappings() {
    let m = Fake::new();
    m.tables(0);
    assert_eq!(setup(&m, 1, 1), GNTST_okay);
    let table = m.dom(1).grants.frame(0).unwrap();
    m.write(table, 8, (DOMU.0 + 9) << 32 | 1);
    for n in 0..40 {
        let map = GnttabMapGrantRef {
            host_addr: MAPPED + (n << 12),
            flags: GNTMAP_host_map,
            gref: 8,
            dom: 1,
            ..Default::default()
        };
        assert_eq!(op(&m, 0, GNTTABOP_map_grant_ref, &map), 0);
        assert_eq!(m.get::<GnttabMapGrantRef>(ARG).status, GNTST_okay);
    }
    m.check();
    for (count, flushes) in [(1, 1), (39, 2)] {
        for n in 0..count {
            let handle = if count == 1 { 39 } else { n };
            let unmap = GnttabUnmapGrantRef {
                host_addr: MAPPED + (u64::from(handle) << 12),
                dev_bus_addr: 0,
                handle,
                status: 9,
            };
            m.put(ARG + u64::from(n) * 24, &unmap);
        }
        m.flushed.lock().unwrap().clear();
        let args = [GNTTABOP_unmap_grant_ref.into(), ARG, count.into()];
        assert_eq!(m.call(0, __HYPERVISOR_grant_table_op, args), 0);
        assert_eq!(*m.flushed.lock().unwrap(), vec![DomId(0); flushes]);
        for n in 0..count {
            let done = m.get::<GnttabUnmapGrantRef>(ARG + u64::from(n) * 24);
            assert_eq!(done.status, GNTST_okay);
        }
    }
    assert!(!m.dom(1).grants.is_used());
    m.check();
}
