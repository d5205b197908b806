/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A domain's memory, memory maps and the machine-to-physical table: __HYPERVISOR_memory_op. */
#ifndef REXEN_XEN_MEMORY_H
#define REXEN_XEN_MEMORY_H

#include "xen.h"

/* Command of memory_op, in the low 6 bits. */
#define XENMEM_increase_reservation       0
#define XENMEM_decrease_reservation       1
#define XENMEM_maximum_ram_page           2
#define XENMEM_current_reservation        3
#define XENMEM_maximum_reservation        4
#define XENMEM_machphys_mfn_list          5
#define XENMEM_populate_physmap           6
#define XENMEM_add_to_physmap             7
#define XENMEM_memory_map                 9
#define XENMEM_machine_memory_map         10
#define XENMEM_exchange                   11
#define XENMEM_machphys_mapping           12
#define XENMEM_set_memory_map             13
#define XENMEM_maximum_gpfn               14
#define XENMEM_remove_from_physmap        15
#define XENMEM_set_pod_target             16
#define XENMEM_get_pod_target             17
#define XENMEM_get_sharing_freed_pages    18
#define XENMEM_get_sharing_shared_pages   19
#define XENMEM_paging_op                  20
#define XENMEM_access_op                  21
#define XENMEM_sharing_op                 22
#define XENMEM_add_to_physmap_batch       23
#define XENMEM_claim_pages                24
#define XENMEM_machphys_compat_mfn_list   25
#define XENMEM_get_vnumainfo              26
#define XENMEM_reserved_device_memory_map 27
#define XENMEM_acquire_resource           28

/* Bit of xen_memory_reservation.mem_flags; bits 7:0 are the address width (0: any), 15:8 the node plus 1. */
#define XENMEMF_populate_on_demand (1 << 16)
#define XENMEMF_exact_node_request (1 << 17)
#define XENMEMF_vnode              (1 << 18)

/* Value of xen_add_to_physmap.space. */
#define XENMAPSPACE_shared_info  0
#define XENMAPSPACE_grant_table  1
#define XENMAPSPACE_gmfn         2
#define XENMAPSPACE_gmfn_range   3
#define XENMAPSPACE_gmfn_foreign 4
#define XENMAPSPACE_dev_mmio     5

/* Bit of xen_add_to_physmap.idx: a status frame. */
#define XENMAPIDX_grant_table_status 0x80000000UL

/* Value of xen_mem_acquire_resource.type. */
#define XENMEM_resource_ioreq_server 0
#define XENMEM_resource_grant_table  1
#define XENMEM_resource_vmtrace_buf  2

/* Value of xen_mem_acquire_resource.id for a grant table. */
#define XENMEM_resource_grant_table_id_shared 0
#define XENMEM_resource_grant_table_id_status 1

/* Puts an address width in bits (0: any) into xen_memory_reservation.mem_flags. */
#define XENMEMF_address_bits(bits) (bits)
/* Puts a NUMA node into xen_memory_reservation.mem_flags. */
#define XENMEMF_node(node) ((((node) + 1) & 0xff) << 8)

#ifndef __ASSEMBLY__

/* Argument of XENMEM_increase_reservation, _decrease_reservation, _populate_physmap and _claim_pages. */
struct xen_memory_reservation {
    xen_pfn_t *extent_start; /* Guest pointer to u64 frame numbers. */
    uint64_t nr_extents;     /* How many. */
    uint32_t extent_order;   /* Each 2^order pages. */
    uint32_t mem_flags;      /* XENMEMF_* */
    domid_t domid;           /* Whose memory. */
};
typedef struct xen_memory_reservation xen_memory_reservation_t;

/* Argument of XENMEM_exchange. */
struct xen_memory_exchange {
    struct xen_memory_reservation in;  /* What the caller gives. */
    struct xen_memory_reservation out; /* What it wants. */
    uint64_t nr_exchanged;             /* In: 0. Out: input extents exchanged. */
};
typedef struct xen_memory_exchange xen_memory_exchange_t;

