//! How the machine comes to us: loader headers, the first instructions, and the start of further CPUs.

pub mod entry;
