/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a toolstack asks of the hypervisor as a whole: __HYPERVISOR_sysctl, for domain 0 only. All command
 * numbers, and the arguments that Rexen serves.
 */
#ifndef REXEN_XEN_SYSCTL_H
#define REXEN_XEN_SYSCTL_H

#include "xen.h"
#include "domctl.h"
#include "physdev.h"

/* Value of xen_sysctl.interface_version. */
#define XEN_SYSCTL_INTERFACE_VERSION 0x15

/* Command of sysctl. */
#define XEN_SYSCTL_readconsole            1
#define XEN_SYSCTL_tbuf_op                2
#define XEN_SYSCTL_physinfo               3
#define XEN_SYSCTL_sched_id               4
#define XEN_SYSCTL_perfc_op               5
#define XEN_SYSCTL_getdomaininfolist      6
#define XEN_SYSCTL_debug_keys             7
#define XEN_SYSCTL_getcpuinfo             8
#define XEN_SYSCTL_availheap              9
#define XEN_SYSCTL_get_pmstat             10
#define XEN_SYSCTL_cpu_hotplug            11
#define XEN_SYSCTL_pm_op                  12
#define XEN_SYSCTL_page_offline_op        14
#define XEN_SYSCTL_lockprof_op            15
#define XEN_SYSCTL_cputopoinfo            16
#define XEN_SYSCTL_numainfo               17
#define XEN_SYSCTL_cpupool_op             18
#define XEN_SYSCTL_scheduler_op           19
#define XEN_SYSCTL_coverage_op            20
#define XEN_SYSCTL_psr_cmt_op             21
#define XEN_SYSCTL_pcitopoinfo            22
#define XEN_SYSCTL_psr_alloc              23
#define XEN_SYSCTL_get_cpu_levelling_caps 25
#define XEN_SYSCTL_get_cpu_featureset     26
#define XEN_SYSCTL_livepatch_op           27
#define XEN_SYSCTL_get_cpu_policy         29

/* Bit of xen_sysctl_physinfo.capabilities. */
#define XEN_SYSCTL_PHYSCAP_hvm                (1 << 0)
#define XEN_SYSCTL_PHYSCAP_pv                 (1 << 1)
#define XEN_SYSCTL_PHYSCAP_directio           (1 << 2)
#define XEN_SYSCTL_PHYSCAP_hap                (1 << 3)
#define XEN_SYSCTL_PHYSCAP_shadow             (1 << 4)
#define XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share (1 << 5)
#define XEN_SYSCTL_PHYSCAP_vmtrace            (1 << 6)
#define XEN_SYSCTL_PHYSCAP_vpmu               (1 << 7)
#define XEN_SYSCTL_PHYSCAP_gnttab_v1          (1 << 8)
#define XEN_SYSCTL_PHYSCAP_gnttab_v2          (1 << 9)

/* No node: nobody knows. */
#define XEN_INVALID_NODE_ID 0xffffffffU

/* Value of xen_sysctl_cpupool_op.op. */
#define XEN_SYSCTL_CPUPOOL_OP_CREATE     1
#define XEN_SYSCTL_CPUPOOL_OP_DESTROY    2
#define XEN_SYSCTL_CPUPOOL_OP_INFO       3
#define XEN_SYSCTL_CPUPOOL_OP_ADDCPU     4
#define XEN_SYSCTL_CPUPOOL_OP_RMCPU      5
#define XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN 6
#define XEN_SYSCTL_CPUPOOL_OP_FREEINFO   7

/* Any pool, for xen_sysctl_cpupool_op. */
#define XEN_SYSCTL_CPUPOOL_PAR_ANY 0xffffffffU

/* Value of xen_sysctl_scheduler_op.cmd. */
#define XEN_SYSCTL_SCHEDOP_putinfo 0
#define XEN_SYSCTL_SCHEDOP_getinfo 1

