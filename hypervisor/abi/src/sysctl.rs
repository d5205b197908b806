//! `public/sysctl.h`: what the toolstack asks of the hypervisor as a whole. Only the first few structures are here.

use crate::plain::{Pad, abi_constants, abi_structs};

abi_constants! {
    "Value of `xen_sysctl.interface_version`." u32 {
        XEN_SYSCTL_INTERFACE_VERSION = 0x15,
    }
    "Command of `sysctl`." u32 {
        XEN_SYSCTL_readconsole = 1,
        XEN_SYSCTL_tbuf_op = 2,
        XEN_SYSCTL_physinfo = 3,
        XEN_SYSCTL_sched_id = 4,
        XEN_SYSCTL_perfc_op = 5,
        XEN_SYSCTL_getdomaininfolist = 6,
        XEN_SYSCTL_debug_keys = 7,
        XEN_SYSCTL_getcpuinfo = 8,
        XEN_SYSCTL_availheap = 9,
        XEN_SYSCTL_get_pmstat = 10,
        XEN_SYSCTL_cpu_hotplug = 11,
        XEN_SYSCTL_pm_op = 12,
        XEN_SYSCTL_page_offline_op = 14,
        XEN_SYSCTL_lockprof_op = 15,
        XEN_SYSCTL_cputopoinfo = 16,
        XEN_SYSCTL_numainfo = 17,
        XEN_SYSCTL_cpupool_op = 18,
        XEN_SYSCTL_scheduler_op = 19,
        XEN_SYSCTL_coverage_op = 20,
        XEN_SYSCTL_psr_cmt_op = 21,
        XEN_SYSCTL_pcitopoinfo = 22,
        XEN_SYSCTL_psr_alloc = 23,
        XEN_SYSCTL_get_cpu_levelling_caps = 25,
        XEN_SYSCTL_get_cpu_featureset = 26,
        XEN_SYSCTL_livepatch_op = 27,
        XEN_SYSCTL_get_cpu_policy = 29,
    }
    "Bit of `xen_sysctl_physinfo.capabilities`." u32 {
        XEN_SYSCTL_PHYSCAP_hvm = 1 << 0,
        XEN_SYSCTL_PHYSCAP_pv = 1 << 1,
        XEN_SYSCTL_PHYSCAP_directio = 1 << 2,
        XEN_SYSCTL_PHYSCAP_hap = 1 << 3,
        XEN_SYSCTL_PHYSCAP_shadow = 1 << 4,
        XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share = 1 << 5,
        XEN_SYSCTL_PHYSCAP_vmtrace = 1 << 6,
        XEN_SYSCTL_PHYSCAP_vpmu = 1 << 7,
        XEN_SYSCTL_PHYSCAP_gnttab_v1 = 1 << 8,
        XEN_SYSCTL_PHYSCAP_gnttab_v2 = 1 << 9,
    }
}

abi_structs! {
    /// The envelope of `sysctl`.
    #[repr(align(8))]
    pub struct XenSysctl: "struct xen_sysctl", 136, align 8 {
        /// `XEN_SYSCTL_*`.
        pub cmd: u32,
        /// `XEN_SYSCTL_INTERFACE_VERSION`.
        pub interface_version: u32,
        /// The command's structure; read it with `Plain`.
        pub u: [u8; 128],
    }

    /// Argument of `XEN_SYSCTL_readconsole`.
    pub struct XenSysctlReadconsole: "struct xen_sysctl_readconsole", 24, align 8 {
        /// In: nonzero empties the ring after reading.
        pub clear: u8,
        /// In: nonzero starts at `index`, not at the oldest byte.
        pub incremental: u8,
        /// Unused.
        pub pad: Pad<2> = "",
        /// In and out: where to start, where to go on.
        pub index: u32,
        /// Guest pointer to room for the text.
        pub buffer: u64,
        /// In: bytes of room. Out: bytes written.
        pub count: u32,
    }

    /// Answer of `XEN_SYSCTL_physinfo`.
    pub struct XenSysctlPhysinfo: "struct xen_sysctl_physinfo", 112, align 8 {
        /// Threads of a core.
        pub threads_per_core: u32,
        /// Cores of a socket.
        pub cores_per_socket: u32,
        /// Pcpus online.
        pub nr_cpus: u32,
        /// Highest pcpu number.
        pub max_cpu_id: u32,
        /// NUMA nodes online.
        pub nr_nodes: u32,
        /// Highest node number.
        pub max_node_id: u32,
        /// Clock rate.
        pub cpu_khz: u32,
        /// `XEN_SYSCTL_PHYSCAP_*`.
        pub capabilities: u32,
        /// The architecture's.
        pub arch_capabilities: u32,
        /// Unused.
        pub pad: Pad<4>,
        /// Pages of memory.
        pub total_pages: u64,
        /// Pages free.
        pub free_pages: u64,
        /// Pages free but not yet scrubbed.
        pub scrub_pages: u64,
        /// Pages claimed.
        pub outstanding_pages: u64,
        /// Highest mfn.
        pub max_mfn: u64,
        /// CPU capability words.
        pub hw_cap: [u32; 8],
    }

    /// Answer of `XEN_SYSCTL_sched_id`.
    pub struct XenSysctlSchedId: "struct xen_sysctl_sched_id", 4, align 4 {
        /// `XEN_SCHEDULER_*`.
        pub sched_id: u32,
    }

    /// Argument of `XEN_SYSCTL_getdomaininfolist`.
    pub struct XenSysctlGetdomaininfolist: "struct xen_sysctl_getdomaininfolist", 24, align 8 {
        /// In: the lowest domain id.
        pub first_domain: u16,
        /// In: room in the buffer.
        pub max_domains: u32,
        /// Guest pointer to `XenDomctlGetdomaininfo`s.
        pub buffer: u64,
        /// Out: how many were written.
        pub num_domains: u32,
    }

    /// Argument of `XEN_SYSCTL_debug_keys`.
    pub struct XenSysctlDebugKeys: "struct xen_sysctl_debug_keys", 16, align 8 {
        /// Guest pointer to the keys.
        pub keys: u64,
        /// How many.
        pub nr_keys: u32,
    }

    /// One pcpu of `XEN_SYSCTL_getcpuinfo`.
    pub struct XenSysctlCpuinfo: "struct xen_sysctl_cpuinfo", 8, align 8 {
        /// Nanoseconds spent idle.
        pub idletime: u64,
    }

    /// Argument of `XEN_SYSCTL_getcpuinfo`.
    pub struct XenSysctlGetcpuinfo: "struct xen_sysctl_getcpuinfo", 24, align 8 {
        /// In: room in the list.
        pub max_cpus: u32,
        /// Guest pointer to [`XenSysctlCpuinfo`]s.
        pub info: u64,
        /// Out: how many were written.
        pub nr_cpus: u32,
    }

    /// Argument of `XEN_SYSCTL_availheap`.
    pub struct XenSysctlAvailheap: "struct xen_sysctl_availheap", 24, align 8 {
        /// In: narrowest address width to count.
        pub min_bitwidth: u32,
        /// In: widest address width to count; 0 for any.
        pub max_bitwidth: u32,
        /// In: NUMA node; -1 for all.
        pub node: i32,
        /// Out: bytes free.
        pub avail_bytes: u64,
    }
}
