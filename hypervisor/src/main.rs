//! The bootable hypervisor: it joins the machine to `rexen-core` and decides nothing.
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod console;
mod cpu;
mod lang;
mod mm;

/// The first Rust code: `magic` tells the loader's protocol, `info` is the physical address of its information.
extern "C" fn rust_start(magic: u32, info: u64) -> ! {
    console::serial::init();
    println!("Rexen {} starting", env!("CARGO_PKG_VERSION"));
    println!("Loader magic {magic:#x}, information at {info:#x}");
    cpu::halt_forever()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("Panic: {info}");
    cpu::halt_forever()
}
