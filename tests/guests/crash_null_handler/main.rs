//! Behaviour: an exception that the guest has no handler for (pv-abi 3.4).
//! Trigger: a cleared trap table, then ud2.
//! Expectation: the hypervisor crashes this domain, says so, and lives.
#![no_std]
#![no_main]

use rexen_guests::{check_eq, crashing, fail, guest, machine, trap};

guest!("crash_null_handler", main);

fn main() {
    check_eq!(trap::clear_table(), 0, "set_trap_table of a null pointer");
    crashing!("#UD without a handler");
    machine!("ud2");
    fail!("still alive");
}
