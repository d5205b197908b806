/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Starting and stopping vcpus, their timers, and the areas they register: __HYPERVISOR_vcpu_op. */
#ifndef REXEN_XEN_VCPU_H
#define REXEN_XEN_VCPU_H

#include "xen.h"

/* Command of vcpu_op. */
#define VCPUOP_initialise                     0
#define VCPUOP_up                             1
#define VCPUOP_down                           2
#define VCPUOP_is_up                          3
#define VCPUOP_get_runstate_info              4
#define VCPUOP_register_runstate_memory_area  5
#define VCPUOP_set_periodic_timer             6
#define VCPUOP_stop_periodic_timer            7
#define VCPUOP_set_singleshot_timer           8
#define VCPUOP_stop_singleshot_timer          9
#define VCPUOP_register_vcpu_info             10
#define VCPUOP_send_nmi                       11
#define VCPUOP_get_physid                     12
#define VCPUOP_register_vcpu_time_memory_area 13

/* Value of vcpu_runstate_info.state, and index into time. */
#define RUNSTATE_running  0
#define RUNSTATE_runnable 1
#define RUNSTATE_blocked  2
#define RUNSTATE_offline  3

/* Bit of vcpu_runstate_info.state_entry_time while the rest is inconsistent. */
#define XEN_RUNSTATE_UPDATE (1UL << 63)

/* Bit of vcpu_set_singleshot_timer.flags: refuse a time that has passed. */
#define VCPU_SSHOTTMR_future (1 << 0)

#ifndef __ASSEMBLY__

/* What a vcpu does and how long it has done what. */
struct vcpu_runstate_info {
    int32_t state;    /* RUNSTATE_* */
    /* System time in nanoseconds at which it came to be, and XEN_RUNSTATE_UPDATE. */
    uint64_t state_entry_time;
    uint64_t time[4]; /* Nanoseconds spent in each state. */
};
typedef struct vcpu_runstate_info vcpu_runstate_info_t;

/* Argument of VCPUOP_register_runstate_memory_area. */
struct vcpu_register_runstate_memory_area {
    union {
        struct vcpu_runstate_info *h; /* The caller's pointer, */
        struct vcpu_runstate_info *v; /* the same, */
        uint64_t p;                   /* or the same as a number. */
    } addr; /* Guest linear address. */
};
typedef struct vcpu_register_runstate_memory_area vcpu_register_runstate_memory_area_t;

/* Argument of VCPUOP_register_vcpu_time_memory_area. */
struct vcpu_register_time_memory_area {
    union {
        struct vcpu_time_info *h; /* The caller's pointer, */
        struct vcpu_time_info *v; /* the same, */
        uint64_t p;               /* or the same as a number. */
    } addr; /* Guest linear address. */
};
typedef struct vcpu_register_time_memory_area vcpu_register_time_memory_area_t;

/* Argument of VCPUOP_set_periodic_timer. */
struct vcpu_set_periodic_timer {
    uint64_t period_ns; /* Period in nanoseconds. */
};
typedef struct vcpu_set_periodic_timer vcpu_set_periodic_timer_t;

/* Argument of VCPUOP_set_singleshot_timer. */
struct vcpu_set_singleshot_timer {
    uint64_t timeout_abs_ns; /* System time in nanoseconds. */
    uint32_t flags;          /* VCPU_SSHOTTMR_future or 0. */
};
typedef struct vcpu_set_singleshot_timer vcpu_set_singleshot_timer_t;

/* Argument of VCPUOP_register_vcpu_info. */
struct vcpu_register_vcpu_info {
    xen_pfn_t mfn;   /* Frame. */
    uint32_t offset; /* Where in it, in bytes. */
    uint32_t rsvd;   /* Unused. */
};
typedef struct vcpu_register_vcpu_info vcpu_register_vcpu_info_t;

/* Argument of VCPUOP_get_physid. */
struct vcpu_get_physid {
    uint64_t phys_id; /* Out: APIC id in the low half, ACPI id in the high half. */
};
typedef struct vcpu_get_physid vcpu_get_physid_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_VCPU_H */
