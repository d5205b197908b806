//! The physical memory map: sorted, without overlaps, in whole pages.
//!
//! Firmware reports regions in any order, overlapping, with odd ends. Where two overlap, the more restrictive kind wins;
//! RAM shrinks to whole pages and all else grows to them, so no page is half RAM.

use alloc::vec::Vec;

use super::boot_info::RawRegion;
use crate::units::PAGE_SIZE;

/// What a range of machine addresses is for (ACPI 6.5, table 15.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RegionKind {
    /// Ordinary memory, type 1.
    Ram,
    /// A type that this file does not know.
    Other(u32),
    /// Not to be used, type 2.
    Reserved,
    /// ACPI tables, type 3.
    AcpiData,
    /// Memory that ACPI keeps across sleep, type 4.
    AcpiNvs,
    /// Memory with errors, type 5.
    Unusable,
}

impl RegionKind {
    /// The kind of an E820 type number.
    pub const fn from_type(number: u32) -> Self {
        match number {
            1 => Self::Ram,
            2 => Self::Reserved,
            3 => Self::AcpiData,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            other => Self::Other(other),
        }
    }

    /// The E820 type number.
    pub const fn type_number(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiData => 3,
            Self::AcpiNvs => 4,
            Self::Unusable => 5,
            Self::Other(number) => number,
        }
    }
}

/// A range of machine addresses of one kind, both ends page-aligned, `start < end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// The first byte.
    pub start: u64,
    /// After the last byte.
    pub end: u64,
    /// What it is for.
    pub kind: RegionKind,
}

impl Region {
    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the region has no byte; none in a [`MemoryMap`] is.
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// The entry as memory_op 10 and the BIOS lay it out: base u64, length u64, type u32.
    pub fn to_bytes(&self) -> [u8; 20] {
        let mut out = [0; 20];
        out[..8].copy_from_slice(&self.start.to_le_bytes());
        out[8..16].copy_from_slice(&self.len().to_le_bytes());
        out[16..].copy_from_slice(&self.kind.type_number().to_le_bytes());
        out
    }
}

/// A memory map whose regions are sorted, disjoint and in whole pages; equal neighbours are joined.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryMap {
    regions: Vec<Region>,
}

/// The highest machine address that x86 can have, plus one; also keeps page rounding from overflowing.
const ADDRESS_LIMIT: u64 = 1 << 52;

impl MemoryMap {
    /// Builds the map from what firmware reported.
    pub fn from_raw(raw: impl IntoIterator<Item = RawRegion>) -> Self {
        let mut map = Self::default();
        // RAM last and only into gaps: then the more restrictive kind wins and RAM alone needs trimming.
        let mut ranges: Vec<Region> = raw.into_iter().filter_map(whole_pages).collect();
        ranges.sort_by_key(|r| r.kind);
        for range in ranges {
            map.overlay(range.start, range.end, Some(range.kind));
        }
        map
    }

