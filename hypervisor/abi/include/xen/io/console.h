/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The page that a guest's console shares with the console daemon. */
#ifndef REXEN_XEN_IO_CONSOLE_H
#define REXEN_XEN_IO_CONSOLE_H

#include "../xen.h"

#ifndef __ASSEMBLY__

/* A free-running index. */
typedef uint32_t XENCONS_RING_IDX;

/* The place of a free-running index in its ring, the array in or out. */
#define MASK_XENCONS_IDX(idx, ring) ((idx) & (sizeof(ring) - 1))

/* Two byte rings. Indices run freely; the place in a ring is the index modulo its length. */
struct xencons_interface {
    char in[1024];             /* To the guest. */
    char out[2048];            /* From the guest. */
    XENCONS_RING_IDX in_cons;  /* How far the guest has read. */
    XENCONS_RING_IDX in_prod;  /* How far the daemon has written. */
    XENCONS_RING_IDX out_cons; /* How far the daemon has read. */
    XENCONS_RING_IDX out_prod; /* How far the guest has written. */
};
typedef struct xencons_interface xencons_interface_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_IO_CONSOLE_H */
