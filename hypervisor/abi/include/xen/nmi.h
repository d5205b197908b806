/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The virtual NMI: __HYPERVISOR_nmi_op. */
#ifndef REXEN_XEN_NMI_H
#define REXEN_XEN_NMI_H

#include "xen.h"

/* Command of nmi_op. */
#define XENNMI_register_callback   0
#define XENNMI_unregister_callback 1

/* Bit of arch_shared_info.nmi_reason. */
#define XEN_NMIREASON_io_error (1 << 0)
#define XEN_NMIREASON_pci_serr (1 << 1)
#define XEN_NMIREASON_unknown  (1 << 2)

#ifndef __ASSEMBLY__

/* Argument of XENNMI_register_callback. */
struct xennmi_callback {
    uint64_t handler_address; /* Linear address of the handler. */
    uint64_t pad;             /* Unused. */
};
typedef struct xennmi_callback xennmi_callback_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_NMI_H */
