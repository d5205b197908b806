//! Which messages are printed: by gravity, and for what guests can cause, by rate.

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rexen_core::options::{LogLevel, LogThresholds};
use rexen_core::sync::Mutex;

use crate::timer;

/// Rate-limited messages that may be printed in one window.
const BURST: u32 = 10;
const WINDOW_NS: u64 = 5_000_000_000;

/// Thresholds of one kind of message, as level numbers.
pub struct Source {
    always: AtomicU8,
    limited: AtomicU8,
}

/// Messages about the hypervisor itself (`loglvl=`).
pub static HYPERVISOR: Source = Source::new(LogLevel::Info, LogLevel::Info);
/// Messages that guests can cause (`guest_loglvl=`). They carry no guest data.
pub static GUEST: Source = Source::new(LogLevel::None, LogLevel::Warning);

struct Rate {
    window_start: u64,
    printed: u32,
    dropped: u32,
}

static RATE: Mutex<Rate> = Mutex::new(Rate {
    window_start: 0,
    printed: 0,
    dropped: 0,
});

impl Source {
    const fn new(always: LogLevel, limited: LogLevel) -> Self {
        Source {
            always: AtomicU8::new(always as u8),
            limited: AtomicU8::new(limited as u8),
        }
    }

    /// Sets both thresholds.
    pub fn set(&self, to: LogThresholds) {
        self.always.store(to.always as u8, Relaxed);
        self.limited.store(to.limited as u8, Relaxed);
    }

    /// Prints a message of `level`, if that is wanted now.
    pub fn print(&self, level: LogLevel, args: fmt::Arguments<'_>) {
        let level = level as u8;
        if level <= self.always.load(Relaxed)
            || level <= self.limited.load(Relaxed) && within_rate()
        {
            super::print_line(args);
        }
    }
}

/// Whether one more rate-limited message may be printed now. A new window begins with how many were not.
fn within_rate() -> bool {
    let now = timer::now_ns().0;
    let mut rate = RATE.lock();
    let mut dropped = 0;
    if now.wrapping_sub(rate.window_start) > WINDOW_NS {
        dropped = rate.dropped;
        *rate = Rate {
            window_start: now,
            printed: 0,
            dropped: 0,
        };
    }
    let allowed = rate.printed < BURST;
    if allowed {
        rate.printed += 1;
    } else {
        rate.dropped += 1;
    }
    drop(rate);
    if dropped > 0 {
        super::print_line(format_args!("{dropped} messages were left out"));
    }
    allowed
}

/// Prints a line about the hypervisor itself: `log!(LogLevel::Warning, "...")`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($arg:tt)*) => { $crate::console::log::HYPERVISOR.print($level, format_args!($($arg)*)) };
}

/// Prints a line that a guest can cause: `guest_log!(LogLevel::Warning, "d3v1: ...")`.
#[macro_export]
macro_rules! guest_log {
    ($level:expr, $($arg:tt)*) => { $crate::console::log::GUEST.print($level, format_args!($($arg)*)) };
}
