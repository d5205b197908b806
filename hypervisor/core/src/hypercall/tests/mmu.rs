//! mmu_update, mmuext_op, update_va_mapping, descriptor tables.

use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::errno::Errno;
use rexen_abi::xen::*;

use super::err;
use crate::hypercall::Outcome;
use crate::hypercall::testing::{Asked, DOM0, DOMU, Fake, GUEST, MAPPED};
use crate::pvmmu::{MmuHost, TableAccess};
use crate::units::{Mfn, VcpuId};

const SELF: u64 = DOMID_SELF as u64;
const LIST: u64 = GUEST;
const DONE: u64 = GUEST + 0x4000;
const PREEMPTED: u64 = 0x8000_0000;

fn leaf(mfn: u64) -> u64 {
    mfn << 12 | 0x67
}

fn requests(m: &Fake, list: &[(u64, u64)]) {
    for ((ptr, val), n) in list.iter().zip(0..) {
        m.put(
            LIST + n * 16,
            &MmuUpdate {
                ptr: *ptr,
                val: *val,
            },
        );
    }
}

fn op(cmd: u32, arg1: u64, arg2: u64) -> MmuextOp {
    MmuextOp { cmd, arg1, arg2 }
}

fn ext(m: &Fake, dom: u16, op: MmuextOp) -> u64 {
    m.put(LIST, &op);
    m.call(dom, __HYPERVISOR_mmuext_op, [LIST, 1, 0, SELF])
}

#[test]
fn one_request_maps_a_frame() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    requests(&m, &[(l1.maddr() + 8, leaf(DOM0.0 + 9))]);
    assert_eq!(m.call(0, __HYPERVISOR_mmu_update, [LIST, 1, 0, SELF]), 0);
    assert_eq!(m.read(l1, 1) >> 12 & 0xff_ffff, DOM0.0 + 9);
    m.check();
}

#[test]
fn a_batch_stops_at_the_first_bad_request_and_tells_how_many_were_done() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    let mut list: Vec<_> = (0..40)
        .map(|n| (l1.maddr() + n * 8, leaf(DOM0.0 + 9)))
        .collect();
    list[37].1 = leaf(DOMU.0);
    requests(&m, &list);
    m.put(DONE, &77u32);
    assert_eq!(
        m.call(0, __HYPERVISOR_mmu_update, [LIST, 40, DONE, SELF]),
        err(Errno::EBUSY)
    );
    assert_eq!(m.get::<u32>(DONE), 37);
    assert_eq!(m.read(l1, 37), 0);
    m.check();
}

#[test]
fn requests_before_an_unreadable_one_are_done() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    let list = GUEST + 0x8000 - 3 * 16;
    for n in 0..3 {
        m.put(
            list + n * 16,
            &MmuUpdate {
                ptr: l1.maddr() + n * 8,
                val: leaf(DOM0.0 + 9),
            },
        );
    }
    assert_eq!(
        m.call(0, __HYPERVISOR_mmu_update, [list, 5, DONE, SELF]),
        err(Errno::EFAULT)
    );
    assert_eq!(m.get::<u32>(DONE), 3);
    assert_ne!(m.read(l1, 2), 0);
}

#[test]
fn a_long_batch_goes_on_where_it_stopped() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    let list: Vec<_> = (0..200)
        .map(|n| (l1.maddr() + n * 8, leaf(DOM0.0 + 9)))
        .collect();
    requests(&m, &list);
    m.stops.store(1, SeqCst);
    let turn = m.turn(0, 0, __HYPERVISOR_mmu_update, [LIST, 200, DONE, SELF, 99]);
    let Outcome::Again(args) = turn else {
        panic!("{turn:?}")
    };
    assert_eq!(args, [LIST + 48 * 16, 152 | PREEMPTED, DONE, SELF, 99]);
    assert_eq!(m.get::<u32>(DONE), 48);
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_mmu_update, args),
        Outcome::Done(0)
    );
    assert_eq!(m.get::<u32>(DONE), 200);
    assert!((0..200).all(|n| m.read(l1, n) != 0));
    m.check();
}

