/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Physical interrupts, ports and PCI devices: __HYPERVISOR_physdev_op, for a domain that drives hardware. */
#ifndef REXEN_XEN_PHYSDEV_H
#define REXEN_XEN_PHYSDEV_H

#include "xen.h"

/* Command of physdev_op. */
#define PHYSDEVOP_irq_status_query   5
#define PHYSDEVOP_set_iopl           6
#define PHYSDEVOP_set_iobitmap       7
#define PHYSDEVOP_apic_read          8
#define PHYSDEVOP_apic_write         9
#define PHYSDEVOP_alloc_irq_vector   10
#define PHYSDEVOP_free_irq_vector    11
#define PHYSDEVOP_eoi                12
#define PHYSDEVOP_map_pirq           13
#define PHYSDEVOP_unmap_pirq         14
#define PHYSDEVOP_manage_pci_add     15
#define PHYSDEVOP_manage_pci_remove  16
#define PHYSDEVOP_pirq_eoi_gmfn_v1   17
#define PHYSDEVOP_restore_msi        19
#define PHYSDEVOP_manage_pci_add_ext 20
#define PHYSDEVOP_setup_gsi          21
#define PHYSDEVOP_get_free_pirq      23
#define PHYSDEVOP_pci_mmcfg_reserved 24
#define PHYSDEVOP_pci_device_add     25
#define PHYSDEVOP_pci_device_remove  26
#define PHYSDEVOP_restore_msi_ext    27
#define PHYSDEVOP_pirq_eoi_gmfn_v2   28
#define PHYSDEVOP_dbgp_op            29
#define PHYSDEVOP_prepare_msix       30
#define PHYSDEVOP_release_msix       31

/* Bit of physdev_irq_status_query.flags. */
#define XENIRQSTAT_needs_eoi (1 << 0)
#define XENIRQSTAT_shared    (1 << 1)

/* Value of physdev_map_pirq.type. */
#define MAP_PIRQ_TYPE_MSI       0
#define MAP_PIRQ_TYPE_GSI       1
#define MAP_PIRQ_TYPE_UNKNOWN   2
#define MAP_PIRQ_TYPE_MSI_SEG   3
#define MAP_PIRQ_TYPE_MULTI_MSI 4

/* Bit of physdev_pci_mmcfg_reserved.flags. */
#define XEN_PCI_MMCFG_RESERVED 1

/* Bit of physdev_pci_device_add.flags. */
#define XEN_PCI_DEV_EXTFN  1
#define XEN_PCI_DEV_VIRTFN 2
#define XEN_PCI_DEV_PXM    4

/* Value of physdev_dbgp_op.op. */
#define PHYSDEVOP_DBGP_RESET_PREPARE 1
#define PHYSDEVOP_DBGP_RESET_DONE    2

/* Value of physdev_dbgp_op.bus. */
#define PHYSDEVOP_DBGP_BUS_UNKNOWN 0
#define PHYSDEVOP_DBGP_BUS_PCI     1

#ifndef __ASSEMBLY__

/* Argument of PHYSDEVOP_eoi. */
struct physdev_eoi {
    uint32_t irq; /* The pirq. */
};
typedef struct physdev_eoi physdev_eoi_t;

/* Argument of PHYSDEVOP_pirq_eoi_gmfn_v1 and _v2. */
struct physdev_pirq_eoi_gmfn {
    xen_pfn_t gmfn; /* Frame of the bitmap: a bit per pirq that wants PHYSDEVOP_eoi. */
};
typedef struct physdev_pirq_eoi_gmfn physdev_pirq_eoi_gmfn_t;

/* Argument of PHYSDEVOP_irq_status_query. */
struct physdev_irq_status_query {
    uint32_t irq;   /* In: the pirq. */
    uint32_t flags; /* Out: XENIRQSTAT_* */
};
typedef struct physdev_irq_status_query physdev_irq_status_query_t;

/* Argument of PHYSDEVOP_set_iopl. */
struct physdev_set_iopl {
    uint32_t iopl; /* The vcpu's virtual IOPL. */
};
typedef struct physdev_set_iopl physdev_set_iopl_t;

/* Argument of PHYSDEVOP_set_iobitmap. */
struct physdev_set_iobitmap {
    uint8_t *bitmap;   /* Guest pointer to a bit per port: denied. */
    uint32_t nr_ports; /* How many ports it covers. */
};
typedef struct physdev_set_iobitmap physdev_set_iobitmap_t;

/* Argument of PHYSDEVOP_apic_read and PHYSDEVOP_apic_write. */
struct physdev_apic {
    uint64_t apic_physbase; /* Which IO-APIC: its machine address. */
    uint32_t reg;           /* Which register. */
    uint32_t value;         /* Its value. */
};
typedef struct physdev_apic physdev_apic_t;

/* Argument of PHYSDEVOP_alloc_irq_vector and PHYSDEVOP_free_irq_vector. */
struct physdev_irq {
    uint32_t irq;    /* In: the pirq. */
    uint32_t vector; /* Out: a vector. */
};
typedef struct physdev_irq physdev_irq_t;

