/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Hypercall numbers, page-table updates, shared_info, start_info and well-known domain ids: what every guest
 * needs.
 */
#ifndef REXEN_XEN_XEN_H
#define REXEN_XEN_XEN_H

#include "arch-x86_64.h"

/* Hypercall number (eax). */
#define __HYPERVISOR_set_trap_table                0
#define __HYPERVISOR_mmu_update                    1
#define __HYPERVISOR_set_gdt                       2
#define __HYPERVISOR_stack_switch                  3
#define __HYPERVISOR_set_callbacks                 4
#define __HYPERVISOR_fpu_taskswitch                5
#define __HYPERVISOR_sched_op_compat               6
#define __HYPERVISOR_platform_op                   7
#define __HYPERVISOR_set_debugreg                  8
#define __HYPERVISOR_get_debugreg                  9
#define __HYPERVISOR_update_descriptor             10
#define __HYPERVISOR_memory_op                     12
#define __HYPERVISOR_multicall                     13
#define __HYPERVISOR_update_va_mapping             14
#define __HYPERVISOR_set_timer_op                  15
#define __HYPERVISOR_event_channel_op_compat       16
#define __HYPERVISOR_xen_version                   17
#define __HYPERVISOR_console_io                    18
#define __HYPERVISOR_physdev_op_compat             19
#define __HYPERVISOR_grant_table_op                20
#define __HYPERVISOR_vm_assist                     21
#define __HYPERVISOR_update_va_mapping_otherdomain 22
#define __HYPERVISOR_iret                          23
#define __HYPERVISOR_vcpu_op                       24
#define __HYPERVISOR_set_segment_base              25
#define __HYPERVISOR_mmuext_op                     26
#define __HYPERVISOR_xsm_op                        27
#define __HYPERVISOR_nmi_op                        28
#define __HYPERVISOR_sched_op                      29
#define __HYPERVISOR_callback_op                   30
#define __HYPERVISOR_xenoprof_op                   31
#define __HYPERVISOR_event_channel_op              32
#define __HYPERVISOR_physdev_op                    33
#define __HYPERVISOR_hvm_op                        34
#define __HYPERVISOR_sysctl                        35
#define __HYPERVISOR_domctl                        36
#define __HYPERVISOR_kexec_op                      37
#define __HYPERVISOR_tmem_op                       38
#define __HYPERVISOR_argo_op                       39
#define __HYPERVISOR_xenpmu_op                     40
#define __HYPERVISOR_dm_op                         41
#define __HYPERVISOR_hypfs_op                      42
/* The machine-check interface. */
#define __HYPERVISOR_arch_0                        48
#define __HYPERVISOR_arch_1                        49
#define __HYPERVISOR_arch_2                        50
#define __HYPERVISOR_arch_3                        51
#define __HYPERVISOR_arch_4                        52
#define __HYPERVISOR_arch_5                        53
#define __HYPERVISOR_arch_6                        54
#define __HYPERVISOR_arch_7                        55

/* Virtual interrupt number. */
#define VIRQ_TIMER      0
#define VIRQ_DEBUG      1
#define VIRQ_CONSOLE    2
#define VIRQ_DOM_EXC    3
#define VIRQ_TBUF       4
#define VIRQ_DEBUGGER   6
#define VIRQ_XENOPROF   7
#define VIRQ_CON_RING   8
#define VIRQ_PCPU_STATE 9
#define VIRQ_MEM_EVENT  10
#define VIRQ_ARGO       11
#define VIRQ_ENOMEM     12
#define VIRQ_XENPMU     13
/* A machine check. */
#define VIRQ_ARCH_0     16
#define VIRQ_ARCH_1     17
#define VIRQ_ARCH_2     18
#define VIRQ_ARCH_3     19
#define VIRQ_ARCH_4     20
#define VIRQ_ARCH_5     21
#define VIRQ_ARCH_6     22
#define VIRQ_ARCH_7     23
/* One more than the highest number. */
#define NR_VIRQS        24

/* Kind of mmu_update, in the low two bits of ptr. */
#define MMU_NORMAL_PT_UPDATE       0
#define MMU_MACHPHYS_UPDATE        1
#define MMU_PT_UPDATE_PRESERVE_AD  2
#define MMU_PT_UPDATE_NO_TRANSLATE 3

/* Command of mmuext_op. */
#define MMUEXT_PIN_L1_TABLE       0
#define MMUEXT_PIN_L2_TABLE       1
#define MMUEXT_PIN_L3_TABLE       2
#define MMUEXT_PIN_L4_TABLE       3
#define MMUEXT_UNPIN_TABLE        4
#define MMUEXT_NEW_BASEPTR        5
#define MMUEXT_TLB_FLUSH_LOCAL    6
#define MMUEXT_INVLPG_LOCAL       7
#define MMUEXT_TLB_FLUSH_MULTI    8
#define MMUEXT_INVLPG_MULTI       9
#define MMUEXT_TLB_FLUSH_ALL      10
#define MMUEXT_INVLPG_ALL         11
#define MMUEXT_FLUSH_CACHE        12
#define MMUEXT_SET_LDT            13
#define MMUEXT_NEW_USER_BASEPTR   15
#define MMUEXT_CLEAR_PAGE         16
#define MMUEXT_COPY_PAGE          17
#define MMUEXT_FLUSH_CACHE_GLOBAL 18
#define MMUEXT_MARK_SUPER         19
#define MMUEXT_UNMARK_SUPER       20

