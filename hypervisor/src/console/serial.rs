//! A 16550 serial port, polled for output.

use crate::cpu::regs::{inb, outb};

const COM1: u16 = 0x3f8;

/// Sets 115200 8n1, FIFOs on, no interrupts.
pub fn init() {
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 0x80);
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    outb(COM1 + 2, 7);
    outb(COM1 + 4, 3);
}

/// Sends one byte, a carriage return before each line feed.
pub fn put(byte: u8) {
    if byte == b'\n' {
        put_raw(b'\r');
    }
    put_raw(byte);
}

fn put_raw(byte: u8) {
    let mut tries = 0;
    while inb(COM1 + 5) & 0x20 == 0 && tries < 100_000 {
        tries += 1;
    }
    outb(COM1, byte);
}
