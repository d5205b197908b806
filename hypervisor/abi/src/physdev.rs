//! `public/physdev.h`: physical interrupts, ports and PCI devices of a domain that drives hardware.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `physdev_op`." u32 {
        PHYSDEVOP_irq_status_query = 5,
        PHYSDEVOP_set_iopl = 6,
        PHYSDEVOP_set_iobitmap = 7,
        PHYSDEVOP_apic_read = 8,
        PHYSDEVOP_apic_write = 9,
        PHYSDEVOP_alloc_irq_vector = 10,
        PHYSDEVOP_free_irq_vector = 11,
        PHYSDEVOP_eoi = 12,
        PHYSDEVOP_map_pirq = 13,
        PHYSDEVOP_unmap_pirq = 14,
        PHYSDEVOP_manage_pci_add = 15,
        PHYSDEVOP_manage_pci_remove = 16,
        PHYSDEVOP_pirq_eoi_gmfn_v1 = 17,
        PHYSDEVOP_restore_msi = 19,
        PHYSDEVOP_manage_pci_add_ext = 20,
        PHYSDEVOP_setup_gsi = 21,
        PHYSDEVOP_get_free_pirq = 23,
        PHYSDEVOP_pci_mmcfg_reserved = 24,
        PHYSDEVOP_pci_device_add = 25,
        PHYSDEVOP_pci_device_remove = 26,
        PHYSDEVOP_restore_msi_ext = 27,
        PHYSDEVOP_pirq_eoi_gmfn_v2 = 28,
        PHYSDEVOP_dbgp_op = 29,
        PHYSDEVOP_prepare_msix = 30,
        PHYSDEVOP_release_msix = 31,
    }
    "Bit of `physdev_irq_status_query.flags`." u32 {
        XENIRQSTAT_needs_eoi = 1 << 0,
        XENIRQSTAT_shared = 1 << 1,
    }
    "Value of `physdev_map_pirq.type`." i32 {
        MAP_PIRQ_TYPE_MSI = 0,
        MAP_PIRQ_TYPE_GSI = 1,
        MAP_PIRQ_TYPE_UNKNOWN = 2,
        MAP_PIRQ_TYPE_MSI_SEG = 3,
        MAP_PIRQ_TYPE_MULTI_MSI = 4,
    }
    "Bit of `physdev_pci_mmcfg_reserved.flags`." u32 {
        XEN_PCI_MMCFG_RESERVED = 1,
    }
    "Bit of `physdev_pci_device_add.flags`." u32 {
        XEN_PCI_DEV_EXTFN = 1,
        XEN_PCI_DEV_VIRTFN = 2,
        XEN_PCI_DEV_PXM = 4,
    }
    "Value of `physdev_dbgp_op.op`." u8 {
        PHYSDEVOP_DBGP_RESET_PREPARE = 1,
        PHYSDEVOP_DBGP_RESET_DONE = 2,
    }
    "Value of `physdev_dbgp_op.bus`." u8 {
        PHYSDEVOP_DBGP_BUS_UNKNOWN = 0,
        PHYSDEVOP_DBGP_BUS_PCI = 1,
    }
}

