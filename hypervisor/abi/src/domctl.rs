//! `public/domctl.h`: what the toolstack asks about one domain. Only the first few structures are here.

use crate::arch_x86::XenArchDomainconfig;
use crate::plain::{Pad, abi_constants, abi_structs};

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
}
