//! Page faults of guests: stores to page tables that are carried out, LDT pages that are mapped late, faults that a stale
//! translation caused; all others are the guest's.

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::arch_x86::CpuUserRegs;
use rexen_core::domain::{Domain, Vcpu, assist};
use rexen_core::emulate::{Registers, SegBases, ptwr};
use rexen_core::pvmmu::{DomainMm, MmuError, StoreKind, TableAccess};
use rexen_core::units::Mfn;

use super::bounce::{self, Unhandled};
use super::current;
use super::privop::fetch;
use crate::cpu::msr;
use crate::machine::HW;
use crate::mm::{layout, window};
use crate::println;

const PRESENT: u32 = 1;
const WRITE: u32 = 2;
const USER: u32 = 4;
const RESERVED: u32 = 8;
const INSTRUCTION: u32 = 16;

/// A page fault at `address`, from a guest.
#[inline]
pub fn from_guest(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    address: u64,
) -> Result<(), Unhandled> {
    let error = regs.error_code;
    if error & PRESENT != 0 {
        if error & (PRESENT | WRITE | USER | INSTRUCTION) == PRESENT | WRITE | USER
            // Domain 0 need not ask, as on Xen.
            && (domain.is_privileged || domain.has_assist(assist::WRITABLE_PAGETABLES))
            && current::in_kernel()
            && store_to_table(regs, domain, vcpu, address)
        {
            return Ok(());
        }
        if is_stale(address, error) {
            return Ok(());
        }
    }
    if address.wrapping_sub(layout::M2P) < layout::END - layout::M2P
        && map_ldt_page(domain, vcpu, address)
    {
        return Ok(());
    }
    bounce::page_fault(regs, domain, vcpu, address, error)
}

/// Carries out a store of the guest kernel to one of its level 1 tables; false if it is none, or may not be.
fn store_to_table(regs: &mut CpuUserRegs, domain: &Domain, vcpu: &Vcpu, address: u64) -> bool {
    let mut bytes = [0; 15];
    let got = fetch(regs.rip, &mut bytes);
    let Some(bytes) = bytes.get(..got) else {
        return false;
    };
    let quick = ptwr::quick_store(bytes, regs, address);
    let store = if quick.is_some() {
        None
    } else {
        match decode(bytes, regs, address) {
            None => return false,
            store => store,
        }
    };
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(HW.frame_table(), &HW, &mut state);
    let Ok(slot) = mm.walk(Mfn(vcpu.kernel_l4.load(Relaxed)), address) else {
        return false;
    };
    let entry = mm.read_l1_entry(slot);
    let table = Mfn::containing(entry & 0x000f_ffff_ffff_f000);
    if entry & 1 == 0 || !mm.is_l1_table(table) {
        return false;
    }
    let offset = (address & 0xff8) as usize;
    if let Some(quick) = quick {
        let stored = match mm.emulated_store(table, offset, 8, StoreKind::Write, quick.entry) {
            Ok(stored) => stored,
            Err(error) => return is_to_be_tried_again(error),
        };
        if quick.exchanges {
            regs.set(quick.register, stored.old);
        }
        regs.rip = regs.rip.wrapping_add(u64::from(quick.len));
        return true;
    }
    let Some(store) = store else { return false };
    loop {
        let old = HW.read(table, offset / 8);
        let update = store.compute(old, regs.rflags);
        if update.writes {
            match mm.emulated_store(
                table,
                offset,
                8,
                StoreKind::Cmpxchg { expected: old },
                update.entry,
            ) {
                Ok(stored) if stored.stored => {}
                Ok(_) => continue,
                Err(error) => return is_to_be_tried_again(error),
            }
        }
        regs.rflags = update.rflags;
        if let Some((register, value)) = update.writeback {
            regs.set(register, value);
        }
        regs.rip = regs.rip.wrapping_add(u64::from(store.len));
        return true;
    }
}

/// Whether the guest's instruction is to run again: long work of another vcpu on these tables is half done.
#[cold]
fn is_to_be_tried_again(error: MmuError) -> bool {
    matches!(error, MmuError::Again | MmuError::Busy)
}

