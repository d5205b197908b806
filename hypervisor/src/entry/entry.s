/* The ways into the hypervisor and out of it.
 *
 * A full frame lies at 8 (mod 16), so 8 more bytes before each call make the stack what Rust expects.
 *
 * On entry from a guest rsp is the top of the frame in CpuInfo, just above `ss`: the per-CPU syscall stub and the TSS
 * see to that. The constants T_* are offsets from there to CpuInfo's words, R_* from the frame's first byte (rsp once
 * all registers are pushed). Interrupts are off throughout. Fast paths never touch a guest-supplied address that could
 * lie in the hypervisor's range; a fault on one goes through .ex_table.
 *
 * `docs/life-of-a-hypercall.md` walks through this file.
 */

.macro EX_TABLE from, to
    .pushsection .ex_table, "a"
    .balign 8
    .quad \from, \to
    .popsection
.endm

.macro PUSH_GPRS
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
.endm

.macro POP_GPRS
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
.endm

.section .text.entry, "ax"

/* ---- SYSCALL ---------------------------------------------------------------------------------------------------- */

/* The template of each CPU's stub page. Nothing here may be relative to where it is assembled: the two words are
   addressed relative to where the stub runs, by the same distance on every CPU. Data here, code where it is copied. */
.pushsection .rodata.stubs, "a"
.balign 16
.global syscall_stub_start
syscall_stub_start:
    mov [rip + {STUB_TO_SCRATCH}], rsp
    lea rsp, [rip + {STUB_TO_TOP}]
    jmp [rip]
    .quad syscall_entry
.global syscall_stub_end
syscall_stub_end:

/* Same for 32-bit code: compatibility-mode SYSCALL. */
.global syscall32_stub_start
syscall32_stub_start:
    mov [rip + {STUB32_TO_SCRATCH}], rsp
    lea rsp, [rip + {STUB32_TO_TOP}]
    jmp [rip]
    .quad syscall32_entry
.global syscall32_stub_end
syscall32_stub_end:
.popsection

.balign 64
.global syscall_entry
syscall_entry:
    cmp byte ptr [rsp + {T_KERNEL_MODE}], 0
    jne 10f

    /* From user mode: the frame of the guest's syscall callback, straight onto its kernel stack. */
    mov [rsp + {T_SAVE0}], rax
    mov rax, [rsp + {T_KERNEL_CR3}]
    mov [rsp + {T_SAVE1}], rdx
    mov cr3, rax
    swapgs
    mov byte ptr [rsp + {T_KERNEL_MODE}], 1
    mov rdx, [rsp + {T_VCPU_INFO}]
    movzx eax, byte ptr [rdx + 1]
    test eax, eax
    jnz 9f                          /* events masked in user mode: odd, so by the long way */
    mov al, [rsp + {T_SYSCALL_MASKS}]
    or [rdx + 1], al
    mov rax, [rsp + {T_SYSCALL_SP}] /* 0 when there is no callback or no usable stack */
    test rax, rax
    jz 8f
20: mov [rax - 56], rcx
21: mov [rax - 48], r11
22: mov [rax - 40], rcx
23: mov qword ptr [rax - 32], 0xe033
24: mov [rax - 24], r11
    mov rdx, [rsp + {T_SCRATCH_RSP}]
25: mov [rax - 16], rdx
26: mov qword ptr [rax - 8], 0xe02b
    EX_TABLE 20b, 8f
    EX_TABLE 21b, 8f
    EX_TABLE 22b, 8f
    EX_TABLE 23b, 8f
    EX_TABLE 24b, 8f
    EX_TABLE 25b, 8f
    EX_TABLE 26b, 8f
    mov rcx, [rsp + {T_SYSCALL_RIP}]
    and r11d, {BOUNCE_FLAGS}
    sub rax, 56
    mov rdx, [rsp + {T_SAVE1}]
    mov [rsp + {T_SCRATCH_RSP}], rax
    mov rax, [rsp + {T_SAVE0}]
    mov rsp, [rsp + {T_SCRATCH_RSP}]
    sysretq

    /* The long way: the whole frame, then Rust. The mode is already the kernel's; rcx and r11 are still the guest's. */
8:  mov rdx, [rsp + {T_VCPU_INFO}]
    mov byte ptr [rdx + 1], 0
9:  mov rax, [rsp + {T_SAVE0}]
    mov rdx, [rsp + {T_SAVE1}]
    push 0xe02b
    push qword ptr [rsp + 8 + {T_SCRATCH_RSP}]
    push r11
    push 0xe033
    push rcx
    push 0x100
    PUSH_GPRS
    mov rdi, rsp
    sub rsp, 8
    call {user_syscall}
    add rsp, 8
    jmp exit_to_guest

    /* From the guest kernel: a hypercall. */