/* Argument of XENMEM_current_reservation, _maximum_reservation and _maximum_gpfn. */
struct xen_memory_domain {
    domid_t domid; /* Which domain. */
};
typedef struct xen_memory_domain xen_memory_domain_t;

/* Argument of XENMEM_machphys_mfn_list. */
struct xen_machphys_mfn_list {
    uint32_t max_extents;    /* In: room in the list. */
    xen_pfn_t *extent_start; /* Guest pointer to u64 mfns. */
    uint32_t nr_extents;     /* Out: how many were written. */
};
typedef struct xen_machphys_mfn_list xen_machphys_mfn_list_t;

/* Answer of XENMEM_machphys_mapping. */
struct xen_machphys_mapping {
    uint64_t v_start;  /* Where the M2P starts. */
    uint64_t v_end;    /* Where it ends. */
    xen_pfn_t max_mfn; /* Highest mfn it may be asked for. */
};
typedef struct xen_machphys_mapping xen_machphys_mapping_t;

/* Argument of XENMEM_add_to_physmap. */
struct xen_add_to_physmap {
    domid_t domid;   /* Whose physmap. */
    uint16_t size;   /* Pages, of a range. */
    uint32_t space;  /* XENMAPSPACE_* */
    xen_ulong_t idx; /* Index into the space. */
    xen_pfn_t gpfn;  /* Where to. */
};
typedef struct xen_add_to_physmap xen_add_to_physmap_t;

/* Argument of XENMEM_add_to_physmap_batch. */
struct xen_add_to_physmap_batch {
    domid_t domid;  /* Whose physmap. */
    uint16_t space; /* XENMAPSPACE_* */
    uint16_t size;  /* How many. */
    union {
        domid_t foreign_domid; /* The other domain, for XENMAPSPACE_gmfn_foreign; */
        uint16_t res0;         /* else 0. */
    } u;
    xen_ulong_t *idxs; /* Guest pointer to the indices into the space. */
    xen_pfn_t *gpfns;  /* Guest pointer to where they go. */
    int *errs;         /* Guest pointer to room for a result each. */
};
typedef struct xen_add_to_physmap_batch xen_add_to_physmap_batch_t;

/* Argument of XENMEM_remove_from_physmap. */
struct xen_remove_from_physmap {
    domid_t domid;  /* Whose physmap. */
    xen_pfn_t gpfn; /* From where. */
};
typedef struct xen_remove_from_physmap xen_remove_from_physmap_t;

/* Argument of XENMEM_memory_map and XENMEM_machine_memory_map. */
struct xen_memory_map {
    uint32_t nr_entries; /* In: room in the buffer. Out: entries written. */
    void *buffer;        /* Guest pointer to entries of 20 bytes: address, length, E820 type. */
};
typedef struct xen_memory_map xen_memory_map_t;

/* Argument of XENMEM_set_memory_map. */
struct xen_foreign_memory_map {
    domid_t domid;             /* Whose map. */
    struct xen_memory_map map; /* The map. */
};
typedef struct xen_foreign_memory_map xen_foreign_memory_map_t;

/* Argument of XENMEM_set_pod_target and XENMEM_get_pod_target. */
struct xen_pod_target {
    uint64_t target_pages;    /* In: the target. */
    uint64_t tot_pages;       /* Out: pages of the domain. */
    uint64_t pod_cache_pages; /* Out: pages of the cache. */
    uint64_t pod_entries;     /* Out: entries without a page. */
    domid_t domid;            /* In: whose. */
};
typedef struct xen_pod_target xen_pod_target_t;

/* Argument of XENMEM_acquire_resource. */
struct xen_mem_acquire_resource {
    domid_t domid;         /* Whose resource. */
    uint16_t type;         /* XENMEM_resource_* */
    uint32_t id;           /* Which one of its kind. */
    uint32_t nr_frames;    /* In: how many frames; 0 asks. Out, when asked: how many there are. */
    uint32_t pad;          /* Must be 0. */
    uint64_t frame;        /* In: the first. */
    xen_pfn_t *frame_list; /* Guest pointer to u64 frame numbers. */
};
typedef struct xen_mem_acquire_resource xen_mem_acquire_resource_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_MEMORY_H */