/// Decodes any of the known store forms, if it stores at `address`.
#[inline(never)]
fn decode(bytes: &[u8], regs: &CpuUserRegs, address: u64) -> Option<ptwr::Store> {
    // A segment override is rare, and reading the bases is not free.
    let bases = if bytes.iter().take(4).any(|b| matches!(b, 0x64 | 0x65)) {
        SegBases {
            fs: current::read_base(msr::FS_BASE),
            gs: current::read_base(msr::GS_BASE),
        }
    } else {
        SegBases::default()
    };
    let store = ptwr::decode_store(bytes, regs, regs.rip, regs.rflags, bases).ok()?;
    (store.va == address).then_some(store)
}

/// Whether the tables allow the access now: the translation that faulted was stale.
pub fn is_stale(address: u64, error: u32) -> bool {
    if error & (PRESENT | RESERVED) != PRESENT {
        return false;
    }
    let mut allowed = 0b110u64; // RW and US
    let mut executable = true;
    let mut table = Mfn::containing(crate::cpu::regs::read_cr3());
    for level in (1..=4).rev() {
        let index = (address >> (12 + 9 * (level - 1))) as usize & 511;
        let entry = HW.read(table, index);
        if entry & 1 == 0 {
            return false;
        }
        allowed &= entry;
        executable &= entry >> 63 == 0;
        if entry & 0x80 != 0 && level > 1 {
            // Only the hypervisor has large pages.
            return false;
        }
        table = Mfn::containing(entry & 0x000f_ffff_ffff_f000);
        if HW.frame_table().get(table).is_none() && level > 1 {
            return false;
        }
    }
    crate::cpu::regs::invlpg(address);
    allowed & 4 != 0
        && (error & WRITE == 0 || allowed & 2 != 0)
        && (error & INSTRUCTION == 0 || executable)
}

/// Maps the page of the guest's LDT that `address` in this CPU's LDT window stands for; false if there is none.
pub fn map_ldt_page(domain: &Domain, vcpu: &Vcpu, address: u64) -> bool {
    let Some(page) = current::ldt_page_of(address) else {
        return false;
    };
    let ldt = *vcpu.ldt.lock();
    if page as u32 * 512 >= ldt.entries || ldt.frames.get(page).is_none_or(Option::is_some) {
        return false;
    }
    let guest_address = ldt.base.wrapping_add(page as u64 * 4096);
    let frame = {
        let mut state = domain.mm.lock();
        let mut mm = DomainMm::new(HW.frame_table(), &HW, &mut state);
        let Ok(slot) = mm.walk(Mfn(vcpu.kernel_l4.load(Relaxed)), guest_address) else {
            return false;
        };
        let entry = mm.read_l1_entry(slot);
        let frame = Mfn::containing(entry & 0x000f_ffff_ffff_f000);
        if entry & 1 == 0 {
            return false;
        }
        if let Err(error) = mm.hold_descriptors(frame) {
            return is_to_be_tried_again(error);
        }
        frame
    };
    if let Some(place) = vcpu.ldt.lock().frames.get_mut(page) {
        *place = Some(frame);
    }
    window::map_window(crate::cpu::this_cpu(), 16 + page, Some(frame), true);
    true
}

/// Prints the entries that translate `address` in the loaded tables.
pub fn print_walk(_domain: &Domain, address: u64) {
    let mut table = Mfn::containing(crate::cpu::regs::read_cr3());
    println!("Page walk of {address:#x}:");
    for level in (1..=4).rev() {
        let index = (address >> (12 + 9 * (level - 1))) as usize & 511;
        let entry = HW.read(table, index);
        println!("  L{level}[{index:03x}] = {entry:016x}");
        let next = Mfn::containing(entry & 0x000f_ffff_ffff_f000);
        if entry & 1 == 0 || entry & 0x80 != 0 && level > 1 || HW.frame_table().get(next).is_none()
        {
            break;
        }
        table = next;
    }
}
