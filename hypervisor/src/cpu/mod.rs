//! The processor: its registers, descriptor tables and features.

pub mod regs;

/// Stops this CPU for good.
pub fn halt_forever() -> ! {
    loop {
        regs::cli_hlt();
    }
}
