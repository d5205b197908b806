//! xend's log: 2.0's line format, rotated by size.
//!
//! A line is `[YYYY-MM-DD HH:MM:SS xend] LEVEL (module:line) message`; times are UTC. A log that cannot be written (a full
//! disk, say) never stops what is logged.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Level;

/// Size at which a log is rotated, in bytes.
pub const ROTATE_AT: u64 = 1 << 20;
/// Old logs that are kept.
pub const KEPT: u32 = 5;

/// A file that is appended to and rotated: `NAME`, `NAME.1` (the newest old one) to `NAME.5`.
pub struct Rotating {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    limit: u64,
}

impl Rotating {
    /// A log at a path, rotated at `limit` bytes. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, limit: u64) -> Self {
        Self {
            path: path.into(),
            file: None,
            size: 0,
            limit,
        }
    }

    /// Appends bytes, after rotating if they would not fit.
    ///
    /// # Errors
    /// The file cannot be opened or written; the next call tries again.
    pub fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.file.is_some() && self.size > 0 && self.size + bytes.len() as u64 > self.limit {
            self.rotate();
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                if let Some(parent) = self.path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&self.path)?;
                self.size = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        let written = file.write_all(bytes);
        if written.is_err() {
            self.file = None;
        }
        self.size += bytes.len() as u64;
        written
    }

    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        for number in (1..KEPT).rev() {
            let _ = fs::rename(
                numbered(&self.path, number),
                numbered(&self.path, number + 1),
            ); // May not be there.
        }
        let _ = fs::rename(&self.path, numbered(&self.path, 1));
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

enum Sink {
    File(Box<Rotating>),
    Stderr,
    Nowhere,
}

/// Where lines go; clones write to the same place.
#[derive(Clone)]
pub struct Log {
    sink: Arc<Mutex<Sink>>,
    lowest: Level,
}

impl Log {
    /// Logs to a file.
    pub fn to_file(path: &str, lowest: Level) -> Self {
        Self::to(Sink::File(Box::new(Rotating::new(path, ROTATE_AT))), lowest)
    }

    /// Logs to standard error.
    pub fn to_stderr(lowest: Level) -> Self {
        Self::to(Sink::Stderr, lowest)
    }

    /// Logs nothing.
    pub fn nowhere() -> Self {
        Self::to(Sink::Nowhere, Level::Critical)
    }

    fn to(sink: Sink, lowest: Level) -> Self {
        Self {
            sink: Arc::new(Mutex::new(sink)),
            lowest,
        }
    }

    /// Each step.
    #[track_caller]
    pub fn debug(&self, message: &str) {
        self.line(Level::Debug, message, Location::caller());
    }

    /// Each operation.
    #[track_caller]
    pub fn info(&self, message: &str) {
        self.line(Level::Info, message, Location::caller());
    }

    /// Odd, but served.
    #[track_caller]
    pub fn warning(&self, message: &str) {
        self.line(Level::Warning, message, Location::caller());
    }

    /// Something asked for has failed.
    #[track_caller]
    pub fn error(&self, message: &str) {
        self.line(Level::Error, message, Location::caller());
    }

    fn line(&self, level: Level, message: &str, place: &Location<'_>) {
        if level < self.lowest {
            return;
        }
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let module = Path::new(place.file())
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let message = message.replace('\n', " ");
        let line = format!(
            "[{} xend] {} ({module}:{}) {message}\n",
            timestamp(seconds),
            level.word(),
            place.line()
        );
        match &mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::File(file) => drop(file.append(line.as_bytes())), // A log that fails must not stop the work.
            Sink::Stderr => eprint!("{line}"),
            Sink::Nowhere => {}
        }
    }
}

/// Seconds since 1970 as `YYYY-MM-DD HH:MM:SS` in UTC.
pub fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the leap day comes last: 146097 days are 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day_of_month:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_dates() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00");
        assert_eq!(timestamp(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(timestamp(1_795_411_199), "2026-11-23 05:19:59");
        assert_eq!(timestamp(4_107_542_399), "2100-02-28 23:59:59");
        assert_eq!(timestamp(4_107_542_400), "2100-03-01 00:00:00");
    }

    #[test]
    fn a_log_rotates_and_keeps_five() {
        let folder = std::env::temp_dir().join(format!("xend-log-{}", std::process::id()));
        let path = folder.join("xend.log");
        let mut log = Rotating::new(&path, 10);
        for number in 0..8 {
            log.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 7\n");
        assert_eq!(fs::read_to_string(numbered(&path, 1)).unwrap(), "line 6\n");
        assert_eq!(fs::read_to_string(numbered(&path, 5)).unwrap(), "line 2\n");
        assert!(!numbered(&path, 6).exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_line_has_the_format_of_xen_2() {
        let folder = std::env::temp_dir().join(format!("xend-line-{}", std::process::id()));
        let path = folder.join("xend.log");
        let log = Log::to_file(path.to_str().unwrap(), Level::Info);
        log.debug("not this");
        log.info("two\nlines");
        let text = fs::read_to_string(&path).unwrap();
        let (time, rest) = text.split_once(" xend] ").unwrap();
        assert_eq!(time.len(), "[2026-11-23 05:19:59".len());
        assert!(
            rest.starts_with("INFO (log:") && rest.ends_with(") two lines\n"),
            "{rest}"
        );
        assert_eq!(text.lines().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
