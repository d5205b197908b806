/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a toolstack asks about one domain: __HYPERVISOR_domctl, for domain 0 only. All command numbers, and
 * the arguments that Rexen serves.
 */
#ifndef REXEN_XEN_DOMCTL_H
#define REXEN_XEN_DOMCTL_H

#include "xen.h"
#include "version.h"

/* Value of xen_domctl.interface_version. */
#define XEN_DOMCTL_INTERFACE_VERSION 0x15

/* Command of domctl. */
#define XEN_DOMCTL_createdomain            1
#define XEN_DOMCTL_destroydomain           2
#define XEN_DOMCTL_pausedomain             3
#define XEN_DOMCTL_unpausedomain           4
#define XEN_DOMCTL_getdomaininfo           5
#define XEN_DOMCTL_setvcpuaffinity         9
#define XEN_DOMCTL_shadow_op               10
#define XEN_DOMCTL_max_mem                 11
#define XEN_DOMCTL_setvcpucontext          12
#define XEN_DOMCTL_getvcpucontext          13
#define XEN_DOMCTL_getvcpuinfo             14
#define XEN_DOMCTL_max_vcpus               15
#define XEN_DOMCTL_scheduler_op            16
#define XEN_DOMCTL_setdomainhandle         17
#define XEN_DOMCTL_setdebugging            18
#define XEN_DOMCTL_irq_permission          19
#define XEN_DOMCTL_iomem_permission        20
#define XEN_DOMCTL_ioport_permission       21
#define XEN_DOMCTL_hypercall_init          22
#define XEN_DOMCTL_settimeoffset           24
#define XEN_DOMCTL_getvcpuaffinity         25
#define XEN_DOMCTL_real_mode_area          26
#define XEN_DOMCTL_resumedomain            27
#define XEN_DOMCTL_sendtrigger             28
#define XEN_DOMCTL_subscribe               29
#define XEN_DOMCTL_gethvmcontext           33
#define XEN_DOMCTL_sethvmcontext           34
#define XEN_DOMCTL_set_address_size        35
#define XEN_DOMCTL_get_address_size        36
#define XEN_DOMCTL_assign_device           37
#define XEN_DOMCTL_bind_pt_irq             38
#define XEN_DOMCTL_memory_mapping          39
#define XEN_DOMCTL_ioport_mapping          40
#define XEN_DOMCTL_set_ext_vcpucontext     42
#define XEN_DOMCTL_get_ext_vcpucontext     43
#define XEN_DOMCTL_set_opt_feature         44
#define XEN_DOMCTL_test_assign_device      45
#define XEN_DOMCTL_set_target              46
#define XEN_DOMCTL_deassign_device         47
#define XEN_DOMCTL_unbind_pt_irq           48
#define XEN_DOMCTL_get_device_group        50
#define XEN_DOMCTL_debug_op                54
#define XEN_DOMCTL_gethvmcontext_partial   55
#define XEN_DOMCTL_vm_event_op             56
#define XEN_DOMCTL_mem_sharing_op          57
#define XEN_DOMCTL_gettscinfo              59
#define XEN_DOMCTL_settscinfo              60
#define XEN_DOMCTL_getpageframeinfo3       61
#define XEN_DOMCTL_setvcpuextstate         62
#define XEN_DOMCTL_getvcpuextstate         63
#define XEN_DOMCTL_set_access_required     64
#define XEN_DOMCTL_audit_p2m               65
#define XEN_DOMCTL_set_virq_handler        66
#define XEN_DOMCTL_set_broken_page_p2m     67
#define XEN_DOMCTL_setnodeaffinity         68
#define XEN_DOMCTL_getnodeaffinity         69
#define XEN_DOMCTL_cacheflush              71
#define XEN_DOMCTL_get_vcpu_msrs           72
#define XEN_DOMCTL_set_vcpu_msrs           73
#define XEN_DOMCTL_setvnumainfo            74
#define XEN_DOMCTL_psr_cmt_op              75
#define XEN_DOMCTL_monitor_op              77
#define XEN_DOMCTL_psr_alloc               78
#define XEN_DOMCTL_soft_reset              79
#define XEN_DOMCTL_vuart_op                81
#define XEN_DOMCTL_get_cpu_policy          82
#define XEN_DOMCTL_set_cpu_policy          83
#define XEN_DOMCTL_vmtrace_op              84
#define XEN_DOMCTL_get_paging_mempool_size 85
#define XEN_DOMCTL_set_paging_mempool_size 86
#define XEN_DOMCTL_gdbsx_guestmemio        1000
#define XEN_DOMCTL_gdbsx_pausevcpu         1001
#define XEN_DOMCTL_gdbsx_unpausevcpu       1002
#define XEN_DOMCTL_gdbsx_domstatus         1003

