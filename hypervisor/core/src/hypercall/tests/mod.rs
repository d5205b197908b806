//! Tests of the handlers, through the dispatcher.
#![allow(non_upper_case_globals, reason = "the headers' spelling")]

mod calls;
mod events;
mod free_memory;
mod grant_calls;
mod grant_threads;
mod grants;
mod lifecycle;
mod memory;
mod mmu;
mod random;
mod toolstack;
mod vcpus;

use rexen_abi::errno::Errno;

/// What rax holds for an error.
fn err(e: Errno) -> u64 {
    e.to_rax()
}
