//! Sets of physical CPUs, and the CPU a domain starts on.

use super::SpecError;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The highest CPU number that can be named.
pub const MAX_CPU: u32 = 4095;

/// Physical CPUs a vcpu may run on: `all`, or numbers, ranges and exclusions such as `0-3,^1`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// Every CPU there can be.
    pub fn all() -> Self {
        Self((0..=MAX_CPU).collect())
    }

    /// One CPU; none when the number is above [`MAX_CPU`].
    pub fn one(cpu: u32) -> Option<Self> {
        (cpu <= MAX_CPU).then(|| Self([cpu].into()))
    }

    /// Whether this is `all`.
    pub fn is_all(&self) -> bool {
        self.0.len() == MAX_CPU as usize + 1
    }

    /// Whether a CPU is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for CpuSet {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let invalid = |expected| SpecError::invalid("cpus", text, expected);
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let part = part.trim();
            let (exclude, part) = part
                .strip_prefix('^')
                .map_or((false, part), |rest| (true, rest.trim()));
            if part.starts_with("node") {
                return Err(SpecError::refused(
                    format!("cpus={text:?}"),
                    "Rexen knows no NUMA nodes; name the CPUs",
                ));
            }
            let (first, last) = match part.split_once('-') {
                _ if part == "all" => ("0", "4095"),
                Some((first, last)) => (first, last),
                None => (part, part),
            };
            let number = |text: &str| text.trim().parse().ok().filter(|cpu| *cpu <= MAX_CPU);
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(invalid("CPU numbers up to 4095 and ranges, as in 0-3,^1"));
            };
            if first > last {
                return Err(invalid("a range goes from the lower to the higher CPU"));
            }
            for cpu in first..=last {
                if exclude {
                    set.remove(&cpu);
                } else {
                    set.insert(cpu);
                }
            }
        }
        if set.is_empty() {
            Err(invalid("at least one CPU must be left"))
        } else {
            Ok(Self(set))
        }
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        let mut rest = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// 2.0's `cpu`: where a domain is placed at first, without being bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitialCpu {
    /// -1: where the fewest domains are.
    LeastUsed,
    /// A CPU number, taken modulo the number of CPUs.
    Cpu(u32),
}

impl FromStr for InitialCpu {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.parse::<i64>() {
            Ok(-1) => Ok(Self::LeastUsed),
            Ok(cpu) => u32::try_from(cpu).map(Self::Cpu).map_err(|_| ()),
            Err(_) => Err(()),
        }
        .map_err(|()| SpecError::invalid("cpu", text, "a CPU number, or -1 for the least used CPU"))
    }
}

impl fmt::Display for InitialCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastUsed => f.write_str("-1"),
            Self::Cpu(cpu) => write!(f, "{cpu}"),
        }
    }
}
