//! `public/platform.h`: what domain 0 asks of the machine (`platform_op`).
//!
//! EFI runtime calls and the power-management uploads have their numbers here, not yet their structures.

use crate::plain::{Pad, abi_constants, abi_structs};

abi_constants! {
    "Value of `xen_platform_op.interface_version`." u32 {
        XENPF_INTERFACE_VERSION = 0x0300_0001,
    }
    "Command of `platform_op`." u32 {
        XENPF_settime32 = 17,
        XENPF_add_memtype = 31,
        XENPF_del_memtype = 32,
        XENPF_read_memtype = 33,
        XENPF_microcode_update = 35,
        XENPF_platform_quirk = 39,
        XENPF_get_cpu_version = 48,
        XENPF_efi_runtime_call = 49,
        XENPF_firmware_info = 50,
        XENPF_enter_acpi_sleep = 51,
        XENPF_change_freq = 52,
        XENPF_getidletime = 53,
        XENPF_set_processor_pminfo = 54,
        XENPF_get_cpuinfo = 55,
        XENPF_cpu_online = 56,
        XENPF_cpu_offline = 57,
        XENPF_cpu_hotadd = 58,
        XENPF_mem_hotadd = 59,
        XENPF_core_parking = 60,
        XENPF_resource_op = 61,
        XENPF_settime64 = 62,
        XENPF_get_symbol = 63,
    }
    "Value of `xenpf_firmware_info.type`." u32 {
        XEN_FW_DISK_INFO = 1,
        XEN_FW_DISK_MBR_SIGNATURE = 2,
        XEN_FW_VBEDDC_INFO = 3,
        XEN_FW_EFI_INFO = 4,
        XEN_FW_KBD_SHIFT_FLAGS = 5,
    }
    "Value of `xenpf_firmware_info.index` for `XEN_FW_EFI_INFO`." u32 {
        XEN_FW_EFI_VERSION = 0,
        XEN_FW_EFI_CONFIG_TABLE = 1,
        XEN_FW_EFI_VENDOR = 2,
        XEN_FW_EFI_MEM_INFO = 3,
        XEN_FW_EFI_RT_VERSION = 4,
        XEN_FW_EFI_PCI_ROM = 5,
        XEN_FW_EFI_APPLE_PROPERTIES = 6,
    }
    "Bit of `xenpf_enter_acpi_sleep.flags`: the values are for the hardware-reduced registers." u32 {
        XENPF_ACPI_SLEEP_EXTENDED = 1,
    }
    "Value of `xenpf_set_processor_pminfo.type`." u32 {
        XEN_PM_CX = 0,
        XEN_PM_PX = 1,
        XEN_PM_TX = 2,
        XEN_PM_PDC = 3,
    }
    "Bit of `xenpf_pcpuinfo.flags`." u32 {
        XEN_PCPU_FLAGS_ONLINE = 1,
        XEN_PCPU_FLAGS_INVALID = 2,
    }
    "Value of `xenpf_core_parking.type`." u32 {
        XEN_CORE_PARKING_SET = 1,
        XEN_CORE_PARKING_GET = 2,
    }
    "Value of `xenpf_resource_entry.cmd`." u32 {
        XEN_RESOURCE_OP_MSR_READ = 0,
        XEN_RESOURCE_OP_MSR_WRITE = 1,
    }
}