abi_structs! {
    /// Argument of `PHYSDEVOP_eoi`.
    pub struct PhysdevEoi: "struct physdev_eoi", 4, align 4 {
        /// The pirq.
        pub irq: u32,
    }

    /// Argument of `PHYSDEVOP_pirq_eoi_gmfn_v1` and `_v2`.
    pub struct PhysdevPirqEoiGmfn: "struct physdev_pirq_eoi_gmfn", 8, align 8 {
        /// Frame of the bitmap: a bit per pirq that wants `PHYSDEVOP_eoi`.
        pub gmfn: u64,
    }

    /// Argument of `PHYSDEVOP_irq_status_query`.
    pub struct PhysdevIrqStatusQuery: "struct physdev_irq_status_query", 8, align 4 {
        /// In: the pirq.
        pub irq: u32,
        /// Out: `XENIRQSTAT_*`.
        pub flags: u32,
    }

    /// Argument of `PHYSDEVOP_set_iopl`.
    pub struct PhysdevSetIopl: "struct physdev_set_iopl", 4, align 4 {
        /// The vcpu's virtual IOPL.
        pub iopl: u32,
    }

    /// Argument of `PHYSDEVOP_set_iobitmap`.
    pub struct PhysdevSetIobitmap: "struct physdev_set_iobitmap", 16, align 8 {
        /// Guest pointer to a bit per port: denied.
        pub bitmap: u64,
        /// How many ports it covers.
        pub nr_ports: u32,
    }

    /// Argument of `PHYSDEVOP_apic_read` and `PHYSDEVOP_apic_write`.
    pub struct PhysdevApic: "struct physdev_apic", 16, align 8 {
        /// Which IO-APIC: its machine address.
        pub apic_physbase: u64,
        /// Which register.
        pub reg: u32,
        /// Its value.
        pub value: u32,
    }

    /// Argument of `PHYSDEVOP_alloc_irq_vector` and `PHYSDEVOP_free_irq_vector`.
    pub struct PhysdevIrq: "struct physdev_irq", 8, align 4 {
        /// In: the pirq.
        pub irq: u32,
        /// Out: a vector.
        pub vector: u32,
    }

    /// Argument of `PHYSDEVOP_map_pirq`.
    pub struct PhysdevMapPirq: "struct physdev_map_pirq", 40, align 8 {
        /// In: for whom.
        pub domid: u16,
        /// In: `MAP_PIRQ_TYPE_*` (C: `type`).
        pub kind: i32 = "type",
        /// In: the GSI (or -1 for an MSI).
        pub index: i32,
        /// In: the wanted pirq, or -1. Out: the pirq.
        pub pirq: i32,
        /// In: bus, and the segment in the high half under `MAP_PIRQ_TYPE_MSI_SEG`.
        pub bus: i32,
        /// In: device and function.
        pub devfn: i32,
        /// In: entry of the MSI-X table, or number of MSIs. Out: how many could be had.
        pub entry_nr: i32,
        /// In: machine address of the MSI-X table; 0 for MSI.
        pub table_base: u64,
    }

    /// Argument of `PHYSDEVOP_unmap_pirq`.
    pub struct PhysdevUnmapPirq: "struct physdev_unmap_pirq", 8, align 4 {
        /// For whom.
        pub domid: u16,
        /// The pirq.
        pub pirq: i32,
    }

    /// Argument of `PHYSDEVOP_manage_pci_add` and `PHYSDEVOP_manage_pci_remove`.
    pub struct PhysdevManagePci: "struct physdev_manage_pci", 2, align 1 {
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
    }

    /// Argument of `PHYSDEVOP_restore_msi`.
    pub struct PhysdevRestoreMsi: "struct physdev_restore_msi", 2, align 1 {
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
    }

    /// Argument of `PHYSDEVOP_manage_pci_add_ext`.
    pub struct PhysdevManagePciExt: "struct physdev_manage_pci_ext", 16, align 4 {
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
        /// Nonzero: an extended function.
        pub is_extfn: u32,
        /// Nonzero: a virtual function.
        pub is_virtfn: u32,
        /// Bus of the physical function.
        pub physfn_bus: u8 = "physfn.bus",
        /// Device and function of the physical function.
        pub physfn_devfn: u8 = "physfn.devfn",
    }

    /// Argument of `PHYSDEVOP_setup_gsi`.
    pub struct PhysdevSetupGsi: "struct physdev_setup_gsi", 8, align 4 {
        /// The GSI.
        pub gsi: i32,
        /// 0 edge, 1 level.
        pub triggering: u8,
        /// 0 active high, 1 active low.
        pub polarity: u8,
    }

    /// Argument of `PHYSDEVOP_get_free_pirq`.
    pub struct PhysdevGetFreePirq: "struct physdev_get_free_pirq", 8, align 4 {
        /// In: `MAP_PIRQ_TYPE_*` (C: `type`).
        pub kind: i32 = "type",
        /// Out: the pirq.
        pub pirq: u32,
    }

    /// Argument of `PHYSDEVOP_pci_mmcfg_reserved`.
    pub struct PhysdevPciMmcfgReserved: "struct physdev_pci_mmcfg_reserved", 16, align 8 {
        /// Machine address of bus 0.
        pub address: u64,
        /// Segment.
        pub segment: u16,
        /// First bus.
        pub start_bus: u8,
        /// Last bus.
        pub end_bus: u8,
        /// `XEN_PCI_MMCFG_RESERVED`: the firmware reserved it.
        pub flags: u32,
    }

    /// Argument of `PHYSDEVOP_pci_device_add`; a u32 proximity domain follows under `XEN_PCI_DEV_PXM`.
    pub struct PhysdevPciDeviceAdd: "struct physdev_pci_device_add", 12, align 4 {
        /// Segment.
        pub seg: u16,
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
        /// `XEN_PCI_DEV_*`.
        pub flags: u32,
        /// Bus of the physical function, under `XEN_PCI_DEV_VIRTFN`.
        pub physfn_bus: u8 = "physfn.bus",
        /// Device and function of the physical function.
        pub physfn_devfn: u8 = "physfn.devfn",
    }

    /// Argument of `PHYSDEVOP_pci_device_remove`, `_restore_msi_ext`, `_prepare_msix` and `_release_msix`.
    pub struct PhysdevPciDevice: "struct physdev_pci_device", 4, align 2 {
        /// Segment.
        pub seg: u16,
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
    }

    /// Argument of `PHYSDEVOP_dbgp_op`.
    pub struct PhysdevDbgpOp: "struct physdev_dbgp_op", 6, align 2 {
        /// `PHYSDEVOP_DBGP_RESET_*`.
        pub op: u8,
        /// `PHYSDEVOP_DBGP_BUS_*`.
        pub bus: u8,
        /// The debug port's device, on a PCI bus.
        pub pci: PhysdevPciDevice = "u.pci",
    }
}
