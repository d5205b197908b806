/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the hypervisor says about itself: __HYPERVISOR_xen_version. */
#ifndef REXEN_XEN_VERSION_H
#define REXEN_XEN_VERSION_H

#include "xen.h"

/* Command of xen_version. */
#define XENVER_version             0
#define XENVER_extraversion        1
#define XENVER_compile_info        2
#define XENVER_capabilities        3
#define XENVER_changeset           4
#define XENVER_platform_parameters 5
#define XENVER_get_features        6
#define XENVER_pagesize            7
#define XENVER_guest_handle        8
#define XENVER_commandline         9
#define XENVER_build_id            10

/* Length of an answer in bytes, the final NUL included. */
#define XEN_EXTRAVERSION_LEN      16
#define XEN_CAPABILITIES_INFO_LEN 1024
#define XEN_CHANGESET_INFO_LEN    64

#ifndef __ASSEMBLY__

/* Answers that are NUL-terminated strings. */
typedef char xen_extraversion_t[XEN_EXTRAVERSION_LEN];
typedef char xen_capabilities_info_t[XEN_CAPABILITIES_INFO_LEN];
typedef char xen_changeset_info_t[XEN_CHANGESET_INFO_LEN];
typedef char xen_commandline_t[1024];

/* Answer of XENVER_compile_info: NUL-terminated strings. */
struct xen_compile_info {
    char compiler[64];       /* Compiler. */
    char compile_by[16];     /* Who built it. */
    char compile_domain[32]; /* Where. */
    char compile_date[32];   /* When. */
};
typedef struct xen_compile_info xen_compile_info_t;

/* Answer of XENVER_platform_parameters. */
struct xen_platform_parameters {
    xen_ulong_t virt_start; /* Where the hypervisor's part of the address space starts. */
};
typedef struct xen_platform_parameters xen_platform_parameters_t;

/* Argument of XENVER_get_features. */
struct xen_feature_info {
    uint32_t submap_idx; /* In: which 32 features. */
    uint32_t submap;     /* Out: a bit per XENFEAT_* */
};
typedef struct xen_feature_info xen_feature_info_t;

/* Head of the answer of XENVER_build_id; the id follows. */
struct xen_build_id {
    uint32_t len; /* In: room for the id. Out: its length in bytes. */
};
typedef struct xen_build_id xen_build_id_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_VERSION_H */