10: cmp rax, 23
    je iret_entry
    /* xen_version(XENVER_version): Linux makes it for nothing but to take its events, thousands of times in a boot. Without
       anything to take or to do it ends here. */
    cmp rax, {XEN_VERSION_CALL}
    jne 11f
    test rdi, rdi
    jnz 11f
    cmp qword ptr [rsp + {T_PENDING}], 0
    jne 11f
    mov rax, [rsp + {T_VCPU_INFO}]
    cmp byte ptr [rax], 0
    jne 19f
    mov rax, rcx
    shl rax, 16
    sar rax, 16
    cmp rax, rcx
    jne 19f
    mov eax, {XEN_VERSION}
    mov rsp, [rsp + {T_SCRATCH_RSP}]
    sysretq
19: mov eax, {XEN_VERSION_CALL}
11: push 0xe02b
    push qword ptr [rsp + 8 + {T_SCRATCH_RSP}]
    push r11
    push 0xe033
    push rcx
    push 0x100
    PUSH_GPRS
    mov rdi, rsp
    sub rsp, 8
    call {hypercall}
    add rsp, 8
    /* Nothing pending: SYSRET, if the return address lets us. */
    cmp qword ptr [rsp + {R_PENDING}], 0
    jne exit_to_guest
    mov rcx, [rsp + {R_VCPU_INFO}]
    cmp byte ptr [rcx], 0
    jne 14f
13: mov rcx, [rsp + {R_RIP}]
    mov rdx, rcx
    shl rdx, 16
    sar rdx, 16
    cmp rdx, rcx
    jne exit_to_guest
    test al, al                     /* Rust said: the frame is still that of this hypercall */
    jz exit_to_guest
    POP_GPRS
    mov rcx, [rsp + 8]
    mov r11, [rsp + 24]
    mov rsp, [rsp + 32]
    sysretq
14: cmp byte ptr [rcx + 1], 0       /* an event waits: for the guest to unmask, or for us to deliver it */
    jne 13b
    jmp exit_to_guest

/* The iret hypercall: rax, r11, rcx, flags, rip, cs, rflags, rsp, ss on the guest's stack. */
iret_entry:
    mov rax, [rsp + {T_SCRATCH_RSP}]
    mov rcx, rax
    shr rcx, 43
    cmp ecx, 0x1ffff0               /* the hypervisor's range, 0xffff800000000000 to 0xffff880000000000 */
    je 18f
    cmp qword ptr [rsp + {T_PENDING}], 0
    jne 18f
30: mov ecx, [rax + 40]
    EX_TABLE 30b, 18f
    and ecx, 3
    cmp ecx, 3
    jne 18f                         /* to the guest kernel: by Rust */
31: mov r11, [rax + 48]
    EX_TABLE 31b, 18f
    test r11d, 0x200
    jz 18f                          /* events masked in user mode: by Rust */
    mov rcx, [rsp + {T_VCPU_INFO}]
    cmp byte ptr [rcx], 0
    jne 18f                         /* an event waits: by Rust */
    cmp qword ptr [rsp + {T_USER_CR3}], 0
    je 18f
    and r11d, {USER_FLAGS}
    or r11d, 0x202
32: mov ecx, [rax + 24]
    EX_TABLE 32b, 18f
    test ecx, 0x100                 /* VGCF_in_syscall: rcx and r11 need not come back, so SYSRET will do */
    jz 16f
33: mov rcx, [rax + 32]
    EX_TABLE 33b, 18f
    mov [rsp + {T_SAVE0}], rdx
    mov rdx, rcx
    shr rdx, 47
    mov rdx, [rsp + {T_SAVE0}]
    jnz 18f                         /* user code lives in the lower half; anything else is not for SYSRET */
    mov [rsp + {T_SAVE0}], rdx
34: mov rdx, [rax + 56]
    EX_TABLE 34b, 17f
35: mov rax, [rax]
    EX_TABLE 35b, 17f
    mov [rsp + {T_SCRATCH_RSP}], rdx
    mov rdx, [rsp + {T_VCPU_INFO}]
    mov byte ptr [rdx + 1], 0
    mov rdx, [rsp + {T_USER_CR3}]
    mov cr3, rdx
    swapgs
    mov byte ptr [rsp + {T_KERNEL_MODE}], 0
    mov rdx, [rsp + {T_SAVE0}]
    mov rsp, [rsp + {T_SCRATCH_RSP}]
    sysretq

    /* The full frame, by IRET. */
16: mov [rsp + {T_SAVE0}], rdx
36: mov ecx, [rax + 64]
    EX_TABLE 36b, 17f
    or ecx, 3
    movzx ecx, cx
    push rcx
37: push qword ptr [rax + 56]
    EX_TABLE 37b, 15f
    push r11
