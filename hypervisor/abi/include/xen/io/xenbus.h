/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The states of a device's two ends, as decimal numbers in their nodes state of xenstore. */
#ifndef REXEN_XEN_IO_XENBUS_H
#define REXEN_XEN_IO_XENBUS_H

#ifndef __ASSEMBLY__

/* State of one end of a device. */
enum xenbus_state {
    XenbusStateUnknown       = 0,
    XenbusStateInitialising  = 1,
    /* Waits for what the other end, or a script, has to write. */
    XenbusStateInitWait      = 2,
    /* Waits for the other end to connect. */
    XenbusStateInitialised   = 3,
    XenbusStateConnected     = 4,
    XenbusStateClosing       = 5,
    XenbusStateClosed        = 6,
    XenbusStateReconfiguring = 7,
    XenbusStateReconfigured  = 8
};
typedef enum xenbus_state XenbusState;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_IO_XENBUS_H */
