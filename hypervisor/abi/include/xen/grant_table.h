/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Grant entries and their operations: __HYPERVISOR_grant_table_op. */
#ifndef REXEN_XEN_GRANT_TABLE_H
#define REXEN_XEN_GRANT_TABLE_H

#include "xen.h"

/* Entry of the grant table that the toolstack fills. */
#define GNTTAB_RESERVED_CONSOLE    0
#define GNTTAB_RESERVED_XENSTORE   1
/* How many entries are reserved. */
#define GNTTAB_NR_RESERVED_ENTRIES 8

/* Type of a grant entry, in flags under GTF_type_mask. */
#define GTF_invalid         0
#define GTF_permit_access   1
#define GTF_accept_transfer 2
#define GTF_transitive      3
#define GTF_type_mask       3

/* Bit of a grant entry's flags. */
#define GTF_readonly           (1 << 2)
#define GTF_reading            (1 << 3)
#define GTF_writing            (1 << 4)
#define GTF_PWT                (1 << 5)
#define GTF_PCD                (1 << 6)
#define GTF_PAT                (1 << 7)
#define GTF_sub_page           (1 << 8)
#define GTF_transfer_committed (1 << 2)
#define GTF_transfer_completed (1 << 3)

/* Command of grant_table_op. */
#define GNTTABOP_map_grant_ref     0
#define GNTTABOP_unmap_grant_ref   1
#define GNTTABOP_setup_table       2
#define GNTTABOP_dump_table        3
#define GNTTABOP_transfer          4
#define GNTTABOP_copy              5
#define GNTTABOP_query_size        6
#define GNTTABOP_unmap_and_replace 7
#define GNTTABOP_set_version       8
#define GNTTABOP_get_status_frames 9
#define GNTTABOP_get_version       10
#define GNTTABOP_swap_grant_ref    11
#define GNTTABOP_cache_flush       12

/* Bit of gnttab_copy.flags. */
#define GNTCOPY_source_gref (1 << 0)
#define GNTCOPY_dest_gref   (1 << 1)

/* Bit of gnttab_cache_flush.op. */
#define GNTTAB_CACHE_CLEAN       (1 << 0)
#define GNTTAB_CACHE_INVAL       (1 << 1)
#define GNTTAB_CACHE_SOURCE_GREF (1U << 31)

/* Bit of gnttab_map_grant_ref.flags. */
#define GNTMAP_device_map       (1 << 0)
#define GNTMAP_host_map         (1 << 1)
#define GNTMAP_readonly         (1 << 2)
#define GNTMAP_application_map  (1 << 3)
#define GNTMAP_contains_pte     (1 << 4)
/* The guest's own bits, which go into the available bits of the PTE. */
#define GNTMAP_guest_avail_mask 0xffff0000U

/* Value of a status field. */
#define GNTST_okay              0
#define GNTST_general_error     (-1)
#define GNTST_bad_domain        (-2)
#define GNTST_bad_gntref        (-3)
#define GNTST_bad_handle        (-4)
#define GNTST_bad_virt_addr     (-5)
#define GNTST_bad_dev_addr      (-6)
#define GNTST_no_device_space   (-7)
#define GNTST_permission_denied (-8)
#define GNTST_bad_page          (-9)
#define GNTST_bad_copy_arg      (-10)
#define GNTST_address_too_big   (-11)
#define GNTST_eagain            (-12)
#define GNTST_no_space          (-13)

#ifndef __ASSEMBLY__

/* Index into a domain's grant table. */
typedef uint32_t grant_ref_t;
/* What a mapping is unmapped by. */
typedef uint32_t grant_handle_t;
/* The marks of use of a version 2 entry: GTF_reading, GTF_writing. */
typedef uint16_t grant_status_t;

/* The head of every version 2 grant entry. */
struct grant_entry_header {
    uint16_t flags; /* GTF_* */
    domid_t domid;  /* To whom. */
};
typedef struct grant_entry_header grant_entry_header_t;

/* One entry of a version 1 grant table, shared with the granter. */
struct grant_entry_v1 {
    uint16_t flags; /* GTF_* */
    domid_t domid;  /* To whom. */
    uint32_t frame; /* Which frame. */
};
typedef struct grant_entry_v1 grant_entry_v1_t;

/*
 * One entry of a version 2 grant table, shared with the granter. Its marks of use are in a status frame, a
 * grant_status_t for each entry.
 */
union grant_entry_v2 {
    struct grant_entry_header hdr;
    struct { /* Without GTF_sub_page. */
        struct grant_entry_header hdr;
        uint32_t pad0;
        uint64_t frame; /* Which frame. */
    } full_page;
    struct { /* Under GTF_sub_page. */
        struct grant_entry_header hdr;
        uint16_t page_off; /* From which byte on. */
        uint16_t length;   /* How many bytes. */
        uint64_t frame;    /* Which frame. */
    } sub_page;
    struct { /* Of type GTF_transitive. */
        struct grant_entry_header hdr;
        domid_t trans_domid; /* Whose grant is passed on. */
        uint16_t pad0;
        grant_ref_t gref; /* Which one. */
    } transitive;
};
typedef union grant_entry_v2 grant_entry_v2_t;

