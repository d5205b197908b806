//! Which page of a new domain holds what, and where the kernel sees it: a plan, before anything is written.
//!
//! The guest infers much from this order (`public/xen.h`, "start-of-day memory layout"). From pfn 0 up, mapped at
//! `virt_base`:
//!
//! ```text
//! free | kernel | initrd* | p2m list* | start_info | rings | page tables, L4 first | boot stack | pad to 4 MiB |
//! ```
//!
//! then, not mapped there: initrd, p2m list and the tables that map it at INIT_P2M. A star marks what kernels without the
//! notes MOD_START_PFN and INIT_P2M have inside the mapping instead. The rings are xenstore's page and the console's;
//! domain 0 has none.

use core::fmt;

use super::image::{KernelImage, is_guest_range};
use crate::units::{PAGE_SHIFT, PAGE_SIZE, Pfn};

/// Bytes of `start_info.cmd_line`, the closing NUL included.
pub const MAX_CMDLINE: usize = 1024;
/// The mapping ends on a multiple of this...
const MAPPING_ALIGN: u64 = 4 << 20;
/// ...and leaves at least so much behind the boot stack.
const MIN_PAD: u64 = 512 << 10;
/// A domain of more pages (64 TiB) is refused, which keeps all sums below 2^64.
const MAX_PAGES: u64 = 1 << 34;

/// Pages `start` up to, not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PfnRange {
    /// The first page.
    pub start: Pfn,
    /// After the last page.
    pub end: Pfn,
}

impl PfnRange {
    /// `len` pages from `start`; saturates.
    const fn new(start: u64, len: u64) -> Self {
        Self {
            start: Pfn(start),
            end: Pfn(start.saturating_add(len)),
        }
    }

    /// Number of pages.
    pub const fn len(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether there is no page.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `pfn` is in it.
    pub const fn contains(&self, pfn: Pfn) -> bool {
        self.start.0 <= pfn.0 && pfn.0 < self.end.0
    }

    /// The pages in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Pfn> + use<> {
        (self.start.0..self.end.0).map(Pfn)
    }
}

/// Where the p2m list goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct P2mPlan {
    /// Guest-virtual address of entry 0.
    pub va: u64,
    /// The list: one u64 per page of the domain.
    pub data: PfnRange,
    /// The tables that map it at `va`, right behind `data`; none if it lies in the initial mapping.
    pub tables: PfnRange,
}

/// Number of page tables of levels 1 to 3 that a range of addresses needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableCount {
    /// Level 1.
    pub l1: u64,
    /// Level 2.
    pub l2: u64,
    /// Level 3.
    pub l3: u64,
}

impl TableCount {
    /// For `pages` pages from `va`.
    pub const fn covering(va: u64, pages: u64) -> Self {
        if pages == 0 {
            return Self {
                l1: 0,
                l2: 0,
                l3: 0,
            };
        }
        let last = va.saturating_add(pages * PAGE_SIZE - 1);
        Self {
            l1: (last >> 21) - (va >> 21) + 1,
            l2: (last >> 30) - (va >> 30) + 1,
            l3: (last >> 39) - (va >> 39) + 1,
        }
    }

    /// All three.
    pub const fn total(&self) -> u64 {
        self.l1 + self.l2 + self.l3
    }
}

/// The plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Pages of the domain.
    pub nr_pages: u64,
    /// Guest-virtual address of pfn 0.
    pub virt_base: u64,
    /// The kernel, bss included.
    pub kernel: PfnRange,
    /// The initrd's pages; empty without one.
    pub initrd: PfnRange,
    /// The initrd's length in bytes.
    pub initrd_len: u64,
    /// Whether the initrd is in the initial mapping, and start_info gives its address rather than its pfn.
    pub initrd_mapped: bool,
    /// The p2m list.
    pub p2m: P2mPlan,
    /// The start_info page.
    pub start_info: Pfn,
    /// The pages of the rings to xenstore and to the console, in this order; empty for domain 0.
    pub rings: PfnRange,
    /// The tables of the initial mapping: L4, then L3s, L2s, L1s.
    pub page_tables: PfnRange,
    /// The boot stack, one page.
    pub stack: Pfn,
    /// The initial mapping ends before this page; it starts at pfn 0.
    pub mapped_end: Pfn,
    /// The first page that nothing of the above uses.
    pub used_end: Pfn,
}

