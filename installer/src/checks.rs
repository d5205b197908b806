//! Reads what domain 0's init says about itself: `CHECK name ok|FAIL detail` on the serial line.

use crate::error::{Error, Result};
use crate::qemu::SerialLog;

/// What init checks (image/dom0/init), in its order. One that never reports has failed.
pub const EXPECTED: [&str; 9] = [
    "hypervisor",
    "vcpus",
    "memory",
    "disk-read",
    "disk-write",
    "net",
    "msi",
    "ioapic",
    "clock",
];
/// The line after the last check.
pub const END: &str = "CHECKS end";

/// One line of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which check.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What it saw.
    pub detail: String,
}

impl Check {
    /// Reads one serial line; anything else than a whole check line gives `None`.
    pub fn parse(line: &str) -> Option<Self> {
        // The hypervisor's own console may have left something before it on the line.
        let (_, rest) = line.split_once("CHECK ")?;
        let mut words = rest.split_whitespace();
        let name = words.next()?.to_owned();
        let passed = match words.next()? {
            "ok" => true,
            "FAIL" => false,
            _ => return None,
        };
        Some(Self {
            name,
            passed,
            detail: words.collect::<Vec<_>>().join(" "),
        })
    }

    /// The value of `key=value` in the detail.
    pub fn value(&self, key: &str) -> Option<&str> {
        let pairs = self
            .detail
            .split_whitespace()
            .filter_map(|w| w.split_once('='));
        pairs.filter(|(k, _)| *k == key).map(|(_, v)| v).next()
    }
}

/// All checks of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Those that were expected, in that order, then whatever the host adds.
    pub checks: Vec<Check>,
}

impl Report {
    /// Collects the check lines of a log; one that was expected and is missing counts as failed.
    pub fn of(log: &SerialLog, expected: &[&str]) -> Self {
        let seen: Vec<Check> = log.lines().filter_map(Check::parse).collect();
        let find = |name: &str| {
            // Should a line come twice, the failure counts.
            let mut of_name = seen.iter().filter(|c| c.name == name).cloned();
            let first = of_name.next();
            of_name
                .find(|c| !c.passed)
                .or(first)
                .unwrap_or_else(|| Check {
                    name: name.to_owned(),
                    passed: false,
                    detail: "did not report".to_owned(),
                })
        };
        Self {
            checks: expected.iter().map(|name| find(name)).collect(),
        }
    }

    /// Adds something that the host saw for itself.
    pub fn add(&mut self, name: &str, passed: bool, detail: impl Into<String>) {
        self.checks.push(Check {
            name: name.to_owned(),
            passed,
            detail: detail.into(),
        });
    }

    /// Finds a check by name.
    pub fn get(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|c| c.name == name)
    }

    /// Whether everything passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|c| c.passed)
    }

    /// The report as a table for people.
    pub fn table(&self) -> String {
        let width = self.checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
        let line = |c: &Check| {
            let verdict = if c.passed { "ok  " } else { "FAIL" };
            format!("  {:width$}  {verdict}  {}\n", c.name, c.detail)
        };
        self.checks.iter().map(line).collect()
    }

    /// Passes when every check did.
    ///
    /// # Errors
    /// Names the checks that failed.
    pub fn verdict(&self) -> Result<()> {
        let failed: Vec<_> = self
            .checks
            .iter()
            .filter(|c| !c.passed)
            .map(|c| c.name.as_str())
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!(
            "{} of {} checks failed",
            failed.len(),
            self.checks.len()
        ))
        .because(failed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_line_is_read_with_its_values() {
        let check = Check::parse("CHECK memory ok total=990000K given=1048576K\r").unwrap();
        assert!(check.passed);
        assert_eq!(check.name, "memory");
        assert_eq!(check.value("given"), Some("1048576K"));
        assert_eq!(check.value("taken"), None);
        assert!(
            !Check::parse("(XEN) noise CHECK net FAIL ping=0/5")
                .unwrap()
                .passed
        );
    }

    #[test]
    fn other_lines_and_torn_lines_are_not_checks() {
        for line in [
            "",
            "CHECKS end uptime=3",
            "CHECK",
            "CHECK net",
            "CHECK net okay",
            "check x ok",
        ] {
            assert_eq!(Check::parse(line), None, "{line}");
        }
    }

    fn log_with(but: &str) -> SerialLog {
        let lines = EXPECTED
            .iter()
            .filter(|&&n| n != but)
            .map(|n| format!("CHECK {n} ok"));
        SerialLog::from_lines(lines)
    }

    #[test]
    fn a_report_passes_only_when_every_check_reported_ok() {
        assert!(Report::of(&log_with(""), &EXPECTED).verdict().is_ok());
        let silent = Report::of(&log_with("ioapic"), &EXPECTED)
            .verdict()
            .unwrap_err();
        assert_eq!(silent.cause.as_deref(), Some("ioapic"));
        assert!(!Report::of(&SerialLog::default(), &EXPECTED).passed());
    }

    #[test]
    fn of_two_answers_the_failure_counts() {
        let mut lines: Vec<_> = log_with("").lines().map(str::to_owned).collect();
        lines.push("CHECK net FAIL ping=0/5".to_owned());
        let report = Report::of(&SerialLog::from_lines(lines), &EXPECTED);
        assert!(!report.passed());
        assert_eq!(report.get("net").unwrap().detail, "ping=0/5");
    }
}