/* Argument of GNTTABOP_map_grant_ref. */
struct gnttab_map_grant_ref {
    /* In: linear address to map at, or machine address of the PTE under GNTMAP_contains_pte. */
    uint64_t host_addr;
    uint32_t flags;        /* In: GNTMAP_* */
    grant_ref_t ref;       /* In: the grant reference. */
    domid_t dom;           /* In: whose. */
    int16_t status;        /* Out: GNTST_* */
    grant_handle_t handle; /* Out: what to unmap. */
    uint64_t dev_bus_addr; /* Out: machine address of the frame. */
};
typedef struct gnttab_map_grant_ref gnttab_map_grant_ref_t;

/* Argument of GNTTABOP_unmap_grant_ref. */
struct gnttab_unmap_grant_ref {
    uint64_t host_addr;    /* In: as it was mapped; 0 leaves that mapping. */
    uint64_t dev_bus_addr; /* In: as it was mapped; 0 leaves that mapping. */
    grant_handle_t handle; /* In: what the map gave. */
    int16_t status;        /* Out: GNTST_* */
};
typedef struct gnttab_unmap_grant_ref gnttab_unmap_grant_ref_t;

/* Argument of GNTTABOP_setup_table. */
struct gnttab_setup_table {
    domid_t dom;           /* In: whose table. */
    uint32_t nr_frames;    /* In: how many frames it shall have. */
    int16_t status;        /* Out: GNTST_* */
    xen_pfn_t *frame_list; /* Guest pointer to room for their u64 numbers. */
};
typedef struct gnttab_setup_table gnttab_setup_table_t;

/* Argument of GNTTABOP_dump_table. */
struct gnttab_dump_table {
    domid_t dom;    /* In: whose table. */
    int16_t status; /* Out: GNTST_* */
};
typedef struct gnttab_dump_table gnttab_dump_table_t;

/* Argument of GNTTABOP_transfer. */
struct gnttab_transfer {
    xen_pfn_t mfn;   /* In: the frame to give. */
    domid_t domid;   /* In: to whom. */
    grant_ref_t ref; /* In: into which grant reference. */
    int16_t status;  /* Out: GNTST_* */
};
typedef struct gnttab_transfer gnttab_transfer_t;

/* One end of a struct gnttab_copy. */
struct gnttab_copy_ptr {
    union {
        grant_ref_t ref; /* A grant reference, under GNTCOPY_source_gref or GNTCOPY_dest_gref; */
        xen_pfn_t gmfn;  /* else a frame. */
    } u;
    domid_t domid;   /* Whose. */
    uint16_t offset; /* Where in the page. */
};
typedef struct gnttab_copy_ptr gnttab_copy_ptr_t;

/* Argument of GNTTABOP_copy. */
struct gnttab_copy {
    struct gnttab_copy_ptr source; /* In: from where. */
    struct gnttab_copy_ptr dest;   /* In: to where. */
    uint16_t len;                  /* In: bytes. */
    uint16_t flags;                /* In: GNTCOPY_* */
    int16_t status;                /* Out: GNTST_* */
};
typedef struct gnttab_copy gnttab_copy_t;

/* Argument of GNTTABOP_query_size. */
struct gnttab_query_size {
    domid_t dom;            /* In: whose table. */
    uint32_t nr_frames;     /* Out: frames it has. */
    uint32_t max_nr_frames; /* Out: frames it may have. */
    int16_t status;         /* Out: GNTST_* */
};
typedef struct gnttab_query_size gnttab_query_size_t;

/* Argument of GNTTABOP_unmap_and_replace. */
struct gnttab_unmap_and_replace {
    uint64_t host_addr;    /* In: the mapping to end. */
    uint64_t new_addr;     /* In: whose PTE moves there. */
    grant_handle_t handle; /* In: what the map gave. */
    int16_t status;        /* Out: GNTST_* */
};
typedef struct gnttab_unmap_and_replace gnttab_unmap_and_replace_t;

/* Argument of GNTTABOP_set_version. */
struct gnttab_set_version {
    uint32_t version; /* In: the wanted one. Out: the one in use. */
};
typedef struct gnttab_set_version gnttab_set_version_t;

/* Argument of GNTTABOP_get_status_frames. */
struct gnttab_get_status_frames {
    uint32_t nr_frames;   /* In: how many. */
    domid_t dom;          /* In: whose. */
    int16_t status;       /* Out: GNTST_* */
    uint64_t *frame_list; /* Guest pointer to room for their u64 numbers. */
};
typedef struct gnttab_get_status_frames gnttab_get_status_frames_t;

/* Argument of GNTTABOP_get_version. */
struct gnttab_get_version {
    domid_t dom;      /* In: whose table. */
    uint16_t pad;     /* Unused. */
    uint32_t version; /* Out: 1 or 2. */
};
typedef struct gnttab_get_version gnttab_get_version_t;

/* Argument of GNTTABOP_swap_grant_ref. */
struct gnttab_swap_grant_ref {
    uint32_t ref_a; /* In: one. */
    uint32_t ref_b; /* In: the other. */
    int16_t status; /* Out: GNTST_* */
};
typedef struct gnttab_swap_grant_ref gnttab_swap_grant_ref_t;

/* Argument of GNTTABOP_cache_flush. */
struct gnttab_cache_flush {
    union {
        uint64_t dev_bus_addr; /* A machine address, */
        grant_ref_t ref;       /* or a grant reference under GNTTAB_CACHE_SOURCE_GREF. */
    } a;
    uint16_t offset; /* Where in the page. */
    uint16_t length; /* Bytes. */
    uint32_t op;     /* GNTTAB_CACHE_* */
};
typedef struct gnttab_cache_flush gnttab_cache_flush_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_GRANT_TABLE_H */