#[test]
fn only_domain_0_may_name_other_domains() {
    let m = Fake::new();
    m.tables(1);
    requests(&m, &[(DOMU.0 << 12, 0)]);
    let foreign = |dom: u16, owner: u64| m.call(dom, __HYPERVISOR_mmu_update, [LIST, 1, 0, owner]);
    assert_eq!(foreign(1, 0), err(Errno::EPERM));
    assert_eq!(foreign(1, u64::from(DOMID_XEN)), err(Errno::EPERM));
    assert_eq!(foreign(1, SELF | 1 << 16), err(Errno::EPERM));
    assert_eq!(foreign(0, 5), err(Errno::ESRCH));
    assert_eq!(foreign(0, SELF | 9 << 16), err(Errno::EINVAL));
}

#[test]
fn domain_0_maps_frames_of_a_domain_it_names() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    requests(&m, &[(l1.maddr(), leaf(DOMU.0 + 8))]);
    assert_eq!(
        m.call(0, __HYPERVISOR_mmu_update, [LIST, 1, 0, SELF]),
        err(Errno::EBUSY)
    );
    assert_eq!(m.call(0, __HYPERVISOR_mmu_update, [LIST, 1, 0, 1]), 0);
    m.check();
}

#[test]
fn machphys_updates_need_the_frame_to_be_the_callers() {
    let m = Fake::new();
    requests(&m, &[((DOMU.0 + 5) << 12 | MMU_MACHPHYS_UPDATE, 55)]);
    assert_eq!(
        m.call(0, __HYPERVISOR_mmu_update, [LIST, 1, 0, SELF]),
        err(Errno::EINVAL)
    );
    assert_eq!(m.call(1, __HYPERVISOR_mmu_update, [LIST, 1, 0, SELF]), 0);
    assert_eq!(m.m2p.lock().unwrap()[&(DOMU.0 + 5)], 55);
}

#[test]
fn update_va_mapping_maps_and_flushes_as_asked() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    m.put(DONE, &2u64);
    let all = [
        (UVMF_NONE, vec![]),
        (UVMF_INVLPG, vec![Asked::FlushLocal(Some(MAPPED))]),
        (UVMF_TLB_FLUSH, vec![Asked::FlushLocal(None)]),
        (UVMF_TLB_FLUSH | UVMF_ALL, vec![Asked::FlushVcpus(3, None)]),
        (UVMF_INVLPG | DONE, vec![Asked::FlushVcpus(2, Some(MAPPED))]),
    ];
    for (flags, flushes) in all {
        assert_eq!(
            m.call(
                0,
                __HYPERVISOR_update_va_mapping,
                [MAPPED, leaf(DOM0.0 + 9), flags]
            ),
            0
        );
        assert_eq!(m.take_asked(), flushes);
    }
    assert_ne!(m.read(l1, 0), 0);
    assert_eq!(
        m.call(0, __HYPERVISOR_update_va_mapping, [0x5000_0000_0000, 0, 0]),
        err(Errno::EINVAL)
    );
    m.check();
}

#[test]
fn an_interrupted_pin_goes_on() {
    let m = Fake::new();
    let first = DOM0.0 + 10;
    for n in 0..3 {
        m.write(Mfn(first + n), 0, (first + n + 1) << 12 | 7);
    }
    m.stops.store(u64::MAX, SeqCst);
    m.put(LIST, &op(MMUEXT_PIN_L4_TABLE, first, 0));
    let turn = m.turn(0, 0, __HYPERVISOR_mmuext_op, [LIST, 1, 0, SELF, 0]);
    assert_eq!(turn, Outcome::Again([LIST, 1 | PREEMPTED, 0, SELF, 0]));
    assert_eq!(m.call(0, __HYPERVISOR_mmuext_op, [LIST, 1, 0, SELF]), 0);
    m.check();
    m.stops.store(u64::MAX, SeqCst);
    assert_eq!(
        ext(&m, 0, op(MMUEXT_PIN_L4_TABLE, first, 0)),
        err(Errno::EINVAL),
        "pinned already"
    );
    assert_eq!(ext(&m, 0, op(MMUEXT_UNPIN_TABLE, first, 0)), 0);
    assert_eq!(
        ext(&m, 0, op(MMUEXT_UNPIN_TABLE, first, 0)),
        err(Errno::EINVAL),
        "not pinned"
    );
    m.check();
}

