/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Registers, contexts, selectors and the address-space layout of x86_64. Include xen.h, which includes this.
 */
#ifndef REXEN_XEN_ARCH_X86_64_H
#define REXEN_XEN_ARCH_X86_64_H

#if !defined(__x86_64__)
#error "These headers describe the x86_64 interface only."
#endif

#ifndef __ASSEMBLY__
#include <stdint.h>
#endif

/* First page of a GDT that is the hypervisor's. */
#define FIRST_RESERVED_GDT_PAGE 14

/* First byte of a GDT that is the hypervisor's. */
#define FIRST_RESERVED_GDT_BYTE (FIRST_RESERVED_GDT_PAGE * 4096)

/* First entry of a GDT that is the hypervisor's. */
#define FIRST_RESERVED_GDT_ENTRY (FIRST_RESERVED_GDT_BYTE / 8)

/* How many vcpus have their vcpu_info in shared_info. */
#define XEN_LEGACY_MAX_VCPUS 32

/* Flat selector: the hypervisor's GDT entry that every guest may use. */
#define FLAT_RING3_CS32  0xe023
#define FLAT_RING3_CS64  0xe033
#define FLAT_RING3_DS32  0xe02b
#define FLAT_RING3_DS64  0x0000
#define FLAT_RING3_SS32  0xe02b
#define FLAT_RING3_SS64  0xe02b
#define FLAT_KERNEL_DS64 FLAT_RING3_DS64
#define FLAT_KERNEL_DS32 FLAT_RING3_DS32
#define FLAT_KERNEL_DS   FLAT_KERNEL_DS64
#define FLAT_KERNEL_CS64 FLAT_RING3_CS64
#define FLAT_KERNEL_CS32 FLAT_RING3_CS32
#define FLAT_KERNEL_CS   FLAT_KERNEL_CS64
#define FLAT_KERNEL_SS64 FLAT_RING3_SS64
#define FLAT_KERNEL_SS32 FLAT_RING3_SS32
#define FLAT_KERNEL_SS   FLAT_KERNEL_SS64
#define FLAT_USER_DS64   FLAT_RING3_DS64
#define FLAT_USER_DS32   FLAT_RING3_DS32
#define FLAT_USER_DS     FLAT_USER_DS64
#define FLAT_USER_CS64   FLAT_RING3_CS64
#define FLAT_USER_CS32   FLAT_RING3_CS32
#define FLAT_USER_CS     FLAT_USER_CS64
#define FLAT_USER_SS64   FLAT_RING3_SS64
#define FLAT_USER_SS32   FLAT_RING3_SS32
#define FLAT_USER_SS     FLAT_USER_SS64

/* Bound of the address space that is the hypervisor's (the end exclusive). */
#define HYPERVISOR_VIRT_START 0xffff800000000000UL
#define HYPERVISOR_VIRT_END   0xffff880000000000UL

/* Bound of the machine-to-physical table, an array of u64 (the end exclusive). */
#define MACH2PHYS_VIRT_START 0xffff800000000000UL
#define MACH2PHYS_VIRT_END   0xffff804000000000UL

/* Entries for which the machine-to-physical table has room. */
#define MACH2PHYS_NR_ENTRIES ((MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) >> 3)

/* First argument of set_segment_base. */
#define SEGBASE_FS          0
#define SEGBASE_GS_USER     1
#define SEGBASE_GS_KERNEL   2
#define SEGBASE_GS_USER_SEL 3

/* Bit of vcpu_guest_context.flags (VGCF_in_syscall: of iret_context.flags). */
#define VGCF_I387_VALID               (1 << 0)
#define VGCF_IN_KERNEL                (1 << 2)
#define VGCF_i387_valid               (1 << 0)
#define VGCF_in_kernel                (1 << 2)
#define VGCF_failsafe_disables_events (1 << 3)
#define VGCF_syscall_disables_events  (1 << 4)
#define VGCF_online                   (1 << 5)
#define VGCF_in_syscall               (1 << 8)

