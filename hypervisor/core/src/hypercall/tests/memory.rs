//! memory_op and grant_table_op.

use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::errno::Errno;
use rexen_abi::grant_table::*;
use rexen_abi::memory::*;
use rexen_abi::xen::*;

use super::err;
use crate::hypercall::testing::{ALL, DOM0, DOMU, FREE, Fake, GUEST, MAPPED};
use crate::hypercall::{Machine, Outcome};
use crate::pvmmu::{MmuHost, TableAccess};
use crate::units::{DomId, Mfn};

const ARG: u64 = GUEST;
const LIST: u64 = GUEST + 0x1000;
const OUT: u64 = GUEST + 0x2000;

fn op(m: &Fake, dom: u16, cmd: u32) -> u64 {
    m.call(dom, __HYPERVISOR_memory_op, [u64::from(cmd), ARG])
}

fn reservation(count: u64, order: u32) -> XenMemoryReservation {
    XenMemoryReservation {
        extent_start: LIST,
        nr_extents: count,
        extent_order: order,
        mem_flags: 0,
        domid: DOMID_SELF,
    }
}

fn list(m: &Fake, at: u64, numbers: impl IntoIterator<Item = u64>) {
    numbers
        .into_iter()
        .zip(0..)
        .for_each(|(number, n)| m.put(at + n * 8, &number));
}

fn tot(m: &Fake, dom: u16) -> u64 {
    m.dom(dom).tot_pages.load(SeqCst)
}

#[test]
fn populate_gives_frames_at_the_pfns_in_the_list() {
    let m = Fake::new();
    list(&m, LIST, [500, 600]);
    m.put(ARG, &reservation(2, 1));
    assert_eq!(op(&m, 1, XENMEM_populate_physmap), 2);
    for (n, pfn) in [500, 600].into_iter().enumerate() {
        let mfn: u64 = m.get(LIST + n as u64 * 8);
        for k in 0..2 {
            assert_eq!(m.frames().word(Mfn(mfn + k)).owner(), DomId(1));
            assert_eq!(m.m2p.lock().unwrap()[&(mfn + k)], pfn + k);
        }
    }
    assert_eq!(tot(&m, 1), DOMU.1 - DOMU.0 + 4);
    m.check();
}

#[test]
fn what_is_populated_can_be_given_back() {
    let m = Fake::new();
    let free = m.nr_free_frames();
    list(&m, LIST, 0..10);
    m.put(ARG, &reservation(10, 0));
    assert_eq!(op(&m, 1, XENMEM_populate_physmap), 10);
    assert_eq!(op(&m, 1, XENMEM_decrease_reservation), 10);
    assert_eq!(m.nr_free_frames(), free);
    assert_eq!(tot(&m, 1), DOMU.1 - DOMU.0);
    assert_eq!(
        op(&m, 1, XENMEM_decrease_reservation),
        0,
        "no longer the domain's"
    );
    m.check();
}

#[test]
fn a_large_extent_goes_in_parts() {
    let m = Fake::new();
    m.dom(0).max_pages.store(1000, SeqCst);
    list(&m, LIST, [0]);
    m.put(ARG, &reservation(1, 7));
    assert_eq!(op(&m, 0, XENMEM_populate_physmap), 1);
    let before = tot(&m, 0);
    let cmd = u64::from(XENMEM_decrease_reservation);
    m.stops.store(1, SeqCst);
    let turn = m.turn(0, 0, __HYPERVISOR_memory_op, [cmd, ARG, 1, 2, 3]);
    // 64 of the 128 frames are gone.
    let args = [cmd | 64 << 32, ARG, 1, 2, 3];
    assert_eq!(turn, Outcome::Again(args));
    assert_eq!(tot(&m, 0), before - 64);
    let turn = m.turn(0, 0, __HYPERVISOR_memory_op, args);
    assert_eq!(turn, Outcome::Done(1));
    assert_eq!(tot(&m, 0), before - 128);
    // What is above the command of a guest's own call does not hide frames.
    list(&m, LIST, [0]);
    m.put(ARG, &reservation(1, 0));
    assert_eq!(op(&m, 0, XENMEM_populate_physmap), 1);
    assert_eq!(
        m.call(0, __HYPERVISOR_memory_op, [cmd | 9 << 32, ARG]),
        1,
        "one frame, no part of it"
    );
    assert_eq!(tot(&m, 0), before - 128);
    m.check();
}

