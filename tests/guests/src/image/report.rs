//! The verdict: checks that count, and one line at the end.

use super::{abi, entry, hypercall, lone::Lone};
use core::fmt::{self, Write};

static CHECKS: Lone<u32> = Lone::new(0);
static FAILURES: Lone<u32> = Lone::new(0);

/// A line for the console: cut when it is too long.
pub struct Line {
    bytes: [u8; 240],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length + 1 < self.bytes.len() {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Prints one line, with CONSOLEIO_write.
pub fn print(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 240],
        length: 0,
    };
    let _ = line.write_fmt(text);
    line.bytes[line.length] = b'\n';
    let length = line.length as u64 + 1;
    hypercall::call(
        abi::CONSOLE_IO,
        [0, length, hypercall::pointer(&mut line.bytes)],
    );
}

/// Counts a check; a failed one is printed.
pub fn check(holds: bool, text: fmt::Arguments<'_>) {
    CHECKS.set(CHECKS.get() + 1);
    if !holds {
        FAILURES.set(FAILURES.get() + 1);
        print(format_args!("GUEST-CHECK {}: {text}", entry::name()));
    }
}

/// Ends with FAIL, whatever the checks say.
pub fn fail(text: fmt::Arguments<'_>) -> ! {
    print(format_args!("GUEST {} FAIL {text}", entry::name()));
    hypercall::power_off()
}

/// Says that what comes next must crash this guest, and nothing else: then the crash is its verdict.
pub fn crashing(text: fmt::Arguments<'_>) {
    print(format_args!("GUEST {} CRASHING {text}", entry::name()));
}

/// Ends with SKIP and why.
pub fn skip(text: fmt::Arguments<'_>) -> ! {
    print(format_args!("GUEST {} SKIP {text}", entry::name()));
    hypercall::power_off()
}

/// Ends with the verdict that the checks give; no check at all is a failure.
pub fn finish() -> ! {
    let (checks, failures) = (CHECKS.get(), FAILURES.get());
    if failures == 0 && checks > 0 {
        print(format_args!("GUEST {} PASS {checks} checks", entry::name()));
    } else {
        print(format_args!(
            "GUEST {} FAIL {failures} of {checks} checks",
            entry::name()
        ));
    }
    hypercall::power_off()
}

/// Ends the guest with FAIL and the formatted detail.
#[macro_export]
macro_rules! fail { ($($text:tt)*) => { $crate::report::fail(format_args!($($text)*)) } }

/// Says that what comes next must crash the guest.
#[macro_export]
macro_rules! crashing { ($($text:tt)*) => { $crate::report::crashing(format_args!($($text)*)) } }

/// Ends the guest with SKIP and the formatted reason.
#[macro_export]
macro_rules! skip { ($($text:tt)*) => { $crate::report::skip(format_args!($($text)*)) } }

/// Checks a condition; the text says what was expected.
#[macro_export]
macro_rules! check { ($holds:expr, $($text:tt)*) => { $crate::report::check($holds, format_args!($($text)*)) } }

/// Checks that two values are equal; the text says what they are. Both are shown when they differ.
#[macro_export]
macro_rules! check_eq {
    ($got:expr, $want:expr, $($text:tt)*) => {{
        let (got, want) = ($got, $want);
        $crate::report::check(got == want, format_args!("{}: got {got:x?}, expected {want:x?}", format_args!($($text)*)))
    }};
}
