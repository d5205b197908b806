//! The hypervisor's own memory: where things live, its page tables, its heap, and raw access to frames.

pub mod heap;
