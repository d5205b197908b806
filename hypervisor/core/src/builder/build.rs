//! Writes a planned domain into its frames.
//!
//! What comes out is a complete start of day: kernel, initrd, p2m list, page tables, start_info. Nothing is type-checked
//! here; the caller pins the L4 ([`BuiltDomain::l4`]), which validates every table like any guest's. The tables map
//! themselves read-only and everything else writable, so that this succeeds.

use rexen_abi::xen::{Dom0VgaConsoleInfo, StartInfo};

use super::hypercall_page::fill_hypercall_page;
use super::image::{KernelImage, Segment};
use super::layout::{Layout, MAX_CMDLINE, PfnRange, TableCount};
use crate::units::{EvtchnPort, Mfn, PAGE_SHIFT, PAGE_SIZE, PTES_PER_TABLE, Pfn};

const PAGE_BYTES: usize = PAGE_SIZE as usize;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// Software bit 52: a page of the guest's kernel, which the guest sees without USER.
const GUEST_KERNEL: u64 = 1 << 52;
/// A page that the kernel may write, as a guest writes it.
const LEAF: u64 = PRESENT | WRITABLE | ACCESSED;
/// What validation adds to it. The hypervisor that builds domain 0 writes it itself, a toolstack may not.
const LEAF_VALIDATED: u64 = USER | GUEST_KERNEL;
/// An entry of an L2, L3 or L4.
const TABLE: u64 = PRESENT | WRITABLE | ACCESSED | DIRTY | USER;

/// A p2m entry without a frame (`public/xen.h`, INVALID_P2M_ENTRY).
const INVALID_P2M: u64 = !0;

/// `start_info.flags` (`public/xen.h`, SIF_*).
const SIF_PRIVILEGED: u32 = 1 << 0;
const SIF_INITDOMAIN: u32 = 1 << 1;
const SIF_MOD_START_PFN: u32 = 1 << 3;
const SIF_VIRT_P2M_4TOOLS: u32 = 1 << 4;

/// Where start_info's page has domain 0's screen: after all else.
const SCREEN_AT: usize = 0x800;

/// The frames of the domain that is being built.
///
/// All frames are allocated, and scrubbed or zero; pfn n of the domain has a frame for each n below
/// [`Layout::nr_pages`].
pub trait BuildHost {
    /// The frame of page `pfn`. Called only with pages below the number planned for.
    fn mfn_of(&self, pfn: Pfn) -> Mfn;
    /// Writes `bytes` at `offset` of a page; never past its end.
    fn write(&mut self, pfn: Pfn, offset: usize, bytes: &[u8]);
    /// Sets the machine-to-phys entry of a frame. Called once for each page.
    fn set_m2p(&mut self, mfn: Mfn, pfn: Pfn);
    /// Fills a page with zeroes.
    fn zero(&mut self, pfn: Pfn);
}

/// Whose start of day it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Domain 0's, by the hypervisor itself.
    Dom0 {
        /// The screen that it inherits.
        screen: Option<Dom0VgaConsoleInfo>,
    },
    /// Another domain's, by a toolstack; laid out with [`Layout::plan_guest`].
    Guest {
        /// The domain's port to xenstore.
        store: EvtchnPort,
        /// The domain's port to its console.
        console: EvtchnPort,
    },
}

/// What the plan does not know.
#[derive(Clone, Copy, Debug)]
pub struct BuildParams<'a> {
    /// Whose it is.
    pub role: Role,
    /// Machine address of the shared_info frame.
    pub shared_info_maddr: u64,
    /// The command line that [`Layout::plan`] was given.
    pub cmdline: &'a str,
    /// The initrd whose length [`Layout::plan`] was given; empty without one.
    pub initrd: &'a [u8],
}

/// Where vcpu 0 starts: `rip` = entry, `rsp` = stack_top, `rsi` = start_info_va, CR3 = l4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuiltDomain {
    /// Guest-virtual address of the first instruction.
    pub entry: u64,
    /// Guest-virtual address after the boot stack.
    pub stack_top: u64,
    /// Guest-virtual address of start_info.
    pub start_info_va: u64,
    /// The page that holds the top-level table.
    pub l4_pfn: Pfn,
    /// Its frame.
    pub l4: Mfn,
}

