/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Xenstore's messages, and the page between a domain and xenstored. */
#ifndef REXEN_XEN_IO_XS_WIRE_H
#define REXEN_XEN_IO_XS_WIRE_H

#ifndef __ASSEMBLY__
#include <stdint.h>
#endif

/* Bytes of one direction of xenstore_domain_interface. */
#define XENSTORE_RING_SIZE 1024

/* Most bytes: of a message after its header, of a path from the root, of a path from a domain's home. */
#define XENSTORE_PAYLOAD_MAX  4096
#define XENSTORE_ABS_PATH_MAX 3072
#define XENSTORE_REL_PATH_MAX 2048

/* Bit of xenstore_domain_interface.server_features: reconnection, and the field error. */
#define XENSTORE_SERVER_FEATURE_RECONNECTION 1
#define XENSTORE_SERVER_FEATURE_ERROR        2

/* Value of xenstore_domain_interface.connection; the guest asks for a reconnection, xenstored ends it. */
#define XENSTORE_CONNECTED 0
#define XENSTORE_RECONNECT 1

/* Value of xenstore_domain_interface.error: none, unknown, a bad index, a bad message. */
#define XENSTORE_ERROR_NONE    0
#define XENSTORE_ERROR_COMM    1
#define XENSTORE_ERROR_RINGIDX 2
#define XENSTORE_ERROR_PROTO   3

#ifndef __ASSEMBLY__

/* A free-running index. */
typedef uint32_t XENSTORE_RING_IDX;

/* The place of a free-running index in its ring. */
#define MASK_XENSTORE_IDX(idx) ((idx) & (XENSTORE_RING_SIZE - 1))

/* Value of xsd_sockmsg.type. */
enum xsd_sockmsg_type {
    XS_CONTROL              = 0,
    XS_DIRECTORY            = 1,
    XS_READ                 = 2,
    XS_GET_PERMS            = 3,
    XS_WATCH                = 4,
    XS_UNWATCH              = 5,
    XS_TRANSACTION_START    = 6,
    XS_TRANSACTION_END      = 7,
    XS_INTRODUCE            = 8,
    XS_RELEASE              = 9,
    XS_GET_DOMAIN_PATH      = 10,
    XS_WRITE                = 11,
    XS_MKDIR                = 12,
    XS_RM                   = 13,
    XS_SET_PERMS            = 14,
    XS_WATCH_EVENT          = 15,
    XS_ERROR                = 16,
    XS_IS_DOMAIN_INTRODUCED = 17,
    XS_RESUME               = 18,
    XS_SET_TARGET           = 19,
    XS_RESET_WATCHES        = 21,
    XS_DIRECTORY_PART       = 22,
    /* One more than the highest number. */
    XS_TYPE_COUNT           = 23,
    /* Never a type. */
    XS_INVALID              = 0xffff
};

/* The header of every message, request and answer alike. */
struct xsd_sockmsg {
    uint32_t type;   /* XS_* */
    uint32_t req_id; /* Chosen by the client, repeated in the answer. */
    uint32_t tx_id;  /* The transaction, or 0. */
    uint32_t len;    /* Bytes that follow. */
};
typedef struct xsd_sockmsg xsd_sockmsg_t;

/* The page: two byte rings. Indices run freely; the place in a ring is the index modulo its length. */
struct xenstore_domain_interface {
    char req[XENSTORE_RING_SIZE]; /* Requests, to xenstored. */
    char rsp[XENSTORE_RING_SIZE]; /* Answers and watch events, from xenstored. */
    XENSTORE_RING_IDX req_cons;   /* How far xenstored has read. */
    XENSTORE_RING_IDX req_prod;   /* How far the guest has written. */
    XENSTORE_RING_IDX rsp_cons;   /* How far the guest has read. */
    XENSTORE_RING_IDX rsp_prod;   /* How far xenstored has written. */
    uint32_t server_features;     /* XENSTORE_SERVER_FEATURE_* */
    uint32_t connection;          /* XENSTORE_CONNECTED or XENSTORE_RECONNECT. */
    uint32_t error;               /* XENSTORE_ERROR_* */
};
typedef struct xenstore_domain_interface xenstore_domain_interface_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_IO_XS_WIRE_H */