/* Flush flag of update_va_mapping; other bits are a pointer to a vcpu bitmap. */
#define UVMF_NONE           0
#define UVMF_TLB_FLUSH      1
#define UVMF_INVLPG         2
#define UVMF_FLUSHTYPE_MASK 3
#define UVMF_MULTI          0
#define UVMF_LOCAL          0
#define UVMF_ALL            4

/* Command of console_io. */
#define CONSOLEIO_write 0
#define CONSOLEIO_read  1

/* Command of vm_assist. */
#define VMASST_CMD_enable  0
#define VMASST_CMD_disable 1

/* Type of vm_assist: a bit number. */
#define VMASST_TYPE_4gb_segments         0
#define VMASST_TYPE_4gb_segments_notify  1
#define VMASST_TYPE_writable_pagetables  2
#define VMASST_TYPE_pae_extended_cr3     3
#define VMASST_TYPE_architectural_iopl   4
#define VMASST_TYPE_runstate_update_flag 5
#define VMASST_TYPE_m2p_strict           32

/* Well-known domain id. */
#define DOMID_FIRST_RESERVED 0x7ff0
#define DOMID_SELF           0x7ff0
#define DOMID_IO             0x7ff1
#define DOMID_XEN            0x7ff2
#define DOMID_COW            0x7ff3
#define DOMID_INVALID        0x7ff4
#define DOMID_IDLE           0x7fff
#define DOMID_MASK           0x7fff

/* Bit of vcpu_time_info.flags. */
#define XEN_PVCLOCK_TSC_STABLE_BIT (1 << 0)
#define XEN_PVCLOCK_GUEST_STOPPED  (1 << 1)

/* Bit of start_info.flags. */
#define SIF_PRIVILEGED      (1 << 0)
#define SIF_INITDOMAIN      (1 << 1)
#define SIF_MULTIBOOT_MOD   (1 << 2)
#define SIF_MOD_START_PFN   (1 << 3)
#define SIF_VIRT_P2M_4TOOLS (1 << 4)
#define SIF_PM_MASK         (0xff << 8)

/* Size of start_info.cmd_line in bytes, the final NUL included. */
#define MAX_GUEST_CMDLINE 1024

/* Value of dom0_vga_console_info.video_type. */
#define XEN_VGATYPE_TEXT_MODE_3 0x03
#define XEN_VGATYPE_VESA_LFB    0x23
#define XEN_VGATYPE_EFI_LFB     0x70

#ifndef __ASSEMBLY__

/*
 * Pointers in arguments are the caller's own, in its address space. These names are for programs that write
 * handles for them.
 */
#define XEN_GUEST_HANDLE(type)            type *
#define XEN_GUEST_HANDLE_64(type)         type *
#define set_xen_guest_handle(handle, ptr) do { (handle) = (ptr); } while (0)

/* Number of a domain. */
typedef uint16_t domid_t;
/* A domain's end of an event channel. */
typedef uint32_t evtchn_port_t;
/* The UUID of a domain. */
typedef uint8_t xen_domain_handle_t[16];

/* One write to a page table or to the M2P. */
struct mmu_update {
    uint64_t ptr; /* Machine address of the entry, with an MMU_* kind in the low two bits. */
    uint64_t val; /* What to write. */
};
typedef struct mmu_update mmu_update_t;

/* One extended page-table operation. */
struct mmuext_op {
    uint32_t cmd; /* MMUEXT_*; it says which members count. */
    union {
        xen_pfn_t mfn;        /* Of the page-table or page that is meant. */
        uint64_t linear_addr; /* Of a page to flush, or of the LDT. */
    } arg1;
    union {
        uint32_t nr_ents;     /* Entries of the LDT. */
        const void *vcpumask; /* Guest pointer to a bit per vcpu to flush. */
        xen_pfn_t src_mfn;    /* Of the page to copy from. */
    } arg2;
};
typedef struct mmuext_op mmuext_op_t;

/* One call of a multicall batch. */
struct multicall_entry {
    uint64_t op;      /* __HYPERVISOR_* */
    uint64_t result;  /* What the call returned. */
    uint64_t args[6]; /* Its arguments. */
};
typedef struct multicall_entry multicall_entry_t;

/* The clock of one vcpu, under the version protocol: odd while it changes. */
struct vcpu_time_info {
    uint32_t version;           /* Odd while the rest is inconsistent. */
    uint8_t pad0[4];            /* Unused. */
    uint64_t tsc_timestamp;     /* TSC at system_time. */
    uint64_t system_time;       /* Nanoseconds since boot at tsc_timestamp. */
    uint32_t tsc_to_system_mul; /* Nanoseconds per shifted tick, a fraction of 2^32. */
    /* Shift left of a TSC difference before the multiplication (right if negative). */
    int8_t tsc_shift;
    uint8_t flags;              /* XEN_PVCLOCK_* */
    uint8_t pad1[2];            /* Unused. */
};
typedef struct vcpu_time_info vcpu_time_info_t;