/* Bit of xen_domctl_createdomain.flags. */
#define XEN_DOMCTL_CDF_hvm          (1 << 0)
#define XEN_DOMCTL_CDF_hap          (1 << 1)
#define XEN_DOMCTL_CDF_s3_integrity (1 << 2)
#define XEN_DOMCTL_CDF_oos_off      (1 << 3)
#define XEN_DOMCTL_CDF_xs_domain    (1 << 4)
#define XEN_DOMCTL_CDF_iommu        (1 << 5)
#define XEN_DOMCTL_CDF_nested_virt  (1 << 6)
#define XEN_DOMCTL_CDF_vpmu         (1 << 7)

/* Mask in xen_domctl_createdomain.grant_opts: the highest grant table version. */
#define XEN_DOMCTL_GRANT_version_mask 0xf

/* Bit of xen_domctl_getdomaininfo.flags. */
#define XEN_DOMINF_dying     (1 << 0)
#define XEN_DOMINF_hvm_guest (1 << 1)
#define XEN_DOMINF_shutdown  (1 << 2)
#define XEN_DOMINF_paused    (1 << 3)
#define XEN_DOMINF_blocked   (1 << 4)
#define XEN_DOMINF_running   (1 << 5)
#define XEN_DOMINF_debugged  (1 << 6)
#define XEN_DOMINF_xs_domain (1 << 7)
#define XEN_DOMINF_hap       (1 << 8)

/* Mask and place of the shutdown reason in xen_domctl_getdomaininfo.flags. */
#define XEN_DOMINF_shutdownmask  255
#define XEN_DOMINF_shutdownshift 16

/* Value of xen_domctl_getdomaininfo.max_vcpu_id without any vcpu. */
#define XEN_INVALID_MAX_VCPU_ID 0xffffffffU

/* Type of a frame in XEN_DOMCTL_getpageframeinfo3. */
#define XEN_DOMCTL_PFINFO_LTAB_SHIFT    28
#define XEN_DOMCTL_PFINFO_NOTAB         0
#define XEN_DOMCTL_PFINFO_L1TAB         (1U << 28)
#define XEN_DOMCTL_PFINFO_L2TAB         (2U << 28)
#define XEN_DOMCTL_PFINFO_L3TAB         (3U << 28)
#define XEN_DOMCTL_PFINFO_L4TAB         (4U << 28)
#define XEN_DOMCTL_PFINFO_LTABTYPE_MASK (7U << 28)
#define XEN_DOMCTL_PFINFO_LPINTAB       (1U << 31)
#define XEN_DOMCTL_PFINFO_XTAB          (0xfU << 28)
#define XEN_DOMCTL_PFINFO_XALLOC        (0xeU << 28)
#define XEN_DOMCTL_PFINFO_BROKEN        (0xdU << 28)
#define XEN_DOMCTL_PFINFO_LTAB_MASK     (0xfU << 28)

/* Scheduler number. */
#define XEN_SCHEDULER_CREDIT   5
#define XEN_SCHEDULER_CREDIT2  6
#define XEN_SCHEDULER_ARINC653 7
#define XEN_SCHEDULER_RTDS     8
#define XEN_SCHEDULER_NULL     9

/* Bit of xen_domctl_vcpuaffinity.flags. */
#define XEN_VCPUAFFINITY_HARD  (1 << 0)
#define XEN_VCPUAFFINITY_SOFT  (1 << 1)
#define XEN_VCPUAFFINITY_FORCE (1 << 2)

/* Value of xen_domctl_shadow_op.op. */
#define XEN_DOMCTL_SHADOW_OP_OFF             0
#define XEN_DOMCTL_SHADOW_OP_ENABLE_TEST     1
#define XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY 2
#define XEN_DOMCTL_SHADOW_OP_CLEAN           11
#define XEN_DOMCTL_SHADOW_OP_PEEK            12
#define XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION  30
#define XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION  31
#define XEN_DOMCTL_SHADOW_OP_ENABLE          32

