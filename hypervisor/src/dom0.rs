//! Building and starting domain 0.

use crate::{cpu, println};

/// Builds domain 0 and runs it.
pub fn start() -> ! {
    println!("No domain 0 yet: halted");
    cpu::halt_forever()
}
