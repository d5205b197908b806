//! The battery-backed clock.

use rexen_core::sync::Mutex;

use crate::cpu::regs::{inb, outb};

/// The index and data ports belong together.
static PORTS: Mutex<()> = Mutex::new(());

/// Reads a CMOS register.
pub fn read_cmos(index: u8) -> u8 {
    let _held = PORTS.lock();
    outb(0x70, index & 0x7f);
    inb(0x71)
}

/// Writes a CMOS register.
pub fn write_cmos(index: u8, value: u8) {
    let _held = PORTS.lock();
    outb(0x70, index & 0x7f);
    outb(0x71, value);
}

/// Seconds since 1970, if the clock is set to UTC. Reads until two readings agree, so no update falls between.
pub fn read_seconds() -> u64 {
    let mut last = registers();
    for _ in 0..1000 {
        let updating = read_cmos(0xa) & 0x80 != 0;
        let again = registers();
        if !updating && again == last {
            break;
        }
        last = again;
    }
    to_seconds(last, read_cmos(0xb))
}

/// Seconds, minutes, hours, day, month, year.
fn registers() -> [u8; 6] {
    [0, 2, 4, 7, 8, 9].map(read_cmos)
}

fn to_seconds(raw: [u8; 6], status_b: u8) -> u64 {
    let binary = status_b & 4 != 0;
    let number = |v: u8| u64::from(if binary { v } else { (v & 0xf) + (v >> 4) * 10 });
    let [seconds, minutes, hours, day, month, year] = raw;
    let mut hour = number(hours & 0x7f);
    if status_b & 2 == 0 {
        hour = hour % 12 + if hours & 0x80 != 0 { 12 } else { 0 };
    }
    let year = 2000 + number(year);
    let month = number(month).clamp(1, 12);
    let days = days_since_1970(year, month, number(day).max(1));
    ((days * 24 + hour) * 60 + number(minutes)) * 60 + number(seconds)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years that start in March put the leap day last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468
}
