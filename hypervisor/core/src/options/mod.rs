//! The boot options: words on the hypervisor's command line.
//!
//! `table::OPTIONS` is the one list: name, value, help and parser. [`parse`] reads a line by it, [`help_text`] prints it
//! for the manual. A word that is no option of ours is reported and ignored, because loaders and packagers add words; a
//! wrong value of an option we know is an error, because booting on without what was asked for would be worse.

mod table;
mod values;

pub use values::{ComPort, Consoles, Dom0Mem, LogLevel, LogThresholds, MemSize, Parity, VcpuRange};

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::policy::features::CpuidOption;

/// What the operator asked for; the default is what an empty line means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `dom0_mem=`.
    pub dom0_mem: Dom0Mem,
    /// `dom0_max_vcpus=`; `None`: as many as there are CPUs.
    pub dom0_max_vcpus: Option<VcpuRange>,
    /// `console=`.
    pub console: Consoles,
    /// `com1=` and `com2=`.
    pub com: [ComPort; 2],
    /// `sched=`: the scheduler's name; `None`: the default one. The caller knows which exist.
    pub sched: Option<String>,
    /// `nosmp`.
    pub nosmp: bool,
    /// `maxcpus=`.
    pub maxcpus: Option<u32>,
    /// `noreboot`.
    pub noreboot: bool,
    /// `loglvl=`.
    pub loglvl: LogThresholds,
    /// `guest_loglvl=`.
    pub guest_loglvl: LogThresholds,
    /// `mem=`: RAM at and above this machine address is not used.
    pub mem: Option<u64>,
    /// `cpuid=` and `cpuid_mask_*=`; a bit that a mask clears is hidden.
    pub cpuid: CpuidOption,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dom0_mem: Dom0Mem::default(),
            dom0_max_vcpus: None,
            console: Consoles::default(),
            com: [ComPort::COM1, ComPort::COM2],
            sched: None,
            nosmp: false,
            maxcpus: None,
            noreboot: false,
            loglvl: LogThresholds {
                always: LogLevel::Info,
                limited: LogLevel::Info,
            },
            guest_loglvl: LogThresholds {
                always: LogLevel::None,
                limited: LogLevel::Warning,
            },
            mem: None,
            cpuid: CpuidOption::default(),
        }
    }
}

impl Options {
    /// How many of `present` CPUs to start: `nosmp` and `maxcpus=` applied; at least 1.
    pub fn cpus_to_start(&self, present: u32) -> u32 {
        let limit = if self.nosmp {
            1
        } else {
            self.maxcpus.unwrap_or(u32::MAX)
        };
        present.min(limit).max(1)
    }
}

/// A word that could not be followed; prints as one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// No such option.
    Unknown {
        /// The word, without its value.
        option: String,
        /// The option that looks most like it.
        suggestion: Option<&'static str>,
    },
    /// An option of ours with a value that is none.
    BadValue {
        /// The option.
        option: &'static str,
        /// The value, empty if there was none.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

impl Problem {
    /// Whether to stop the boot rather than warn.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::BadValue { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                option,
                suggestion: None,
            } => write!(f, "unknown boot option \"{option}\" ignored"),
            Self::Unknown {
                option,
                suggestion: Some(name),
            } => {
                write!(
                    f,
                    "unknown boot option \"{option}\" ignored; did you mean \"{name}\"?"
                )
            }
            Self::BadValue {
                option,
                value,
                expected,
            } if value.is_empty() => {
                write!(f, "boot option {option} has no value: expected {expected}")
            }
            Self::BadValue {
                option,
                value,
                expected,
            } => {
                write!(
                    f,
                    "boot option {option}={value} is wrong: expected {expected}"
                )
            }
        }
    }
}

/// Reads a command line. Words are parted by blanks; of an option given twice, the last counts (cpuid options add up).
pub fn parse(line: &str) -> (Options, Vec<Problem>) {
    let mut options = Options::default();
    let mut problems = Vec::new();
    for word in line.split_ascii_whitespace() {
        if let Err(problem) = parse_word(&mut options, word) {
            problems.push(problem);
        }
    }
    (options, problems)
}

fn parse_word(options: &mut Options, word: &str) -> Result<(), Problem> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let find = |name: &str| table::OPTIONS.iter().find(|o| o.name == name);
    if let Some(option) = find(name) {
        return option.apply(options, value);
    }
    // no-X turns a yes-or-no option off.
    match name.strip_prefix("no-").and_then(find) {
        Some(option) if option.is_switch() && value.is_none() => option.apply(options, Some("no")),
        _ => Err(Problem::Unknown {
            option: name.into(),
            suggestion: nearest(name),
        }),
    }
}

/// The option whose name is the fewest edits away, if that is few enough to be a slip.
fn nearest(name: &str) -> Option<&'static str> {
    let limit = (name.len() / 3).clamp(1, 3);
    let candidates = table::OPTIONS
        .iter()
        .map(|o| (edit_distance(name, o.name, limit), o.name));
    candidates
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, name)| name)
}

/// Levenshtein's distance, with two swapped letters counting as one edit; anything above `limit` is `limit + 1`.
fn edit_distance(a: &str, b: &str, limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let width = b.len() + 1;
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..width).collect()];
    for i in 0..a.len() {
        rows.rotate_left(1);
        let [before, above, row] = &mut rows;
        row.clear();
        row.push(i + 1);
        for j in 0..b.len() {
            let change = above[j] + usize::from(a[i] != b[j]);
            let mut best = change.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
    }
    rows[2][b.len()]
}

/// All options as text for the manual and the boot menu's help: one paragraph each, lines of at most 80 columns.
pub fn help_text() -> String {
    let mut text = String::new();
    for option in table::OPTIONS {
        option.write_help(&mut text);
    }
    text
}

#[cfg(test)]
mod tests;
