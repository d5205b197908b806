//! `public/sysctl.h`: what the toolstack asks of the hypervisor as a whole.

use crate::plain::{Pad, abi_constants, abi_structs};
use crate::xen::XenctlBitmap;

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
    "No node: nobody knows." u32 {
        XEN_INVALID_NODE_ID = 0xffff_ffff,
    }
    "Value of `xen_sysctl_cpupool_op.op`." u32 {
        XEN_SYSCTL_CPUPOOL_OP_CREATE = 1,
        XEN_SYSCTL_CPUPOOL_OP_DESTROY = 2,
        XEN_SYSCTL_CPUPOOL_OP_INFO = 3,
        XEN_SYSCTL_CPUPOOL_OP_ADDCPU = 4,
        XEN_SYSCTL_CPUPOOL_OP_RMCPU = 5,
        XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN = 6,
        XEN_SYSCTL_CPUPOOL_OP_FREEINFO = 7,
    }
    "Any pool, for `xen_sysctl_cpupool_op`." u32 {
        XEN_SYSCTL_CPUPOOL_PAR_ANY = 0xffff_ffff,
    }
    "Value of `xen_sysctl_scheduler_op.cmd`." u32 {
        XEN_SYSCTL_SCHEDOP_putinfo = 0,
        XEN_SYSCTL_SCHEDOP_getinfo = 1,
    }
    "Bound of `xen_sysctl_credit_schedule`'s members." u32 {
        XEN_SYSCTL_CSCHED_TSLICE_MAX = 1000,
        XEN_SYSCTL_CSCHED_TSLICE_MIN = 1,
        XEN_SYSCTL_SCHED_RATELIMIT_MAX = 500_000,
        XEN_SYSCTL_SCHED_RATELIMIT_MIN = 100,
        XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US = 100_000,
    }
    "Value of `xen_sysctl_cpu_featureset.index`." u32 {
        XEN_SYSCTL_cpu_featureset_raw = 0,
        XEN_SYSCTL_cpu_featureset_host = 1,
        XEN_SYSCTL_cpu_featureset_pv = 2,
        XEN_SYSCTL_cpu_featureset_hvm = 3,
        XEN_SYSCTL_cpu_featureset_pv_max = 4,
        XEN_SYSCTL_cpu_featureset_hvm_max = 5,
    }
    "Value of `xen_sysctl_cpu_policy.index`." u32 {
        XEN_SYSCTL_cpu_policy_raw = 0,
        XEN_SYSCTL_cpu_policy_host = 1,
        XEN_SYSCTL_cpu_policy_pv_max = 2,
        XEN_SYSCTL_cpu_policy_hvm_max = 3,
        XEN_SYSCTL_cpu_policy_pv_default = 4,
        XEN_SYSCTL_cpu_policy_hvm_default = 5,
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
    /// Where one pcpu sits, for `XEN_SYSCTL_cputopoinfo`.
    pub struct XenSysctlCputopo: "struct xen_sysctl_cputopo", 12, align 4 {
        /// Core.
        pub core: u32,
        /// Socket.
        pub socket: u32,
        /// NUMA node.
        pub node: u32,
    }

    /// Argument of `XEN_SYSCTL_cputopoinfo`.
    pub struct XenSysctlCputopoinfo: "struct xen_sysctl_cputopoinfo", 16, align 8 {
        /// In: room in the list. Out: how many there are, or were written.
        pub num_cpus: u32,
        /// Guest pointer to [`XenSysctlCputopo`]s.
        pub cputopo: u64,
    }

    /// Memory of one node, for `XEN_SYSCTL_numainfo`.
    pub struct XenSysctlMeminfo: "struct xen_sysctl_meminfo", 16, align 8 {
        /// Bytes in all.
        pub memsize: u64,
        /// Bytes free.
        pub memfree: u64,
    }

    /// Argument of `XEN_SYSCTL_numainfo`.
    pub struct XenSysctlNumainfo: "struct xen_sysctl_numainfo", 24, align 8 {
        /// In: room in the lists. Out: how many there are, or were written.
        pub num_nodes: u32,
        /// Guest pointer to [`XenSysctlMeminfo`]s.
        pub meminfo: u64,
        /// Guest pointer to u32 distances, node by node.
        pub distance: u64,
    }

    /// Argument of `XEN_SYSCTL_pcitopoinfo`.
    pub struct XenSysctlPcitopoinfo: "struct xen_sysctl_pcitopoinfo", 24, align 8 {
        /// In: how many. Out: how many were answered.
        pub num_devs: u32,
        /// Guest pointer to `PhysdevPciDevice`s.
        pub devs: u64,
        /// Guest pointer to u32 nodes.
        pub nodes: u64,
    }

    /// Argument of `XEN_SYSCTL_cpupool_op`.
    pub struct XenSysctlCpupoolOp: "struct xen_sysctl_cpupool_op", 40, align 8 {
        /// `XEN_SYSCTL_CPUPOOL_OP_*`.
        pub op: u32,
        /// Which pool.
        pub cpupool_id: u32,
        /// Its scheduler.
        pub sched_id: u32,
        /// A domain to move.
        pub domid: u32,
        /// A pcpu to add or remove.
        pub cpu: u32,
        /// Out: domains in the pool.
        pub n_dom: u32,
        /// Out: pcpus.
        pub cpumap: XenctlBitmap,
    }

    /// The parameters of `XEN_SCHEDULER_CREDIT` as a whole.
    pub struct XenSysctlCreditSchedule: "struct xen_sysctl_credit_schedule", 12, align 4 {
        /// A turn in milliseconds.
        pub tslice_ms: u32,
        /// The least time between switches in microseconds.
        pub ratelimit_us: u32,
        /// How long a vcpu is bound to a pcpu by its caches, in microseconds.
        pub vcpu_migr_delay_us: u32,
    }

    /// Argument of `XEN_SYSCTL_scheduler_op`.
    pub struct XenSysctlSchedulerOp: "struct xen_sysctl_scheduler_op", 32, align 8 {
        /// Which pool.
        pub cpupool_id: u32,
        /// `XEN_SCHEDULER_*`.
        pub sched_id: u32,
        /// `XEN_SYSCTL_SCHEDOP_*`.
        pub cmd: u32,
        /// The parameters; for credit, the start is a [`XenSysctlCreditSchedule`].
        pub u: [u64; 2],
    }

    /// Answer of `XEN_SYSCTL_get_cpu_levelling_caps`.
    pub struct XenSysctlCpuLevellingCaps: "struct xen_sysctl_cpu_levelling_caps", 4, align 4 {
        /// What of CPUID can be hidden from user space.
        pub caps: u32,
    }

    /// Argument of `XEN_SYSCTL_get_cpu_featureset`.
    pub struct XenSysctlCpuFeatureset: "struct xen_sysctl_cpu_featureset", 16, align 8 {
        /// `XEN_SYSCTL_cpu_featureset_*`.
        pub index: u32,
        /// In: room for words. Out: how many there are, or were written.
        pub nr_features: u32,
        /// Guest pointer to u32 words.
        pub features: u64,
    }

    /// Argument of `XEN_SYSCTL_get_cpu_policy`.
    pub struct XenSysctlCpuPolicy: "struct xen_sysctl_cpu_policy", 32, align 8 {
        /// `XEN_SYSCTL_cpu_policy_*`.
        pub index: u32,
        /// In: room in `leaves`. Out: how many there can be, or were written.
        pub nr_leaves: u32,
        /// The same of `msrs`.
        pub nr_msrs: u32,
        /// Must be zero.
        pub reserved: u32 = "_rsvd",
        /// Guest pointer to `XenCpuidLeaf`s.
        pub leaves: u64,
        /// Guest pointer to `XenMsrEntry`s.
        pub msrs: u64,
    }
}
