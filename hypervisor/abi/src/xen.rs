//! `public/xen.h`: hypercall numbers, page-table updates, shared_info, start_info, well-known domain ids.

use crate::arch_x86::{ArchSharedInfo, ArchVcpuInfo, XEN_LEGACY_MAX_VCPUS};
use crate::plain::{Pad, abi_constants, abi_structs};
use core::mem::offset_of;

abi_constants! {
    "Hypercall number (eax)." u32 {
        __HYPERVISOR_set_trap_table = 0,
        __HYPERVISOR_mmu_update = 1,
        __HYPERVISOR_set_gdt = 2,
        __HYPERVISOR_stack_switch = 3,
        __HYPERVISOR_set_callbacks = 4,
        __HYPERVISOR_fpu_taskswitch = 5,
        __HYPERVISOR_sched_op_compat = 6,
        __HYPERVISOR_platform_op = 7,
        __HYPERVISOR_set_debugreg = 8,
        __HYPERVISOR_get_debugreg = 9,
        __HYPERVISOR_update_descriptor = 10,
        __HYPERVISOR_memory_op = 12,
        __HYPERVISOR_multicall = 13,
        __HYPERVISOR_update_va_mapping = 14,
        __HYPERVISOR_set_timer_op = 15,
        __HYPERVISOR_event_channel_op_compat = 16,
        __HYPERVISOR_xen_version = 17,
        __HYPERVISOR_console_io = 18,
        __HYPERVISOR_physdev_op_compat = 19,
        __HYPERVISOR_grant_table_op = 20,
        __HYPERVISOR_vm_assist = 21,
        __HYPERVISOR_update_va_mapping_otherdomain = 22,
        __HYPERVISOR_iret = 23,
        __HYPERVISOR_vcpu_op = 24,
        __HYPERVISOR_set_segment_base = 25,
        __HYPERVISOR_mmuext_op = 26,
        __HYPERVISOR_xsm_op = 27,
        __HYPERVISOR_nmi_op = 28,
        __HYPERVISOR_sched_op = 29,
        __HYPERVISOR_callback_op = 30,
        __HYPERVISOR_xenoprof_op = 31,
        __HYPERVISOR_event_channel_op = 32,
        __HYPERVISOR_physdev_op = 33,
        __HYPERVISOR_hvm_op = 34,
        __HYPERVISOR_sysctl = 35,
        __HYPERVISOR_domctl = 36,
        __HYPERVISOR_kexec_op = 37,
        __HYPERVISOR_tmem_op = 38,
        __HYPERVISOR_argo_op = 39,
        __HYPERVISOR_xenpmu_op = 40,
        __HYPERVISOR_dm_op = 41,
        __HYPERVISOR_hypfs_op = 42,
        /// On x86: `mca`, the machine-check interface.
        __HYPERVISOR_arch_0 = 48,
        __HYPERVISOR_arch_1 = 49,
        __HYPERVISOR_arch_2 = 50,
        __HYPERVISOR_arch_3 = 51,
        __HYPERVISOR_arch_4 = 52,
        __HYPERVISOR_arch_5 = 53,
        __HYPERVISOR_arch_6 = 54,
        __HYPERVISOR_arch_7 = 55,
    }

    "Virtual interrupt number." u32 {
        VIRQ_TIMER = 0,
        VIRQ_DEBUG = 1,
        VIRQ_CONSOLE = 2,
        VIRQ_DOM_EXC = 3,
        VIRQ_TBUF = 4,
        VIRQ_DEBUGGER = 6,
        VIRQ_XENOPROF = 7,
        VIRQ_CON_RING = 8,
        VIRQ_PCPU_STATE = 9,
        VIRQ_MEM_EVENT = 10,
        VIRQ_ARGO = 11,
        VIRQ_ENOMEM = 12,
        VIRQ_XENPMU = 13,
        /// On x86: a machine check.
        VIRQ_ARCH_0 = 16,
        VIRQ_ARCH_1 = 17,
        VIRQ_ARCH_2 = 18,
        VIRQ_ARCH_3 = 19,
        VIRQ_ARCH_4 = 20,
        VIRQ_ARCH_5 = 21,
        VIRQ_ARCH_6 = 22,
        VIRQ_ARCH_7 = 23,
        /// One more than the highest number.
        NR_VIRQS = 24,
    }

    "Kind of `mmu_update`, in the low two bits of `ptr`." u64 {
        MMU_NORMAL_PT_UPDATE = 0,
        MMU_MACHPHYS_UPDATE = 1,
        MMU_PT_UPDATE_PRESERVE_AD = 2,
        MMU_PT_UPDATE_NO_TRANSLATE = 3,
    }

    "Command of `mmuext_op`." u32 {
        MMUEXT_PIN_L1_TABLE = 0,
        MMUEXT_PIN_L2_TABLE = 1,
        MMUEXT_PIN_L3_TABLE = 2,
        MMUEXT_PIN_L4_TABLE = 3,
        MMUEXT_UNPIN_TABLE = 4,
        MMUEXT_NEW_BASEPTR = 5,
        MMUEXT_TLB_FLUSH_LOCAL = 6,
        MMUEXT_INVLPG_LOCAL = 7,
        MMUEXT_TLB_FLUSH_MULTI = 8,
        MMUEXT_INVLPG_MULTI = 9,
        MMUEXT_TLB_FLUSH_ALL = 10,
        MMUEXT_INVLPG_ALL = 11,
        MMUEXT_FLUSH_CACHE = 12,
        MMUEXT_SET_LDT = 13,
        MMUEXT_NEW_USER_BASEPTR = 15,
        MMUEXT_CLEAR_PAGE = 16,
        MMUEXT_COPY_PAGE = 17,
        MMUEXT_FLUSH_CACHE_GLOBAL = 18,
        MMUEXT_MARK_SUPER = 19,
        MMUEXT_UNMARK_SUPER = 20,
    }

    "Flush flag of `update_va_mapping`; other bits are a pointer to a vcpu bitmap." u64 {
        UVMF_NONE = 0,
        UVMF_TLB_FLUSH = 1,
        UVMF_INVLPG = 2,
        UVMF_FLUSHTYPE_MASK = 3,
        UVMF_MULTI = 0,
        UVMF_LOCAL = 0,
        UVMF_ALL = 4,
    }

    "Command of `console_io`." u32 {
        CONSOLEIO_write = 0,
        CONSOLEIO_read = 1,
    }

    "Command of `vm_assist`." u32 {
        VMASST_CMD_enable = 0,
        VMASST_CMD_disable = 1,
    }

    "Type of `vm_assist`: a bit number." u32 {
        VMASST_TYPE_4gb_segments = 0,
        VMASST_TYPE_4gb_segments_notify = 1,
        VMASST_TYPE_writable_pagetables = 2,
        VMASST_TYPE_pae_extended_cr3 = 3,
        VMASST_TYPE_architectural_iopl = 4,
        VMASST_TYPE_runstate_update_flag = 5,
        VMASST_TYPE_m2p_strict = 32,
    }

    "Well-known domain id." u16 {
        DOMID_FIRST_RESERVED = 0x7ff0,
        DOMID_SELF = 0x7ff0,
        DOMID_IO = 0x7ff1,
        DOMID_XEN = 0x7ff2,
        DOMID_COW = 0x7ff3,
        DOMID_INVALID = 0x7ff4,
        DOMID_IDLE = 0x7fff,
        DOMID_MASK = 0x7fff,
    }

    "Bit of `vcpu_time_info.flags`." u8 {
        XEN_PVCLOCK_TSC_STABLE_BIT = 1 << 0,
        XEN_PVCLOCK_GUEST_STOPPED = 1 << 1,
    }

    "Bit of `start_info.flags`." u32 {
        SIF_PRIVILEGED = 1 << 0,
        SIF_INITDOMAIN = 1 << 1,
        SIF_MULTIBOOT_MOD = 1 << 2,
        SIF_MOD_START_PFN = 1 << 3,
        SIF_VIRT_P2M_4TOOLS = 1 << 4,
        SIF_PM_MASK = 0xff << 8,
    }

    "Size of `start_info.cmd_line` in bytes, the final NUL included." usize {
        MAX_GUEST_CMDLINE = 1024,
    }

    "Value of `dom0_vga_console_info.video_type`." u8 {
        XEN_VGATYPE_TEXT_MODE_3 = 0x03,
        XEN_VGATYPE_VESA_LFB = 0x23,
        XEN_VGATYPE_EFI_LFB = 0x70,
    }
}