38: mov ecx, [rax + 40]
    EX_TABLE 38b, 14f
    or ecx, 3
    movzx ecx, cx
    push rcx
39: push qword ptr [rax + 32]
    EX_TABLE 39b, 13f
40: mov r11, [rax + 8]
    EX_TABLE 40b, 12f
41: mov rcx, [rax + 16]
    EX_TABLE 41b, 12f
42: mov rax, [rax]
    EX_TABLE 42b, 12f
    mov rdx, [rsp + 40 + {T_VCPU_INFO}]
    mov byte ptr [rdx + 1], 0
    mov rdx, [rsp + 40 + {T_USER_CR3}]
    mov cr3, rdx
    swapgs
    mov byte ptr [rsp + 40 + {T_KERNEL_MODE}], 0
    mov rdx, [rsp + 40 + {T_SAVE0}]
    jmp exit_iret
12: add rsp, 8
13: add rsp, 8
14: add rsp, 16
15: add rsp, 8
17: mov rdx, [rsp + {T_SAVE0}]
    /* By Rust: rcx and r11 were the hypercall's to clobber. */
18: mov eax, 23
    push 0xe02b
    push qword ptr [rsp + 8 + {T_SCRATCH_RSP}]
    push 0x202
    push 0xe033
    push 0
    push 0x100
    PUSH_GPRS
    mov rdi, rsp
    sub rsp, 8
    call {iret}
    add rsp, 8
    jmp exit_to_guest

.global syscall32_entry
syscall32_entry:
    push 0xe02b
    push qword ptr [rsp + 8 + {T_SCRATCH_RSP}]
    push r11
    push 0xe023
    push rcx
    push 0x100
    PUSH_GPRS
    mov rdi, rsp
    sub rsp, 8
    call {user_syscall32}
    add rsp, 8
    jmp exit_to_guest

/* SYSENTER brings no return address and no stack: the guest's frame says so (rip 0, rsp 0). */
.global sysenter_entry
sysenter_entry:
    push 0xe02b
    push 0
    pushfq
    push 2                          /* SYSENTER leaves DF, TF, NT and AC as the guest had them */
    popfq
    push 3
    push 0
    push 0x100
    PUSH_GPRS
    mov rdi, rsp
    sub rsp, 8
    call {user_sysenter}
    add rsp, 8
    jmp exit_to_guest

/* ---- The way out ------------------------------------------------------------------------------------------------ */

.balign 16
.global exit_to_guest
exit_to_guest:
    cmp qword ptr [rsp + {R_PENDING}], 0
    jne 2f
    mov rcx, [rsp + {R_VCPU_INFO}]
    cmp byte ptr [rcx], 0
    jne 3f
1:  POP_GPRS
    add rsp, 8
.global exit_iret
exit_iret:
    iretq
3:  cmp byte ptr [rcx + 1], 0
    jne 1b
2:  mov rdi, rsp
    sub rsp, 8
    call {exit_work}
    add rsp, 8
    jmp 1b

/* ---- Exceptions and interrupts ---------------------------------------------------------------------------------- */

.altmacro
.macro IDT_STUB n
    .balign 16
idt_stub_\n:
    .if (\n == 8) || (\n == 10) || (\n == 11) || (\n == 12) || (\n == 13) || (\n == 14) || (\n == 17) || (\n == 21)
    .else
    push 0
    .endif
    mov dword ptr [rsp + 4], \n
    .if \n == 14
    jmp page_fault_entry
    .elseif (\n == 2) || (\n == 8) || (\n == 18)
    jmp ist_entry
    .elseif \n == 1
    jmp debug_entry
    .else
    jmp trap_entry
    .endif
    .pushsection .data.rel.ro.idt, "aw"
    .quad idt_stub_\n
    .popsection
.endm

.pushsection .data.rel.ro.idt, "aw"
.balign 8
.global idt_stub_table
idt_stub_table:
.popsection

.set vec, 0
.rept 256
    IDT_STUB %vec
    .set vec, vec + 1
.endr
.noaltmacro

.balign 16
trap_entry:
    cld
    PUSH_GPRS
    mov rdi, rsp
    test byte ptr [rsp + {R_CS}], 3
    jz from_hypervisor
    sub rsp, 8
    call {guest_trap}
    add rsp, 8
    jmp exit_to_guest

.balign 16
page_fault_entry:
    cld
    PUSH_GPRS
    mov rdi, rsp
    test byte ptr [rsp + {R_CS}], 3
    jz from_hypervisor
    sub rsp, 8
    call {guest_page_fault}
    add rsp, 8
    jmp exit_to_guest

/* Rust answers 0 (return to where it happened) or the frame to leave by. */
from_hypervisor:
    sub rsp, 8
    call {hypervisor_trap}
    add rsp, 8
    test rax, rax
    jnz 1f
    POP_GPRS
    add rsp, 8
    iretq
