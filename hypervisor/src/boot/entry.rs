//! The way in: boot headers, the 32-bit entry at 2 MiB, and the first page tables.
//!
//! The headers let three loaders start the same file: multiboot 1 with address fields (QEMU's `-kernel`), multiboot 2
//! (GRUB, BIOS and UEFI). The loader leaves us in 32-bit protected mode without paging. The first tables, all constant,
//! map the first 4 GiB three times: at 0 for this code, at the image's address and at the direct map's; `mm` replaces
//! them by tables with proper rights. They stay in the image, because each further CPU comes through them too.

// UNSAFETY: assembly that runs before there is any Rust, and the symbols it needs.
#![expect(unsafe_code)]

use core::arch::global_asm;

/// Bytes of the stack that the boot CPU uses until it has its per-CPU area.
const BOOT_STACK_BYTES: usize = 64 * 1024;

global_asm!(
    r#"
    .section .boot.header, "awx", @progbits
    .balign 8
multiboot1_header:
    .long 0x1badb002, 0x00010003, -(0x1badb002 + 0x00010003)
    .long multiboot1_header, image_phys_start, image_load_end_phys, image_end_phys, start32
    .balign 8
multiboot2_header:
    .long 0xe85250d6, 0, multiboot2_end - multiboot2_header
    .long -(0xe85250d6 + 0 + (multiboot2_end - multiboot2_header))
    .short 1, 0                     // information we want: command line, modules, memory map
    .long 20
    .long 1, 3, 6
    .balign 8
    .short 3, 0                     // entry address, physical
    .long 12
    .long start32
    .balign 8
    .short 6, 0                     // modules on page boundaries
    .long 8
    .balign 8
    .short 0, 0
    .long 8
multiboot2_end:

    .section .boot.text, "awx", @progbits
    .code32
    .globl start32
start32:
    cli
    cld
    mov esi, eax
    lgdt [boot_gdtr]
    mov eax, cr4
    or eax, 0x20                    // PAE
    mov cr4, eax
    mov eax, offset boot_l4
    mov cr3, eax
    mov ecx, 0xc0000080             // EFER: LME, NXE
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    or eax, 0x80010001              // PG, WP, PE
    mov cr0, eax
    .byte 0xea                      // far jump into 64-bit code
    .long start64
    .short 8
    .code64
start64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset start_high
    jmp rax

    .section .text.entry, "ax", @progbits
start_high:
    movabs rsp, offset boot_stack
    add rsp, {stack} - {info_bytes}
    movabs rdi, offset bss_start
    movabs rcx, offset bss_end
    sub rcx, rdi
    shr rcx, 3
    xor eax, eax
    rep stosq
    mov edi, esi                    // loader's magic
    mov esi, ebx                    // physical address of its information
    xor ebp, ebp
    call {rust_start}
    ud2

    .section .boot.data, "awx", @progbits
    .balign 4096
    .globl boot_l4
boot_l4:
    .quad boot_l3_low + 0x63
    .fill 260, 8, 0
    .quad boot_l3_image + 0x63      // slot 261: the image
    .quad boot_l3_low + 0x63        // slot 262: the direct map
    .fill 249, 8, 0
boot_l3_low:
    .quad boot_l2 + 0x63, boot_l2 + 0x1063, boot_l2 + 0x2063, boot_l2 + 0x3063
    .fill 508, 8, 0
boot_l3_image:
    .fill 321, 8, 0
    .quad boot_l2 + 0x63
    .fill 190, 8, 0
boot_l2:
    .set page, 0
    .rept 2048
    .quad page + 0xe3
    .set page, page + 0x200000
    .endr
    .globl boot_gdt
boot_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdtr:
    .short 23
    .long boot_gdt
    .long 0
    .section .bss.boot_stack, "aw", @nobits
    .balign 65536                   // the end is found by masking, as on every stack
boot_stack:
    .skip {stack}
    .text
"#,
    stack = const BOOT_STACK_BYTES,
    info_bytes = const crate::cpu::info::CPU_INFO_BYTES.next_multiple_of(16),
    rust_start = sym super::start::rust_start,
);