/* Bound of xen_sysctl_credit_schedule's members. */
#define XEN_SYSCTL_CSCHED_TSLICE_MAX     1000
#define XEN_SYSCTL_CSCHED_TSLICE_MIN     1
#define XEN_SYSCTL_SCHED_RATELIMIT_MAX   500000
#define XEN_SYSCTL_SCHED_RATELIMIT_MIN   100
#define XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US 100000

/* Value of xen_sysctl_cpu_featureset.index. */
#define XEN_SYSCTL_cpu_featureset_raw     0
#define XEN_SYSCTL_cpu_featureset_host    1
#define XEN_SYSCTL_cpu_featureset_pv      2
#define XEN_SYSCTL_cpu_featureset_hvm     3
#define XEN_SYSCTL_cpu_featureset_pv_max  4
#define XEN_SYSCTL_cpu_featureset_hvm_max 5

/* Value of xen_sysctl_cpu_policy.index. */
#define XEN_SYSCTL_cpu_policy_raw         0
#define XEN_SYSCTL_cpu_policy_host        1
#define XEN_SYSCTL_cpu_policy_pv_max      2
#define XEN_SYSCTL_cpu_policy_hvm_max     3
#define XEN_SYSCTL_cpu_policy_pv_default  4
#define XEN_SYSCTL_cpu_policy_hvm_default 5

#ifndef __ASSEMBLY__

/* Argument of XEN_SYSCTL_readconsole. */
struct xen_sysctl_readconsole {
    uint8_t clear;       /* In: nonzero empties the ring after reading. */
    uint8_t incremental; /* In: nonzero starts at index, not at the oldest byte. */
    uint8_t pad[2];      /* Unused. */
    uint32_t index;      /* In and out: where to start, where to go on. */
    char *buffer;        /* Guest pointer to room for the text. */
    uint32_t count;      /* In: bytes of room. Out: bytes written. */
};
typedef struct xen_sysctl_readconsole xen_sysctl_readconsole_t;

/* Answer of XEN_SYSCTL_physinfo. */
struct xen_sysctl_physinfo {
    uint32_t threads_per_core;  /* Threads of a core. */
    uint32_t cores_per_socket;  /* Cores of a socket. */
    uint32_t nr_cpus;           /* Pcpus online. */
    uint32_t max_cpu_id;        /* Highest pcpu number. */
    uint32_t nr_nodes;          /* NUMA nodes online. */
    uint32_t max_node_id;       /* Highest node number. */
    uint32_t cpu_khz;           /* Clock rate. */
    uint32_t capabilities;      /* XEN_SYSCTL_PHYSCAP_* */
    uint32_t arch_capabilities; /* The architecture's. */
    uint8_t pad[4];             /* Unused. */
    uint64_t total_pages;       /* Pages of memory. */
    uint64_t free_pages;        /* Pages free. */
    uint64_t scrub_pages;       /* Pages free but not yet scrubbed. */
    uint64_t outstanding_pages; /* Pages claimed. */
    xen_pfn_t max_mfn;          /* Highest mfn. */
    uint32_t hw_cap[8];         /* CPU capability words. */
};
typedef struct xen_sysctl_physinfo xen_sysctl_physinfo_t;

/* Answer of XEN_SYSCTL_sched_id. */
struct xen_sysctl_sched_id {
    uint32_t sched_id; /* XEN_SCHEDULER_* */
};
typedef struct xen_sysctl_sched_id xen_sysctl_sched_id_t;

/* Argument of XEN_SYSCTL_getdomaininfolist. */
struct xen_sysctl_getdomaininfolist {
    domid_t first_domain;                    /* In: the lowest domain id. */
    uint32_t max_domains;                    /* In: room in the buffer. */
    struct xen_domctl_getdomaininfo *buffer; /* Guest pointer to an array. */
    uint32_t num_domains;                    /* Out: how many were written. */
};
typedef struct xen_sysctl_getdomaininfolist xen_sysctl_getdomaininfolist_t;