/* Bit of xen_arch_domainconfig.emulation_flags. */
#define XEN_X86_EMU_LAPIC    (1 << 0)
#define XEN_X86_EMU_HPET     (1 << 1)
#define XEN_X86_EMU_PM       (1 << 2)
#define XEN_X86_EMU_RTC      (1 << 3)
#define XEN_X86_EMU_IOAPIC   (1 << 4)
#define XEN_X86_EMU_PIC      (1 << 5)
#define XEN_X86_EMU_VGA      (1 << 6)
#define XEN_X86_EMU_IOMMU    (1 << 7)
#define XEN_X86_EMU_PIT      (1 << 8)
#define XEN_X86_EMU_USE_PIRQ (1 << 9)
#define XEN_X86_EMU_VPCI     (1 << 10)
#define XEN_X86_EMU_ALL      0x7ff

/* Bit of xen_arch_domainconfig.misc_flags. */
#define XEN_X86_MSR_RELAXED (1 << 0)

/* Value of xen_cpuid_leaf.subleaf for a leaf without any. */
#define XEN_CPUID_NO_SUBLEAF 0xffffffffU

/* trap_info.flags: the highest privilege number that may raise the trap with INT n; whether to mask events. */
#define TI_GET_DPL(ti)      ((ti)->flags & 3)
#define TI_GET_IF(ti)       ((ti)->flags & 4)
#define TI_SET_DPL(ti, dpl) ((ti)->flags |= (dpl))
#define TI_SET_IF(ti, mask) ((ti)->flags |= (!!(mask) << 2))

#ifndef __ASSEMBLY__

/* A frame number: of the machine (mfn) or of the guest (pfn). */
typedef uint64_t xen_pfn_t;
typedef uint64_t xen_ulong_t;

/* One entry of the virtual trap table. */
struct trap_info {
    uint8_t vector;
    uint8_t flags;    /* TI_GET_DPL, TI_GET_IF. */
    uint16_t cs;      /* Code selector. */
    uint64_t address; /* Handler; 0 ends a list. */
};
typedef struct trap_info trap_info_t;

/* The registers of a guest, in the order in which the hypervisor's entry code pushes them. */
struct cpu_user_regs {
    uint64_t r15;
    uint64_t r14;
    uint64_t r13;
    uint64_t r12;
    uint64_t rbp;
    uint64_t rbx;
    uint64_t r11;
    uint64_t r10;
    uint64_t r9;
    uint64_t r8;
    uint64_t rax;
    uint64_t rcx;
    uint64_t rdx;
    uint64_t rsi;
    uint64_t rdi;
    uint32_t error_code;       /* Error code of the exception (private to the hypervisor). */
    uint32_t entry_vector;     /* Vector of the exception (private to the hypervisor). */
    uint64_t rip;
    uint16_t cs;
    uint8_t _pad0[2];          /* Unused. */
    uint8_t saved_upcall_mask; /* The event mask at the time. */
    uint8_t _pad1[3];          /* Unused. */
    uint64_t rflags;           /* IF is the inverse of saved_upcall_mask. */
    uint64_t rsp;
    uint16_t ss;
    uint8_t _pad2[6];          /* Unused. */
    uint16_t es;
    uint8_t _pad3[6];          /* Unused. */
    uint16_t ds;
    uint8_t _pad4[6];          /* Unused. */
    uint16_t fs;
    uint8_t _pad5[6];          /* Unused. */
    uint16_t gs;
    uint8_t _pad6[6];          /* Unused. */
};
typedef struct cpu_user_regs cpu_user_regs_t;

/* What the guest leaves on its stack for the iret hypercall. */
struct iret_context {
    uint64_t rax;
    uint64_t r11;
    uint64_t rcx;
    uint64_t flags;  /* 0 or VGCF_in_syscall. */
    uint64_t rip;
    uint64_t cs;     /* RPL 3 returns to user mode. */
    uint64_t rflags; /* IF unmasks events. */
    uint64_t rsp;
    uint64_t ss;
};
typedef struct iret_context iret_context_t;

