//! A short sorted list of address ranges: RAM that nobody uses yet.

/// The list is full: the firmware's memory map is more ragged than we can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRanges;

const CAPACITY: usize = 256;

/// Page-aligned, disjoint, ascending ranges of machine addresses `start..end`.
pub struct Ranges {
    list: [(u64, u64); CAPACITY],
    len: usize,
}

impl Ranges {
    /// No range.
    pub const fn new() -> Self {
        Ranges {
            list: [(0, 0); CAPACITY],
            len: 0,
        }
    }

    /// The ranges, in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.list[..self.len].iter().copied()
    }

    /// Adds the whole pages inside `start..end`, which must not touch a range that is there.
    ///
    /// # Errors
    /// [`TooManyRanges`]: nothing was added.
    pub fn add(&mut self, start: u64, end: u64) -> Result<(), TooManyRanges> {
        let (start, end) = (start.next_multiple_of(4096), end & !4095);
        if start >= end {
            return Ok(());
        }
        self.remove(start, end)?;
        let at = self.iter().take_while(|r| r.0 < start).count();
        self.insert(at, (start, end))
    }

    /// Removes every page that `start..end` touches.
    ///
    /// # Errors
    /// [`TooManyRanges`]: a range would have been split in two.
    pub fn remove(&mut self, start: u64, end: u64) -> Result<(), TooManyRanges> {
        let (start, end) = (start & !4095, end.next_multiple_of(4096));
        let mut i = 0;
        while i < self.len {
            let (a, b) = self.list[i];
            if b <= start || end <= a {
                i += 1;
            } else if a < start && end < b {
                self.insert(i + 1, (end, b))?;
                self.list[i] = (a, start);
                return Ok(());
            } else if a < start {
                self.list[i] = (a, start);
                i += 1;
            } else if end < b {
                self.list[i] = (end, b);
                i += 1;
            } else {
                self.list.copy_within(i + 1..self.len, i);
                self.len -= 1;
            }
        }
        Ok(())
    }

    /// Takes `bytes` (whole pages) aligned to `align` from the highest place that ends at or below `limit`.
    pub fn take(&mut self, bytes: u64, align: u64, limit: u64) -> Option<u64> {
        let found = self.iter().rev().find_map(|(start, end)| {
            let at = end.min(limit).checked_sub(bytes)? & !(align - 1);
            (at >= start).then_some(at)
        })?;
        self.remove(found, found + bytes).ok()?;
        Some(found)
    }

    fn insert(&mut self, at: usize, range: (u64, u64)) -> Result<(), TooManyRanges> {
        if self.len == CAPACITY {
            return Err(TooManyRanges);
        }
        self.list.copy_within(at..self.len, at + 1);
        self.list[at] = range;
        self.len += 1;
        Ok(())
    }
}
