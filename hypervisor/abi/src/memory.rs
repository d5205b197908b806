//! `public/memory.h`: a domain's memory reservation, memory maps, the M2P.

use crate::plain::{Plain, abi_constants, abi_structs};

abi_constants! {
    "Command of `memory_op`, in the low [`MEMOP_EXTENT_SHIFT`] bits." u32 {
        XENMEM_increase_reservation = 0,
        XENMEM_decrease_reservation = 1,
        XENMEM_maximum_ram_page = 2,
        XENMEM_current_reservation = 3,
        XENMEM_maximum_reservation = 4,
        XENMEM_machphys_mfn_list = 5,
        XENMEM_populate_physmap = 6,
        XENMEM_add_to_physmap = 7,
        XENMEM_memory_map = 9,
        XENMEM_machine_memory_map = 10,
        XENMEM_exchange = 11,
        XENMEM_machphys_mapping = 12,
        XENMEM_set_memory_map = 13,
        XENMEM_maximum_gpfn = 14,
        XENMEM_remove_from_physmap = 15,
        XENMEM_set_pod_target = 16,
        XENMEM_get_pod_target = 17,
        XENMEM_get_sharing_freed_pages = 18,
        XENMEM_get_sharing_shared_pages = 19,
        XENMEM_paging_op = 20,
        XENMEM_access_op = 21,
        XENMEM_sharing_op = 22,
        XENMEM_add_to_physmap_batch = 23,
        XENMEM_claim_pages = 24,
        XENMEM_machphys_compat_mfn_list = 25,
        XENMEM_get_vnumainfo = 26,
        XENMEM_reserved_device_memory_map = 27,
        XENMEM_acquire_resource = 28,
    }
    "Bit of `xen_memory_reservation.mem_flags`; bits 7:0 are the address width (0: any), 15:8 the node plus 1." u32 {
        XENMEMF_populate_on_demand = 1 << 16,
        XENMEMF_exact_node_request = 1 << 17,
        XENMEMF_vnode = 1 << 18,
    }
    "Value of `xen_add_to_physmap.space`." u32 {
        XENMAPSPACE_shared_info = 0,
        XENMAPSPACE_grant_table = 1,
        XENMAPSPACE_gmfn = 2,
        XENMAPSPACE_gmfn_range = 3,
        XENMAPSPACE_gmfn_foreign = 4,
        XENMAPSPACE_dev_mmio = 5,
    }
    "Bit of `xen_add_to_physmap.idx`: a status frame." u64 {
        XENMAPIDX_grant_table_status = 0x8000_0000,
    }
    "Value of `xen_mem_acquire_resource.type`." u16 {
        XENMEM_resource_ioreq_server = 0,
        XENMEM_resource_grant_table = 1,
        XENMEM_resource_vmtrace_buf = 2,
    }
    "Value of `xen_mem_acquire_resource.id` for a grant table." u32 {
        XENMEM_resource_grant_table_id_shared = 0,
        XENMEM_resource_grant_table_id_status = 1,
    }
}

/// Bits of the `memory_op` command that are the command; the rest is where to resume (the hypervisor's own use).
pub const MEMOP_EXTENT_SHIFT: u32 = 6;

/// Mask of the address width in `xen_memory_reservation.mem_flags`.
pub const XENMEMF_ADDRESS_BITS_MASK: u32 = 0xff;

/// E820 type: usable memory.
pub const E820_RAM: u32 = 1;
/// E820 type: not for use.
pub const E820_RESERVED: u32 = 2;
/// E820 type: ACPI tables.
pub const E820_ACPI: u32 = 3;
/// E820 type: ACPI non-volatile storage.
pub const E820_NVS: u32 = 4;
/// E820 type: faulty memory.
pub const E820_UNUSABLE: u32 = 5;

/// One range of a memory map: 20 bytes, packed, as the BIOS call E820 gave it.
///
/// No public header has it; `XENMEM_memory_map` speaks of the BIOS format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct E820Entry {
    /// Start in bytes.
    pub addr: u64,
    /// Length in bytes.
    pub size: u64,
    /// `E820_*` (C: `type`).
    pub kind: u32,
}

impl Plain for E820Entry {
    const SIZE: usize = 20;
    const ZERO: Self = Self {
        addr: 0,
        size: 0,
        kind: 0,
    };

    #[inline]
    fn fill(&mut self, bytes: &[u8]) -> Option<()> {
        let bytes = bytes.first_chunk::<20>()?;
        self.addr.fill(&bytes[..8])?;
        self.size.fill(&bytes[8..16])?;
        self.kind.fill(&bytes[16..])
    }

    #[inline]
    fn write(&self, bytes: &mut [u8]) -> Option<()> {
        let bytes = bytes.first_chunk_mut::<20>()?;
        self.addr.write(&mut bytes[..8])?;
        self.size.write(&mut bytes[8..16])?;
        self.kind.write(&mut bytes[16..])
    }
}

impl E820Entry {
    /// The entry as a guest sees it.
    #[inline]
    pub fn to_bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        // Cannot fail: the length is right by construction.
        let _ = self.write(&mut bytes);
        bytes
    }
}

