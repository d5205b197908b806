/* A guest that is made in no time and does nothing but take its CPU: for making and destroying many. */
.macro note type, value:vararg
    .balign 4
    .long 4, 2f - 1f, \type
    .asciz "Xen"
1:  \value
2:  .balign 4
.endm

.section .note.Xen, "a", @note
note 1, .quad _start                /* XEN_ELFNOTE_ENTRY */
note 3, .quad 0xffffffff80000000    /* VIRT_BASE */
note 4, .quad 0xffffffff80000000    /* PADDR_OFFSET: the ELF's addresses are virtual ones */
note 5, .asciz "xen-3.0"            /* XEN_VERSION */
note 6, .asciz "spin"               /* GUEST_OS */
note 8, .asciz "generic"            /* LOADER */

.text
.globl _start
_start:
    pause
    jmp _start