#[test]
fn a_domain_gets_no_more_than_it_may_have() {
    let m = Fake::new();
    m.dom(1).max_pages.store(DOMU.1 - DOMU.0 + 3, SeqCst);
    m.put(ARG, &reservation(10, 0));
    assert_eq!(op(&m, 1, XENMEM_increase_reservation), 3);
    assert_eq!(tot(&m, 1), DOMU.1 - DOMU.0 + 3);
    m.check();
}

#[test]
fn orders_beyond_the_callers_limit_are_not_done() {
    let m = Fake::new();
    m.put(ARG, &reservation(1, 10));
    assert_eq!(op(&m, 1, XENMEM_increase_reservation), 0);
    m.put(ARG, &reservation(1, 13));
    assert_eq!(op(&m, 0, XENMEM_increase_reservation), 0);
    assert_eq!(op(&m, 0, XENMEM_decrease_reservation), 0);
}

#[test]
fn only_domain_0_may_change_the_memory_of_others() {
    let m = Fake::new();
    m.put(
        ARG,
        &XenMemoryReservation {
            domid: 0,
            ..reservation(1, 0)
        },
    );
    assert_eq!(op(&m, 1, XENMEM_increase_reservation), 0);
    m.put(
        ARG,
        &XenMemoryReservation {
            domid: 1,
            ..reservation(1, 0)
        },
    );
    assert_eq!(op(&m, 0, XENMEM_increase_reservation), 1);
    assert_eq!(tot(&m, 1), DOMU.1 - DOMU.0 + 1);
    m.check();
}

#[test]
fn a_long_reservation_goes_on_at_the_extent_in_the_command() {
    let m = Fake::new();
    list(&m, LIST, 0..100);
    m.dom(0).max_pages.store(1000, SeqCst);
    m.put(ARG, &reservation(100, 0));
    m.stops.store(1, SeqCst);
    let turn = m.turn(
        0,
        0,
        __HYPERVISOR_memory_op,
        [XENMEM_populate_physmap.into(), ARG, 1, 2, 3],
    );
    assert_eq!(
        turn,
        Outcome::Again([u64::from(XENMEM_populate_physmap) | 64 << 6, ARG, 1, 2, 3])
    );
    let Outcome::Again(args) = turn else {
        unreachable!()
    };
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_memory_op, args),
        Outcome::Done(100)
    );
    assert_eq!(tot(&m, 0), DOM0.1 - DOM0.0 + 100);
    // A start beyond the list is harmless.
    let beyond = u64::from(XENMEM_populate_physmap) | 5000 << 6;
    assert_eq!(m.call(0, __HYPERVISOR_memory_op, [beyond, ARG]), 5000);
}

fn exchange(nr: u64, order: u32, bits: u32) -> XenMemoryExchange {
    XenMemoryExchange {
        input: reservation(nr << order, 0),
        output: XenMemoryReservation {
            extent_start: OUT,
            mem_flags: bits,
            ..reservation(nr, order)
        },
        nr_exchanged: 0,
    }
}