abi_structs! {
    /// Argument of `XENMEM_increase_reservation`, `_decrease_reservation`, `_populate_physmap` and `_claim_pages`.
    pub struct XenMemoryReservation: "struct xen_memory_reservation", 32, align 8 {
        /// Guest pointer to u64 frame numbers.
        pub extent_start: u64,
        /// How many.
        pub nr_extents: u64,
        /// Each 2^order pages.
        pub extent_order: u32,
        /// `XENMEMF_*`.
        pub mem_flags: u32,
        /// Whose memory.
        pub domid: u16,
    }

    /// Argument of `XENMEM_exchange`.
    pub struct XenMemoryExchange: "struct xen_memory_exchange", 72, align 8 {
        /// What the caller gives; `in` in C.
        pub input: XenMemoryReservation = "in",
        /// What it wants; `out` in C.
        pub output: XenMemoryReservation = "out",
        /// In: 0. Out: input extents exchanged.
        pub nr_exchanged: u64,
    }

    /// Argument of `XENMEM_current_reservation`, `_maximum_reservation` and `_maximum_gpfn`.
    pub struct XenMemoryDomain: "struct xen_memory_domain", 2, align 2 {
        /// Which domain.
        pub domid: u16,
    }

    /// Argument of `XENMEM_machphys_mfn_list`.
    pub struct XenMachphysMfnList: "struct xen_machphys_mfn_list", 24, align 8 {
        /// In: room in the list.
        pub max_extents: u32,
        /// Guest pointer to u64 mfns.
        pub extent_start: u64,
        /// Out: how many were written.
        pub nr_extents: u32,
    }

    /// Answer of `XENMEM_machphys_mapping`.
    pub struct XenMachphysMapping: "struct xen_machphys_mapping", 24, align 8 {
        /// Where the M2P starts.
        pub v_start: u64,
        /// Where it ends.
        pub v_end: u64,
        /// Highest mfn it may be asked for.
        pub max_mfn: u64,
    }

    /// Argument of `XENMEM_add_to_physmap`.
    pub struct XenAddToPhysmap: "struct xen_add_to_physmap", 24, align 8 {
        /// Whose physmap.
        pub domid: u16,
        /// Pages, of a range.
        pub size: u16,
        /// `XENMAPSPACE_*`.
        pub space: u32,
        /// Index into the space.
        pub idx: u64,
        /// Where to.
        pub gpfn: u64,
    }

    /// Argument of `XENMEM_add_to_physmap_batch`.
    pub struct XenAddToPhysmapBatch: "struct xen_add_to_physmap_batch", 32, align 8 {
        /// Whose physmap.
        pub domid: u16,
        /// `XENMAPSPACE_*`.
        pub space: u16,
        /// How many.
        pub size: u16,
        /// The other domain, for `XENMAPSPACE_gmfn_foreign`.
        pub foreign_domid: u16 = "u.foreign_domid",
        /// Guest pointer to u64 indices.
        pub idxs: u64,
        /// Guest pointer to u64 frame numbers.
        pub gpfns: u64,
        /// Guest pointer to i32 results.
        pub errs: u64,
    }

    /// Argument of `XENMEM_remove_from_physmap`.
    pub struct XenRemoveFromPhysmap: "struct xen_remove_from_physmap", 16, align 8 {
        /// Whose physmap.
        pub domid: u16,
        /// From where.
        pub gpfn: u64,
    }

    /// Argument of `XENMEM_memory_map` and `XENMEM_machine_memory_map`.
    pub struct XenMemoryMap: "struct xen_memory_map", 16, align 8 {
        /// In: room in the buffer. Out: entries written.
        pub nr_entries: u32,
        /// Guest pointer to [`E820Entry`]s.
        pub buffer: u64,
    }

    /// Argument of `XENMEM_set_memory_map`.
    pub struct XenForeignMemoryMap: "struct xen_foreign_memory_map", 24, align 8 {
        /// Whose map.
        pub domid: u16,
        /// The map.
        pub map: XenMemoryMap,
    }

    /// Argument of `XENMEM_set_pod_target` and `XENMEM_get_pod_target`.
    pub struct XenPodTarget: "struct xen_pod_target", 40, align 8 {
        /// In: the target.
        pub target_pages: u64,
        /// Out: pages of the domain.
        pub tot_pages: u64,
        /// Out: pages of the cache.
        pub pod_cache_pages: u64,
        /// Out: entries without a page.
        pub pod_entries: u64,
        /// In: whose.
        pub domid: u16,
    }

    /// Argument of `XENMEM_acquire_resource`.
    pub struct XenMemAcquireResource: "struct xen_mem_acquire_resource", 32, align 8 {
        /// Whose resource.
        pub domid: u16,
        /// `XENMEM_resource_*` (C: `type`).
        pub kind: u16 = "type",
        /// Which one of its kind.
        pub id: u32,
        /// In: how many frames; 0 asks. Out, when asked: how many there are.
        pub nr_frames: u32,
        /// Must be 0.
        pub pad: u32,
        /// In: the first.
        pub frame: u64,
        /// Guest pointer to u64 frame numbers.
        pub frame_list: u64,
    }
}