abi_structs! {
    /// One write to a page table or to the M2P.
    pub struct MmuUpdate: "struct mmu_update", 16, align 8 {
        /// Machine address of the entry, with an `MMU_*` kind in the low two bits.
        pub ptr: u64,
        /// What to write.
        pub val: u64,
    }

    /// One extended page-table operation.
    pub struct MmuextOp: "struct mmuext_op", 24, align 8 {
        /// `MMUEXT_*`.
        pub cmd: u32,
        /// An mfn or a linear address, as `cmd` says.
        pub arg1: u64 = "arg1.mfn",
        /// A number of entries (low 32 bits), a pointer to a vcpu bitmap or an mfn, as `cmd` says.
        pub arg2: u64 = "arg2.src_mfn",
    }

    /// One call of a multicall batch.
    pub struct MulticallEntry: "struct multicall_entry", 64, align 8 {
        /// `__HYPERVISOR_*`.
        pub op: u64,
        /// What the call returned.
        pub result: u64,
        /// Its arguments.
        pub args: [u64; 6],
    }

    /// The clock of one vcpu, under the version protocol: odd while it changes.
    pub struct VcpuTimeInfo: "struct vcpu_time_info", 32, align 8 {
        /// Odd while the rest is inconsistent.
        pub version: u32,
        /// Unused.
        pub pad0: Pad<4>,
        /// TSC at `system_time`.
        pub tsc_timestamp: u64,
        /// Nanoseconds since boot at `tsc_timestamp`.
        pub system_time: u64,
        /// Nanoseconds per shifted tick, a fraction of 2^32.
        pub tsc_to_system_mul: u32,
        /// Shift left of a TSC difference before the multiplication (right if negative).
        pub tsc_shift: i8,
        /// `XEN_PVCLOCK_*`.
        pub flags: u8,
        /// Unused.
        pub pad1: Pad<2>,
    }

    /// The part of shared memory that belongs to one vcpu.
    pub struct VcpuInfo: "struct vcpu_info", 64, align 8 {
        /// Nonzero while an event waits.
        pub evtchn_upcall_pending: u8,
        /// Nonzero while the vcpu takes no events: its virtual interrupt flag, inverted.
        pub evtchn_upcall_mask: u8,
        /// Which words of `evtchn_pending` to look at.
        pub evtchn_pending_sel: u64,
        /// The architecture's part.
        pub arch: ArchVcpuInfo,
        /// The vcpu's clock.
        pub time: VcpuTimeInfo,
    }

    /// The page that a domain shares with the hypervisor.
    pub struct SharedInfo: "struct shared_info", 0xc40, align 8 {
        /// The first 32 vcpus, unless they registered a place of their own.
        pub vcpu_info: [VcpuInfo; XEN_LEGACY_MAX_VCPUS],
        /// A bit per port: raised.
        pub evtchn_pending: [u64; 64],
        /// A bit per port: masked.
        pub evtchn_mask: [u64; 64],
        /// Odd while the wall clock changes.
        pub wc_version: u32,
        /// Wall clock at system time 0: seconds, low half.
        pub wc_sec: u32,
        /// Wall clock at system time 0: nanoseconds.
        pub wc_nsec: u32,
        /// Wall clock at system time 0: seconds, high half.
        pub wc_sec_hi: u32,
        /// The architecture's part.
        pub arch: ArchSharedInfo,
    }

    /// What a domain finds when it starts (rsi points to it).
    pub struct StartInfo: "struct start_info", 0x490, align 8 {
        /// "xen-3.0-x86_64", NUL-padded.
        pub magic: [u8; 32],
        /// Pages of the domain.
        pub nr_pages: u64,
        /// Machine address of shared_info.
        pub shared_info: u64,
        /// `SIF_*`.
        pub flags: u32,
        /// Mfn of the xenstore ring.
        pub store_mfn: u64,
        /// Port of xenstore.
        pub store_evtchn: u32,
        /// Mfn of the console ring; for domain 0 what [`StartInfo::dom0_console`] makes.
        pub console_mfn: u64 = "console.domU.mfn",
        /// Port of the console (not for domain 0).
        pub console_evtchn: u32 = "console.domU.evtchn",
        /// Virtual address of the L4.
        pub pt_base: u64,
        /// Page-table frames from `pt_base` on.
        pub nr_pt_frames: u64,
        /// Virtual address of the p2m list.
        pub mfn_list: u64,
        /// Virtual address of the first module, or its pfn under `SIF_MOD_START_PFN`.
        pub mod_start: u64,
        /// Length of the module in bytes.
        pub mod_len: u64,
        /// Command line, NUL-terminated.
        pub cmd_line: [u8; MAX_GUEST_CMDLINE],
        /// First pfn of the frames that hold the p2m list.
        pub first_p2m_pfn: u64,
        /// How many they are.
        pub nr_p2m_frames: u64,
    }

    /// The screen that domain 0 inherits: a linear frame buffer, `video_type` `XEN_VGATYPE_VESA_LFB` or `_EFI_LFB`.
    pub struct Dom0VgaConsoleInfo: "struct dom0_vga_console_info", 40, align 4 {
        /// `XEN_VGATYPE_*`.
        pub video_type: u8,
        /// C places the union at 4.
        pub pad0: Pad<3> = "",
        /// Width in pixels.
        pub width: u16 = "u.vesa_lfb.width",
        /// Height in pixels.
        pub height: u16 = "u.vesa_lfb.height",
        /// Bytes from a line to the next.
        pub bytes_per_line: u16 = "u.vesa_lfb.bytes_per_line",
        /// Bits per pixel.
        pub bits_per_pixel: u16 = "u.vesa_lfb.bits_per_pixel",
        /// Machine address, low 32 bits.
        pub lfb_base: u32 = "u.vesa_lfb.lfb_base",
        /// Size in units of 64 KiB.
        pub lfb_size: u32 = "u.vesa_lfb.lfb_size",
        /// Lowest bit of red.
        pub red_pos: u8 = "u.vesa_lfb.red_pos",
        /// Bits of red.
        pub red_size: u8 = "u.vesa_lfb.red_size",
        /// Lowest bit of green.
        pub green_pos: u8 = "u.vesa_lfb.green_pos",
        /// Bits of green.
        pub green_size: u8 = "u.vesa_lfb.green_size",
        /// Lowest bit of blue.
        pub blue_pos: u8 = "u.vesa_lfb.blue_pos",
        /// Bits of blue.
        pub blue_size: u8 = "u.vesa_lfb.blue_size",
        /// Lowest reserved bit.
        pub rsvd_pos: u8 = "u.vesa_lfb.rsvd_pos",
        /// Reserved bits.
        pub rsvd_size: u8 = "u.vesa_lfb.rsvd_size",
        /// VBE capabilities.
        pub gbl_caps: u32 = "u.vesa_lfb.gbl_caps",
        /// VBE mode attributes.
        pub mode_attrs: u16 = "u.vesa_lfb.mode_attrs",
        /// Unused.
        pub pad: Pad<2> = "u.vesa_lfb.pad",
        /// Machine address, high 32 bits.
        pub ext_lfb_base: u32 = "u.vesa_lfb.ext_lfb_base",
    }

    /// The screen that domain 0 inherits: text, `video_type` `XEN_VGATYPE_TEXT_MODE_3`.
    pub struct Dom0VgaTextInfo: "struct dom0_vga_console_info", 40, align 4 {
        /// `XEN_VGATYPE_TEXT_MODE_3`.
        pub video_type: u8,
        /// C places the union at 4.
        pub pad0: Pad<3> = "",
        /// Scan lines of a character.
        pub font_height: u16 = "u.text_mode_3.font_height",
        /// Cursor column.
        pub cursor_x: u16 = "u.text_mode_3.cursor_x",
        /// Cursor row.
        pub cursor_y: u16 = "u.text_mode_3.cursor_y",
        /// Rows of the screen.
        pub rows: u16 = "u.text_mode_3.rows",
        /// Columns of the screen.
        pub columns: u16 = "u.text_mode_3.columns",
        /// The rest of the union, which is also what aligns it.
        pub pad1: Pad<2> = "",
        /// The rest of the union.
        pub pad2: [u32; 6] = "",
    }

    /// A bitmap of the control interface.
    pub struct XenctlBitmap: "struct xenctl_bitmap", 16, align 8 {
        /// Guest pointer to the bytes.
        pub bitmap: u64,
        /// Length in bits.
        pub nr_bits: u32,
    }
}