#[test]
fn single_frames_are_exchanged_for_contiguous_ones() {
    let m = Fake::new();
    let free = m.nr_free_frames();
    list(&m, LIST, (0..8).map(|n| DOM0.0 + 2 * n));
    list(&m, OUT, [1000, 2000]);
    m.put(ARG, &exchange(2, 2, 0));
    assert_eq!(op(&m, 0, XENMEM_exchange), 0);
    assert_eq!(m.get::<XenMemoryExchange>(ARG).nr_exchanged, 8);
    for (n, pfn) in [1000, 2000].into_iter().enumerate() {
        let mfn: u64 = m.get(OUT + n as u64 * 8);
        for k in 0..4 {
            assert_eq!(m.frames().word(Mfn(mfn + k)).owner(), DomId(0));
            assert_eq!(m.m2p.lock().unwrap()[&(mfn + k)], pfn + k);
        }
    }
    assert!(m.frames().word(Mfn(DOM0.0)).is_free());
    assert_eq!(m.nr_free_frames(), free);
    assert_eq!(tot(&m, 0), DOM0.1 - DOM0.0);
    m.check();
}

#[test]
fn contiguous_frames_are_exchanged_for_single_ones() {
    let m = Fake::new();
    list(&m, LIST, [DOM0.0 + 8]);
    list(&m, OUT, 0..4);
    let e = exchange(4, 0, 0);
    m.put(
        ARG,
        &XenMemoryExchange {
            input: reservation(1, 2),
            ..e
        },
    );
    assert_eq!(op(&m, 0, XENMEM_exchange), 0);
    assert!((0..4).all(|n| m.m2p.lock().unwrap()[&m.get::<u64>(OUT + n * 8)] == n));
    assert_eq!(tot(&m, 0), DOM0.1 - DOM0.0);
    m.check();
}

#[test]
fn an_exchange_that_finds_no_memory_changes_nothing() {
    let m = Fake::new();
    list(&m, LIST, (0..8).map(|n| DOM0.0 + n));
    // The free frames are above 2^19 bytes.
    assert!(FREE.0 << 12 >= 1 << 19);
    m.put(ARG, &exchange(1, 3, 19));
    assert_eq!(op(&m, 0, XENMEM_exchange), err(Errno::ENOMEM));
    assert_eq!(m.get::<XenMemoryExchange>(ARG).nr_exchanged, 0);
    assert!((0..8).all(|n| m.frames().word(Mfn(DOM0.0 + n)).is_allocated()));
    assert_eq!(tot(&m, 0), DOM0.1 - DOM0.0);
    m.check();
}

#[test]
fn frames_in_use_or_of_others_are_not_exchanged() {
    let m = Fake::new();
    let [l4, ..] = m.tables(0);
    let free = m.nr_free_frames();
    for bad in [l4.0, DOMU.0, 5, 299, u64::MAX] {
        list(&m, LIST, [DOM0.0 + 20, bad]);
        m.put(ARG, &exchange(1, 1, 0));
        assert_eq!(op(&m, 0, XENMEM_exchange), err(Errno::EINVAL), "{bad:#x}");
        assert_eq!(m.nr_free_frames(), free);
        assert!(m.frames().word(Mfn(DOM0.0 + 20)).is_allocated());
    }
    m.check();
}

#[test]
fn a_frame_listed_twice_is_lost_and_the_exchange_refused() {
    let m = Fake::new();
    list(&m, LIST, [DOM0.0 + 20, DOM0.0 + 20]);
    m.put(ARG, &exchange(1, 1, 0));
    assert_eq!(op(&m, 0, XENMEM_exchange), err(Errno::EINVAL));
    assert_eq!(tot(&m, 0), DOM0.1 - DOM0.0 - 1);
    m.check();
}

#[test]
fn an_exchange_must_be_of_equal_amounts_and_small_orders() {
    let m = Fake::new();
    let good = exchange(1, 2, 0);
    let refused = |e: XenMemoryExchange| {
        m.put(ARG, &e);
        op(&m, 0, XENMEM_exchange)
    };
    let mut e = good;
    e.input.nr_extents = 5;
    assert_eq!(refused(e), err(Errno::EINVAL));
    e = good;
    e.nr_exchanged = 5;
    assert_eq!(refused(e), err(Errno::EINVAL));
    e = good;
    e.output.domid = 1;
    assert_eq!(refused(e), err(Errno::EINVAL));
    e = good;
    e.output.extent_order = 13;
    assert_eq!(refused(e), err(Errno::EPERM));
    e = good;
    e.output.extent_order = u32::MAX;
    assert_eq!(refused(e), err(Errno::EPERM));
}