/// Writes everything.
///
/// Takes time in proportion to the domain's pages: a p2m and an m2p entry each.
pub fn build<H: BuildHost>(
    kernel: &KernelImage<'_>,
    layout: &Layout,
    params: &BuildParams<'_>,
    host: &mut H,
) -> BuiltDomain {
    for segment in &kernel.segments {
        write_segment(layout, segment, host);
    }
    if let Some(va) = kernel.hypercall_page {
        let mut page = [0; PAGE_BYTES];
        fill_hypercall_page(&mut page);
        host.write(pfn_at(layout, va), 0, &page);
    }
    write_initrd(layout, params.initrd, host);
    write_p2m(layout, host);
    write_start_info(layout, params, host);
    for pfn in layout.rings.iter() {
        host.zero(pfn);
    }
    host.zero(layout.stack);
    let leaf = match params.role {
        Role::Dom0 { .. } => LEAF | LEAF_VALIDATED,
        Role::Guest { .. } => LEAF,
    };
    write_page_tables(layout, leaf, host);
    BuiltDomain {
        entry: kernel.entry,
        stack_top: layout.stack_top(),
        start_info_va: layout.va(layout.start_info),
        l4_pfn: layout.l4(),
        l4: host.mfn_of(layout.l4()),
    }
}

/// The page that the initial mapping has at `va`, which is not below `virt_base`.
fn pfn_at(layout: &Layout, va: u64) -> Pfn {
    Pfn(va.wrapping_sub(layout.virt_base) >> PAGE_SHIFT)
}

/// Copies a segment's bytes and zeroes the rest of it, a page at a time.
fn write_segment<H: BuildHost>(layout: &Layout, segment: &Segment<'_>, host: &mut H) {
    const ZEROES: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    let mut va = segment.va;
    let mut data = segment.data;
    let mut left = segment.mem_size;
    while left != 0 {
        let pfn = pfn_at(layout, va);
        let offset = (va % PAGE_SIZE) as usize;
        // At most a page, so the narrowing loses nothing.
        let room = (PAGE_SIZE - va % PAGE_SIZE).min(left) as usize;
        let (bytes, rest) = data.split_at_checked(room).unwrap_or((data, &[]));
        if bytes.is_empty() && room == PAGE_BYTES {
            host.zero(pfn);
        } else {
            host.write(pfn, offset, bytes);
            host.write(
                pfn,
                offset + bytes.len(),
                ZEROES.get(..room - bytes.len()).unwrap_or(&[]),
            );
        }
        data = rest;
        left -= room as u64;
        va = va.wrapping_add(room as u64);
    }
}

fn write_initrd<H: BuildHost>(layout: &Layout, initrd: &[u8], host: &mut H) {
    for (pfn, bytes) in layout.initrd.iter().zip(initrd.chunks(PAGE_BYTES)) {
        if bytes.len() < PAGE_BYTES {
            host.zero(pfn);
        }
        host.write(pfn, 0, bytes);
    }
}

/// Writes the p2m list, a page of entries at a time, and each page's m2p entry.
fn write_p2m<H: BuildHost>(layout: &Layout, host: &mut H) {
    write_pages_of_entries(
        layout.p2m.data,
        0,
        layout.p2m.data.len() * PTES_PER_TABLE as u64,
        host,
        |host, pfn| {
            if pfn >= layout.nr_pages {
                return INVALID_P2M;
            }
            let mfn = host.mfn_of(Pfn(pfn));
            host.set_m2p(mfn, Pfn(pfn));
            mfn.0
        },
    );
}

