//! Who gets what is typed: domain 0, or the debug keys.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rexen_core::sync::Mutex;
use spin::Once;

use super::{keys, serial};
use crate::println;

/// Ctrl-A; three in a row change who gets the input.
const SWITCH: u8 = 1;
const BYTES: usize = 1024;

struct Input {
    to_hypervisor: bool,
    switches: u8,
    ring: [u8; BYTES],
}

impl Input {
    /// Keeps a byte for domain 0; drops it if there is no room.
    fn put(&mut self, byte: u8) {
        let (put, taken) = (PUT.load(Relaxed), TAKEN.load(Relaxed));
        if put - taken < BYTES {
            self.ring[put % BYTES] = byte;
            PUT.store(put + 1, Relaxed);
        }
    }
}

static INPUT: Mutex<Input> = Mutex::new(Input {
    to_hypervisor: false,
    switches: 0,
    ring: [0; BYTES],
});
/// Bytes ever put into the ring, and ever taken out.
static PUT: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static NOTIFY: Once<fn()> = Once::new();

/// Sets what tells domain 0 that input is waiting (VIRQ_CONSOLE). The first caller wins.
pub fn set_notify(notify: fn()) {
    NOTIFY.call_once(|| notify);
}

/// Takes what the serial port has received. Runs in its interrupt.
pub fn poll() {
    let mut for_guest = false;
    while let Some(byte) = serial::receive() {
        for_guest |= accept(byte);
    }
    if for_guest && let Some(notify) = NOTIFY.get() {
        notify();
    }
}

/// Gives one byte to its reader, and before it whatever could have begun a switch but did not. True if any of it is for
/// domain 0.
fn accept(byte: u8) -> bool {
    let mut input = INPUT.lock();
    if byte == SWITCH {
        input.switches += 1;
        if input.switches == 3 {
            input.switches = 0;
            input.to_hypervisor = !input.to_hypervisor;
            let to = if input.to_hypervisor { "Xen" } else { "DOM0" };
            drop(input);
            println!("*** Serial input to {to} (type 'CTRL-a' three times to switch input)");
        }
        return false;
    }
    let held_back = core::mem::take(&mut input.switches);
    if input.to_hypervisor {
        drop(input);
        keys::handle(byte);
        return false;
    }
    (0..held_back).for_each(|_| input.put(SWITCH));
    input.put(byte);
    true
}

/// Takes input for domain 0; gives the number of bytes.
pub fn read(to: &mut [u8]) -> usize {
    let input = INPUT.lock();
    let (put, taken) = (PUT.load(Relaxed), TAKEN.load(Relaxed));
    let n = to.len().min(put - taken);
    for (i, slot) in to.iter_mut().take(n).enumerate() {
        *slot = input.ring[(taken + i) % BYTES];
    }
    TAKEN.store(taken + n, Relaxed);
    n
}
