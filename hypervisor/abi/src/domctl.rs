//! `public/domctl.h`: what the toolstack asks about one domain.

use crate::arch_x86::XenArchDomainconfig;
use crate::plain::{Pad, abi_constants, abi_structs};
use crate::xen::XenctlBitmap;

abi_constants! {
    "Value of `xen_domctl.interface_version`." u32 {
        XEN_DOMCTL_INTERFACE_VERSION = 0x15,
    }
    "Command of `domctl`." u32 {
        XEN_DOMCTL_createdomain = 1,
        XEN_DOMCTL_destroydomain = 2,
        XEN_DOMCTL_pausedomain = 3,
        XEN_DOMCTL_unpausedomain = 4,
        XEN_DOMCTL_getdomaininfo = 5,
        XEN_DOMCTL_setvcpuaffinity = 9,
        XEN_DOMCTL_shadow_op = 10,
        XEN_DOMCTL_max_mem = 11,
        XEN_DOMCTL_setvcpucontext = 12,
        XEN_DOMCTL_getvcpucontext = 13,
        XEN_DOMCTL_getvcpuinfo = 14,
        XEN_DOMCTL_max_vcpus = 15,
        XEN_DOMCTL_scheduler_op = 16,
        XEN_DOMCTL_setdomainhandle = 17,
        XEN_DOMCTL_setdebugging = 18,
        XEN_DOMCTL_irq_permission = 19,
        XEN_DOMCTL_iomem_permission = 20,
        XEN_DOMCTL_ioport_permission = 21,
        XEN_DOMCTL_hypercall_init = 22,
        XEN_DOMCTL_settimeoffset = 24,
        XEN_DOMCTL_getvcpuaffinity = 25,
        XEN_DOMCTL_real_mode_area = 26,
        XEN_DOMCTL_resumedomain = 27,
        XEN_DOMCTL_sendtrigger = 28,
        XEN_DOMCTL_subscribe = 29,
        XEN_DOMCTL_gethvmcontext = 33,
        XEN_DOMCTL_sethvmcontext = 34,
        XEN_DOMCTL_set_address_size = 35,
        XEN_DOMCTL_get_address_size = 36,
        XEN_DOMCTL_assign_device = 37,
        XEN_DOMCTL_bind_pt_irq = 38,
        XEN_DOMCTL_memory_mapping = 39,
        XEN_DOMCTL_ioport_mapping = 40,
        XEN_DOMCTL_set_ext_vcpucontext = 42,
        XEN_DOMCTL_get_ext_vcpucontext = 43,
        XEN_DOMCTL_set_opt_feature = 44,
        XEN_DOMCTL_test_assign_device = 45,
        XEN_DOMCTL_set_target = 46,
        XEN_DOMCTL_deassign_device = 47,
        XEN_DOMCTL_unbind_pt_irq = 48,
        XEN_DOMCTL_get_device_group = 50,
        XEN_DOMCTL_debug_op = 54,
        XEN_DOMCTL_gethvmcontext_partial = 55,
        XEN_DOMCTL_vm_event_op = 56,
        XEN_DOMCTL_mem_sharing_op = 57,
        XEN_DOMCTL_gettscinfo = 59,
        XEN_DOMCTL_settscinfo = 60,
        XEN_DOMCTL_getpageframeinfo3 = 61,
        XEN_DOMCTL_setvcpuextstate = 62,
        XEN_DOMCTL_getvcpuextstate = 63,
        XEN_DOMCTL_set_access_required = 64,
        XEN_DOMCTL_audit_p2m = 65,
        XEN_DOMCTL_set_virq_handler = 66,
        XEN_DOMCTL_set_broken_page_p2m = 67,
        XEN_DOMCTL_setnodeaffinity = 68,
        XEN_DOMCTL_getnodeaffinity = 69,
        XEN_DOMCTL_cacheflush = 71,
        XEN_DOMCTL_get_vcpu_msrs = 72,
        XEN_DOMCTL_set_vcpu_msrs = 73,
        XEN_DOMCTL_setvnumainfo = 74,
        XEN_DOMCTL_psr_cmt_op = 75,
        XEN_DOMCTL_monitor_op = 77,
        XEN_DOMCTL_psr_alloc = 78,
        XEN_DOMCTL_soft_reset = 79,
        XEN_DOMCTL_vuart_op = 81,
        XEN_DOMCTL_get_cpu_policy = 82,
        XEN_DOMCTL_set_cpu_policy = 83,
        XEN_DOMCTL_vmtrace_op = 84,
        XEN_DOMCTL_get_paging_mempool_size = 85,
        XEN_DOMCTL_set_paging_mempool_size = 86,
        XEN_DOMCTL_gdbsx_guestmemio = 1000,
        XEN_DOMCTL_gdbsx_pausevcpu = 1001,
        XEN_DOMCTL_gdbsx_unpausevcpu = 1002,
        XEN_DOMCTL_gdbsx_domstatus = 1003,
    }
    "Bit of `xen_domctl_createdomain.flags`." u32 {
        XEN_DOMCTL_CDF_hvm = 1 << 0,
        XEN_DOMCTL_CDF_hap = 1 << 1,
        XEN_DOMCTL_CDF_s3_integrity = 1 << 2,
        XEN_DOMCTL_CDF_oos_off = 1 << 3,
        XEN_DOMCTL_CDF_xs_domain = 1 << 4,
        XEN_DOMCTL_CDF_iommu = 1 << 5,
        XEN_DOMCTL_CDF_nested_virt = 1 << 6,
        XEN_DOMCTL_CDF_vpmu = 1 << 7,
    }
    "Mask in `xen_domctl_createdomain.grant_opts`: the highest grant table version." u32 {
        XEN_DOMCTL_GRANT_version_mask = 0xf,
    }
    "Bit of `xen_domctl_getdomaininfo.flags`." u32 {
        XEN_DOMINF_dying = 1 << 0,
        XEN_DOMINF_hvm_guest = 1 << 1,
        XEN_DOMINF_shutdown = 1 << 2,
        XEN_DOMINF_paused = 1 << 3,
        XEN_DOMINF_blocked = 1 << 4,
        XEN_DOMINF_running = 1 << 5,
        XEN_DOMINF_debugged = 1 << 6,
        XEN_DOMINF_xs_domain = 1 << 7,
        XEN_DOMINF_hap = 1 << 8,
    }
    "Mask and place of the shutdown reason in `xen_domctl_getdomaininfo.flags`." u32 {
        XEN_DOMINF_shutdownmask = 255,
        XEN_DOMINF_shutdownshift = 16,
    }
    "Value of `xen_domctl_getdomaininfo.max_vcpu_id` without any vcpu." u32 {
        XEN_INVALID_MAX_VCPU_ID = 0xffff_ffff,
    }
    "Type of a frame in `XEN_DOMCTL_getpageframeinfo3`." u32 {
        XEN_DOMCTL_PFINFO_LTAB_SHIFT = 28,
        XEN_DOMCTL_PFINFO_NOTAB = 0,
        XEN_DOMCTL_PFINFO_L1TAB = 1 << 28,
        XEN_DOMCTL_PFINFO_L2TAB = 2 << 28,
        XEN_DOMCTL_PFINFO_L3TAB = 3 << 28,
        XEN_DOMCTL_PFINFO_L4TAB = 4 << 28,
        XEN_DOMCTL_PFINFO_LTABTYPE_MASK = 7 << 28,
        XEN_DOMCTL_PFINFO_LPINTAB = 1 << 31,
        XEN_DOMCTL_PFINFO_XTAB = 0xf << 28,
        XEN_DOMCTL_PFINFO_XALLOC = 0xe << 28,
        XEN_DOMCTL_PFINFO_BROKEN = 0xd << 28,
        XEN_DOMCTL_PFINFO_LTAB_MASK = 0xf << 28,
    }
    "Scheduler number." u32 {
        XEN_SCHEDULER_CREDIT = 5,
        XEN_SCHEDULER_CREDIT2 = 6,
        XEN_SCHEDULER_ARINC653 = 7,
        XEN_SCHEDULER_RTDS = 8,
        XEN_SCHEDULER_NULL = 9,
    }
    "Bit of `xen_domctl_vcpuaffinity.flags`." u32 {
        XEN_VCPUAFFINITY_HARD = 1 << 0,
        XEN_VCPUAFFINITY_SOFT = 1 << 1,
        XEN_VCPUAFFINITY_FORCE = 1 << 2,
    }
    "Value of `xen_domctl_shadow_op.op`." u32 {
        XEN_DOMCTL_SHADOW_OP_OFF = 0,
        XEN_DOMCTL_SHADOW_OP_ENABLE_TEST = 1,
        XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY = 2,
        XEN_DOMCTL_SHADOW_OP_CLEAN = 11,
        XEN_DOMCTL_SHADOW_OP_PEEK = 12,
        XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION = 30,
        XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION = 31,
        XEN_DOMCTL_SHADOW_OP_ENABLE = 32,
    }
    "Value of `xen_domctl_scheduler_op.cmd`." u32 {
        XEN_DOMCTL_SCHEDOP_putinfo = 0,
        XEN_DOMCTL_SCHEDOP_getinfo = 1,
        XEN_DOMCTL_SCHEDOP_putvcpuinfo = 2,
        XEN_DOMCTL_SCHEDOP_getvcpuinfo = 3,
    }
    "Value of `xen_domctl_sendtrigger.trigger`." u32 {
        XEN_DOMCTL_SENDTRIGGER_NMI = 0,
        XEN_DOMCTL_SENDTRIGGER_RESET = 1,
        XEN_DOMCTL_SENDTRIGGER_INIT = 2,
        XEN_DOMCTL_SENDTRIGGER_POWER = 3,
        XEN_DOMCTL_SENDTRIGGER_SLEEP = 4,
    }
}

