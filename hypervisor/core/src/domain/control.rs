//! What the toolstack has said about a domain that no hot path asks for.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32};

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use rexen_abi::errno::Errno;

use crate::sync::Mutex;

/// Most separate ranges of I/O memory or interrupts that one domain may be given.
const MAX_RANGES: usize = 256;

/// The toolstack's settings of a domain.
#[derive(Default)]
pub struct ControlState {
    /// UUID.
    pub handle: Mutex<[u8; 16]>,
    /// Seconds between UTC and the clock that the domain shall see.
    pub time_offset: AtomicI64,
    /// Whether a debugger is attached.
    pub debugged: AtomicBool,
    /// The domain's port to notify when it has suspended; 0 for none.
    pub suspend_port: AtomicU32,
    /// I/O memory that it may map, in frames.
    pub io_memory: Mutex<Ranges>,
    /// Pirqs that it may use.
    pub pirqs: Mutex<Ranges>,
}

/// A set of numbers, as ascending ranges that do not touch.
#[derive(Default, Debug)]
pub struct Ranges(Vec<RangeInclusive<u64>>);

impl Ranges {
    /// Whether the set has `number`.
    pub fn contains(&self, number: u64) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }

    /// Adds numbers.
    ///
    /// # Errors
    /// ENOMEM: too many ranges.
    pub fn allow(&mut self, new: RangeInclusive<u64>) -> Result<(), Errno> {
        let (mut first, mut last) = new.into_inner();
        let touches = |range: &RangeInclusive<u64>, first: u64, last: u64| {
            *range.start() <= last.saturating_add(1) && first <= range.end().saturating_add(1)
        };
        self.reserve_one()?;
        self.0.retain(|range| {
            let joined = touches(range, first, last);
            if joined {
                first = first.min(*range.start());
                last = last.max(*range.end());
            }
            !joined
        });
        let at = self.0.partition_point(|range| *range.start() < first);
        self.0.insert(at, first..=last);
        Ok(())
    }

    /// Removes numbers.
    ///
    /// # Errors
    /// ENOMEM: too many ranges would be left.
    pub fn deny(&mut self, old: RangeInclusive<u64>) -> Result<(), Errno> {
        let (first, last) = old.into_inner();
        self.reserve_one()?;
        // One range at most has numbers on both sides.
        if let Some(at) = self
            .0
            .iter()
            .position(|range| *range.start() < first && last < *range.end())
            && let Some(range) = self.0.get_mut(at)
        {
            let (start, end) = (*range.start(), *range.end());
            *range = start..=first.saturating_sub(1);
            self.0.insert(at + 1, last.saturating_add(1)..=end);
            return Ok(());
        }
        self.0.retain_mut(|range| {
            let (start, end) = (*range.start(), *range.end());
            if end < first || last < start {
                return true;
            }
            if start < first {
                *range = start..=first.saturating_sub(1);
            } else if last < end {
                *range = last.saturating_add(1)..=end;
            } else {
                return false;
            }
            true
        });
        Ok(())
    }

    fn reserve_one(&mut self) -> Result<(), Errno> {
        if self.0.len() >= MAX_RANGES {
            return Err(Errno::ENOMEM);
        }
        self.0.try_reserve(1).map_err(|_| Errno::ENOMEM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_a_set() {
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
        for _ in 0..5000 {
            let first = random(60);
            let last = first + random(8);
            if random(2) == 0 {
                ranges.allow(first..=last).unwrap();
                model.extend(first..=last);
            } else {
                ranges.deny(first..=last).unwrap();
                model.retain(|n| !(first..=last).contains(n));
            }
            assert!((0..80).all(|n| ranges.contains(n) == model.contains(&n)));
            assert!(ranges.0.windows(2).all(|w| w[0].end() + 1 < *w[1].start()));
        }
        ranges.deny(0..=u64::MAX).unwrap();
        assert!(ranges.0.is_empty());
        ranges.allow(0..=u64::MAX).unwrap();
        ranges.deny(5..=5).unwrap();
        assert!(ranges.contains(u64::MAX) && ranges.contains(4) && !ranges.contains(5));
    }

    #[test]
    fn there_is_an_end_to_ranges() {
        let mut ranges = Ranges::default();
        let failed = (0..).find(|n| ranges.allow(n * 2..=n * 2).is_err());
        assert_eq!(failed, Some(MAX_RANGES as u64));
    }
}