1:  mov rsp, rax
    jmp exit_to_guest

/* #DB has a stack of its own: MOV SS or POP SS can carry one into the first instruction of the syscall stub, where rsp
   is still the guest's. From a guest the frame moves to the primary stack. */
debug_entry:
    cld
    test byte ptr [rsp + 16], 3
    jz ist_entry
    push rax
    push rcx
    mov rax, rsp
    or rax, 0xffff
    sub rax, {CPU_INFO_SIZE} - 1 - 0xa8   /* the top of the frame in CpuInfo */
    mov rcx, [rsp + 56]
    mov [rax - 8], rcx
    mov rcx, [rsp + 48]
    mov [rax - 16], rcx
    mov rcx, [rsp + 40]
    mov [rax - 24], rcx
    mov rcx, [rsp + 32]
    mov [rax - 32], rcx
    mov rcx, [rsp + 24]
    mov [rax - 40], rcx
    mov rcx, [rsp + 16]
    mov [rax - 48], rcx
    pop rcx
    xchg rax, [rsp]
    mov rsp, [rsp]                        /* the top; rax is the guest's again */
    sub rsp, 48
    jmp trap_entry

/* #NMI, #DF, #MC, and #DB out of the hypervisor: on their own stack, straight back. */
ist_entry:
    cld
    PUSH_GPRS
    mov rdi, rsp
    sub rsp, 8
    call {ist_trap}
    add rsp, 8
    POP_GPRS
    add rsp, 8
    iretq

/* ---- Guest memory ----------------------------------------------------------------------------------------------- */

/* rax = bytes not copied. rdi to, rsi from, rdx count. The caller has checked the guest's range. */
.balign 16
.global copy_guest
copy_guest:
    mov rcx, rdx
    shr rcx, 3
    and edx, 7
1:  rep movsq
    mov ecx, edx
2:  rep movsb
    xor eax, eax
    ret
3:  lea rax, [rdx + rcx * 8]
    ret
4:  mov rax, rcx
    ret
    EX_TABLE 1b, 3b
    EX_TABLE 2b, 4b

/* rax = 0 or 1 (fault). Small sizes that hypercalls use all the time: 16, 8, 4 bytes. rdi to, rsi from. */
.balign 16
.global copy_guest_16
copy_guest_16:
1:  mov rax, [rsi]
2:  mov rcx, [rsi + 8]
3:  mov [rdi], rax
4:  mov [rdi + 8], rcx
    xor eax, eax
    ret
    EX_TABLE 1b, copy_guest_failed
    EX_TABLE 2b, copy_guest_failed
    EX_TABLE 3b, copy_guest_failed
    EX_TABLE 4b, copy_guest_failed
.balign 16
.global copy_guest_4
copy_guest_4:
1:  mov eax, [rsi]
2:  mov [rdi], eax
    xor eax, eax
    ret
    EX_TABLE 1b, copy_guest_failed
    EX_TABLE 2b, copy_guest_failed
.balign 16
.global copy_guest_8
copy_guest_8:
1:  mov rax, [rsi]
2:  mov [rdi], rax
    xor eax, eax
    ret
    EX_TABLE 1b, copy_guest_failed
    EX_TABLE 2b, copy_guest_failed
copy_guest_failed:
    mov eax, 1
    ret

/* Writes the rsi words from rdx on to rdi; rax = 0 or 1 (fault). */
.balign 16
.global copy_guest_words
copy_guest_words:
1:  mov rax, [rdx + rsi * 8 - 8]
2:  mov [rdi + rsi * 8 - 8], rax
    dec rsi
    jnz 1b
    xor eax, eax
    ret
    EX_TABLE 1b, copy_guest_failed
    EX_TABLE 2b, copy_guest_failed

/* Loads of segment registers that a guest chose: rax = 0, or 1 and the null selector. */
.macro LOAD_SEGMENT name, seg
.balign 16
.global load_\name
load_\name:
1:  mov \seg, di
    xor eax, eax
    ret
2:  xor eax, eax
    mov \seg, ax
    inc eax
    ret
    EX_TABLE 1b, 2b
.endm
LOAD_SEGMENT ds, ds
LOAD_SEGMENT es, es
LOAD_SEGMENT fs, fs
LOAD_SEGMENT gs, gs

/* xrstor or fxrstor from rdi; mask in esi:edx... rax = 0, or 1 when the image was refused. */
.balign 16
.global restore_xsave
restore_xsave:
    mov eax, esi
    mov edx, 0
1:  xrstor64 [rdi]
    xor eax, eax
    ret
    EX_TABLE 1b, copy_guest_failed
.balign 16
.global restore_fxsave
restore_fxsave:
1:  fxrstor64 [rdi]
    xor eax, eax
    ret
    EX_TABLE 1b, copy_guest_failed
