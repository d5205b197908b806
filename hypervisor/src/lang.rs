//! What the compiler expects to find: memory routines without SSE, and stubs for unwinding that never happens.
//!
//! `rep movsq` moves eight bytes per counted instruction under QEMU's `-icount`; the odd bytes at the end go with one
//! overlapping word move, so no routine ever loops over bytes.

// UNSAFETY: these are symbols that the compiler calls, with C's contracts, written in assembly.
#![expect(unsafe_code)]

use core::arch::global_asm;

global_asm!(
    r#"
    .text
    .balign 16
    .globl memmove
memmove:
    mov rax, rdi
    sub rax, rsi
    cmp rax, rdx
    jae memcpy                      // no overlap that a forward copy would trip over
    mov rax, rdi
    cmp rdx, 8
    jb 9f
    mov r8, [rsi]                   // the first word, stored last
2:  mov rcx, [rsi + rdx - 8]
    mov [rdi + rdx - 8], rcx
    sub rdx, 8
    cmp rdx, 8
    jae 2b
    mov [rdi], r8
    ret

    .balign 16
    .globl memcpy
memcpy:
    mov rax, rdi
    cmp rdx, 8
    jb 9f
    mov r8, [rsi + rdx - 8]
    lea r9, [rdi + rdx - 8]
    cmp rdx, 32
    jae 3f
2:  mov rcx, [rsi]                  // up to three whole words
    mov [rdi], rcx
    add rsi, 8
    add rdi, 8
    sub rdx, 8
    cmp rdx, 8
    jae 2b
    mov [r9], r8
    ret
3:  mov rcx, rdx
    shr rcx, 3
    rep movsq
    mov [r9], r8
    ret
9:  cmp edx, 4                      // fewer than eight bytes: all loads before all stores
    jb 4f
    mov ecx, [rsi]
    mov r8d, [rsi + rdx - 4]
    mov [rdi], ecx
    mov [rdi + rdx - 4], r8d
    ret
4:  test edx, edx
    jz 5f
    movzx ecx, byte ptr [rsi]
    cmp edx, 2
    jb 6f
    movzx r8d, word ptr [rsi + rdx - 2]
    mov [rdi], cl
    mov [rdi + rdx - 2], r8w
    ret
6:  mov [rdi], cl
5:  ret

    .balign 16
    .globl memset
memset:
    mov r10, rdi
    movzx eax, sil
    movabs rcx, 0x0101010101010101
    imul rax, rcx
    cmp rdx, 8
    jb 7f
    mov [rdi + rdx - 8], rax
    mov rcx, rdx
    shr rcx, 3
    rep stosq
    mov rax, r10
    ret
7:  test edx, edx
    jz 8f
    mov [rdi], al
    inc rdi
    dec edx
    jmp 7b
8:  mov rax, r10
    ret

    .balign 16
    .globl bcmp
    .globl memcmp
bcmp:
memcmp:
    cmp rdx, 8
    jb 3f
2:  mov rax, [rdi]
    mov rcx, [rsi]
    cmp rax, rcx
    jne 5f
    add rdi, 8
    add rsi, 8
    sub rdx, 8
    cmp rdx, 8
    jae 2b
3:  test edx, edx
    jz 4f
    movzx eax, byte ptr [rdi]
    movzx ecx, byte ptr [rsi]
    inc rdi
    inc rsi
    dec edx
    sub eax, ecx
    jz 3b
    ret
4:  xor eax, eax
    ret
5:  bswap rax                       // first differing byte becomes the most significant
    bswap rcx
    cmp rax, rcx
    sbb eax, eax
    or eax, 1
    ret

    .balign 16
    .globl strlen
strlen:
    lea rax, [rdi - 1]
2:  inc rax
    cmp byte ptr [rax], 0
    jne 2b
    sub rax, rdi
    ret
"#
);

/// Named by the precompiled landing pads of `core` and `alloc`; panics abort, so nobody calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    crate::cpu::halt_forever()
}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::cpu::halt_forever()
}
