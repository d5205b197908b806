//! The console: serial ports, messages, and who gets the input.

pub mod serial;

use core::fmt::{self, Write};

use rexen_core::sync::Mutex;

static OUTPUT: Mutex<Output> = Mutex::new(Output);

struct Output;

impl Write for Output {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            serial::put(byte);
        }
        Ok(())
    }
}

/// Prints one message line. Use [`println!`].
pub fn print_line(args: fmt::Arguments<'_>) {
    let mut out = OUTPUT.lock();
    let _ = writeln!(out, "(XEN) {args}");
}

/// Prints a message line on the console, prefixed with `(XEN) `.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => { $crate::console::print_line(format_args!($($arg)*)) };
}