impl StartInfo {
    /// What `console_mfn` holds for domain 0: where `Dom0VgaConsoleInfo` lies from the start of this structure, and
    /// its size, both in bytes; both 0 without a screen.
    pub const fn dom0_console(info_off: u32, info_size: u32) -> u64 {
        info_off as u64 | (info_size as u64) << 32
    }
}

/// Offsets into a shared_info page, in bytes.
pub mod shared_info_offset {
    use super::{SharedInfo, VcpuInfo, offset_of};
    use crate::arch_x86::ArchSharedInfo;

    /// `vcpu_info[0]`; number n lies [`VCPU_INFO_SIZE`] * n further.
    pub const VCPU_INFO: usize = offset_of!(SharedInfo, vcpu_info);
    /// From one `vcpu_info` to the next.
    pub const VCPU_INFO_SIZE: usize = size_of::<VcpuInfo>();
    /// `evtchn_pending`.
    pub const EVTCHN_PENDING: usize = offset_of!(SharedInfo, evtchn_pending);
    /// `evtchn_mask`.
    pub const EVTCHN_MASK: usize = offset_of!(SharedInfo, evtchn_mask);
    /// `wc_version`.
    pub const WC_VERSION: usize = offset_of!(SharedInfo, wc_version);
    /// `wc_sec`.
    pub const WC_SEC: usize = offset_of!(SharedInfo, wc_sec);
    /// `wc_nsec`.
    pub const WC_NSEC: usize = offset_of!(SharedInfo, wc_nsec);
    /// `wc_sec_hi`.
    pub const WC_SEC_HI: usize = offset_of!(SharedInfo, wc_sec_hi);
    /// `arch`.
    pub const ARCH: usize = offset_of!(SharedInfo, arch);
    /// `arch.max_pfn`.
    pub const MAX_PFN: usize = ARCH + offset_of!(ArchSharedInfo, max_pfn);
    /// `arch.pfn_to_mfn_frame_list_list`.
    pub const PFN_TO_MFN_FRAME_LIST_LIST: usize =
        ARCH + offset_of!(ArchSharedInfo, pfn_to_mfn_frame_list_list);
    /// `arch.nmi_reason`.
    pub const NMI_REASON: usize = ARCH + offset_of!(ArchSharedInfo, nmi_reason);
    /// `arch.p2m_cr3`.
    pub const P2M_CR3: usize = ARCH + offset_of!(ArchSharedInfo, p2m_cr3);
    /// `arch.p2m_vaddr`.
    pub const P2M_VADDR: usize = ARCH + offset_of!(ArchSharedInfo, p2m_vaddr);
    /// `arch.p2m_generation`.
    pub const P2M_GENERATION: usize = ARCH + offset_of!(ArchSharedInfo, p2m_generation);
    /// Where the structure ends; the rest of the page is unused.
    pub const END: usize = size_of::<SharedInfo>();
}

