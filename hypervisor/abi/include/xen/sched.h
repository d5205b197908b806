/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Yielding, blocking, polling and shutting down: __HYPERVISOR_sched_op. */
#ifndef REXEN_XEN_SCHED_H
#define REXEN_XEN_SCHED_H

#include "event_channel.h"

/* Command of sched_op. */
#define SCHEDOP_yield           0
#define SCHEDOP_block           1
#define SCHEDOP_shutdown        2
#define SCHEDOP_poll            3
#define SCHEDOP_remote_shutdown 4
#define SCHEDOP_shutdown_code   5
#define SCHEDOP_watchdog        6
#define SCHEDOP_pin_override    7

/* Why a domain shut down. */
#define SHUTDOWN_poweroff   0
#define SHUTDOWN_reboot     1
#define SHUTDOWN_suspend    2
#define SHUTDOWN_crash      3
#define SHUTDOWN_watchdog   4
#define SHUTDOWN_soft_reset 5
#define SHUTDOWN_MAX        5

#ifndef __ASSEMBLY__

/* Argument of SCHEDOP_shutdown and SCHEDOP_shutdown_code. */
struct sched_shutdown {
    uint32_t reason; /* SHUTDOWN_* */
};
typedef struct sched_shutdown sched_shutdown_t;

/* Argument of SCHEDOP_poll. */
struct sched_poll {
    evtchn_port_t *ports; /* Guest pointer to u32 ports. */
    uint32_t nr_ports;    /* How many. */
    uint64_t timeout;     /* System time to stop at, in nanoseconds; 0 for never. */
};
typedef struct sched_poll sched_poll_t;

/* Argument of SCHEDOP_remote_shutdown. */
struct sched_remote_shutdown {
    domid_t domain_id; /* Which domain. */
    uint32_t reason;   /* SHUTDOWN_* */
};
typedef struct sched_remote_shutdown sched_remote_shutdown_t;

/* Argument of SCHEDOP_watchdog. */
struct sched_watchdog {
    uint32_t id;      /* Which watchdog; 0 for a new one. */
    uint32_t timeout; /* Seconds; 0 disarms. */
};
typedef struct sched_watchdog sched_watchdog_t;

/* Argument of SCHEDOP_pin_override. */
struct sched_pin_override {
    int32_t pcpu; /* Which pcpu; negative to end. */
};
typedef struct sched_pin_override sched_pin_override_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_SCHED_H */