/* Value of xen_domctl_scheduler_op.cmd. */
#define XEN_DOMCTL_SCHEDOP_putinfo     0
#define XEN_DOMCTL_SCHEDOP_getinfo     1
#define XEN_DOMCTL_SCHEDOP_putvcpuinfo 2
#define XEN_DOMCTL_SCHEDOP_getvcpuinfo 3

/* Value of xen_domctl_sendtrigger.trigger. */
#define XEN_DOMCTL_SENDTRIGGER_NMI   0
#define XEN_DOMCTL_SENDTRIGGER_RESET 1
#define XEN_DOMCTL_SENDTRIGGER_INIT  2
#define XEN_DOMCTL_SENDTRIGGER_POWER 3
#define XEN_DOMCTL_SENDTRIGGER_SLEEP 4

#ifndef __ASSEMBLY__

/* Argument of XEN_DOMCTL_createdomain. */
struct xen_domctl_createdomain {
    uint32_t ssidref;                  /* Security label. */
    xen_domain_handle_t handle;        /* UUID. */
    uint32_t flags;                    /* XEN_DOMCTL_CDF_* */
    uint32_t iommu_opts;               /* IOMMU options. */
    uint32_t max_vcpus;                /* Most vcpus. */
    uint32_t max_evtchn_port;          /* Highest port. */
    int32_t max_grant_frames;          /* Most frames of the grant table; negative for the default. */
    int32_t max_maptrack_frames;       /* Most frames of the maptrack; negative for the default. */
    uint32_t grant_opts;               /* XEN_DOMCTL_GRANT_version_mask. */
    uint32_t vmtrace_size;             /* Bytes of trace buffer per vcpu. */
    uint32_t cpupool_id;               /* CPU pool. */
    struct xen_arch_domainconfig arch; /* The architecture's. */
};
typedef struct xen_domctl_createdomain xen_domctl_createdomain_t;

/* Answer of XEN_DOMCTL_getdomaininfo, and entry of XEN_SYSCTL_getdomaininfolist. */
struct xen_domctl_getdomaininfo {
    domid_t domain;                           /* Which domain. */
    uint8_t pad1[2];                          /* Unused. */
    uint32_t flags;                           /* XEN_DOMINF_* */
    uint64_t tot_pages;                       /* Pages it has. */
    uint64_t max_pages;                       /* Pages it may have. */
    uint64_t outstanding_pages;               /* Pages it claims. */
    uint64_t shr_pages;                       /* Pages it shares. */
    uint64_t paged_pages;                     /* Pages paged out. */
    uint64_t shared_info_frame;               /* Frame of its shared_info. */
    uint64_t cpu_time;                        /* Nanoseconds its vcpus ran. */
    uint32_t nr_online_vcpus;                 /* Vcpus up. */
    uint32_t max_vcpu_id;                     /* Highest vcpu number. */
    uint32_t ssidref;                         /* Security label. */
    xen_domain_handle_t handle;               /* UUID. */
    uint32_t cpupool;                         /* CPU pool. */
    uint8_t gpaddr_bits;                      /* Width of a guest physical address. */
    uint8_t pad2[7];                          /* Unused. */
    struct xen_arch_domainconfig arch_config; /* The architecture's. */
};
typedef struct xen_domctl_getdomaininfo xen_domctl_getdomaininfo_t;

/* Argument of XEN_DOMCTL_max_mem. */
struct xen_domctl_max_mem {
    uint64_t max_memkb; /* Most memory in KiB. */
};
typedef struct xen_domctl_max_mem xen_domctl_max_mem_t;

/* Argument of XEN_DOMCTL_setvcpucontext and XEN_DOMCTL_getvcpucontext. */
struct xen_domctl_vcpucontext {
    uint32_t vcpu;                   /* Which vcpu. */
    struct vcpu_guest_context *ctxt; /* Guest pointer to one. */
};
typedef struct xen_domctl_vcpucontext xen_domctl_vcpucontext_t;