#[test]
fn a_new_base_is_loaded_and_the_old_one_let_go() {
    let m = Fake::new();
    let [old, ..] = m.tables(0);
    let new = DOM0.0 + 10;
    assert_eq!(ext(&m, 0, op(MMUEXT_NEW_BASEPTR, new, 0)), 0);
    assert_eq!(m.take_asked(), [Asked::Base(VcpuId(0))]);
    assert_eq!(m.dom(0).vcpus[0].kernel_l4.load(SeqCst), new);
    m.check();
    assert_eq!(
        ext(&m, 0, op(MMUEXT_NEW_BASEPTR, DOMU.0, 0)),
        err(Errno::EINVAL)
    );
    assert_eq!(m.dom(0).vcpus[0].kernel_l4.load(SeqCst), new);
    assert_eq!(
        ext(&m, 0, op(MMUEXT_UNPIN_TABLE, old.0, 0)),
        0,
        "only the pin held it"
    );
    m.check();
}

#[test]
fn a_user_base_may_be_none() {
    let m = Fake::new();
    let user = DOM0.0 + 10;
    for base in [user, 0] {
        assert_eq!(ext(&m, 0, op(MMUEXT_NEW_USER_BASEPTR, base, 0)), 0);
        assert_eq!(m.dom(0).vcpus[0].user_l4.load(SeqCst), base);
        assert_eq!(m.take_asked(), [Asked::EntryChanged(VcpuId(0))]);
        m.check();
    }
}

#[test]
fn the_m2p_is_in_kernel_bases_only() {
    let m = Fake::new();
    let table = Mfn(DOM0.0 + 10);
    let m2p = || m.read(table, 256);
    assert_eq!(ext(&m, 0, op(MMUEXT_NEW_USER_BASEPTR, table.0, 0)), 0);
    assert_eq!(m2p(), 0, "user space does not see it");
    m.check();
    assert_eq!(ext(&m, 0, op(MMUEXT_NEW_BASEPTR, table.0, 0)), 0);
    assert_eq!(m2p(), m.l4_slots()[0], "the kernel does");
    assert_eq!(ext(&m, 0, op(MMUEXT_NEW_USER_BASEPTR, 0, 0)), 0);
    assert_eq!(ext(&m, 0, op(MMUEXT_NEW_USER_BASEPTR, table.0, 0)), 0);
    assert_eq!(
        m2p(),
        m.l4_slots()[0],
        "a table that is both is the kernel's"
    );
    m.check();
}

#[test]
fn flushes_go_where_they_are_meant_to() {
    let m = Fake::new();
    m.put(DONE, &1u64);
    for (op, asked) in [
        (op(MMUEXT_TLB_FLUSH_LOCAL, 7, 0), Asked::FlushLocal(None)),
        (op(MMUEXT_INVLPG_LOCAL, 7, 0), Asked::FlushLocal(Some(7))),
        (op(MMUEXT_TLB_FLUSH_ALL, 7, 0), Asked::FlushVcpus(3, None)),
        (op(MMUEXT_INVLPG_ALL, 7, 0), Asked::FlushVcpus(3, Some(7))),
        (
            op(MMUEXT_TLB_FLUSH_MULTI, 7, DONE),
            Asked::FlushVcpus(1, None),
        ),
        (
            op(MMUEXT_INVLPG_MULTI, 7, DONE),
            Asked::FlushVcpus(1, Some(7)),
        ),
    ] {
        assert_eq!(ext(&m, 0, op), 0);
        assert_eq!(m.take_asked(), [asked]);
    }
    assert_eq!(
        ext(&m, 0, op(MMUEXT_TLB_FLUSH_MULTI, 0, 1)),
        err(Errno::EFAULT)
    );
    m.put(LIST, &op(MMUEXT_TLB_FLUSH_LOCAL, 0, 0));
    assert_eq!(
        m.call(0, __HYPERVISOR_mmuext_op, [LIST, 1, 0, 1]),
        err(Errno::EPERM),
        "for another domain"
    );
}

#[test]
fn caches_are_written_back_only_for_domains_with_hardware() {
    let m = Fake::new();
    assert_eq!(ext(&m, 1, op(MMUEXT_FLUSH_CACHE, 0, 0)), err(Errno::EACCES));
    assert_eq!(ext(&m, 0, op(MMUEXT_FLUSH_CACHE, 0, 0)), 0);
    assert_eq!(m.take_asked(), [Asked::WriteBack]);
}

