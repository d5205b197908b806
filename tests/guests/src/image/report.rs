//! The verdict: checks that count, and one line at the end.

use super::{console, entry, hypercall, lone::Lone};
use core::fmt::{self, Write};

static CHECKS: Lone<u32> = Lone::new(0);
static FAILURES: Lone<u32> = Lone::new(0);

/// Text of up to `N` bytes, cut when it is too long.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    /// Adds a byte while there is room.
    pub fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// The text; nothing when it is not UTF-8.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Prints one line on the console.
pub fn print(text: fmt::Arguments<'_>) {
    let mut line = Text::<300>::new();
    let _ = line.write_fmt(text);
    // The last byte of a line that was cut makes place for its end.
    line.length = line.length.min(line.bytes.len() - 1);
    line.push(b'\n');
    console::write(&mut line.bytes[..line.length]);
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

/// Checks that a call was refused: that it returns an error number. Which one is not asked.
#[macro_export]
macro_rules! refused {
    ($result:expr, $($text:tt)*) => {{
        let result: i64 = $result;
        $crate::report::check((-4095..0).contains(&result), format_args!("{}: {result}, no error", format_args!($($text)*)))
    }};
}
