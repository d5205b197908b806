/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What domain 0 asks of the machine: __HYPERVISOR_platform_op. All command numbers, and the arguments that
 * Rexen serves.
 */
#ifndef REXEN_XEN_PLATFORM_H
#define REXEN_XEN_PLATFORM_H

#include "xen.h"

/* Value of xen_platform_op.interface_version. */
#define XENPF_INTERFACE_VERSION 0x03000001

/* Command of platform_op. */
#define XENPF_settime32            17
#define XENPF_add_memtype          31
#define XENPF_del_memtype          32
#define XENPF_read_memtype         33
#define XENPF_microcode_update     35
#define XENPF_platform_quirk       39
#define XENPF_get_cpu_version      48
#define XENPF_efi_runtime_call     49
#define XENPF_firmware_info        50
#define XENPF_enter_acpi_sleep     51
#define XENPF_change_freq          52
#define XENPF_getidletime          53
#define XENPF_set_processor_pminfo 54
#define XENPF_get_cpuinfo          55
#define XENPF_cpu_online           56
#define XENPF_cpu_offline          57
#define XENPF_cpu_hotadd           58
#define XENPF_mem_hotadd           59
#define XENPF_core_parking         60
#define XENPF_resource_op          61
#define XENPF_settime64            62
#define XENPF_get_symbol           63

/* Value of xenpf_firmware_info.type. */
#define XEN_FW_DISK_INFO          1
#define XEN_FW_DISK_MBR_SIGNATURE 2
#define XEN_FW_VBEDDC_INFO        3
#define XEN_FW_EFI_INFO           4
#define XEN_FW_KBD_SHIFT_FLAGS    5

/* Value of xenpf_firmware_info.index for XEN_FW_EFI_INFO. */
#define XEN_FW_EFI_VERSION          0
#define XEN_FW_EFI_CONFIG_TABLE     1
#define XEN_FW_EFI_VENDOR           2
#define XEN_FW_EFI_MEM_INFO         3
#define XEN_FW_EFI_RT_VERSION       4
#define XEN_FW_EFI_PCI_ROM          5
#define XEN_FW_EFI_APPLE_PROPERTIES 6

/* Bit of xenpf_enter_acpi_sleep.flags: the values are for the hardware-reduced registers. */
#define XENPF_ACPI_SLEEP_EXTENDED 1

/* Value of xenpf_set_processor_pminfo.type. */
#define XEN_PM_CX  0
#define XEN_PM_PX  1
#define XEN_PM_TX  2
#define XEN_PM_PDC 3

/* Bit of xenpf_pcpuinfo.flags. */
#define XEN_PCPU_FLAGS_ONLINE  1
#define XEN_PCPU_FLAGS_INVALID 2

/* Value of xenpf_core_parking.type. */
#define XEN_CORE_PARKING_SET 1
#define XEN_CORE_PARKING_GET 2

/* Value of xenpf_resource_entry.cmd. */
#define XEN_RESOURCE_OP_MSR_READ  0
#define XEN_RESOURCE_OP_MSR_WRITE 1

#ifndef __ASSEMBLY__

/* Argument of XENPF_settime32. */
struct xenpf_settime32 {
    uint32_t secs;        /* Seconds since 1970, UTC. */
    uint32_t nsecs;       /* Nanoseconds. */
    uint64_t system_time; /* System time at which it was so. */
};
typedef struct xenpf_settime32 xenpf_settime32_t;

/* Argument of XENPF_settime64. */
struct xenpf_settime64 {
    uint64_t secs;        /* Seconds since 1970, UTC. */
    uint32_t nsecs;       /* Nanoseconds. */
    uint32_t mbz;         /* Must be 0. */
    uint64_t system_time; /* System time at which it was so. */
};
typedef struct xenpf_settime64 xenpf_settime64_t;

/* Argument of XENPF_microcode_update. */
struct xenpf_microcode_update {
    const void *data; /* Guest pointer to the blob. */
    uint32_t length;  /* Its length in bytes. */
};
typedef struct xenpf_microcode_update xenpf_microcode_update_t;

/* Argument of XENPF_firmware_info. */
struct xenpf_firmware_info {
    uint32_t type;  /* In: XEN_FW_*: which member counts. */
    uint32_t index; /* In: which one of its kind. */
    union {
        struct {
            uint8_t device;                   /* Out: BIOS number. */
            uint8_t version;                  /* Out: EDD version. */
            uint16_t interface_support;       /* Out: EDD features. */
            uint16_t legacy_max_cylinder;     /* Out: highest cylinder. */
            uint8_t legacy_max_head;          /* Out: highest head. */
            uint8_t legacy_sectors_per_track; /* Out: sectors of a track. */
            void *edd_params;                 /* Guest pointer to room for the EDD parameters. */
        } disk_info;
        struct {
            uint8_t device;         /* Out: BIOS number. */
            uint32_t mbr_signature; /* Out: the four bytes at 0x1b8. */
        } disk_mbr_signature;
        struct {
            uint8_t capabilities;       /* Out: capabilities. */
            uint8_t edid_transfer_time; /* Out: seconds to transfer a block. */
            uint8_t *edid;              /* Guest pointer to room for 128 bytes of EDID. */
        } vbeddc_info;
        uint8_t kbd_shift_flags; /* Out: what INT 16h, function 2 says. */
        uint8_t pad[32];
    } u;
};
typedef struct xenpf_firmware_info xenpf_firmware_info_t;

/* Argument of XENPF_enter_acpi_sleep. */
struct xenpf_enter_acpi_sleep {
    uint16_t val_a;       /* For PM1a control (or sleep control). */
    uint16_t val_b;       /* For PM1b control (or sleep status). */
    uint32_t sleep_state; /* Which S state. */
    uint32_t flags;       /* XENPF_ACPI_SLEEP_EXTENDED or 0. */
};
typedef struct xenpf_enter_acpi_sleep xenpf_enter_acpi_sleep_t;

