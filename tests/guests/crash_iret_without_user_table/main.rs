//! Behaviour: iret to user mode needs a user page table (pv-abi 3.5).
//! Trigger: an iret frame with a user cs and no NEW_USER_BASEPTR before.
//! Expectation: the hypervisor crashes this domain, says so, and lives.
#![no_std]
#![no_main]

use rexen_guests::{crashing, fail, guest, trap, user};

guest!("crash_iret_without_user_table", main);

fn main() {
    crashing!("iret to user mode without a user page table");
    trap::catch(|| trap::resume(user::start_frame()));
    fail!("still alive");
}