#[test]
fn operations_that_are_gone_or_unknown_are_refused() {
    let m = Fake::new();
    assert_eq!(
        ext(&m, 0, op(MMUEXT_MARK_SUPER, 0, 0)),
        err(Errno::EOPNOTSUPP)
    );
    assert_eq!(ext(&m, 0, op(14, 0, 0)), err(Errno::ENOSYS));
    assert_eq!(ext(&m, 0, op(21, 0, 0)), err(Errno::ENOSYS));
}

#[test]
fn pages_are_cleared_and_copied_only_if_they_are_the_callers_and_writable() {
    let m = Fake::new();
    let [l4, ..] = m.tables(0);
    let (from, to) = (DOM0.0 + 10, DOM0.0 + 11);
    m.write(Mfn(from), 3, 33);
    assert_eq!(ext(&m, 0, op(MMUEXT_COPY_PAGE, to, from)), 0);
    assert_eq!(m.read(Mfn(to), 3), 33);
    assert_eq!(ext(&m, 0, op(MMUEXT_CLEAR_PAGE, to, 0)), 0);
    assert_eq!(m.read(Mfn(to), 3), 0);
    for bad in [l4.0, DOMU.0, 299, u64::MAX] {
        assert_eq!(
            ext(&m, 0, op(MMUEXT_CLEAR_PAGE, bad, 0)),
            err(Errno::EINVAL)
        );
        assert_eq!(
            ext(&m, 0, op(MMUEXT_COPY_PAGE, bad, from)),
            err(Errno::EINVAL)
        );
    }
    m.check();
}

#[test]
fn an_ldt_is_aligned_and_has_at_most_8192_entries() {
    let m = Fake::new();
    assert_eq!(ext(&m, 0, op(MMUEXT_SET_LDT, MAPPED, 8192)), 0);
    assert_eq!(m.take_asked(), [Asked::Ldt(VcpuId(0))]);
    assert_eq!(m.dom(0).vcpus[0].ldt.lock().entries, 8192);
    assert_eq!(
        ext(&m, 0, op(MMUEXT_SET_LDT, MAPPED, 8193)),
        err(Errno::EINVAL)
    );
    assert_eq!(
        ext(&m, 0, op(MMUEXT_SET_LDT, MAPPED + 8, 1)),
        err(Errno::EINVAL)
    );
    assert_eq!(
        ext(&m, 0, op(MMUEXT_SET_LDT, 1 << 47, 1)),
        err(Errno::EINVAL)
    );
    assert_eq!(m.dom(0).vcpus[0].ldt.lock().entries, 8192);
}

#[test]
fn a_gdt_holds_its_frames_and_lets_the_old_ones_go() {
    let m = Fake::new();
    let set = |frames: &[u64], entries: u64| {
        frames
            .iter()
            .zip(0..)
            .for_each(|(mfn, n)| m.put(LIST + n * 8, mfn));
        m.call(0, __HYPERVISOR_set_gdt, [LIST, entries])
    };
    assert_eq!(set(&[DOM0.0 + 10, DOM0.0 + 11], 600), 0);
    assert_eq!(m.take_asked(), [Asked::Gdt(VcpuId(0))]);
    m.check();
    assert_eq!(set(&[DOM0.0 + 12, DOMU.0], 600), err(Errno::EINVAL));
    assert_eq!(set(&[], 7169), err(Errno::EINVAL));
    assert_eq!(m.call(0, __HYPERVISOR_set_gdt, [0, 1]), err(Errno::EFAULT));
    assert_eq!(m.dom(0).vcpus[0].gdt.lock().entries, 600);
    m.check();
    assert_eq!(set(&[], 0), 0);
    m.check();
}

#[test]
fn descriptors_are_checked_when_they_are_written() {
    let m = Fake::new();
    let at = (DOM0.0 + 10) << 12 | 16;
    let data = 0x00cf_9300_0000_ffff;
    assert_eq!(m.call(0, __HYPERVISOR_update_descriptor, [at, data]), 0);
    assert_eq!(m.read(Mfn(DOM0.0 + 10), 2), data | 3 << 45);
    assert_eq!(
        m.call(0, __HYPERVISOR_update_descriptor, [at + 4, data]),
        err(Errno::EINVAL)
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_update_descriptor, [at, 0x8b00_0000_0000]),
        err(Errno::EINVAL),
        "a TSS"
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_update_descriptor, [DOMU.0 << 12, data]),
        err(Errno::EINVAL)
    );
    m.check();
}