#[test]
fn an_interrupted_exchange_goes_on_at_its_own_count() {
    let m = Fake::new();
    list(&m, LIST, (0..4).map(|n| DOM0.0 + n));
    list(&m, OUT, [10, 20]);
    m.put(ARG, &exchange(2, 1, 0));
    m.stops.store(1, SeqCst);
    let args = [XENMEM_exchange.into(), ARG, 0, 0, 0];
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_memory_op, args),
        Outcome::Again(args)
    );
    assert_eq!(m.get::<XenMemoryExchange>(ARG).nr_exchanged, 2);
    assert_eq!(m.turn(0, 0, __HYPERVISOR_memory_op, args), Outcome::Done(0));
    assert_eq!(m.get::<XenMemoryExchange>(ARG).nr_exchanged, 4);
    m.check();
}

#[test]
fn the_machine_memory_map_is_domain_0s_and_needs_room_for_more() {
    let m = Fake::new();
    let map = [
        E820Entry {
            addr: 0,
            size: 0x9f000,
            kind: E820_RAM,
        },
        E820Entry {
            addr: 1 << 20,
            size: 5,
            kind: 2,
        },
    ];
    m.dom(0).memory_map.lock().extend(map);
    m.put(
        ARG,
        &XenMemoryMap {
            nr_entries: 3,
            buffer: LIST,
        },
    );
    assert_eq!(op(&m, 1, XENMEM_machine_memory_map), err(Errno::EPERM));
    assert_eq!(op(&m, 0, XENMEM_machine_memory_map), 0);
    assert_eq!(m.get::<XenMemoryMap>(ARG).nr_entries, 2);
    assert_eq!([m.get::<E820Entry>(LIST), m.get(LIST + 20)], map);
    m.put(
        ARG,
        &XenMemoryMap {
            nr_entries: 2,
            buffer: LIST,
        },
    );
    assert_eq!(op(&m, 0, XENMEM_machine_memory_map), err(Errno::EINVAL));
}

#[test]
fn a_memory_map_that_domain_0_sets_is_what_the_domain_gets() {
    let m = Fake::new();
    m.put(
        ARG,
        &XenMemoryMap {
            nr_entries: 3,
            buffer: LIST,
        },
    );
    assert_eq!(op(&m, 1, XENMEM_memory_map), err(Errno::ENOSYS));
    m.put(
        LIST,
        &E820Entry {
            addr: 1,
            size: 2,
            kind: 3,
        },
    );
    let map = XenMemoryMap {
        nr_entries: 1,
        buffer: LIST,
    };
    m.put(ARG, &XenForeignMemoryMap { domid: 1, map });
    assert_eq!(op(&m, 1, XENMEM_set_memory_map), err(Errno::EPERM));
    assert_eq!(op(&m, 0, XENMEM_set_memory_map), 0);
    m.put(
        ARG,
        &XenMemoryMap {
            nr_entries: 3,
            buffer: OUT,
        },
    );
    assert_eq!(op(&m, 1, XENMEM_memory_map), 0);
    assert_eq!(m.get::<E820Entry>(OUT).kind, 3);
}

#[test]
fn numbers_about_memory_are_told() {
    let m = Fake::new();
    m.put(ARG, &DOMID_SELF);
    assert_eq!(op(&m, 1, XENMEM_maximum_ram_page), ALL as u64 - 1);
    assert_eq!(op(&m, 1, XENMEM_current_reservation), DOMU.1 - DOMU.0);
    assert_eq!(op(&m, 1, XENMEM_maximum_reservation), 100);
    m.put(ARG, &0u16);
    assert_eq!(op(&m, 1, XENMEM_current_reservation), err(Errno::EPERM));
    m.put(ARG, &7u16);
    assert_eq!(op(&m, 0, XENMEM_current_reservation), err(Errno::ESRCH));
    assert_eq!(op(&m, 1, XENMEM_machphys_mapping), 0);
    let mapping = m.get::<XenMachphysMapping>(ARG);
    assert_eq!(
        (mapping.v_start, mapping.max_mfn),
        (0xffff_8000_0000_0000, ALL as u64 - 1)
    );
    assert_eq!(op(&m, 0, XENMEM_get_vnumainfo), err(Errno::EOPNOTSUPP));
    assert_eq!(op(&m, 0, XENMEM_add_to_physmap), err(Errno::EACCES));
    assert_eq!(op(&m, 0, 63), err(Errno::ENOSYS));
}