/* Argument of XEN_SYSCTL_debug_keys. */
struct xen_sysctl_debug_keys {
    char *keys;       /* Guest pointer to the keys. */
    uint32_t nr_keys; /* How many. */
};
typedef struct xen_sysctl_debug_keys xen_sysctl_debug_keys_t;

/* One pcpu of XEN_SYSCTL_getcpuinfo. */
struct xen_sysctl_cpuinfo {
    uint64_t idletime; /* Nanoseconds spent idle. */
};
typedef struct xen_sysctl_cpuinfo xen_sysctl_cpuinfo_t;

/* Argument of XEN_SYSCTL_getcpuinfo. */
struct xen_sysctl_getcpuinfo {
    uint32_t max_cpus;               /* In: room in the list. */
    struct xen_sysctl_cpuinfo *info; /* Guest pointer to an array. */
    uint32_t nr_cpus;                /* Out: how many were written. */
};
typedef struct xen_sysctl_getcpuinfo xen_sysctl_getcpuinfo_t;

/* Argument of XEN_SYSCTL_availheap. */
struct xen_sysctl_availheap {
    uint32_t min_bitwidth; /* In: narrowest address width to count. */
    uint32_t max_bitwidth; /* In: widest address width to count; 0 for any. */
    int32_t node;          /* In: NUMA node; -1 for all. */
    uint64_t avail_bytes;  /* Out: bytes free. */
};
typedef struct xen_sysctl_availheap xen_sysctl_availheap_t;

/* Where one pcpu sits, for XEN_SYSCTL_cputopoinfo. */
struct xen_sysctl_cputopo {
    uint32_t core;
    uint32_t socket;
    uint32_t node;   /* NUMA node. */
};
typedef struct xen_sysctl_cputopo xen_sysctl_cputopo_t;

/* Argument of XEN_SYSCTL_cputopoinfo. */
struct xen_sysctl_cputopoinfo {
    uint32_t num_cpus;                  /* In: room in the list. Out: how many there are, or were written. */
    struct xen_sysctl_cputopo *cputopo; /* Guest pointer to an array. */
};
typedef struct xen_sysctl_cputopoinfo xen_sysctl_cputopoinfo_t;

/* Memory of one node, for XEN_SYSCTL_numainfo. */
struct xen_sysctl_meminfo {
    uint64_t memsize; /* Bytes in all. */
    uint64_t memfree; /* Bytes free. */
};
typedef struct xen_sysctl_meminfo xen_sysctl_meminfo_t;

/* Argument of XEN_SYSCTL_numainfo. */
struct xen_sysctl_numainfo {
    uint32_t num_nodes;                 /* In: room in the lists. Out: how many there are, or were written. */
    struct xen_sysctl_meminfo *meminfo; /* Guest pointer to an array. */
    uint32_t *distance;                 /* Guest pointer to u32 distances, node by node. */
};
typedef struct xen_sysctl_numainfo xen_sysctl_numainfo_t;

/* Argument of XEN_SYSCTL_pcitopoinfo. */
struct xen_sysctl_pcitopoinfo {
    uint32_t num_devs;               /* In: how many. Out: how many were answered. */
    struct physdev_pci_device *devs; /* Guest pointer to an array. */
    uint32_t *nodes;                 /* Guest pointer to u32 nodes. */
};
typedef struct xen_sysctl_pcitopoinfo xen_sysctl_pcitopoinfo_t;

/* Argument of XEN_SYSCTL_cpupool_op. */
struct xen_sysctl_cpupool_op {
    uint32_t op;                 /* XEN_SYSCTL_CPUPOOL_OP_* */
    uint32_t cpupool_id;         /* Which pool. */
    uint32_t sched_id;           /* Its scheduler. */
    uint32_t domid;              /* A domain to move. */
    uint32_t cpu;                /* A pcpu to add or remove. */
    uint32_t n_dom;              /* Out: domains in the pool. */
    struct xenctl_bitmap cpumap; /* Out: pcpus. */
};
typedef struct xen_sysctl_cpupool_op xen_sysctl_cpupool_op_t;