/// Offsets into a vcpu_info, in bytes.
pub mod vcpu_info_offset {
    use super::{VcpuInfo, offset_of};
    use crate::arch_x86::ArchVcpuInfo;

    /// `evtchn_upcall_pending`.
    pub const UPCALL_PENDING: usize = offset_of!(VcpuInfo, evtchn_upcall_pending);
    /// `evtchn_upcall_mask`.
    pub const UPCALL_MASK: usize = offset_of!(VcpuInfo, evtchn_upcall_mask);
    /// `evtchn_pending_sel`.
    pub const PENDING_SEL: usize = offset_of!(VcpuInfo, evtchn_pending_sel);
    /// `arch.cr2`.
    pub const CR2: usize = offset_of!(VcpuInfo, arch) + offset_of!(ArchVcpuInfo, cr2);
    /// `time`.
    pub const TIME: usize = offset_of!(VcpuInfo, time);
    /// Size of the structure.
    pub const SIZE: usize = size_of::<VcpuInfo>();
}

/// Offsets into a vcpu_time_info, in bytes.
pub mod vcpu_time_info_offset {
    use super::{VcpuTimeInfo, offset_of};

    /// `version`.
    pub const VERSION: usize = offset_of!(VcpuTimeInfo, version);
    /// `tsc_timestamp`.
    pub const TSC_TIMESTAMP: usize = offset_of!(VcpuTimeInfo, tsc_timestamp);
    /// `system_time`.
    pub const SYSTEM_TIME: usize = offset_of!(VcpuTimeInfo, system_time);
    /// `tsc_to_system_mul`.
    pub const TSC_TO_SYSTEM_MUL: usize = offset_of!(VcpuTimeInfo, tsc_to_system_mul);
    /// `tsc_shift`.
    pub const TSC_SHIFT: usize = offset_of!(VcpuTimeInfo, tsc_shift);
    /// `flags`.
    pub const FLAGS: usize = offset_of!(VcpuTimeInfo, flags);
}