    /// The regions in ascending order.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The RAM regions in ascending order.
    pub fn ram(&self) -> impl Iterator<Item = Region> + '_ {
        self.regions
            .iter()
            .copied()
            .filter(|r| r.kind == RegionKind::Ram)
    }

    /// Bytes of RAM.
    pub fn ram_bytes(&self) -> u64 {
        self.ram().map(|r| r.len()).sum()
    }

    /// The machine address after the last byte of RAM.
    pub fn ram_end(&self) -> u64 {
        self.ram().last().map_or(0, |r| r.end)
    }

    /// The machine address after the last byte of any region.
    pub fn end(&self) -> u64 {
        self.regions.last().map_or(0, |r| r.end)
    }

    /// The kind of the page that holds `addr`; `None` in a hole.
    pub fn kind_at(&self, addr: u64) -> Option<RegionKind> {
        let index = self.regions.partition_point(|r| r.end <= addr);
        self.regions
            .get(index)
            .filter(|r| r.start <= addr)
            .map(|r| r.kind)
    }

    /// Whether every byte of `start..end` is RAM.
    pub fn is_ram(&self, start: u64, end: u64) -> bool {
        self.ram().any(|r| r.start <= start && end <= r.end)
    }

    /// Makes `start..end`, widened to whole pages, reserved, whatever it was.
    pub fn reserve(&mut self, start: u64, end: u64) {
        self.set(start, end, RegionKind::Reserved);
    }

    /// Makes `start..end`, widened to whole pages, of this kind, whatever it was.
    pub fn set(&mut self, start: u64, end: u64, kind: RegionKind) {
        let (start, end) = outward(start, end);
        self.overlay(start, end, Some(kind));
    }

    /// Cuts `start..end`, widened to whole pages, out of the map: it becomes a hole.
    pub fn remove(&mut self, start: u64, end: u64) {
        let (start, end) = outward(start, end);
        self.overlay(start, end, None);
    }

    /// Drops all RAM from machine address `limit` on (boot option `mem=`).
    pub fn clip_ram(&mut self, limit: u64) {
        let limit = limit & !(PAGE_SIZE - 1);
        for region in self
            .regions
            .iter_mut()
            .filter(|r| r.kind == RegionKind::Ram)
        {
            region.end = region.end.min(limit);
        }
        self.regions.retain(|r| !r.is_empty());
    }

    /// The map that domain 0 gets from memory_op 10: this one, with the `denied` ranges (start, end) reserved.
    ///
    /// Denied are the local APIC, the IO-APICs and what the hypervisor owns, holes among them too: Linux then keeps its
    /// RAM and its device windows away.
    pub fn for_dom0(&self, denied: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut map = self.clone();
        for (start, end) in denied {
            map.reserve(start, end);
        }
        map
    }

    /// Replaces `start..end` by `kind`, or by a hole; joins equal neighbours.
    fn overlay(&mut self, start: u64, end: u64, kind: Option<RegionKind>) {
        if start >= end {
            return;
        }
        let mut regions = Vec::with_capacity(self.regions.len() + 2);
        regions.extend(self.regions.iter().map(|r| Region {
            end: r.end.min(start),
            ..*r
        }));
        regions.extend(kind.map(|kind| Region { start, end, kind }));
        regions.extend(self.regions.iter().map(|r| Region {
            start: r.start.max(end),
            ..*r
        }));
        regions.retain(|r| !r.is_empty());
        regions.dedup_by(|next, last| {
            let joins = last.end == next.start && last.kind == next.kind;
            if joins {
                last.end = next.end;
            }
            joins
        });
        self.regions = regions;
    }
}

/// Rounds a reported region to whole pages, RAM inward and others outward; `None` if nothing is left.
fn whole_pages(raw: RawRegion) -> Option<Region> {
    let kind = RegionKind::from_type(raw.kind);
    let last = raw.base.saturating_add(raw.len);
    let (start, end) = match kind {
        RegionKind::Ram => (
            raw.base.min(ADDRESS_LIMIT).next_multiple_of(PAGE_SIZE),
            last.min(ADDRESS_LIMIT) & !(PAGE_SIZE - 1),
        ),
        _ if raw.len == 0 => return None,
        _ => outward(raw.base, last),
    };
    (start < end).then_some(Region { start, end, kind })
}

