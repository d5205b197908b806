//! Every bare guest on our hypervisor.

use rexen_tests::{guest_tests, host::Host};

guest_tests! {
    Host::Rexen;
    control_registers
    cpuid
    crash_iret_frame_unreadable
    crash_iret_without_user_table
    crash_null_handler
    crash_stack_in_hypervisor
    debug_registers
    descriptors
    event_channels
    exceptions
    grant_table
    hypercall_abi
    io_ports
    iret
    long_operations
    memory_reservation
    model_specific_registers
    multicall
    page_table_writes
    pinning
    start_info
    syscall_entry
    timer
    user_address_space
    vcpus
    versions
    writable_page_tables
}