fn write_start_info<H: BuildHost>(layout: &Layout, params: &BuildParams<'_>, host: &mut H) {
    let mut page = [0; PAGE_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        if let Some(field) = page.get_mut(offset..offset + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    let mut put_u64 = |offset, value: u64| put(offset, &value.to_le_bytes());
    let mut flags = match params.role {
        Role::Dom0 { .. } => SIF_PRIVILEGED | SIF_INITDOMAIN,
        Role::Guest { .. } => SIF_VIRT_P2M_4TOOLS,
    };
    put_u64(0x20, layout.nr_pages);
    put_u64(0x28, params.shared_info_maddr);
    put_u64(0x58, layout.va(layout.l4()));
    put_u64(0x60, layout.page_tables.len());
    put_u64(0x68, layout.p2m.va);
    if layout.initrd_len != 0 {
        let start = if layout.initrd_mapped {
            layout.va(layout.initrd.start)
        } else {
            flags |= SIF_MOD_START_PFN;
            layout.initrd.start.0
        };
        put_u64(0x70, start);
        put_u64(0x78, layout.initrd_len);
    }
    if !layout.p2m.tables.is_empty() {
        // The list and its tables, which follow it: Linux frees both once it has its own.
        put_u64(0x480, layout.p2m.data.start.0);
        put_u64(0x488, layout.p2m.data.len() + layout.p2m.tables.len());
    }
    match (params.role, layout.store(), layout.console()) {
        (Role::Guest { store, console }, Some(store_page), Some(console_page)) => {
            put_u64(0x38, host.mfn_of(store_page).0);
            put_u64(0x48, host.mfn_of(console_page).0);
            put(0, b"xen-3.0-x86_64");
            put(0x40, &store.0.to_le_bytes());
            put(0x50, &console.0.to_le_bytes());
        }
        // Domain 0 makes its own ring to xenstore, and has the screen where others have their console.
        _ => put(0, b"xen-3.0-x86_64p"),
    }
    if let Role::Dom0 {
        screen: Some(screen),
    } = params.role
    {
        let screen = screen.to_bytes();
        put(SCREEN_AT, &screen);
        let place = StartInfo::dom0_console(SCREEN_AT as u32, screen.len() as u32);
        put(0x48, &place.to_le_bytes());
    }
    put(0x30, &flags.to_le_bytes());
    let cmdline = params.cmdline.as_bytes();
    put(0x80, cmdline.get(..MAX_CMDLINE - 1).unwrap_or(cmdline));
    host.write(layout.start_info, 0, &page);
}

/// Writes the tables of the initial mapping and of the p2m list; `leaf` are the flags of a page that may be written.
fn write_page_tables<H: BuildHost>(layout: &Layout, leaf: u64, host: &mut H) {
    let l4 = layout.l4();
    host.zero(l4);
    let lower = PfnRange {
        start: Pfn(layout.l4().0 + 1),
        end: layout.page_tables.end,
    };
    let mapping = Mapping {
        va: layout.virt_base,
        target: PfnRange {
            start: Pfn(0),
            end: layout.mapped_end,
        },
        tables: lower,
        count: layout.mapping_tables(),
        leaf,
    };
    mapping.write(l4, layout.page_tables, host);
    if !layout.p2m.tables.is_empty() {
        let p2m = Mapping {
            va: layout.p2m.va,
            target: layout.p2m.data,
            tables: layout.p2m.tables,
            count: layout.p2m_tables(),
            leaf,
        };
        p2m.write(l4, PfnRange::default(), host);
    }
}

/// Pages in a row, mapped at addresses in a row, and the tables to do it with.
struct Mapping {
    /// Guest-virtual address of the first page.
    va: u64,
    /// The pages.
    target: PfnRange,
    /// Pages for the tables: L3s, then L2s, then L1s.
    tables: PfnRange,
    count: TableCount,
    /// Flags of the pages' entries.
    leaf: u64,
}

impl Mapping {
    /// Writes the tables and links them into the L4; pages in `read_only` are mapped so.
    fn write<H: BuildHost>(&self, l4: Pfn, read_only: PfnRange, host: &mut H) {
        let group = |start: u64, len: u64| PfnRange {
            start: Pfn(start),
            end: Pfn(start + len),
        };
        let l3s = group(self.tables.start.0, self.count.l3);
        let l2s = group(l3s.end.0, self.count.l2);
        let l1s = group(l2s.end.0, self.count.l1);
        let table_entry = |host: &H, pfn: u64| host.mfn_of(Pfn(pfn)).maddr() | TABLE;

        write_pages_of_entries(
            l1s,
            self.va >> 12,
            self.target.len(),
            host,
            |host, index| {
                let pfn = Pfn(self.target.start.0 + index);
                host.mfn_of(pfn).maddr()
                    | if read_only.contains(pfn) {
                        self.leaf & !WRITABLE
                    } else {
                        self.leaf
                    }
            },
        );
        write_pages_of_entries(l2s, self.va >> 21, l1s.len(), host, |host, i| {
            table_entry(host, l1s.start.0 + i)
        });
        write_pages_of_entries(l3s, self.va >> 30, l2s.len(), host, |host, i| {
            table_entry(host, l2s.start.0 + i)
        });
        let first_slot = (self.va >> 39) as usize % PTES_PER_TABLE;
        for (slot, l3) in (first_slot..PTES_PER_TABLE).zip(l3s.iter()) {
            let entry = table_entry(host, l3.0);
            host.write(l4, slot * 8, &entry.to_le_bytes());
        }
    }
}

/// Writes `count` entries in a row into `pages`, 512 to a page, from entry `first` modulo 512 of the first page on.
///
/// Each page is composed here and written once; entries outside are zero. `entry` gets the index, from 0.
fn write_pages_of_entries<H: BuildHost>(
    pages: PfnRange,
    first: u64,
    count: u64,
    host: &mut H,
    mut entry: impl FnMut(&mut H, u64) -> u64,
) {
    let mut skip = first as usize % PTES_PER_TABLE;
    let mut index = 0;
    for pfn in pages.iter() {
        let mut page = [0; PAGE_BYTES];
        for slot in page.as_chunks_mut::<8>().0.iter_mut().skip(skip) {
            if index == count {
                break;
            }
            *slot = entry(host, index).to_le_bytes();
            index += 1;
        }
        skip = 0;
        host.write(pfn, 0, &page);
    }
}

#[cfg(test)]
mod tests;
