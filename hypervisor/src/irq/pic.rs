//! The two 8259 interrupt controllers: out of the way.

use crate::cpu::regs::outb;

/// Moves their vectors away from the exceptions (a spurious one may still come) and masks all inputs.
pub fn disable() {
    for (port, base) in [(0x20, 0x20), (0xa0, 0x28)] {
        outb(port, 0x11);
        outb(port + 1, base);
        outb(port + 1, if port == 0x20 { 4 } else { 2 });
        outb(port + 1, 1);
        outb(port + 1, 0xff);
    }
}