/* Everything a vcpu starts with. */
struct vcpu_guest_context {
    struct { char x[512]; } fpu_ctxt; /* FXSAVE image. */
    uint64_t flags;                   /* VGCF_* */
    struct cpu_user_regs user_regs;   /* Registers. */
    struct trap_info trap_ctxt[256];  /* Trap table. */
    uint64_t ldt_base;                /* Linear address of the LDT. */
    uint64_t ldt_ents;                /* Entries of the LDT. */
    uint64_t gdt_frames[16];          /* Mfns of the GDT. */
    uint64_t gdt_ents;                /* Entries of the GDT. */
    uint64_t kernel_ss;               /* Kernel stack selector. */
    uint64_t kernel_sp;               /* Kernel stack pointer. */
    /* Control registers: [3] the kernel L4, [1] the user L4 (bit 0 set), as machine addresses. */
    uint64_t ctrlreg[8];
    uint64_t debugreg[8];             /* Debug registers. */
    uint64_t event_callback_eip;      /* Event callback. */
    uint64_t failsafe_callback_eip;   /* Failsafe callback. */
    uint64_t syscall_callback_eip;    /* System-call callback. */
    uint64_t vm_assist;               /* Assists: a bit per VMASST_TYPE_* */
    uint64_t fs_base;                 /* FS base. */
    uint64_t gs_base_kernel;          /* GS base of kernel mode. */
    uint64_t gs_base_user;            /* GS base of user mode. */
};
typedef struct vcpu_guest_context vcpu_guest_context_t;

/* The architecture's part of shared_info. */
struct arch_shared_info {
    uint64_t max_pfn;                    /* One more than the highest pfn of the p2m. */
    uint64_t pfn_to_mfn_frame_list_list; /* Mfn of the top of the p2m tree (the guest writes it). */
    uint64_t nmi_reason;                 /* XEN_NMIREASON_* */
    /* L4 under which p2m_vaddr holds (the guest writes it); 0 for the tree. */
    uint64_t p2m_cr3;
    uint64_t p2m_vaddr;                  /* Linear address of the p2m (the guest writes it). */
    uint64_t p2m_generation;             /* Odd while the guest changes the p2m's mapping. */
};
typedef struct arch_shared_info arch_shared_info_t;

/* The architecture's part of vcpu_info. */
struct arch_vcpu_info {
    uint64_t cr2; /* Address of the last page fault. */
    uint64_t pad; /* Unused. */
};
typedef struct arch_vcpu_info arch_vcpu_info_t;

/* The architecture's part of a new domain's configuration. */
struct xen_arch_domainconfig {
    uint32_t emulation_flags; /* XEN_X86_EMU_*; for PV none but XEN_X86_EMU_PIT of the hardware domain. */
    uint32_t misc_flags;      /* XEN_X86_MSR_RELAXED. */
};
typedef struct xen_arch_domainconfig xen_arch_domainconfig_t;

/* One CPUID leaf of a policy. */
struct xen_cpuid_leaf {
    uint32_t leaf;
    uint32_t subleaf; /* Subleaf, or XEN_CPUID_NO_SUBLEAF. */
    uint32_t a;       /* eax */
    uint32_t b;       /* ebx */
    uint32_t c;       /* ecx */
    uint32_t d;       /* edx */
};
typedef struct xen_cpuid_leaf xen_cpuid_leaf_t;

/* One MSR of a policy or a vcpu. */
struct xen_msr_entry {
    uint32_t idx;   /* Index. */
    uint32_t flags; /* Must be 0. */
    uint64_t val;   /* Value. */
};
typedef struct xen_msr_entry xen_msr_entry_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_ARCH_X86_64_H */