fn grant(m: &Fake, dom: u16, cmd: u32, count: u64) -> u64 {
    m.call(dom, __HYPERVISOR_grant_table_op, [cmd.into(), ARG, count])
}

/// Gives domain 1 a grant table with one frame, whose number it returns.
fn grant_table(m: &Fake) -> Mfn {
    m.put(
        ARG,
        &GnttabSetupTable {
            dom: DOMID_SELF,
            nr_frames: 1,
            status: 9,
            frame_list: LIST,
        },
    );
    assert_eq!(grant(m, 1, GNTTABOP_setup_table, 1), 0);
    assert_eq!(m.get::<GnttabSetupTable>(ARG).status, GNTST_okay);
    Mfn(m.get(LIST))
}

/// Domain 1 grants its frame `mfn` to domain 0 by entry 8.
fn permit(m: &Fake, table: Mfn, mfn: u64, flags: u16) {
    m.write(table, 8, u64::from(flags) | mfn << 32);
}

#[test]
fn a_grant_is_mapped_and_unmapped() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    let table = grant_table(&m);
    permit(&m, table, DOMU.0 + 7, GTF_permit_access);
    let map = GnttabMapGrantRef {
        host_addr: MAPPED,
        flags: GNTMAP_host_map,
        gref: 8,
        dom: 1,
        ..GnttabMapGrantRef::default()
    };
    m.put(ARG, &map);
    assert_eq!(grant(&m, 0, GNTTABOP_map_grant_ref, 1), 0);
    let mapped = m.get::<GnttabMapGrantRef>(ARG);
    assert_eq!(
        (mapped.status, mapped.dev_bus_addr),
        (GNTST_okay, (DOMU.0 + 7) << 12)
    );
    assert_eq!(m.read(l1, 0) >> 12 & 0xff_ffff, DOMU.0 + 7);
    m.check();

    let unmap = GnttabUnmapGrantRef {
        host_addr: MAPPED,
        dev_bus_addr: 0,
        handle: mapped.handle,
        status: 9,
    };
    m.put(
        ARG,
        &GnttabUnmapGrantRef {
            handle: 99,
            ..unmap
        },
    );
    m.put(ARG + 24, &unmap);
    assert_eq!(grant(&m, 0, GNTTABOP_unmap_grant_ref, 2), 0);
    assert_eq!(m.get::<GnttabUnmapGrantRef>(ARG).status, GNTST_bad_handle);
    assert_eq!(m.get::<GnttabUnmapGrantRef>(ARG + 24).status, GNTST_okay);
    assert_eq!(m.read(l1, 0), 0);
    assert!(!m.dom(1).grants.is_used());
    m.check();
}