abi_structs! {
    /// The envelope of `platform_op`.
    #[repr(align(8))]
    pub struct XenPlatformOp: "struct xen_platform_op", 136, align 8 {
        /// `XENPF_*`.
        pub cmd: u32,
        /// `XENPF_INTERFACE_VERSION`.
        pub interface_version: u32,
        /// The command's structure; read it with `Plain`.
        pub u: [u8; 128],
    }

    /// Argument of `XENPF_settime32`.
    pub struct XenpfSettime32: "struct xenpf_settime32", 16, align 8 {
        /// Seconds since 1970, UTC.
        pub secs: u32,
        /// Nanoseconds.
        pub nsecs: u32,
        /// System time at which it was so.
        pub system_time: u64,
    }

    /// Argument of `XENPF_settime64`.
    pub struct XenpfSettime64: "struct xenpf_settime64", 24, align 8 {
        /// Seconds since 1970, UTC.
        pub secs: u64,
        /// Nanoseconds.
        pub nsecs: u32,
        /// Must be 0.
        pub mbz: u32,
        /// System time at which it was so.
        pub system_time: u64,
    }

    /// Argument of `XENPF_microcode_update`.
    pub struct XenpfMicrocodeUpdate: "struct xenpf_microcode_update", 16, align 8 {
        /// Guest pointer to the blob.
        pub data: u64,
        /// Its length in bytes.
        pub length: u32,
    }

    /// Argument of `XENPF_firmware_info`: the envelope.
    #[repr(align(8))]
    pub struct XenpfFirmwareInfo: "struct xenpf_firmware_info", 40, align 8 {
        /// In: `XEN_FW_*` (C: `type`).
        pub kind: u32 = "type",
        /// In: which one of its kind.
        pub index: u32,
        /// Out: the answer, as `kind` says; the first byte for `XEN_FW_KBD_SHIFT_FLAGS`.
        pub u: [u8; 32],
    }

    /// Argument of `XENPF_firmware_info` for `XEN_FW_DISK_INFO`: BIOS disk parameters.
    pub struct XenpfFirmwareDiskInfo: "struct xenpf_firmware_info", 40, align 8 {
        /// In: `XEN_FW_DISK_INFO` (C: `type`).
        pub kind: u32 = "type",
        /// In: which disk.
        pub index: u32,
        /// Out: BIOS number.
        pub device: u8 = "u.disk_info.device",
        /// Out: EDD version.
        pub version: u8 = "u.disk_info.version",
        /// Out: EDD features.
        pub interface_support: u16 = "u.disk_info.interface_support",
        /// Out: highest cylinder.
        pub legacy_max_cylinder: u16 = "u.disk_info.legacy_max_cylinder",
        /// Out: highest head.
        pub legacy_max_head: u8 = "u.disk_info.legacy_max_head",
        /// Out: sectors of a track.
        pub legacy_sectors_per_track: u8 = "u.disk_info.legacy_sectors_per_track",
        /// Guest pointer to room for the EDD parameters.
        pub edd_params: u64 = "u.disk_info.edd_params",
        /// The rest of the union.
        pub pad: Pad<16> = "",
    }

    /// Argument of `XENPF_firmware_info` for `XEN_FW_DISK_MBR_SIGNATURE`.
    #[repr(align(8))]
    pub struct XenpfFirmwareDiskMbrSignature: "struct xenpf_firmware_info", 40, align 8 {
        /// In: `XEN_FW_DISK_MBR_SIGNATURE` (C: `type`).
        pub kind: u32 = "type",
        /// In: which disk.
        pub index: u32,
        /// Out: BIOS number.
        pub device: u8 = "u.disk_mbr_signature.device",
        /// Out: the four bytes at 0x1b8.
        pub mbr_signature: u32 = "u.disk_mbr_signature.mbr_signature",
        /// The rest of the union.
        pub pad: Pad<24> = "",
    }

    /// Argument of `XENPF_firmware_info` for `XEN_FW_VBEDDC_INFO`.
    pub struct XenpfFirmwareVbeddcInfo: "struct xenpf_firmware_info", 40, align 8 {
        /// In: `XEN_FW_VBEDDC_INFO` (C: `type`).
        pub kind: u32 = "type",
        /// In: 0.
        pub index: u32,
        /// Out: capabilities.
        pub capabilities: u8 = "u.vbeddc_info.capabilities",
        /// Out: seconds to transfer a block.
        pub edid_transfer_time: u8 = "u.vbeddc_info.edid_transfer_time",
        /// Guest pointer to room for 128 bytes of EDID.
        pub edid: u64 = "u.vbeddc_info.edid",
        /// The rest of the union.
        pub pad: Pad<16> = "",
    }

    /// Argument of `XENPF_enter_acpi_sleep`.
    pub struct XenpfEnterAcpiSleep: "struct xenpf_enter_acpi_sleep", 12, align 4 {
        /// For PM1a control (or sleep control).
        pub val_a: u16,
        /// For PM1b control (or sleep status).
        pub val_b: u16,
        /// Which S state.
        pub sleep_state: u32,
        /// `XENPF_ACPI_SLEEP_EXTENDED` or 0.
        pub flags: u32,
    }

    /// Argument of `XENPF_change_freq`.
    pub struct XenpfChangeFreq: "struct xenpf_change_freq", 16, align 8 {
        /// Must be 0.
        pub flags: u32,
        /// Which pcpu.
        pub cpu: u32,
        /// Its new frequency in Hz.
        pub freq: u64,
    }

    /// Argument of `XENPF_getidletime`.
    pub struct XenpfGetidletime: "struct xenpf_getidletime", 32, align 8 {
        /// Guest pointer: which pcpus; out: which of them are online.
        pub cpumap_bitmap: u64,
        /// Bits of the bitmap.
        pub cpumap_nr_cpus: u32,
        /// Guest pointer to u64 nanoseconds, by pcpu.
        pub idletime: u64,
        /// Out: system time now.
        pub now: u64,
    }

    /// Argument of `XENPF_get_cpuinfo`.
    pub struct XenpfPcpuinfo: "struct xenpf_pcpuinfo", 20, align 4 {
        /// In: which pcpu.
        pub xen_cpuid: u32,
        /// Out: the highest number present.
        pub max_present: u32,
        /// Out: `XEN_PCPU_FLAGS_*`.
        pub flags: u32,
        /// Out: APIC id.
        pub apic_id: u32,
        /// Out: ACPI processor id.
        pub acpi_id: u32,
    }

    /// Argument of `XENPF_get_cpu_version`.
    pub struct XenpfPcpuVersion: "struct xenpf_pcpu_version", 32, align 4 {
        /// In: which pcpu.
        pub xen_cpuid: u32,
        /// Out: the highest number present.
        pub max_present: u32,
        /// Out: vendor, as CPUID leaf 0 has it.
        pub vendor_id: [u8; 12],
        /// Out: family.
        pub family: u32,
        /// Out: model.
        pub model: u32,
        /// Out: stepping.
        pub stepping: u32,
    }

    /// Argument of `XENPF_cpu_online` and `XENPF_cpu_offline`.
    pub struct XenpfCpuOl: "struct xenpf_cpu_ol", 4, align 4 {
        /// Which pcpu.
        pub cpuid: u32,
    }

    /// Argument of `XENPF_cpu_hotadd`.
    pub struct XenpfCpuHotadd: "struct xenpf_cpu_hotadd", 12, align 4 {
        /// APIC id.
        pub apic_id: u32,
        /// ACPI processor id.
        pub acpi_id: u32,
        /// Proximity domain.
        pub pxm: u32,
    }

    /// Argument of `XENPF_mem_hotadd`.
    pub struct XenpfMemHotadd: "struct xenpf_mem_hotadd", 24, align 8 {
        /// First frame.
        pub spfn: u64,
        /// One more than the last frame.
        pub epfn: u64,
        /// Proximity domain.
        pub pxm: u32,
        /// Must be 0.
        pub flags: u32,
    }

    /// Argument of `XENPF_core_parking`.
    pub struct XenpfCoreParking: "struct xenpf_core_parking", 8, align 4 {
        /// `XEN_CORE_PARKING_*` (C: `type`).
        pub kind: u32 = "type",
        /// How many pcpus are parked.
        pub idle_nums: u32,
    }

    /// One access of `XENPF_resource_op`.
    pub struct XenpfResourceEntry: "struct xenpf_resource_entry", 24, align 8 {
        /// In: `XEN_RESOURCE_OP_*`. Out: 0 or a negative error.
        pub cmd: u32 = "u.cmd",
        /// Must be 0.
        pub rsvd: u32,
        /// Which MSR.
        pub idx: u64,
        /// Its value.
        pub val: u64,
    }

    /// Argument of `XENPF_resource_op`.
    pub struct XenpfResourceOp: "struct xenpf_resource_op", 16, align 8 {
        /// How many entries.
        pub nr_entries: u32,
        /// On which pcpu.
        pub cpu: u32,
        /// Guest pointer to them.
        pub entries: u64,
    }

    /// Argument of `XENPF_get_symbol`.
    pub struct XenpfSymdata: "struct xenpf_symdata", 32, align 8 {
        /// In: room for the name. Out: its length, the NUL included.
        pub namelen: u32,
        /// In: which symbol. Out: the next.
        pub symnum: u32,
        /// Guest pointer to room for the name.
        pub name: u64,
        /// Out: address.
        pub address: u64,
        /// Out: type as nm prints it (C: `type`).
        pub kind: u8 = "type",
    }
}
