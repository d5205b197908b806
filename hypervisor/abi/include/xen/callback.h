/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where a guest wants to be entered: __HYPERVISOR_callback_op. */
#ifndef REXEN_XEN_CALLBACK_H
#define REXEN_XEN_CALLBACK_H

#include "xen.h"

/* Command of callback_op. */
#define CALLBACKOP_register   0
#define CALLBACKOP_unregister 1

/* Which callback. */
#define CALLBACKTYPE_event               0
#define CALLBACKTYPE_failsafe            1
#define CALLBACKTYPE_syscall             2
#define CALLBACKTYPE_sysenter_deprecated 3
#define CALLBACKTYPE_nmi                 4
#define CALLBACKTYPE_sysenter            5
#define CALLBACKTYPE_syscall32           7

/* Bit of callback_register.flags: enter with events masked. */
#define CALLBACKF_mask_events (1 << 0)

#ifndef __ASSEMBLY__

/* Argument of CALLBACKOP_register. */
struct callback_register {
    uint16_t type;    /* CALLBACKTYPE_* */
    uint16_t flags;   /* CALLBACKF_mask_events or 0. */
    uint64_t address; /* Linear address of the handler. */
};
typedef struct callback_register callback_register_t;

/* Argument of CALLBACKOP_unregister. */
struct callback_unregister {
    uint16_t type;    /* CALLBACKTYPE_* */
    uint16_t _unused; /* Unused. */
};
typedef struct callback_unregister callback_unregister_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_CALLBACK_H */