/* Argument of XEN_DOMCTL_getvcpuinfo. */
struct xen_domctl_getvcpuinfo {
    uint32_t vcpu;     /* In: which vcpu. */
    uint8_t online;    /* Out: nonzero if up. */
    uint8_t blocked;   /* Out: nonzero if blocked. */
    uint8_t running;   /* Out: nonzero if running. */
    uint64_t cpu_time; /* Out: nanoseconds it ran. */
    uint32_t cpu;      /* Out: the pcpu it last ran on. */
};
typedef struct xen_domctl_getvcpuinfo xen_domctl_getvcpuinfo_t;

/* Argument of XEN_DOMCTL_max_vcpus. */
struct xen_domctl_max_vcpus {
    uint32_t max; /* How many; as at creation. */
};
typedef struct xen_domctl_max_vcpus xen_domctl_max_vcpus_t;

/* Argument of XEN_DOMCTL_getpageframeinfo3. */
struct xen_domctl_getpageframeinfo3 {
    uint64_t num;     /* How many. */
    xen_pfn_t *array; /* Guest pointer to u64 frame numbers; out: XEN_DOMCTL_PFINFO_* */
};
typedef struct xen_domctl_getpageframeinfo3 xen_domctl_getpageframeinfo3_t;

/* Argument of XEN_DOMCTL_set_address_size and XEN_DOMCTL_get_address_size. */
struct xen_domctl_address_size {
    uint32_t size; /* 32 or 64. */
};
typedef struct xen_domctl_address_size xen_domctl_address_size_t;

/* Argument of XEN_DOMCTL_setvcpuaffinity and XEN_DOMCTL_getvcpuaffinity. */
struct xen_domctl_vcpuaffinity {
    uint32_t vcpu;                    /* In: which vcpu. */
    uint32_t flags;                   /* In: XEN_VCPUAFFINITY_* */
    struct xenctl_bitmap cpumap_hard; /* Where it may run. Set: in and out, out the effective one. */
    struct xenctl_bitmap cpumap_soft; /* Where it had better run, likewise. */
};
typedef struct xen_domctl_vcpuaffinity xen_domctl_vcpuaffinity_t;

/* Argument of XEN_DOMCTL_shadow_op. */
struct xen_domctl_shadow_op {
    uint32_t op;           /* XEN_DOMCTL_SHADOW_OP_* */
    uint32_t mode;         /* Flags of the operation. */
    uint32_t mb;           /* MiB of shadow memory. */
    uint8_t *dirty_bitmap; /* Guest pointer to a bitmap of pages. */
    uint64_t pages;        /* Pages that the bitmap has room for. */
    struct {
        uint32_t fault_count; /* Out: faults. */
        uint32_t dirty_count; /* Out: dirty pages. */
    } stats;
};
typedef struct xen_domctl_shadow_op xen_domctl_shadow_op_t;

/* A domain's parameters for XEN_SCHEDULER_CREDIT. */
struct xen_domctl_sched_credit {
    uint16_t weight; /* Share against other domains; 0 in a put: as it is. */
    uint16_t cap;    /* Most percent of a CPU, 0 for no limit; all ones in a put: as it is. */
};
typedef struct xen_domctl_sched_credit xen_domctl_sched_credit_t;

/* Argument of XEN_DOMCTL_scheduler_op. */
struct xen_domctl_scheduler_op {
    uint32_t sched_id; /* XEN_SCHEDULER_*: whose parameters the caller means. */
    uint32_t cmd;      /* XEN_DOMCTL_SCHEDOP_* */
    union {
        struct xen_domctl_sched_credit credit;
        uint64_t pad[2];
    } u;
};
typedef struct xen_domctl_scheduler_op xen_domctl_scheduler_op_t;

/* Argument of XEN_DOMCTL_setdomainhandle. */
struct xen_domctl_setdomainhandle {
    xen_domain_handle_t handle; /* UUID. */
};
typedef struct xen_domctl_setdomainhandle xen_domctl_setdomainhandle_t;

/* Argument of XEN_DOMCTL_setdebugging. */
struct xen_domctl_setdebugging {
    uint8_t enable; /* Nonzero: a debugger attaches. */
};
typedef struct xen_domctl_setdebugging xen_domctl_setdebugging_t;

/* Argument of XEN_DOMCTL_irq_permission. */
struct xen_domctl_irq_permission {
    uint32_t pirq;        /* Which interrupt. */
    uint8_t allow_access; /* Nonzero allows it. */
    uint8_t pad[3];       /* Unused. */
};
typedef struct xen_domctl_irq_permission xen_domctl_irq_permission_t;

