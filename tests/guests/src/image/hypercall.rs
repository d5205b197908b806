//! Hypercalls, issued with SYSCALL as the guest's own stubs would (pv-abi 2.1).
// UNSAFETY: the SYSCALL instruction. The hypervisor writes only where a test tells it to.
#![expect(unsafe_code)]

use super::abi;
use core::arch::asm;

/// Issues hypercall `number`; missing arguments are 0.
pub fn call<const N: usize>(number: u32, arguments: [u64; N]) -> i64 {
    call_words(u64::from(number), arguments)
}

/// Issues a hypercall by all 64 bits of its number; missing arguments are 0.
pub fn call_words<const N: usize>(number: u64, arguments: [u64; N]) -> i64 {
    let mut words = [0u64; 6];
    words[..N].copy_from_slice(&arguments);
    let mut rax = number;
    // SAFETY: what a hypercall changes besides rax, rcx and r11 is memory, and memory counts as clobbered.
    unsafe {
        asm!("syscall", inout("rax") rax, in("rdi") words[0], in("rsi") words[1], in("rdx") words[2],
            in("r10") words[3], in("r8") words[4], in("r9") words[5], lateout("rcx") _, lateout("r11") _);
    }
    rax.cast_signed()
}

/// The address of a value, for a hypercall that reads or writes it.
pub fn pointer<T>(value: &mut T) -> u64 {
    core::ptr::from_mut(value) as u64
}

/// One element of `mmuext_op` (`struct mmuext_op`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MmuextOp {
    /// The command, MMUEXT_*.
    pub cmd: u32,
    /// A machine frame number or a linear address.
    pub arg1: u64,
    /// The second argument.
    pub arg2: u64,
}

/// Performs one `mmuext_op` on this domain.
pub fn mmuext(cmd: u32, arg1: u64, arg2: u64) -> i64 {
    let mut op = MmuextOp { cmd, arg1, arg2 };
    call(abi::MMUEXT_OP, [pointer(&mut op), 1, 0, abi::DOMID_SELF])
}

/// Performs one `mmu_update` on this domain: `ptr` with its type in the low two bits.
pub fn mmu_update(ptr: u64, val: u64) -> i64 {
    let mut request = [ptr, val];
    call(
        abi::MMU_UPDATE,
        [pointer(&mut request), 1, 0, abi::DOMID_SELF],
    )
}

/// Replaces the level-1 entry that maps `va`.
pub fn update_va_mapping(va: u64, pte: u64) -> i64 {
    call(abi::UPDATE_VA_MAPPING, [va, pte, abi::UVMF_INVLPG])
}

/// Switches a VM assist on.
pub fn enable_vm_assist(assist: u64) -> i64 {
    call(abi::VM_ASSIST, [0, assist])
}

/// Powers the machine off: the guest's last act.
pub fn power_off() -> ! {
    shut_down(abi::SHUTDOWN_POWEROFF)
}

/// Ends the domain for a reason (`SHUTDOWN_*`).
pub fn shut_down(mut reason: u32) -> ! {
    call(abi::SCHED_OP, [abi::SCHEDOP_SHUTDOWN, pointer(&mut reason)]);
    loop {
        call(abi::SCHED_OP, [abi::SCHEDOP_BLOCK, 0]);
    }
}