/* The parameters of XEN_SCHEDULER_CREDIT as a whole. */
struct xen_sysctl_credit_schedule {
    uint32_t tslice_ms;          /* A turn in milliseconds. */
    uint32_t ratelimit_us;       /* The least time between switches in microseconds. */
    uint32_t vcpu_migr_delay_us; /* How long a vcpu is bound to a pcpu by its caches, in microseconds. */
};
typedef struct xen_sysctl_credit_schedule xen_sysctl_credit_schedule_t;

/* Argument of XEN_SYSCTL_scheduler_op. */
struct xen_sysctl_scheduler_op {
    uint32_t cpupool_id; /* Which pool. */
    uint32_t sched_id;   /* XEN_SCHEDULER_* */
    uint32_t cmd;        /* XEN_SYSCTL_SCHEDOP_* */
    union {
        struct xen_sysctl_credit_schedule sched_credit;
        uint64_t pad[2];
    } u;
};
typedef struct xen_sysctl_scheduler_op xen_sysctl_scheduler_op_t;

/* Answer of XEN_SYSCTL_get_cpu_levelling_caps. */
struct xen_sysctl_cpu_levelling_caps {
    uint32_t caps; /* What of CPUID can be hidden from user space. */
};
typedef struct xen_sysctl_cpu_levelling_caps xen_sysctl_cpu_levelling_caps_t;

/* Argument of XEN_SYSCTL_get_cpu_featureset. */
struct xen_sysctl_cpu_featureset {
    uint32_t index;       /* XEN_SYSCTL_cpu_featureset_* */
    uint32_t nr_features; /* In: room for words. Out: how many there are, or were written. */
    uint32_t *features;   /* Guest pointer to u32 words. */
};
typedef struct xen_sysctl_cpu_featureset xen_sysctl_cpu_featureset_t;

/* Argument of XEN_SYSCTL_get_cpu_policy. */
struct xen_sysctl_cpu_policy {
    uint32_t index;                /* XEN_SYSCTL_cpu_policy_* */
    uint32_t nr_leaves;            /* In: room in leaves. Out: how many there can be, or were written. */
    uint32_t nr_msrs;              /* The same of msrs. */
    uint32_t _rsvd;                /* Must be zero. */
    struct xen_cpuid_leaf *leaves; /* Guest pointer to an array. */
    struct xen_msr_entry *msrs;    /* Guest pointer to an array. */
};
typedef struct xen_sysctl_cpu_policy xen_sysctl_cpu_policy_t;

/* The envelope of sysctl. */
struct xen_sysctl {
    uint32_t cmd;               /* XEN_SYSCTL_* */
    uint32_t interface_version; /* XEN_SYSCTL_INTERFACE_VERSION */
    union {
        struct xen_sysctl_availheap availheap;
        struct xen_sysctl_cpu_featureset cpu_featureset;
        struct xen_sysctl_cpu_levelling_caps cpu_levelling_caps;
        struct xen_sysctl_cpu_policy cpu_policy;
        struct xen_sysctl_cpupool_op cpupool_op;
        struct xen_sysctl_cputopoinfo cputopoinfo;
        struct xen_sysctl_debug_keys debug_keys;
        struct xen_sysctl_getcpuinfo getcpuinfo;
        struct xen_sysctl_getdomaininfolist getdomaininfolist;
        struct xen_sysctl_numainfo numainfo;
        struct xen_sysctl_pcitopoinfo pcitopoinfo;
        struct xen_sysctl_physinfo physinfo;
        struct xen_sysctl_readconsole readconsole;
        struct xen_sysctl_sched_id sched_id;
        struct xen_sysctl_scheduler_op scheduler_op;
        uint8_t pad[128];
    } u; /* The argument of the command. */
};
typedef struct xen_sysctl xen_sysctl_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_SYSCTL_H */