/* Argument of XENPF_change_freq. */
struct xenpf_change_freq {
    uint32_t flags; /* Must be 0. */
    uint32_t cpu;   /* Which pcpu. */
    uint64_t freq;  /* Its new frequency in Hz. */
};
typedef struct xenpf_change_freq xenpf_change_freq_t;

/* Argument of XENPF_getidletime. */
struct xenpf_getidletime {
    uint8_t *cpumap_bitmap;  /* Guest pointer: which pcpus; out: which of them are online. */
    uint32_t cpumap_nr_cpus; /* Bits of the bitmap. */
    uint64_t *idletime;      /* Guest pointer to u64 nanoseconds, by pcpu. */
    uint64_t now;            /* Out: system time now. */
};
typedef struct xenpf_getidletime xenpf_getidletime_t;

/* Argument of XENPF_get_cpuinfo. */
struct xenpf_pcpuinfo {
    uint32_t xen_cpuid;   /* In: which pcpu. */
    uint32_t max_present; /* Out: the highest number present. */
    uint32_t flags;       /* Out: XEN_PCPU_FLAGS_* */
    uint32_t apic_id;     /* Out: APIC id. */
    uint32_t acpi_id;     /* Out: ACPI processor id. */
};
typedef struct xenpf_pcpuinfo xenpf_pcpuinfo_t;

/* Argument of XENPF_get_cpu_version. */
struct xenpf_pcpu_version {
    uint32_t xen_cpuid;    /* In: which pcpu. */
    uint32_t max_present;  /* Out: the highest number present. */
    uint8_t vendor_id[12]; /* Out: vendor, as CPUID leaf 0 has it. */
    uint32_t family;       /* Out: family. */
    uint32_t model;        /* Out: model. */
    uint32_t stepping;     /* Out: stepping. */
};
typedef struct xenpf_pcpu_version xenpf_pcpu_version_t;

/* Argument of XENPF_cpu_online and XENPF_cpu_offline. */
struct xenpf_cpu_ol {
    uint32_t cpuid; /* Which pcpu. */
};
typedef struct xenpf_cpu_ol xenpf_cpu_ol_t;

/* Argument of XENPF_cpu_hotadd. */
struct xenpf_cpu_hotadd {
    uint32_t apic_id; /* APIC id. */
    uint32_t acpi_id; /* ACPI processor id. */
    uint32_t pxm;     /* Proximity domain. */
};
typedef struct xenpf_cpu_hotadd xenpf_cpu_hotadd_t;

/* Argument of XENPF_mem_hotadd. */
struct xenpf_mem_hotadd {
    uint64_t spfn;  /* First frame. */
    uint64_t epfn;  /* One more than the last frame. */
    uint32_t pxm;   /* Proximity domain. */
    uint32_t flags; /* Must be 0. */
};
typedef struct xenpf_mem_hotadd xenpf_mem_hotadd_t;

/* Argument of XENPF_core_parking. */
struct xenpf_core_parking {
    uint32_t type;      /* XEN_CORE_PARKING_* */
    uint32_t idle_nums; /* How many pcpus are parked. */
};
typedef struct xenpf_core_parking xenpf_core_parking_t;

/* One access of XENPF_resource_op. */
struct xenpf_resource_entry {
    union {
        uint32_t cmd; /* In: XEN_RESOURCE_OP_* */
        int32_t ret;  /* Out: 0 or a negative error. */
    } u;
    uint32_t rsvd; /* Must be 0. */
    uint64_t idx;  /* Which MSR. */
    uint64_t val;  /* Its value. */
};
typedef struct xenpf_resource_entry xenpf_resource_entry_t;

/* Argument of XENPF_resource_op. */
struct xenpf_resource_op {
    uint32_t nr_entries;                  /* How many entries. */
    uint32_t cpu;                         /* On which pcpu. */
    struct xenpf_resource_entry *entries; /* Guest pointer to them. */
};
typedef struct xenpf_resource_op xenpf_resource_op_t;

/* Argument of XENPF_get_symbol. */
struct xenpf_symdata {
    uint32_t namelen; /* In: room for the name. Out: its length, the NUL included. */
    uint32_t symnum;  /* In: which symbol. Out: the next. */
    char *name;       /* Guest pointer to room for the name. */
    uint64_t address; /* Out: address. */
    char type;        /* Out: type as nm prints it. */
};
typedef struct xenpf_symdata xenpf_symdata_t;

/* The envelope of platform_op. */
struct xen_platform_op {
    uint32_t cmd;               /* XENPF_* */
    uint32_t interface_version; /* XENPF_INTERFACE_VERSION */
    union {
        struct xenpf_change_freq change_freq;
        struct xenpf_core_parking core_parking;
        struct xenpf_cpu_hotadd cpu_add;
        struct xenpf_cpu_ol cpu_ol;
        struct xenpf_enter_acpi_sleep enter_acpi_sleep;
        struct xenpf_firmware_info firmware_info;
        struct xenpf_getidletime getidletime;
        struct xenpf_mem_hotadd mem_add;
        struct xenpf_microcode_update microcode;
        struct xenpf_pcpu_version pcpu_version;
        struct xenpf_pcpuinfo pcpu_info;
        struct xenpf_resource_op resource_op;
        struct xenpf_settime32 settime32;
        struct xenpf_settime64 settime64;
        struct xenpf_symdata symdata;
        uint8_t pad[128];
    } u; /* The argument of the command. */
};
typedef struct xen_platform_op xen_platform_op_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_PLATFORM_H */
