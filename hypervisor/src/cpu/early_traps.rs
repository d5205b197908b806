//! Exceptions and interrupts until the entry code takes over: exceptions print and stop, interrupts go to `irq`.

// UNSAFETY: assembly that the CPU jumps to.
#![expect(unsafe_code)]

use core::arch::global_asm;

use rexen_abi::arch_x86::CpuUserRegs;

use super::extable;

global_asm!(
    r#"
    .section .text.entry, "ax", @progbits
    .balign 16
early_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector == 10) || (vector == 11) || (vector == 12) || (vector == 13) || (vector == 14) || (vector == 17) || (vector == 21)
    .else
    push 0
    .endif
    mov dword ptr [rsp + 4], vector
    jmp early_common
    .set vector, vector + 1
    .endr
early_common:
    cld
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    call {handler}
    mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    add rsp, 8
    iretq

    .section .rodata.early_stub_table, "a"
    .balign 8
early_stub_table:
    .set vector, 0
    .rept 256
    .quad early_stubs + 16 * vector
    .set vector, vector + 1
    .endr
    .text
"#,
    handler = sym handle,
);

unsafe extern "C" {
    static early_stub_table: [u64; 256];
}

/// Points every gate here.
pub fn install() {
    // SAFETY: constant data of the assembly above.
    super::desc::set_gates(unsafe { &early_stub_table });
}

extern "C" fn handle(frame: &mut CpuUserRegs) {
    let vector = frame.entry_vector;
    if vector >= 32 {
        crate::irq::dispatch(vector as u8);
    } else if let Some(rip) = extable::fixup(frame.rip) {
        frame.rip = rip;
    } else {
        crate::console::panic::die(frame, "unexpected exception")
    }
}
