//! The battery-backed clock.

use rexen_core::sync::Mutex;
use rexen_core::time::RtcReading;

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

/// Seconds since 1970, if the clock is set to UTC; 0 if it shows no date. `century` is the CMOS register that the FADT
/// names, 0 for none. Reads until two readings agree, so that no update falls between.
pub fn read_seconds(century: u8) -> u64 {
    let mut last = registers(century);
    for _ in 0..1000 {
        let updating = read_cmos(0xa) & 0x80 != 0;
        let again = registers(century);
        if !updating && again == last {
            break;
        }
        last = again;
    }
    let [
        second,
        minute,
        hour,
        day,
        month,
        year,
        century_value,
        status_b,
    ] = last;
    let century = (century != 0).then_some(century_value);
    let reading = RtcReading {
        second,
        minute,
        hour,
        day,
        month,
        year,
        century,
        status_b,
    };
    reading.to_unix_secs().unwrap_or(0)
}

/// Seconds, minutes, hours, day, month, year, century, status B.
fn registers(century: u8) -> [u8; 8] {
    [0, 2, 4, 7, 8, 9, century, 0xb].map(read_cmos)
}