/// Why a domain cannot be laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// The domain is too small for what must be in it; both in pages.
    TooLittleMemory {
        /// Pages needed.
        need: u64,
        /// Pages given.
        have: u64,
    },
    /// More pages than a domain can have.
    TooManyPages(u64),
    /// The command line does not fit; lengths in bytes, without the NUL.
    CmdlineTooLong {
        /// Its length.
        len: usize,
    },
    /// The initial mapping, or the p2m list at INIT_P2M, would touch the hypervisor's addresses or each other.
    NoRoom {
        /// Guest-virtual address of what has no room.
        va: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |pages: &u64| pages.div_ceil(256);
        match self {
            Self::TooLittleMemory { need, have } => write!(
                f,
                "the domain gets {} MiB, but its kernel and initrd alone need {} MiB; raise its memory (of domain 0: \
                 dom0_mem=)",
                have / 256,
                mib(need)
            ),
            Self::TooManyPages(pages) => {
                write!(
                    f,
                    "a domain cannot have {} MiB of memory; lower it (of domain 0: dom0_mem=)",
                    mib(pages)
                )
            }
            Self::CmdlineTooLong { len } => write!(
                f,
                "the kernel's command line has {len} bytes, more than {}; shorten it (domain 0's is in the boot menu)",
                MAX_CMDLINE - 1
            ),
            Self::NoRoom { va } => {
                write!(
                    f,
                    "the domain is too large for its kernel's address map at {va:#x}; lower its memory (of domain 0: \
                     dom0_mem=)"
                )
            }
        }
    }
}

impl Layout {
    /// Plans domain 0 of `nr_pages` pages with this kernel, initrd (0: none) and command line.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn plan(
        kernel: &KernelImage<'_>,
        initrd_len: u64,
        nr_pages: u64,
        cmdline: &str,
    ) -> Result<Self, LayoutError> {
        Self::plan_with_rings(kernel, initrd_len, nr_pages, cmdline, 0)
    }

    /// Plans any other domain likewise: it has rings to xenstore and to its console.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn plan_guest(
        kernel: &KernelImage<'_>,
        initrd_len: u64,
        nr_pages: u64,
        cmdline: &str,
    ) -> Result<Self, LayoutError> {
        Self::plan_with_rings(kernel, initrd_len, nr_pages, cmdline, 2)
    }

    fn plan_with_rings(
        kernel: &KernelImage<'_>,
        initrd_len: u64,
        nr_pages: u64,
        cmdline: &str,
        nr_rings: u64,
    ) -> Result<Self, LayoutError> {
        if nr_pages > MAX_PAGES {
            return Err(LayoutError::TooManyPages(nr_pages));
        }
        if cmdline.len() >= MAX_CMDLINE {
            return Err(LayoutError::CmdlineTooLong { len: cmdline.len() });
        }
        let initrd_pages = initrd_len.div_ceil(PAGE_SIZE);
        let p2m_pages = (nr_pages * 8).div_ceil(PAGE_SIZE);
        if initrd_pages >= nr_pages {
            return Err(LayoutError::TooLittleMemory {
                need: initrd_pages,
                have: nr_pages,
            });
        }

        let kernel_start = (kernel.start - kernel.virt_base) >> PAGE_SHIFT;
        let kernel_end = (kernel.end - kernel.virt_base).div_ceil(PAGE_SIZE);
        let initrd_mapped = !kernel.mod_start_pfn && initrd_len != 0;
        let mut next = kernel_end;
        let mut take = |pages: u64| {
            let range = PfnRange::new(next, pages);
            next += pages;
            range
        };

        let inner_initrd = take(if initrd_mapped { initrd_pages } else { 0 });
        let inner_p2m = take(if kernel.init_p2m.is_none() {
            p2m_pages
        } else {
            0
        });
        let start_info = take(1).start;
        let rings = take(nr_rings);
        let (nr_tables, mapped_end) = size_mapping(kernel.virt_base, rings.end.0);
        let page_tables = take(nr_tables);
        let stack = take(1).start;
        let mapped_bytes = mapped_end * PAGE_SIZE;
        if !is_guest_range(kernel.virt_base, mapped_bytes) {
            return Err(LayoutError::NoRoom {
                va: kernel.virt_base,
            });
        }

        next = mapped_end;
        let mut take = |pages: u64| {
            let range = PfnRange::new(next, pages);
            next += pages;
            range
        };
        let initrd = if initrd_mapped {
            inner_initrd
        } else {
            take(initrd_pages)
        };
        let p2m = match kernel.init_p2m {
            None => P2mPlan {
                va: kernel.virt_base + inner_p2m.start.0 * PAGE_SIZE,
                data: inner_p2m,
                tables: take(0),
            },
            Some(va) => {
                check_p2m_range(va, p2m_pages, kernel.virt_base, mapped_bytes)?;
                let tables = TableCount::covering(va, p2m_pages).total();
                P2mPlan {
                    va,
                    data: take(p2m_pages),
                    tables: take(tables),
                }
            }
        };
        if next > nr_pages {
            return Err(LayoutError::TooLittleMemory {
                need: next,
                have: nr_pages,
            });
        }
        Ok(Self {
            nr_pages,
            virt_base: kernel.virt_base,
            kernel: PfnRange {
                start: Pfn(kernel_start),
                end: Pfn(kernel_end),
            },
            initrd,
            initrd_len,
            initrd_mapped,
            p2m,
            start_info,
            rings,
            page_tables,
            stack,
            mapped_end: Pfn(mapped_end),
            used_end: Pfn(next),
        })
    }

    /// Where the initial mapping has `pfn`.
    pub const fn va(&self, pfn: Pfn) -> u64 {
        self.virt_base.wrapping_add(pfn.0 << PAGE_SHIFT)
    }

    /// The page of xenstore's ring; domain 0 has none.
    pub const fn store(&self) -> Option<Pfn> {
        if self.rings.is_empty() {
            None
        } else {
            Some(self.rings.start)
        }
    }

    /// The page of the console's ring; domain 0 has none.
    pub const fn console(&self) -> Option<Pfn> {
        if self.rings.is_empty() {
            None
        } else {
            Some(Pfn(self.rings.start.0 + 1))
        }
    }

    /// The page that holds the L4.
    pub const fn l4(&self) -> Pfn {
        self.page_tables.start
    }

    /// Guest-virtual address after the boot stack: the first stack pointer.
    pub const fn stack_top(&self) -> u64 {
        self.va(self.stack).wrapping_add(PAGE_SIZE)
    }

    /// Tables of levels 1 to 3 of the initial mapping.
    pub const fn mapping_tables(&self) -> TableCount {
        TableCount::covering(self.virt_base, self.mapped_end.0)
    }

    /// Tables of levels 1 to 3 that map the p2m list; none if it lies in the initial mapping.
    pub const fn p2m_tables(&self) -> TableCount {
        let pages = if self.p2m.tables.is_empty() {
            0
        } else {
            self.p2m.data.len()
        };
        TableCount::covering(self.p2m.va, pages)
    }
}

