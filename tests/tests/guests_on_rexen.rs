//! Every bare guest on our hypervisor.

use rexen_tests::{guest_tests, host::Host};

guest_tests! {
    Host::Rexen;
    control_registers
    cpuid
    debug_registers
    descriptors
    event_channels
    exceptions
    hypercall_abi
    io_ports
    iret
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