abi_structs! {
    /// The envelope of `domctl`.
    #[repr(align(8))]
    pub struct XenDomctl: "struct xen_domctl", 144, align 8 {
        /// `XEN_DOMCTL_*`.
        pub cmd: u32,
        /// `XEN_DOMCTL_INTERFACE_VERSION`.
        pub interface_version: u32,
        /// Which domain.
        pub domain: u16,
        /// Unused.
        pub pad: Pad<6> = "_pad",
        /// The command's structure; read it with `Plain`.
        pub u: [u8; 128],
    }

    /// Argument of `XEN_DOMCTL_createdomain`.
    pub struct XenDomctlCreatedomain: "struct xen_domctl_createdomain", 64, align 4 {
        /// Security label.
        pub ssidref: u32,
        /// UUID.
        pub handle: [u8; 16],
        /// `XEN_DOMCTL_CDF_*`.
        pub flags: u32,
        /// IOMMU options.
        pub iommu_opts: u32,
        /// Most vcpus.
        pub max_vcpus: u32,
        /// Highest port.
        pub max_evtchn_port: u32,
        /// Most frames of the grant table; negative for the default.
        pub max_grant_frames: i32,
        /// Most frames of the maptrack; negative for the default.
        pub max_maptrack_frames: i32,
        /// `XEN_DOMCTL_GRANT_version_mask`.
        pub grant_opts: u32,
        /// Bytes of trace buffer per vcpu.
        pub vmtrace_size: u32,
        /// CPU pool.
        pub cpupool_id: u32,
        /// The architecture's.
        pub arch: XenArchDomainconfig,
    }

    /// Answer of `XEN_DOMCTL_getdomaininfo`, and entry of `XEN_SYSCTL_getdomaininfolist`.
    pub struct XenDomctlGetdomaininfo: "struct xen_domctl_getdomaininfo", 112, align 8 {
        /// Which domain.
        pub domain: u16,
        /// Unused.
        pub pad1: Pad<2>,
        /// `XEN_DOMINF_*`.
        pub flags: u32,
        /// Pages it has.
        pub tot_pages: u64,
        /// Pages it may have.
        pub max_pages: u64,
        /// Pages it claims.
        pub outstanding_pages: u64,
        /// Pages it shares.
        pub shr_pages: u64,
        /// Pages paged out.
        pub paged_pages: u64,
        /// Frame of its shared_info.
        pub shared_info_frame: u64,
        /// Nanoseconds its vcpus ran.
        pub cpu_time: u64,
        /// Vcpus up.
        pub nr_online_vcpus: u32,
        /// Highest vcpu number.
        pub max_vcpu_id: u32,
        /// Security label.
        pub ssidref: u32,
        /// UUID.
        pub handle: [u8; 16],
        /// CPU pool.
        pub cpupool: u32,
        /// Width of a guest physical address.
        pub gpaddr_bits: u8,
        /// Unused.
        pub pad2: Pad<7>,
        /// The architecture's.
        pub arch_config: XenArchDomainconfig,
    }

    /// Argument of `XEN_DOMCTL_max_mem`.
    pub struct XenDomctlMaxMem: "struct xen_domctl_max_mem", 8, align 8 {
        /// Most memory in KiB.
        pub max_memkb: u64,
    }

    /// Argument of `XEN_DOMCTL_setvcpucontext` and `XEN_DOMCTL_getvcpucontext`.
    pub struct XenDomctlVcpucontext: "struct xen_domctl_vcpucontext", 16, align 8 {
        /// Which vcpu.
        pub vcpu: u32,
        /// Guest pointer to a `VcpuGuestContext`.
        pub ctxt: u64,
    }

    /// Argument of `XEN_DOMCTL_getvcpuinfo`.
    pub struct XenDomctlGetvcpuinfo: "struct xen_domctl_getvcpuinfo", 24, align 8 {
        /// In: which vcpu.
        pub vcpu: u32,
        /// Out: nonzero if up.
        pub online: u8,
        /// Out: nonzero if blocked.
        pub blocked: u8,
        /// Out: nonzero if running.
        pub running: u8,
        /// Out: nanoseconds it ran.
        pub cpu_time: u64,
        /// Out: the pcpu it last ran on.
        pub cpu: u32,
    }

    /// Argument of `XEN_DOMCTL_max_vcpus`.
    pub struct XenDomctlMaxVcpus: "struct xen_domctl_max_vcpus", 4, align 4 {
        /// How many; as at creation.
        pub max: u32,
    }

    /// Argument of `XEN_DOMCTL_getpageframeinfo3`.
    pub struct XenDomctlGetpageframeinfo3: "struct xen_domctl_getpageframeinfo3", 16, align 8 {
        /// How many.
        pub num: u64,
        /// Guest pointer to u64 frame numbers; out: `XEN_DOMCTL_PFINFO_*`.
        pub array: u64,
    }

    /// Argument of `XEN_DOMCTL_set_address_size` and `XEN_DOMCTL_get_address_size`.
    pub struct XenDomctlAddressSize: "struct xen_domctl_address_size", 4, align 4 {
        /// 32 or 64.
        pub size: u32,
    }
    /// Argument of `XEN_DOMCTL_setvcpuaffinity` and `XEN_DOMCTL_getvcpuaffinity`.
    pub struct XenDomctlVcpuaffinity: "struct xen_domctl_vcpuaffinity", 40, align 8 {
        /// In: which vcpu.
        pub vcpu: u32,
        /// In: `XEN_VCPUAFFINITY_*`.
        pub flags: u32,
        /// Where it may run. Set: in and out, out the effective one.
        pub cpumap_hard: XenctlBitmap,
        /// Where it had better run, likewise.
        pub cpumap_soft: XenctlBitmap,
    }

    /// Argument of `XEN_DOMCTL_shadow_op`.
    pub struct XenDomctlShadowOp: "struct xen_domctl_shadow_op", 40, align 8 {
        /// `XEN_DOMCTL_SHADOW_OP_*`.
        pub op: u32,
        /// Flags of the operation.
        pub mode: u32,
        /// MiB of shadow memory.
        pub mb: u32,
        /// Guest pointer to a bitmap of pages.
        pub dirty_bitmap: u64,
        /// Pages that the bitmap has room for.
        pub pages: u64,
        /// Out: faults, and dirty pages.
        pub stats: [u32; 2],
    }

    /// A domain's parameters for `XEN_SCHEDULER_CREDIT`.
    pub struct XenDomctlSchedCredit: "struct xen_domctl_sched_credit", 4, align 2 {
        /// Share against other domains; 0 in a put: as it is.
        pub weight: u16,
        /// Most percent of a CPU, 0 for no limit; all ones in a put: as it is.
        pub cap: u16,
    }

    /// Argument of `XEN_DOMCTL_scheduler_op`.
    pub struct XenDomctlSchedulerOp: "struct xen_domctl_scheduler_op", 24, align 8 {
        /// `XEN_SCHEDULER_*`: whose parameters the caller means.
        pub sched_id: u32,
        /// `XEN_DOMCTL_SCHEDOP_*`.
        pub cmd: u32,
        /// The parameters; for credit, the start is a [`XenDomctlSchedCredit`].
        pub u: [u64; 2],
    }

    /// Argument of `XEN_DOMCTL_setdomainhandle`.
    pub struct XenDomctlSetdomainhandle: "struct xen_domctl_setdomainhandle", 16, align 1 {
        /// UUID.
        pub handle: [u8; 16],
    }

    /// Argument of `XEN_DOMCTL_setdebugging`.
    pub struct XenDomctlSetdebugging: "struct xen_domctl_setdebugging", 1, align 1 {
        /// Nonzero: a debugger attaches.
        pub enable: u8,
    }

    /// Argument of `XEN_DOMCTL_irq_permission`.
    pub struct XenDomctlIrqPermission: "struct xen_domctl_irq_permission", 8, align 4 {
        /// Which interrupt.
        pub pirq: u32,
        /// Nonzero allows it.
        pub allow_access: u8,
        /// Unused.
        pub pad: Pad<3> = "pad",
    }

    /// Argument of `XEN_DOMCTL_iomem_permission`.
    pub struct XenDomctlIomemPermission: "struct xen_domctl_iomem_permission", 24, align 8 {
        /// First frame.
        pub first_mfn: u64,
        /// How many.
        pub nr_mfns: u64,
        /// Nonzero allows them.
        pub allow_access: u8,
    }

    /// Argument of `XEN_DOMCTL_ioport_permission`.
    pub struct XenDomctlIoportPermission: "struct xen_domctl_ioport_permission", 12, align 4 {
        /// First port.
        pub first_port: u32,
        /// How many.
        pub nr_ports: u32,
        /// Nonzero allows them.
        pub allow_access: u8,
    }

    /// Argument of `XEN_DOMCTL_hypercall_init`.
    pub struct XenDomctlHypercallInit: "struct xen_domctl_hypercall_init", 8, align 8 {
        /// The frame to fill.
        pub gmfn: u64,
    }

    /// Argument of `XEN_DOMCTL_settimeoffset`.
    pub struct XenDomctlSettimeoffset: "struct xen_domctl_settimeoffset", 8, align 8 {
        /// The domain's clock minus UTC.
        pub time_offset_seconds: i64,
    }

    /// Argument of `XEN_DOMCTL_sendtrigger`.
    pub struct XenDomctlSendtrigger: "struct xen_domctl_sendtrigger", 8, align 4 {
        /// `XEN_DOMCTL_SENDTRIGGER_*`.
        pub trigger: u32,
        /// Which vcpu.
        pub vcpu: u32,
    }

    /// Argument of `XEN_DOMCTL_subscribe`.
    pub struct XenDomctlSubscribe: "struct xen_domctl_subscribe", 4, align 4 {
        /// The domain's port to notify when it has suspended.
        pub port: u32,
    }

    /// Argument of `XEN_DOMCTL_set_ext_vcpucontext` and `XEN_DOMCTL_get_ext_vcpucontext`.
    pub struct XenDomctlExtVcpucontext: "struct xen_domctl_ext_vcpucontext", 64, align 8 {
        /// In: which vcpu.
        pub vcpu: u32,
        /// Bytes of this structure that are meant.
        pub size: u32,
        /// Entry point for SYSCALL from 32-bit code.
        pub syscall32_callback_eip: u64,
        /// Entry point for SYSENTER.
        pub sysenter_callback_eip: u64,
        /// Its selector.
        pub syscall32_callback_cs: u16,
        /// Its selector.
        pub sysenter_callback_cs: u16,
        /// Nonzero: masks events.
        pub syscall32_disables_events: u8,
        /// Nonzero: masks events.
        pub sysenter_disables_events: u8,
        /// Machine-check capabilities.
        pub mcg_cap: u64,
        /// Machine-check banks' second control registers, and padding.
        pub mci_ctl2: [u64; 3] = "",
    }

    /// Argument of `XEN_DOMCTL_settscinfo` and `XEN_DOMCTL_gettscinfo`.
    pub struct XenDomctlTscInfo: "struct xen_domctl_tsc_info", 24, align 8 {
        /// `XEN_CPUID_TSC_MODE_*`.
        pub tsc_mode: u32,
        /// Frequency that the guest sees in kHz.
        pub gtsc_khz: u32,
        /// How often it was resumed.
        pub incarnation: u32,
        /// Unused.
        pub pad: Pad<4> = "pad",
        /// Nanoseconds of its life.
        pub elapsed_nsec: u64,
    }

    /// Argument of `XEN_DOMCTL_setvcpuextstate` and `XEN_DOMCTL_getvcpuextstate`.
    pub struct XenDomctlVcpuextstate: "struct xen_domctl_vcpuextstate", 32, align 8 {
        /// In: which vcpu.
        pub vcpu: u32,
        /// Get: states that there can be.
        pub xfeature_mask: u64,
        /// Bytes at `buffer`.
        pub size: u64,
        /// Guest pointer to XCR0, all bits that XCR0 ever had, and an XSAVE area.
        pub buffer: u64,
    }

    /// One register of `XEN_DOMCTL_get_vcpu_msrs`.
    pub struct XenDomctlVcpuMsr: "struct xen_domctl_vcpu_msr", 16, align 8 {
        /// Its number.
        pub index: u32,
        /// Must be zero.
        pub reserved: u32,
        /// Its value.
        pub value: u64,
    }

    /// Argument of `XEN_DOMCTL_get_vcpu_msrs` and `XEN_DOMCTL_set_vcpu_msrs`.
    pub struct XenDomctlVcpuMsrs: "struct xen_domctl_vcpu_msrs", 16, align 8 {
        /// In: which vcpu.
        pub vcpu: u32,
        /// Entries of the list.
        pub msr_count: u32,
        /// Guest pointer to [`XenDomctlVcpuMsr`]s.
        pub msrs: u64,
    }

    /// Argument of `XEN_DOMCTL_set_virq_handler`.
    pub struct XenDomctlSetVirqHandler: "struct xen_domctl_set_virq_handler", 4, align 4 {
        /// Which VIRQ the domain shall get.
        pub virq: u32,
    }

    /// Argument of `XEN_DOMCTL_setnodeaffinity` and `XEN_DOMCTL_getnodeaffinity`.
    pub struct XenDomctlNodeaffinity: "struct xen_domctl_nodeaffinity", 16, align 8 {
        /// The nodes.
        pub nodemap: XenctlBitmap,
    }

    /// Argument of `XEN_DOMCTL_set_cpu_policy` and `XEN_DOMCTL_get_cpu_policy`.
    pub struct XenDomctlCpuPolicy: "struct xen_domctl_cpu_policy", 40, align 8 {
        /// Entries of `leaves`.
        pub nr_leaves: u32,
        /// Entries of `msrs`.
        pub nr_msrs: u32,
        /// Guest pointer to `XenCpuidLeaf`s.
        pub leaves: u64,
        /// Guest pointer to `XenMsrEntry`s.
        pub msrs: u64,
        /// Out: the leaf that was refused.
        pub err_leaf: u32,
        /// Out: its subleaf.
        pub err_subleaf: u32,
        /// Out: the MSR that was refused.
        pub err_msr: u32,
    }
}