#[test]
fn a_copy_goes_through_a_grant() {
    let m = Fake::new();
    let table = grant_table(&m);
    let (own, granted) = (DOM0.0 + 9, DOMU.0 + 7);
    permit(&m, table, granted, GTF_permit_access | GTF_readonly);
    m.write(Mfn(granted), 0, 0x8877_6655_4433_2211);
    let from = GnttabCopyPtr {
        u: 8,
        domid: 1,
        offset: 1,
    };
    let to = GnttabCopyPtr {
        u: own,
        domid: DOMID_SELF,
        offset: 11,
    };
    let copy = GnttabCopy {
        source: from,
        dest: to,
        len: 6,
        flags: GNTCOPY_source_gref,
        status: 9,
    };
    m.put(ARG, &copy);
    assert_eq!(grant(&m, 0, GNTTABOP_copy, 1), 0);
    assert_eq!(m.get::<GnttabCopy>(ARG).status, GNTST_okay);
    assert_eq!(m.read(Mfn(own), 1), 0x6655_4433_2200_0000);
    assert_eq!(m.read(Mfn(own), 2), 0x77);
    m.put(
        ARG,
        &GnttabCopy {
            source: to,
            dest: from,
            flags: GNTCOPY_dest_gref,
            ..copy
        },
    );
    assert_eq!(grant(&m, 0, GNTTABOP_copy, 1), 0);
    assert_ne!(m.get::<GnttabCopy>(ARG).status, GNTST_okay, "read-only");
    m.put(
        ARG,
        &GnttabCopy {
            source: GnttabCopyPtr { domid: 1, ..to },
            flags: 0,
            ..copy
        },
    );
    assert_eq!(grant(&m, 0, GNTTABOP_copy, 1), 0);
    assert_eq!(
        m.get::<GnttabCopy>(ARG).status,
        GNTST_permission_denied,
        "another's frame by its number"
    );
    m.check();
}

#[test]
fn the_table_as_a_whole() {
    let m = Fake::new();
    m.put(
        ARG,
        &GnttabQuerySize {
            dom: DOMID_SELF,
            ..GnttabQuerySize::default()
        },
    );
    assert_eq!(grant(&m, 1, GNTTABOP_query_size, 1), 0);
    assert_eq!(m.get::<GnttabQuerySize>(ARG).max_nr_frames, 16);
    assert_eq!(grant(&m, 1, GNTTABOP_query_size, 2), err(Errno::EINVAL));
    assert_eq!(grant(&m, 1, 77, 1), err(Errno::ENOSYS));
    m.put(
        ARG,
        &GnttabQuerySize {
            dom: 0,
            ..GnttabQuerySize::default()
        },
    );
    assert_eq!(grant(&m, 1, GNTTABOP_query_size, 1), 0);
    assert_eq!(
        m.get::<GnttabQuerySize>(ARG).status,
        GNTST_permission_denied
    );
}

#[test]
fn domain_0_acquires_another_domains_grant_table() {
    let m = Fake::new();
    let ask = XenMemAcquireResource {
        domid: 1,
        kind: XENMEM_resource_grant_table,
        ..Default::default()
    };
    m.put(ARG, &ask);
    assert_eq!(op(&m, 0, XENMEM_acquire_resource), 0);
    assert_eq!(m.get::<XenMemAcquireResource>(ARG).nr_frames, 16);
    m.put(
        ARG,
        &XenMemAcquireResource {
            nr_frames: 1,
            frame_list: LIST,
            ..ask
        },
    );
    assert_eq!(op(&m, 0, XENMEM_acquire_resource), 0);
    assert_eq!(Some(Mfn(m.get(LIST))), m.dom(1).grants.frame(0));
    assert_eq!(op(&m, 1, XENMEM_acquire_resource), err(Errno::EPERM));
    m.put(
        ARG,
        &XenMemAcquireResource {
            nr_frames: u32::MAX,
            frame: 1,
            frame_list: LIST,
            ..ask
        },
    );
    assert_eq!(op(&m, 0, XENMEM_acquire_resource), err(Errno::EINVAL));
    m.check();
}

#[test]
fn a_slow_copy_handles_overlaps() {
    let m = Fake::new();
    let mfn = Mfn(DOM0.0 + 9);
    for (from, to) in [(3, 5), (5, 3)] {
        m.clear(mfn);
        m.write(mfn, 0, 0x8877_6655_4433_2211);
        m.copy_bytes(mfn, from, mfn, to, 3);
        let mut bytes = 0x8877_6655_4433_2211u64.to_le_bytes();
        bytes.copy_within(usize::from(from)..usize::from(from) + 3, usize::from(to));
        assert_eq!(m.read(mfn, 0).to_le_bytes(), bytes);
    }
    assert!(!m.should_stop());
}
