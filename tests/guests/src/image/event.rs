//! Event channels: shared_info, masks, and the channel operations.

use super::{abi, entry, hypercall, lone::Lone, memory};

static SHARED_INFO: Lone<u64> = Lone::new(0);
static UPCALLS: Lone<u64> = Lone::new(0);

/// Offset of evtchn_pending in shared_info.
pub const PENDING: u64 = 0x800;
/// Offset of evtchn_mask in shared_info.
pub const MASK: u64 = 0xa00;

/// The address of shared_info, mapped at the first call.
pub fn shared_info() -> u64 {
    if SHARED_INFO.get() == 0 {
        let va = memory::new_page();
        let pte =
            entry::start_info().shared_info | abi::PTE_P | abi::PTE_RW | abi::PTE_A | abi::PTE_US;
        let result = hypercall::update_va_mapping(va, pte);
        assert!(result == 0, "mapping shared_info gives {result}");
        SHARED_INFO.set(va);
    }
    SHARED_INFO.get()
}

/// Called for each event callback: counts it and takes the pending flag back.
pub fn note_upcall() {
    UPCALLS.set(UPCALLS.get() + 1);
    let info = shared_info();
    memory::write_byte(info, 0);
    memory::write(info + 8, 0);
}

/// How many event callbacks there were.
pub fn upcalls() -> u64 {
    UPCALLS.get()
}

/// Sets vcpu 0's evtchn_upcall_mask by a plain store, as a guest does.
pub fn set_upcall_mask(mask: u8) {
    memory::write_byte(shared_info() + 1, mask);
}

/// vcpu 0's evtchn_upcall_mask.
pub fn upcall_mask() -> u8 {
    memory::read_byte(shared_info() + 1)
}

/// vcpu 0's evtchn_upcall_pending.
pub fn upcall_pending() -> u8 {
    memory::read_byte(shared_info())
}

/// Any hypercall at all: on its way out the hypervisor looks for pending events.
pub fn force_delivery() {
    hypercall::call(abi::XEN_VERSION, [0, 0]);
}

/// Whether bit `port` of evtchn_pending is set.
pub fn is_pending(port: u32) -> bool {
    memory::read(shared_info() + PENDING + u64::from(port / 64) * 8) >> (port % 64) & 1 == 1
}

/// Clears bit `port` of evtchn_pending.
pub fn clear_pending(port: u32) {
    let word = shared_info() + PENDING + u64::from(port / 64) * 8;
    memory::write(word, memory::read(word) & !(1 << (port % 64)));
}

/// Sets or clears bit `port` of evtchn_mask by a store.
pub fn set_port_mask(port: u32, is_masked: bool) {
    let word = shared_info() + MASK + u64::from(port / 64) * 8;
    let bit = 1 << (port % 64);
    let value = memory::read(word);
    memory::write(word, if is_masked { value | bit } else { value & !bit });
}

/// Performs event_channel_op `cmd` on the structure given as 32-bit words, which also takes the answer.
pub fn op<const N: usize>(cmd: u64, words: &mut [u32; N]) -> i64 {
    hypercall::call(abi::EVENT_CHANNEL_OP, [cmd, hypercall::pointer(words)])
}

/// Binds a virtual interrupt: the port.
pub fn bind_virq(virq: u32, vcpu: u32) -> Result<u32, i64> {
    let mut words = [virq, vcpu, 0];
    match op(1, &mut words) {
        0 => Ok(words[2]),
        error => Err(error),
    }
}

/// Binds an inter-processor interrupt: the port.
pub fn bind_ipi(vcpu: u32) -> Result<u32, i64> {
    let mut words = [vcpu, 0];
    match op(7, &mut words) {
        0 => Ok(words[1]),
        error => Err(error),
    }
}

/// Makes an unbound port for `remote`.
pub fn alloc_unbound(remote: u16) -> Result<u32, i64> {
    let mut words = [abi::DOMID_SELF as u32 | u32::from(remote) << 16, 0];
    match op(6, &mut words) {
        0 => Ok(words[1]),
        error => Err(error),
    }
}

/// Joins a new port to `port` of `remote`.
pub fn bind_interdomain(remote: u16, port: u32) -> Result<u32, i64> {
    let mut words = [u32::from(remote), port, 0];
    match op(0, &mut words) {
        0 => Ok(words[2]),
        error => Err(error),
    }
}

/// Sends an event.
pub fn send(port: u32) -> i64 {
    op(4, &mut [port])
}

/// Closes a port.
pub fn close(port: u32) -> i64 {
    op(3, &mut [port])
}

/// Asks the hypervisor to unmask a port.
pub fn unmask(port: u32) -> i64 {
    op(9, &mut [port])
}
