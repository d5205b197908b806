//! The hypervisor's own memory: where things live, its page tables, its heap, and raw access to frames.
//!
//! [`init`] runs once, on the boot CPU and the boot tables. It needs the firmware's memory map, finds the RAM that nobody
//! uses, and takes from it what the hypervisor will ever need: tables, heap, frame table, M2P. What is left is handed
//! over by [`take_free_ranges`].

pub mod frames;
pub mod heap;
pub mod layout;
pub mod m2p;
pub mod mmio;
pub mod percpu;
mod ranges;
mod setup;
pub mod tables;
pub mod window;

pub use m2p::frame_table;
pub use mmio::map_mmio;
pub use setup::{
    code_range, init, init_first_heap, lend_scratch, max_mfn, return_scratch, take_free_ranges,
    take_low_page, take_pages,
};
pub use tables::{hypervisor_l4_entries, idle_l4};

use setup::take_table;
