//! Where lines go: domain 0 writes to the hypervisor's console, any other domain into its console page.

use super::{abi, entry, event, hypercall, lone::Lone, memory};

/// The two halves of a console page (`struct xencons_interface`): this guest writes to the second.
const OUT: u64 = 1024;
const OUT_BYTES: u32 = 2048;
const OUT_CONS: u64 = 3080;
const OUT_PROD: u64 = 3084;

/// The address of the console page, once it was asked for.
static PAGE: Lone<u64> = Lone::new(0);

/// Writes bytes, and waits for room as long as it takes.
pub fn write(bytes: &mut [u8]) {
    if entry::is_domain0() {
        hypercall::call(
            abi::CONSOLE_IO,
            [0, bytes.len() as u64, bytes.as_mut_ptr() as u64],
        );
        return;
    }
    if PAGE.get() == 0 {
        PAGE.set(memory::va_of_mfn(entry::start_info().console[0]));
    }
    let page = PAGE.get();
    for byte in bytes {
        let prod = memory::read_u32(page + OUT_PROD);
        while prod.wrapping_sub(memory::read_u32(page + OUT_CONS)) >= OUT_BYTES {
            notify();
            hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
        }
        memory::write_byte(page + OUT + u64::from(prod % OUT_BYTES), *byte);
        memory::write_u32(page + OUT_PROD, prod.wrapping_add(1));
    }
    notify();
}

fn notify() {
    event::send(entry::start_info().console[1] as u32);
}