/* The part of shared memory that belongs to one vcpu. */
struct vcpu_info {
    uint8_t evtchn_upcall_pending;  /* Nonzero while an event waits. */
    /* Nonzero while the vcpu takes no events: its virtual interrupt flag, inverted. */
    uint8_t evtchn_upcall_mask;
    xen_ulong_t evtchn_pending_sel; /* Which words of evtchn_pending to look at. */
    struct arch_vcpu_info arch;     /* The architecture's part. */
    struct vcpu_time_info time;     /* The vcpu's clock. */
};
typedef struct vcpu_info vcpu_info_t;

/* The page that a domain shares with the hypervisor. */
struct shared_info {
    /* The first 32 vcpus, unless they registered a place of their own. */
    struct vcpu_info vcpu_info[XEN_LEGACY_MAX_VCPUS];
    xen_ulong_t evtchn_pending[64]; /* A bit per port: raised. */
    xen_ulong_t evtchn_mask[64];    /* A bit per port: masked. */
    uint32_t wc_version;            /* Odd while the wall clock changes. */
    uint32_t wc_sec;                /* Wall clock at system time 0: seconds, low half. */
    uint32_t wc_nsec;               /* Wall clock at system time 0: nanoseconds. */
    uint32_t wc_sec_hi;             /* Wall clock at system time 0: seconds, high half. */
    struct arch_shared_info arch;   /* The architecture's part. */
};
typedef struct shared_info shared_info_t;

/* What a domain finds when it starts (rsi points to it). */
struct start_info {
    char magic[32];           /* "xen-3.0-x86_64", NUL-padded. */
    uint64_t nr_pages;        /* Pages of the domain. */
    uint64_t shared_info;     /* Machine address of shared_info. */
    uint32_t flags;           /* SIF_* */
    xen_pfn_t store_mfn;      /* Mfn of the xenstore ring. */
    uint32_t store_evtchn;    /* Port of xenstore. */
    union {
        struct {
            xen_pfn_t mfn;        /* Mfn of the console ring. */
            evtchn_port_t evtchn; /* Port of the console. */
        } domU;
        struct {
            /* Where struct dom0_vga_console_info is, in bytes from the start of this structure. */
            uint32_t info_off;
            uint32_t info_size; /* Its size in bytes; both are 0 without a screen. */
        } dom0;
    } console;
    uint64_t pt_base;         /* Virtual address of the L4. */
    uint64_t nr_pt_frames;    /* Page-table frames from pt_base on. */
    uint64_t mfn_list;        /* Virtual address of the p2m list. */
    uint64_t mod_start;       /* Virtual address of the module, or pfn under SIF_MOD_START_PFN. */
    uint64_t mod_len;         /* Length of the module in bytes. */
    /* Command line, NUL-terminated. */
    char cmd_line[MAX_GUEST_CMDLINE];
    uint64_t first_p2m_pfn;   /* First pfn of the frames that hold the p2m list. */
    uint64_t nr_p2m_frames;   /* How many they are. */
};
typedef struct start_info start_info_t;

/* The screen that domain 0 inherits: text, or a linear frame buffer. */
struct dom0_vga_console_info {
    uint8_t video_type; /* XEN_VGATYPE_*: which member counts. */
    union {
        struct {
            uint16_t font_height; /* Scan lines of a character. */
            uint16_t cursor_x;    /* Cursor column. */
            uint16_t cursor_y;    /* Cursor row. */
            uint16_t rows;        /* Rows of the screen. */
            uint16_t columns;     /* Columns of the screen. */
        } text_mode_3;
        struct {
            uint16_t width;          /* In pixels. */
            uint16_t height;         /* In pixels. */
            uint16_t bytes_per_line; /* From a line to the next. */
            uint16_t bits_per_pixel;
            uint32_t lfb_base;       /* Machine address, low 32 bits. */
            uint32_t lfb_size;       /* In units of 64 KiB. */
            uint8_t red_pos, red_size; /* Lowest bit and number of bits; so the next ones. */
            uint8_t green_pos, green_size;
            uint8_t blue_pos, blue_size;
            uint8_t rsvd_pos, rsvd_size;
            uint32_t gbl_caps;       /* VBE capabilities. */
            uint16_t mode_attrs;     /* VBE mode attributes. */
            uint16_t pad;            /* Unused. */
            uint32_t ext_lfb_base;   /* Machine address, high 32 bits. */
        } vesa_lfb;
    } u;
};
typedef struct dom0_vga_console_info dom0_vga_console_info_t;

/* A bitmap of the control interface. */
struct xenctl_bitmap {
    uint8_t *bitmap;  /* Guest pointer to the bytes. */
    uint32_t nr_bits; /* Length in bits. */
};
typedef struct xenctl_bitmap xenctl_bitmap_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_XEN_H */
