//! How the machine comes to us: loader headers, the first instructions, and the order of the start.

mod entry;
mod start;