/* Argument of PHYSDEVOP_map_pirq. */
struct physdev_map_pirq {
    domid_t domid;       /* In: for whom. */
    int32_t type;        /* In: MAP_PIRQ_TYPE_* */
    int32_t index;       /* In: the GSI (or -1 for an MSI). */
    int32_t pirq;        /* In: the wanted pirq, or -1. Out: the pirq. */
    int32_t bus;         /* In: bus, and the segment in the high half under MAP_PIRQ_TYPE_MSI_SEG. */
    int32_t devfn;       /* In: device and function. */
    int32_t entry_nr;    /* In: entry of the MSI-X table, or number of MSIs. Out: how many could be had. */
    uint64_t table_base; /* In: machine address of the MSI-X table; 0 for MSI. */
};
typedef struct physdev_map_pirq physdev_map_pirq_t;

/* Argument of PHYSDEVOP_unmap_pirq. */
struct physdev_unmap_pirq {
    domid_t domid; /* For whom. */
    int32_t pirq;  /* The pirq. */
};
typedef struct physdev_unmap_pirq physdev_unmap_pirq_t;

/* Argument of PHYSDEVOP_manage_pci_add and PHYSDEVOP_manage_pci_remove. */
struct physdev_manage_pci {
    uint8_t bus;
    uint8_t devfn; /* Device and function. */
};
typedef struct physdev_manage_pci physdev_manage_pci_t;

/* Argument of PHYSDEVOP_restore_msi. */
struct physdev_restore_msi {
    uint8_t bus;
    uint8_t devfn; /* Device and function. */
};
typedef struct physdev_restore_msi physdev_restore_msi_t;

/* Argument of PHYSDEVOP_manage_pci_add_ext. */
struct physdev_manage_pci_ext {
    uint8_t bus;
    uint8_t devfn;       /* Device and function. */
    uint32_t is_extfn;   /* Nonzero: an extended function. */
    uint32_t is_virtfn;  /* Nonzero: a virtual function. */
    struct {
        uint8_t bus;   /* Bus of the physical function. */
        uint8_t devfn; /* Device and function of the physical function. */
    } physfn;
};
typedef struct physdev_manage_pci_ext physdev_manage_pci_ext_t;

/* Argument of PHYSDEVOP_setup_gsi. */
struct physdev_setup_gsi {
    int32_t gsi;        /* The GSI. */
    uint8_t triggering; /* 0 edge, 1 level. */
    uint8_t polarity;   /* 0 active high, 1 active low. */
};
typedef struct physdev_setup_gsi physdev_setup_gsi_t;

/* Argument of PHYSDEVOP_get_free_pirq. */
struct physdev_get_free_pirq {
    int32_t type;  /* In: MAP_PIRQ_TYPE_* */
    uint32_t pirq; /* Out: the pirq. */
};
typedef struct physdev_get_free_pirq physdev_get_free_pirq_t;

/* Argument of PHYSDEVOP_pci_mmcfg_reserved. */
struct physdev_pci_mmcfg_reserved {
    uint64_t address;  /* Machine address of bus 0. */
    uint16_t segment;
    uint8_t start_bus; /* First bus. */
    uint8_t end_bus;   /* Last bus. */
    uint32_t flags;    /* XEN_PCI_MMCFG_RESERVED: the firmware reserved it. */
};
typedef struct physdev_pci_mmcfg_reserved physdev_pci_mmcfg_reserved_t;

/* Argument of PHYSDEVOP_pci_device_add; a u32 proximity domain follows under XEN_PCI_DEV_PXM. */
struct physdev_pci_device_add {
    uint16_t seg;   /* Segment. */
    uint8_t bus;
    uint8_t devfn;  /* Device and function. */
    uint32_t flags; /* XEN_PCI_DEV_* */
    struct {
        uint8_t bus;   /* Bus of the physical function, under XEN_PCI_DEV_VIRTFN. */
        uint8_t devfn; /* Its device and function. */
    } physfn;
};
typedef struct physdev_pci_device_add physdev_pci_device_add_t;

/* Argument of PHYSDEVOP_pci_device_remove, _restore_msi_ext, _prepare_msix and _release_msix. */
struct physdev_pci_device {
    uint16_t seg;  /* Segment. */
    uint8_t bus;
    uint8_t devfn; /* Device and function. */
};
typedef struct physdev_pci_device physdev_pci_device_t;

/* Argument of PHYSDEVOP_dbgp_op. */
struct physdev_dbgp_op {
    uint8_t op;  /* PHYSDEVOP_DBGP_RESET_* */
    uint8_t bus; /* PHYSDEVOP_DBGP_BUS_* */
    union {
        struct physdev_pci_device pci; /* The debug port's device, on a PCI bus. */
    } u;
};
typedef struct physdev_dbgp_op physdev_dbgp_op_t;

#endif /* !__ASSEMBLY__ */

#endif /* REXEN_XEN_PHYSDEV_H */