/* Argument of XEN_DOMCTL_iomem_permission. */
struct xen_domctl_iomem_permission {
    xen_pfn_t first_mfn;  /* First frame. */
    uint64_t nr_mfns;     /* How many. */
    uint8_t allow_access; /* Nonzero allows them. */
};
typedef struct xen_domctl_iomem_permission xen_domctl_iomem_permission_t;

/* Argument of XEN_DOMCTL_ioport_permission. */
struct xen_domctl_ioport_permission {
    uint32_t first_port;  /* First port. */
    uint32_t nr_ports;    /* How many. */
    uint8_t allow_access; /* Nonzero allows them. */
};
typedef struct xen_domctl_ioport_permission xen_domctl_ioport_permission_t;

/* Argument of XEN_DOMCTL_hypercall_init. */
struct xen_domctl_hypercall_init {
    xen_pfn_t gmfn; /* The frame to fill. */
};
typedef struct xen_domctl_hypercall_init xen_domctl_hypercall_init_t;

/* Argument of XEN_DOMCTL_settimeoffset. */
struct xen_domctl_settimeoffset {
    int64_t time_offset_seconds; /* The domain's clock minus UTC. */
};
typedef struct xen_domctl_settimeoffset xen_domctl_settimeoffset_t;

/* Argument of XEN_DOMCTL_sendtrigger. */
struct xen_domctl_sendtrigger {
    uint32_t trigger; /* XEN_DOMCTL_SENDTRIGGER_* */
    uint32_t vcpu;    /* Which vcpu. */
};
typedef struct xen_domctl_sendtrigger xen_domctl_sendtrigger_t;

/* Argument of XEN_DOMCTL_subscribe. */
struct xen_domctl_subscribe {
    evtchn_port_t port; /* The domain's port to notify when it has suspended. */
};
typedef struct xen_domctl_subscribe xen_domctl_subscribe_t;

/* Argument of XEN_DOMCTL_set_ext_vcpucontext and XEN_DOMCTL_get_ext_vcpucontext. */
struct xen_domctl_ext_vcpucontext {
    uint32_t vcpu;                     /* In: which vcpu. */
    uint32_t size;                     /* Bytes of this structure that are meant. */
    uint64_t syscall32_callback_eip;   /* Entry point for SYSCALL from 32-bit code. */
    uint64_t sysenter_callback_eip;    /* Entry point for SYSENTER. */
    uint16_t syscall32_callback_cs;    /* Its selector. */
    uint16_t sysenter_callback_cs;     /* Its selector. */
    uint8_t syscall32_disables_events; /* Nonzero: masks events. */
    uint8_t sysenter_disables_events;  /* Nonzero: masks events. */
    uint64_t mcg_cap;                  /* Machine-check capabilities. */
    uint64_t mci_ctl2[3];              /* Machine-check banks' second control registers, and padding. */
};
typedef struct xen_domctl_ext_vcpucontext xen_domctl_ext_vcpucontext_t;

/* Argument of XEN_DOMCTL_settscinfo and XEN_DOMCTL_gettscinfo. */
struct xen_domctl_tsc_info {
    uint32_t tsc_mode;     /* How the guest reads the TSC. */
    uint32_t gtsc_khz;     /* Frequency that the guest sees in kHz. */
    uint32_t incarnation;  /* How often it was resumed. */
    uint8_t pad[4];        /* Unused. */
    uint64_t elapsed_nsec; /* Nanoseconds of its life. */
};
typedef struct xen_domctl_tsc_info xen_domctl_tsc_info_t;

/* Argument of XEN_DOMCTL_setvcpuextstate and XEN_DOMCTL_getvcpuextstate. */
struct xen_domctl_vcpuextstate {
    uint32_t vcpu;          /* In: which vcpu. */
    uint64_t xfeature_mask; /* Get: states that there can be. */
    uint64_t size;          /* Bytes at buffer. */
    uint64_t *buffer;       /* Guest pointer to XCR0, all bits that XCR0 ever had, and an XSAVE area. */
};
typedef struct xen_domctl_vcpuextstate xen_domctl_vcpuextstate_t;