/// Widens a range to whole pages, within the addresses that can exist.
fn outward(start: u64, end: u64) -> (u64, u64) {
    (
        start.min(ADDRESS_LIMIT) & !(PAGE_SIZE - 1),
        end.min(ADDRESS_LIMIT).next_multiple_of(PAGE_SIZE),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testmem::Random;
    use super::*;
    use RegionKind::{AcpiData, Ram, Reserved};

    fn map(raw: &[(u64, u64, u32)]) -> MemoryMap {
        MemoryMap::from_raw(raw.iter().map(|(base, len, kind)| RawRegion {
            base: *base,
            len: *len,
            kind: *kind,
        }))
    }

    fn flat(map: &MemoryMap) -> Vec<(u64, u64, RegionKind)> {
        map.regions()
            .iter()
            .map(|r| (r.start, r.end, r.kind))
            .collect()
    }

    #[test]
    fn qemu_map_is_trimmed_to_whole_pages() {
        let m = map(&[
            (0x10_0000, 0x7ee_0000, 1),
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x400, 2),
            (0xf_0000, 0x1_0000, 2),
            (0x7fe_0000, 0x2_0000, 2),
        ]);
        assert_eq!(
            flat(&m),
            [
                (0, 0x9_f000, Ram),
                (0x9_f000, 0xa_0000, Reserved),
                (0xf_0000, 0x10_0000, Reserved),
                (0x10_0000, 0x7fe_0000, Ram),
                (0x7fe_0000, 0x800_0000, Reserved),
            ]
        );
        assert_eq!(m.ram_end(), 0x7fe_0000);
        assert_eq!(m.ram_bytes(), 0x9_f000 + 0x7ee_0000);
    }

    #[test]
    fn restrictive_kind_wins_an_overlap() {
        let m = map(&[(0x1000, 0x5000, 3), (0, 0x10000, 1), (0x2000, 0x1000, 2)]);
        assert_eq!(
            flat(&m),
            [
                (0, 0x1000, Ram),
                (0x1000, 0x6000, AcpiData),
                (0x6000, 0x10000, Ram)
            ]
        );
    }

    #[test]
    fn ranges_can_be_cut_reserved_and_clipped() {
        let mut m = map(&[(0, 0x10_0000, 1), (0x20_0000, 0x10_0000, 1)]);
        m.remove(0x2800, 0x2900);
        m.reserve(0x4000, 0x5000);
        m.clip_ram(0x20_1fff);
        assert_eq!(
            flat(&m),
            [
                (0, 0x2000, Ram),
                (0x3000, 0x4000, Ram),
                (0x4000, 0x5000, Reserved),
                (0x5000, 0x10_0000, Ram),
                (0x20_0000, 0x20_1000, Ram)
            ]
        );
        assert_eq!(m.kind_at(0x2000), None);
        assert_eq!(m.kind_at(0x4fff), Some(Reserved));
        assert!(m.is_ram(0x5000, 0x10_0000) && !m.is_ram(0x1000, 0x3000));
    }

    #[test]
    fn dom0_sees_apics_reserved_even_in_a_hole() {
        let dom0 =
            map(&[(0, 0x10_0000, 1)]).for_dom0([(0xfee0_0000, 0xfee0_1000), (0x8000, 0x9000)]);
        assert_eq!(
            flat(&dom0),
            [
                (0, 0x8000, Ram),
                (0x8000, 0x9000, Reserved),
                (0x9000, 0x10_0000, Ram),
                (0xfee0_0000, 0xfee0_1000, Reserved)
            ]
        );
        let entry = dom0.regions()[3].to_bytes();
        assert_eq!(entry[..8], 0xfee0_0000u64.to_le_bytes());
        assert_eq!(entry[8..16], 0x1000u64.to_le_bytes());
        assert_eq!(entry[16..], 2u32.to_le_bytes());
    }

    #[test]
    fn any_report_gives_a_sorted_map_that_agrees_with_every_page() {
        let mut random = Random(0x1234_5678_9abc_def1);
        for round in 0..300 {
            let wild = round % 3 == 0;
            let raw: Vec<RawRegion> = (0..random.next() % 12)
                .map(|_| {
                    let kind = 1 + (random.next() % 7) as u32;
                    let (base, len) = (random.next(), random.next());
                    if wild {
                        RawRegion { base, len, kind }
                    } else {
                        RawRegion {
                            base: base % 0x2_0000,
                            len: len % 0x1_0000,
                            kind,
                        }
                    }
                })
                .collect();
            let m = MemoryMap::from_raw(raw.iter().copied());
            for r in m.regions() {
                assert!(r.start < r.end && r.start % PAGE_SIZE == 0 && r.end % PAGE_SIZE == 0);
            }
            for pair in m.regions().windows(2) {
                assert!(
                    pair[0].end < pair[1].start
                        || (pair[0].end == pair[1].start && pair[0].kind != pair[1].kind)
                );
            }
            if wild {
                continue;
            }
            for page in (0..0x3_0000).step_by(0x1000) {
                let touches =
                    |r: &&RawRegion| r.len != 0 && r.base < page + 0x1000 && page < r.base + r.len;
                let other = raw
                    .iter()
                    .filter(touches)
                    .map(|r| RegionKind::from_type(r.kind))
                    .filter(|k| *k != Ram);
                let ram = raw
                    .iter()
                    .any(|r| r.kind == 1 && r.base <= page && page + 0x1000 <= r.base + r.len);
                assert_eq!(
                    m.kind_at(page),
                    other.max().or(ram.then_some(Ram)),
                    "page {page:#x} of {raw:x?}"
                );
            }
        }
    }
}
