/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Ports of event channels, their operations (__HYPERVISOR_event_channel_op), and the FIFO layout. */
#ifndef REXEN_XEN_EVENT_CHANNEL_H
#define REXEN_XEN_EVENT_CHANNEL_H

#include "xen.h"

/* Command of event_channel_op. */
#define EVTCHNOP_bind_interdomain 0
#define EVTCHNOP_bind_virq        1
#define EVTCHNOP_bind_pirq        2
#define EVTCHNOP_close            3
#define EVTCHNOP_send             4
#define EVTCHNOP_status           5
#define EVTCHNOP_alloc_unbound    6
#define EVTCHNOP_bind_ipi         7
#define EVTCHNOP_bind_vcpu        8
#define EVTCHNOP_unmask           9
#define EVTCHNOP_reset            10
#define EVTCHNOP_init_control     11
#define EVTCHNOP_expand_array     12
#define EVTCHNOP_set_priority     13

/* Value of evtchn_status.status. */
#define EVTCHNSTAT_closed      0
#define EVTCHNSTAT_unbound     1
#define EVTCHNSTAT_interdomain 2
#define EVTCHNSTAT_pirq        3
#define EVTCHNSTAT_virq        4
#define EVTCHNSTAT_ipi         5

/* Bit of evtchn_bind_pirq.flags. */
#define BIND_PIRQ__WILL_SHARE 1

/* Number of ports. */
#define EVTCHN_2L_NR_CHANNELS   4096
#define EVTCHN_FIFO_NR_CHANNELS (1 << EVTCHN_FIFO_LINK_BITS)

/* FIFO priority; 0 is the most urgent. */
#define EVTCHN_FIFO_PRIORITY_MAX     0
#define EVTCHN_FIFO_PRIORITY_DEFAULT 7
#define EVTCHN_FIFO_PRIORITY_MIN     15

/* Queues of a FIFO control block. */
#define EVTCHN_FIFO_MAX_QUEUES 16

/* Bit number in a FIFO event word, or width of its link. */
#define EVTCHN_FIFO_PENDING   31
#define EVTCHN_FIFO_MASKED    30
#define EVTCHN_FIFO_LINKED    29
#define EVTCHN_FIFO_BUSY      28
#define EVTCHN_FIFO_LINK_BITS 17

/* Mask of the link in a FIFO event word. */
#define EVTCHN_FIFO_LINK_MASK ((1 << EVTCHN_FIFO_LINK_BITS) - 1)

#ifndef __ASSEMBLY__

/* An event word of the FIFO layout. */
typedef uint32_t event_word_t;

/* Argument of EVTCHNOP_alloc_unbound. */
struct evtchn_alloc_unbound {
    domid_t dom;        /* In: whose port it will be. */
    domid_t remote_dom; /* In: who may bind to it. */
    evtchn_port_t port; /* Out: the port. */
};
typedef struct evtchn_alloc_unbound evtchn_alloc_unbound_t;

/* Argument of EVTCHNOP_bind_interdomain. */
struct evtchn_bind_interdomain {
    domid_t remote_dom;        /* In: the other domain. */
    evtchn_port_t remote_port; /* In: its port. */
    evtchn_port_t local_port;  /* Out: the caller's port. */
};
typedef struct evtchn_bind_interdomain evtchn_bind_interdomain_t;

/* Argument of EVTCHNOP_bind_virq. */
struct evtchn_bind_virq {
    uint32_t virq;      /* In: VIRQ_* */
    uint32_t vcpu;      /* In: the vcpu; 0 for a global one. */
    evtchn_port_t port; /* Out: the port. */
};
typedef struct evtchn_bind_virq evtchn_bind_virq_t;

/* Argument of EVTCHNOP_bind_pirq. */
struct evtchn_bind_pirq {
    uint32_t pirq;      /* In: the physical interrupt. */
    uint32_t flags;     /* In: BIND_PIRQ__WILL_SHARE or 0. */
    evtchn_port_t port; /* Out: the port. */
};
typedef struct evtchn_bind_pirq evtchn_bind_pirq_t;

/* Argument of EVTCHNOP_bind_ipi. */
struct evtchn_bind_ipi {
    uint32_t vcpu;      /* In: the vcpu that is notified. */
    evtchn_port_t port; /* Out: the port. */
};
typedef struct evtchn_bind_ipi evtchn_bind_ipi_t;

/* Argument of EVTCHNOP_close. */
struct evtchn_close {
    evtchn_port_t port; /* In: the port. */
};
typedef struct evtchn_close evtchn_close_t;

/* Argument of EVTCHNOP_send. */
struct evtchn_send {
    evtchn_port_t port; /* In: the caller's port. */
};
typedef struct evtchn_send evtchn_send_t;

/* Argument of EVTCHNOP_status. */
struct evtchn_status {
    domid_t dom;        /* In: whose port. */
    evtchn_port_t port; /* In: the port. */
    uint32_t status;    /* Out: EVTCHNSTAT_*: which member counts. */
    uint32_t vcpu;      /* Out: the vcpu that is notified. */
    union {
        struct {
            domid_t dom; /* Who may bind. */
        } unbound;
        struct {
            domid_t dom;        /* The remote domain. */
            evtchn_port_t port; /* Its port. */
        } interdomain;
        uint32_t pirq;
        uint32_t virq;
    } u;
};
typedef struct evtchn_status evtchn_status_t;

/* Argument of EVTCHNOP_bind_vcpu. */
struct evtchn_bind_vcpu {
    evtchn_port_t port; /* In: the port. */
    uint32_t vcpu;      /* In: the vcpu to notify from now on. */
};
typedef struct evtchn_bind_vcpu evtchn_bind_vcpu_t;

/* Argument of EVTCHNOP_unmask. */
struct evtchn_unmask {
    evtchn_port_t port; /* In: the port. */
};
typedef struct evtchn_unmask evtchn_unmask_t;

/* Argument of EVTCHNOP_reset. */
struct evtchn_reset {
    domid_t dom; /* In: whose ports to close. */
};
typedef struct evtchn_reset evtchn_reset_t;

/* Argument of EVTCHNOP_init_control. */
struct evtchn_init_control {
    xen_pfn_t control_gfn; /* In: frame of the control block. */
    uint32_t offset;       /* In: where in the frame. */
    uint32_t vcpu;         /* In: whose block. */
    uint8_t link_bits;     /* Out: width of a link. */
    uint8_t _pad[7];       /* Unused. */
};
typedef struct evtchn_init_control evtchn_init_control_t;

/* Argument of EVTCHNOP_expand_array. */
struct evtchn_expand_array {
    xen_pfn_t array_gfn; /* In: the next frame of event words. */
};
typedef struct evtchn_expand_array evtchn_expand_array_t;

/* Argument of EVTCHNOP_set_priority. */
struct evtchn_set_priority {
    evtchn_port_t port; /* In: the port. */
    uint32_t priority;  /* In: 0 to 15. */
};
typedef struct evtchn_set_priority evtchn_set_priority_t;

/* Where a vcpu finds the heads of its FIFO queues. */
struct evtchn_fifo_control_block {
    uint32_t ready;                            /* A bit per queue that is not empty. */
    uint32_t _rsvd;                            /* Unused. */
    event_word_t head[EVTCHN_FIFO_MAX_QUEUES]; /* First port of each queue. */
};
typedef struct evtchn_fifo_control_block evtchn_fifo_control_block_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_EVENT_CHANNEL_H */