/* One register of XEN_DOMCTL_get_vcpu_msrs. */
struct xen_domctl_vcpu_msr {
    uint32_t index;    /* Its number. */
    uint32_t reserved; /* Must be zero. */
    uint64_t value;    /* Its value. */
};
typedef struct xen_domctl_vcpu_msr xen_domctl_vcpu_msr_t;

/* Argument of XEN_DOMCTL_get_vcpu_msrs and XEN_DOMCTL_set_vcpu_msrs. */
struct xen_domctl_vcpu_msrs {
    uint32_t vcpu;                    /* In: which vcpu. */
    uint32_t msr_count;               /* Entries of the list. */
    struct xen_domctl_vcpu_msr *msrs; /* Guest pointer to an array. */
};
typedef struct xen_domctl_vcpu_msrs xen_domctl_vcpu_msrs_t;

/* Argument of XEN_DOMCTL_set_virq_handler. */
struct xen_domctl_set_virq_handler {
    uint32_t virq; /* Which VIRQ the domain shall get. */
};
typedef struct xen_domctl_set_virq_handler xen_domctl_set_virq_handler_t;

/* Argument of XEN_DOMCTL_setnodeaffinity and XEN_DOMCTL_getnodeaffinity. */
struct xen_domctl_nodeaffinity {
    struct xenctl_bitmap nodemap; /* The nodes. */
};
typedef struct xen_domctl_nodeaffinity xen_domctl_nodeaffinity_t;

/* Argument of XEN_DOMCTL_set_cpu_policy and XEN_DOMCTL_get_cpu_policy. */
struct xen_domctl_cpu_policy {
    uint32_t nr_leaves;            /* Entries of leaves. */
    uint32_t nr_msrs;              /* Entries of msrs. */
    struct xen_cpuid_leaf *leaves; /* Guest pointer to an array. */
    struct xen_msr_entry *msrs;    /* Guest pointer to an array. */
    uint32_t err_leaf;             /* Out: the leaf that was refused. */
    uint32_t err_subleaf;          /* Out: its subleaf. */
    uint32_t err_msr;              /* Out: the MSR that was refused. */
};
typedef struct xen_domctl_cpu_policy xen_domctl_cpu_policy_t;

/* The envelope of domctl. */
struct xen_domctl {
    uint32_t cmd;               /* XEN_DOMCTL_* */
    uint32_t interface_version; /* XEN_DOMCTL_INTERFACE_VERSION */
    domid_t domain;             /* Which domain. */
    uint16_t _pad[3];           /* Unused. */
    union {
        struct xen_domctl_address_size address_size;
        struct xen_domctl_cpu_policy cpu_policy;
        struct xen_domctl_createdomain createdomain;
        struct xen_domctl_ext_vcpucontext ext_vcpucontext;
        struct xen_domctl_getdomaininfo getdomaininfo;
        struct xen_domctl_getpageframeinfo3 getpageframeinfo3;
        struct xen_domctl_getvcpuinfo getvcpuinfo;
        struct xen_domctl_hypercall_init hypercall_init;
        struct xen_domctl_iomem_permission iomem_permission;
        struct xen_domctl_ioport_permission ioport_permission;
        struct xen_domctl_irq_permission irq_permission;
        struct xen_domctl_max_mem max_mem;
        struct xen_domctl_max_vcpus max_vcpus;
        struct xen_domctl_nodeaffinity nodeaffinity;
        struct xen_domctl_scheduler_op scheduler_op;
        struct xen_domctl_sendtrigger sendtrigger;
        struct xen_domctl_set_virq_handler set_virq_handler;
        struct xen_domctl_setdebugging setdebugging;
        struct xen_domctl_setdomainhandle setdomainhandle;
        struct xen_domctl_settimeoffset settimeoffset;
        struct xen_domctl_shadow_op shadow_op;
        struct xen_domctl_subscribe subscribe;
        struct xen_domctl_tsc_info tsc_info;
        struct xen_domctl_vcpu_msrs vcpu_msrs;
        struct xen_domctl_vcpuaffinity vcpuaffinity;
        struct xen_domctl_vcpucontext vcpucontext;
        struct xen_domctl_vcpuextstate vcpuextstate;
        uint8_t pad[128];
    } u; /* The argument of the command. */
};
typedef struct xen_domctl xen_domctl_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_DOMCTL_H */
