//! The console: serial ports, messages, and who gets the input.
//!
//! Messages go to the serial ports chosen by `console=`, and into a ring that domain 0 can read. Input goes to domain 0
//! or, after three times Ctrl-A, to the hypervisor's debug keys.

pub mod input;
pub mod keys;
pub mod log;
pub mod panic;
pub mod ring;
pub mod serial;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rexen_core::sync::Mutex;
use rexen_core::units::CpuId;
use spin::Once;

use crate::irq;

/// Held for a whole message, so that lines of different CPUs do not mix.
static OUTPUT: Mutex<Output> = Mutex::new(Output {
    ring: ring::Ring::new(),
});
/// Set by a panic: its messages must come out even if the panicking CPU holds the lock.
static PANICKING: AtomicBool = AtomicBool::new(false);

static NOTIFY: Once<fn()> = Once::new();

struct Output {
    ring: ring::Ring,
}

impl Write for Output {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.ring.push(s.as_bytes());
        serial::write(s.as_bytes());
        Ok(())
    }
}

/// Serial only: what a panicking CPU uses.
struct Raw;

impl Write for Raw {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        serial::write(s.as_bytes());
        Ok(())
    }
}

/// Prints one message line. Use [`println!`](crate::println).
pub fn print_line(args: fmt::Arguments<'_>) {
    if PANICKING.load(Relaxed) {
        let _ = writeln!(Raw, "(XEN) {args}");
        return;
    }
    let _ = writeln!(OUTPUT.lock(), "(XEN) {args}");
    if let Some(notify) = NOTIFY.get() {
        notify();
    }
}

/// Sets what is told of each message (VIRQ_CON_RING). It prints nothing itself. The first caller wins.
pub fn set_notify(notify: fn()) {
    NOTIFY.call_once(|| notify);
}

/// Prints what domain 0 writes, as it is, and keeps it out of the ring: `xl dmesg` reads there until nothing is new, and
/// would read its own output for ever.
pub fn write_guest(bytes: &[u8]) {
    let _whole_lines = OUTPUT.lock();
    serial::write(bytes);
}

/// Copies messages from position `from` on into `to`. Gives the position after the last byte copied, and how many bytes
/// were copied. Positions count every byte ever printed; one that is no longer kept means the oldest byte.
pub fn read_messages(from: u64, to: &mut [u8]) -> (u64, usize) {
    OUTPUT.lock().ring.read(from, to)
}

/// Forgets all messages.
pub fn clear_messages() {
    OUTPUT.lock().ring.clear();
}

fn begin_panic() -> bool {
    !PANICKING.swap(true, Relaxed)
}

/// Prints a message line on the console, prefixed with `(XEN) `.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => { $crate::console::print_line(format_args!($($arg)*)) };
}

/// Lets serial input in: its interrupt goes to the boot CPU.
pub fn start_input() {
    let Some((_, irq)) = serial::in_use().filter(|&(_, irq)| irq != 0) else {
        return;
    };
    let Some(vector) = irq::alloc_vector() else {
        return;
    };
    let gsi = irq::gsi::of_isa(irq as u8);
    irq::gsi::claim(gsi);
    irq::set_handler(vector, |_| {
        irq::apic::eoi();
        input::poll();
    });
    irq::ioapic::program(gsi, vector, CpuId(0), irq::gsi::line(gsi), false);
    serial::listen();
}
