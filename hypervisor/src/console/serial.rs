//! 16550 serial ports: polled output, interrupts for input.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};

use rexen_core::options::{ComPort, Parity};

use crate::cpu::regs::{inb, outb};

/// The port in use; 0 means none.
static PORT: AtomicU16 = AtomicU16::new(0);
static IRQ: AtomicU64 = AtomicU64::new(0);
/// How many bytes an idle port takes at once.
static FIFO_DEPTH: AtomicU8 = AtomicU8::new(1);

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
/// Read.
const INTERRUPT_ID: u16 = 2;
/// Written.
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const DIVISOR_ACCESS: u8 = 0x80;
const CAN_SEND: u8 = 0x20;
const HAS_INPUT: u8 = 1;

/// Starts to use a port, as it is set.
pub fn init(s: &ComPort) {
    outb(s.port + INTERRUPT_ENABLE, 0);
    let parity = match s.parity {
        Parity::None => 0,
        Parity::Odd => 1,
        Parity::Even => 3,
        Parity::Mark => 5,
        Parity::Space => 7,
    };
    let line =
        (s.data_bits.wrapping_sub(5) & 3) | (s.stop_bits.wrapping_sub(1) & 1) << 2 | parity << 3;
    if let Some(divisor) = s.baud.and_then(|baud| 115_200u32.checked_div(baud)) {
        outb(s.port + LINE_CONTROL, line | DIVISOR_ACCESS);
        outb(s.port + DATA, divisor as u8);
        outb(s.port + INTERRUPT_ENABLE, (divisor >> 8) as u8);
    }
    outb(s.port + LINE_CONTROL, line);
    outb(s.port + FIFO_CONTROL, 7); // on, both emptied, interrupt at one byte
    outb(s.port + MODEM_CONTROL, 0xb); // DTR, RTS, and OUT2, which lets interrupts through
    let has_fifo = inb(s.port + INTERRUPT_ID) & 0xc0 == 0xc0;
    FIFO_DEPTH.store(if has_fifo { 16 } else { 1 }, Relaxed);
    // Nothing there reads as all ones.
    let present = inb(s.port + LINE_STATUS) != 0xff;
    PORT.store(if present { s.port } else { 0 }, Relaxed);
    IRQ.store(s.irq.into(), Relaxed);
}

/// Stops using any port.
pub fn disable() {
    PORT.store(0, Relaxed);
}

/// The first I/O port and the ISA interrupt of the port in use.
pub fn in_use() -> Option<(u16, u32)> {
    let port = PORT.load(Relaxed);
    (port != 0).then(|| (port, IRQ.load(Relaxed) as u32))
}

/// Sends bytes, a carriage return before each line feed.
pub fn write(bytes: &[u8]) {
    let port = PORT.load(Relaxed);
    if port == 0 {
        return;
    }
    let depth = FIFO_DEPTH.load(Relaxed);
    let mut room = 0;
    for &byte in bytes {
        if byte == b'\n' {
            send(port, b'\r', depth, &mut room);
        }
        send(port, byte, depth, &mut room);
    }
}

/// Sends a byte. `room` is how many more the port takes without being asked; an empty port takes `depth`.
fn send(port: u16, byte: u8, depth: u8, room: &mut u8) {
    if *room == 0 {
        // A port that never gets ready loses bytes rather than time.
        for _ in 0..100_000 {
            if inb(port + LINE_STATUS) & CAN_SEND != 0 {
                break;
            }
        }
        *room = depth;
    }
    outb(port + DATA, byte);
    *room -= 1;
}

/// Lets input raise the port's interrupt.
pub fn listen() {
    let port = PORT.load(Relaxed);
    if port != 0 {
        outb(port + INTERRUPT_ENABLE, 1);
    }
}

/// The next byte of input, if there is one.
pub fn receive() -> Option<u8> {
    let port = PORT.load(Relaxed);
    (port != 0 && inb(port + LINE_STATUS) & HAS_INPUT != 0).then(|| inb(port + DATA))
}
