//! What a new domain's memory holds: its kernel image, and what the toolstack adds behind it (pv-abi 1.5).

use rexen_abi::plain::Plain;
use rexen_abi::xen::StartInfo;
use rexen_guests::{abi, memory};

const PAGE: u64 = memory::PAGE;
const TABLE_ENTRIES: u64 = 512;
/// The most segments of an image that are loaded.
const SEGMENTS: usize = 4;

/// A loadable part of an image.
#[derive(Clone, Copy, Default)]
struct Segment {
    va: u64,
    content: &'static [u8],
    bytes: u64,
}

/// An ELF image of a guest: where it starts and what to load.
pub struct Image {
    /// The virtual address of its first instruction.
    pub entry: u64,
    segments: [Segment; SEGMENTS],
}

impl Image {
    /// Reads the headers of an ELF file.
    pub fn parse(file: &'static [u8]) -> Option<Self> {
        let word = |at: u64| read::<u64>(file, at);
        let mut image = Self {
            entry: word(24)?,
            segments: [Segment::default(); SEGMENTS],
        };
        let (table, entry_bytes) = (word(32)?, u64::from(read::<u16>(file, 54)?));
        let mut loaded = image.segments.iter_mut();
        for index in 0..u64::from(read::<u16>(file, 56)?) {
            let header = table + index * entry_bytes;
            // PT_LOAD
            if read::<u32>(file, header)? == 1 {
                let (offset, length) = (word(header + 8)? as usize, word(header + 32)? as usize);
                *loaded.next()? = Segment {
                    va: word(header + 16)?,
                    content: file.get(offset..offset + length)?,
                    bytes: word(header + 40)?,
                };
            }
        }
        Some(image)
    }

    /// The first page that no segment reaches, as a pseudo-physical number.
    fn end_pfn(&self) -> u64 {
        let ends = self
            .segments
            .iter()
            .map(|segment| segment.va + segment.bytes);
        (ends.max().unwrap_or(0).max(abi::VIRT_BASE) - abi::VIRT_BASE).div_ceil(PAGE)
    }
}

fn read<T: Plain>(file: &[u8], at: u64) -> Option<T> {
    T::read(file.get(at as usize..)?)
}

/// Which page holds what. All pages of the domain are mapped, in order, from VIRT_BASE on.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Pages of the domain.
    pub pages: u64,
    p2m: u64,
    /// The start_info page.
    pub start_info: u64,
    /// The xenstore page, which nobody serves.
    pub store: u64,
    /// The console page.
    pub console: u64,
    /// The first table, the L4. Then come the L3, the L2 and the L1s.
    pub l4: u64,
    /// The boot stack, the last page in use.
    pub stack: u64,
}

impl Layout {
    /// Lays out a domain of so many pages; nothing when they are too few, or too many for one L2.
    pub fn new(image: &Image, pages: u64) -> Option<Self> {
        let p2m = image.end_pfn();
        let start_info = p2m + (pages * 8).div_ceil(PAGE);
        let l4 = start_info + 3;
        let layout = Self {
            pages,
            p2m,
            start_info,
            store: start_info + 1,
            console: start_info + 2,
            l4,
            stack: l4 + 3 + pages.div_ceil(TABLE_ENTRIES),
        };
        (layout.stack < pages && pages <= TABLE_ENTRIES * TABLE_ENTRIES).then_some(layout)
    }

    /// The virtual address of a page.
    pub fn va(&self, pfn: u64) -> u64 {
        abi::VIRT_BASE + pfn * PAGE
    }

    /// How many tables there are.
    pub fn nr_tables(&self) -> u64 {
        self.stack - self.l4
    }

    /// The address of the p2m list in the new domain.
    pub fn p2m_va(&self) -> u64 {
        self.va(self.p2m)
    }

    /// Writes page `pfn` of the new domain, which is mapped at `at`.
    pub fn fill(&self, image: &Image, info: &StartInfo, mfns: &[u64], pfn: u64, at: u64) {
        memory::clear(at);
        if pfn < self.p2m {
            for segment in &image.segments {
                copy_overlap(segment.va, segment.content, self.va(pfn), at);
            }
        } else if pfn < self.start_info {
            let first = (pfn - self.p2m) * TABLE_ENTRIES;
            for index in 0..TABLE_ENTRIES.min(self.pages - first) {
                memory::write(at + index * 8, mfns[(first + index) as usize]);
            }
        } else if pfn == self.start_info {
            memory::write_bytes(at, &info.to_bytes());
        } else if (self.l4..self.stack).contains(&pfn) {
            self.fill_table(mfns, pfn - self.l4, at);
        }
    }

    fn fill_table(&self, mfns: &[u64], number: u64, at: u64) {
        let rights = abi::PTE_P | abi::PTE_US | abi::PTE_A;
        let entry = |index: u64, pfn: u64, more: u64| {
            memory::write(at + index * 8, (mfns[pfn as usize] * PAGE) | rights | more);
        };
        match number {
            0 => entry(abi::VIRT_BASE >> 39 & 511, self.l4 + 1, abi::PTE_RW),
            1 => entry(abi::VIRT_BASE >> 30 & 511, self.l4 + 2, abi::PTE_RW),
            2 => {
                for index in 0..self.nr_tables() - 3 {
                    entry(index, self.l4 + 3 + index, abi::PTE_RW);
                }
            }
            l1 => {
                let first = (l1 - 3) * TABLE_ENTRIES;
                for index in 0..TABLE_ENTRIES.min(self.pages - first) {
                    let pfn = first + index;
                    let is_table = (self.l4..self.stack).contains(&pfn);
                    entry(index, pfn, if is_table { 0 } else { abi::PTE_RW });
                }
            }
        }
    }
}

/// Copies that part of `content`, which belongs at `va`, that lies in the page of address `page`, to `at`.
fn copy_overlap(va: u64, content: &[u8], page: u64, at: u64) {
    let end = (va + content.len() as u64).min(page + PAGE);
    let start = va.max(page);
    if start < end {
        memory::write_bytes(
            at + (start - page),
            &content[(start - va) as usize..(end - va) as usize],
        );
    }
}
