//! Memory as a PV guest sees it: pages of its own, p2m and m2p, its page tables, raw access to any address.
// UNSAFETY: reads and writes of any address that a test names; they may fault, and the fault is what is tested.
#![expect(unsafe_code)]

use super::{abi, entry, hypercall, lone::Lone};
use core::arch::asm;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

const POOL_PAGES: usize = 256;

#[repr(C, align(4096))]
struct Pool([u8; POOL_PAGES * 4096]);

static POOL: Lone<Pool> = Lone::new(Pool([0; POOL_PAGES * 4096]));
static POOL_USED: Lone<usize> = Lone::new(0);

/// A fresh zeroed page of the guest's own, mapped writable: its virtual address.
pub fn new_page() -> u64 {
    let used = POOL_USED.get();
    assert!(used < POOL_PAGES, "the page pool is empty");
    POOL_USED.set(used + 1);
    POOL.address() + used as u64 * PAGE
}

/// Page `index` of those that a domU is given beyond its image: from behind the boot stack to its last one. The warden maps
/// all of them; domain 0's builder does not.
pub fn spare_page(index: u64) -> Option<u64> {
    let first = (entry::entry_stack() - abi::VIRT_BASE).div_ceil(PAGE);
    let pfn = first + index;
    (pfn < entry::start_info().nr_pages).then(|| abi::VIRT_BASE + pfn * PAGE)
}

/// The machine frame number of a page of the initial mapping, by the p2m list.
pub fn mfn_of(va: u64) -> u64 {
    mfn_of_pfn((va - abi::VIRT_BASE) / PAGE)
}

/// Takes the mapping of a page away; the frame stays this guest's own.
pub fn unmap(va: u64) -> i64 {
    hypercall::update_va_mapping(va, 0)
}

/// The machine frame number of a pseudo-physical page.
pub fn mfn_of_pfn(pfn: u64) -> u64 {
    read(entry::start_info().mfn_list + pfn * 8)
}

/// The machine address of an address in the initial mapping.
pub fn maddr_of(va: u64) -> u64 {
    mfn_of(va) * PAGE + va % PAGE
}

/// The virtual address, in the initial mapping, of a frame that the guest owns: by the machine-to-physical table.
pub fn va_of_mfn(mfn: u64) -> u64 {
    abi::VIRT_BASE + read(abi::MACH2PHYS_VIRT_START + mfn * 8) * PAGE
}

/// Reads eight bytes at any address.
pub fn read(va: u64) -> u64 {
    let value;
    // SAFETY: a test's access; it may fault.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) va, options(nostack)) };
    value
}

/// Writes eight bytes at any address.
pub fn write(va: u64, value: u64) {
    // SAFETY: a test's access; it may fault.
    unsafe { asm!("mov [{}], {}", in(reg) va, in(reg) value, options(nostack)) };
}

/// Reads one byte at any address.
pub fn read_byte(va: u64) -> u8 {
    let value;
    // SAFETY: a test's access; it may fault.
    unsafe { asm!("mov {}, [{}]", out(reg_byte) value, in(reg) va, options(nostack)) };
    value
}

/// Writes one byte at any address.
pub fn write_byte(va: u64, value: u8) {
    // SAFETY: a test's access; it may fault.
    unsafe { asm!("mov [{}], {}", in(reg) va, in(reg_byte) value, options(nostack)) };
}

/// Reads four bytes at any address.
pub fn read_u32(va: u64) -> u32 {
    let value;
    // SAFETY: a test's access; it may fault.
    unsafe { asm!("mov {:e}, [{}]", out(reg) value, in(reg) va, options(nostack)) };
    value
}

/// Writes four bytes at any address.
pub fn write_u32(va: u64, value: u32) {
    // SAFETY: a test's access; it may fault.
    unsafe { asm!("mov [{}], {:e}", in(reg) va, in(reg) value, options(nostack)) };
}

/// Writes bytes from `va` on.
pub fn write_bytes(va: u64, bytes: &[u8]) {
    // SAFETY: a test's access; it may fault.
    unsafe {
        asm!("rep movsb", inout("rdi") va => _, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
            options(nostack))
    };
}

/// Fills the page at `va` with zeros.
pub fn clear(va: u64) {
    // SAFETY: a test's access; it may fault.
    unsafe {
        asm!("rep stosq", inout("rdi") va => _, in("rax") 0, inout("rcx") PAGE / 8 => _, options(nostack))
    };
}

/// The bytes of this guest from `start` on, for one who knows that they are mapped and that nobody changes them.
pub fn bytes(start: u64, length: u64) -> &'static [u8] {
    // SAFETY: the initrd, the command line or a constant section: mapped, and only read.
    unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) }
}

/// The words of this guest from `start` on, as for [`bytes`].
pub fn words(start: u64, length: u64) -> &'static [u64] {
    // SAFETY: the caller's own array: mapped, and only read while this is used.
    unsafe { core::slice::from_raw_parts(start as *const u64, length as usize) }
}

/// CR2, which the hypervisor emulates.
pub fn read_cr2() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nostack, nomem)) };
    value
}

/// Where in the tables under `pt_base` the entry of `level` (1 to 4) for `va` lies: its virtual address.
/// Nothing when a table on the way is missing.
pub fn entry_address(va: u64, level: u32) -> Option<u64> {
    let mut table = entry::start_info().pt_base;
    let mut at = 4;
    loop {
        let index = va >> (3 + 9 * at) & 511;
        let entry = table + index * 8;
        if at == level {
            return Some(entry);
        }
        let value = read(entry);
        if value & abi::PTE_P == 0 {
            return None;
        }
        table = va_of_mfn((value & abi::PTE_FRAME) / PAGE);
        at -= 1;
    }
}

/// The level-1 entry that maps `va`; 0 when there is none.
pub fn pte_of(va: u64) -> u64 {
    entry_address(va, 1).map_or(0, read)
}

/// The entry that maps the page of `va` as this guest maps its own memory: present, and writable if asked.
pub fn own_pte(va: u64, is_writable: bool) -> u64 {
    let rights = if is_writable { abi::PTE_RW } else { 0 };
    (mfn_of(va) * PAGE) | abi::PTE_P | abi::PTE_A | abi::PTE_US | rights
}

/// Pins a page as a table of `level`.
pub fn pin(va: u64, level: u32) -> i64 {
    hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(va), 0)
}

/// Takes a table's pin away.
pub fn unpin(va: u64) -> i64 {
    hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, mfn_of(va), 0)
}

/// Replaces the table entry at `slot`, which is an address in the initial mapping.
pub fn set_entry(slot: u64, value: u64) -> i64 {
    hypercall::mmu_update(maddr_of(slot), value)
}

/// Makes a page read-only or writable again where the initial mapping has it.
pub fn set_writable(va: u64, is_writable: bool) -> i64 {
    hypercall::update_va_mapping(va, own_pte(va, is_writable))
}

/// Makes a fresh page a read-only one, ready to be a page table or a descriptor page.
pub fn seal(va: u64) {
    let result = set_writable(va, false);
    assert!(result == 0, "remapping a page read-only gives {result}");
}