/// How many tables map everything, and the page where the mapping ends, if the tables begin at page `tables_start`.
///
/// The tables map themselves, so the number is the least that suffices for the mapping it makes.
fn size_mapping(virt_base: u64, tables_start: u64) -> (u64, u64) {
    let mut nr_tables = 4;
    loop {
        let stack_end = virt_base.saturating_add((tables_start + nr_tables + 1) * PAGE_SIZE);
        let mut end = stack_end
            .checked_next_multiple_of(MAPPING_ALIGN)
            .unwrap_or(!(PAGE_SIZE - 1));
        if end - stack_end.min(end) < MIN_PAD {
            end = end.saturating_add(MAPPING_ALIGN) & !(PAGE_SIZE - 1);
        }
        let mapped = (end - virt_base) >> PAGE_SHIFT;
        let need = 1 + TableCount::covering(virt_base, mapped).total();
        if need <= nr_tables {
            return (nr_tables, mapped);
        }
        nr_tables = need;
    }
}

/// Checks that the p2m list at INIT_P2M is the guest's to map, and shares no L4 entry with the initial mapping.
fn check_p2m_range(
    va: u64,
    pages: u64,
    virt_base: u64,
    mapped_bytes: u64,
) -> Result<(), LayoutError> {
    let no_room = LayoutError::NoRoom { va };
    let bytes = pages * PAGE_SIZE;
    if !is_guest_range(va, bytes) {
        return Err(no_room);
    }
    let slots = |start: u64, len: u64| (start >> 39, (start + len.saturating_sub(1)) >> 39);
    let (p2m, mapping) = (slots(va, bytes), slots(virt_base, mapped_bytes));
    if p2m.0 <= mapping.1 && mapping.0 <= p2m.1 {
        Err(no_room)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
