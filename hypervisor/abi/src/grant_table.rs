//! `public/grant_table.h`: grant entries and their operations.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Entry of the grant table that the toolstack fills." u32 {
        GNTTAB_RESERVED_CONSOLE = 0,
        GNTTAB_RESERVED_XENSTORE = 1,
        /// How many entries are reserved.
        GNTTAB_NR_RESERVED_ENTRIES = 8,
    }
    "Type of a grant entry, in `flags` under `GTF_type_mask`." u16 {
        GTF_invalid = 0,
        GTF_permit_access = 1,
        GTF_accept_transfer = 2,
        GTF_transitive = 3,
        GTF_type_mask = 3,
    }
    "Bit of a grant entry's `flags`." u16 {
        GTF_readonly = 1 << 2,
        GTF_reading = 1 << 3,
        GTF_writing = 1 << 4,
        GTF_PWT = 1 << 5,
        GTF_PCD = 1 << 6,
        GTF_PAT = 1 << 7,
        GTF_sub_page = 1 << 8,
        GTF_transfer_committed = 1 << 2,
        GTF_transfer_completed = 1 << 3,
    }
    "Command of `grant_table_op`." u32 {
        GNTTABOP_map_grant_ref = 0,
        GNTTABOP_unmap_grant_ref = 1,
        GNTTABOP_setup_table = 2,
        GNTTABOP_dump_table = 3,
        GNTTABOP_transfer = 4,
        GNTTABOP_copy = 5,
        GNTTABOP_query_size = 6,
        GNTTABOP_unmap_and_replace = 7,
        GNTTABOP_set_version = 8,
        GNTTABOP_get_status_frames = 9,
        GNTTABOP_get_version = 10,
        GNTTABOP_swap_grant_ref = 11,
        GNTTABOP_cache_flush = 12,
    }
    "Bit of `gnttab_copy.flags`." u16 {
        GNTCOPY_source_gref = 1 << 0,
        GNTCOPY_dest_gref = 1 << 1,
    }
    "Bit of `gnttab_cache_flush.op`." u32 {
        GNTTAB_CACHE_CLEAN = 1 << 0,
        GNTTAB_CACHE_INVAL = 1 << 1,
        GNTTAB_CACHE_SOURCE_GREF = 1 << 31,
    }
    "Bit of `gnttab_map_grant_ref.flags`." u32 {
        GNTMAP_device_map = 1 << 0,
        GNTMAP_host_map = 1 << 1,
        GNTMAP_readonly = 1 << 2,
        GNTMAP_application_map = 1 << 3,
        GNTMAP_contains_pte = 1 << 4,
        /// The guest's own bits, which go into the available bits of the PTE.
        GNTMAP_guest_avail_mask = 0xffff_0000,
    }
    "Value of a `status` field." i16 {
        GNTST_okay = 0,
        GNTST_general_error = -1,
        GNTST_bad_domain = -2,
        GNTST_bad_gntref = -3,
        GNTST_bad_handle = -4,
        GNTST_bad_virt_addr = -5,
        GNTST_bad_dev_addr = -6,
        GNTST_no_device_space = -7,
        GNTST_permission_denied = -8,
        GNTST_bad_page = -9,
        GNTST_bad_copy_arg = -10,
        GNTST_address_too_big = -11,
        GNTST_eagain = -12,
        GNTST_no_space = -13,
    }
}

abi_structs! {
    /// One entry of a version 1 grant table, shared with the granter.
    pub struct GrantEntryV1: "struct grant_entry_v1", 8, align 4 {
        /// `GTF_*`.
        pub flags: u16,
        /// To whom.
        pub domid: u16,
        /// Which frame.
        pub frame: u32,
    }

    /// One entry of a version 2 grant table, shared with the granter. Its marks of use are in a status frame, 16 bits for
    /// each entry. (A transitive entry has a domain and a reference in place of part and frame.)
    pub struct GrantEntryV2: "union grant_entry_v2", 16, align 8 {
        /// `GTF_*`.
        pub flags: u16 = "hdr.flags",
        /// To whom.
        pub domid: u16 = "hdr.domid",
        /// Under `GTF_sub_page`: from which byte on.
        pub page_off: u16 = "sub_page.page_off",
        /// Under `GTF_sub_page`: how many bytes.
        pub length: u16 = "sub_page.length",
        /// Which frame.
        pub frame: u64 = "full_page.frame",
    }

    /// Argument of `GNTTABOP_map_grant_ref`.
    pub struct GnttabMapGrantRef: "struct gnttab_map_grant_ref", 32, align 8 {
        /// In: linear address to map at, or machine address of the PTE under `GNTMAP_contains_pte`.
        pub host_addr: u64,
        /// In: `GNTMAP_*`.
        pub flags: u32,
        /// In: the grant reference (C: `ref`).
        pub gref: u32 = "ref",
        /// In: whose.
        pub dom: u16,
        /// Out: `GNTST_*`.
        pub status: i16,
        /// Out: what to unmap.
        pub handle: u32,
        /// Out: machine address of the frame.
        pub dev_bus_addr: u64,
    }

    /// Argument of `GNTTABOP_unmap_grant_ref`.
    pub struct GnttabUnmapGrantRef: "struct gnttab_unmap_grant_ref", 24, align 8 {
        /// In: as it was mapped; 0 leaves that mapping.
        pub host_addr: u64,
        /// In: as it was mapped; 0 leaves that mapping.
        pub dev_bus_addr: u64,
        /// In: what the map gave.
        pub handle: u32,
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// Argument of `GNTTABOP_setup_table`.
    pub struct GnttabSetupTable: "struct gnttab_setup_table", 24, align 8 {
        /// In: whose table.
        pub dom: u16,
        /// In: how many frames it shall have.
        pub nr_frames: u32,
        /// Out: `GNTST_*`.
        pub status: i16,
        /// Guest pointer to room for their u64 numbers.
        pub frame_list: u64,
    }

    /// Argument of `GNTTABOP_dump_table`.
    pub struct GnttabDumpTable: "struct gnttab_dump_table", 4, align 2 {
        /// In: whose table.
        pub dom: u16,
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// Argument of `GNTTABOP_transfer`.
    pub struct GnttabTransfer: "struct gnttab_transfer", 24, align 8 {
        /// In: the frame to give.
        pub mfn: u64,
        /// In: to whom.
        pub domid: u16,
        /// In: into which grant reference (C: `ref`).
        pub gref: u32 = "ref",
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// One end of a [`GnttabCopy`].
    pub struct GnttabCopyPtr: "struct gnttab_copy_ptr", 16, align 8 {
        /// A frame, or in the low 32 bits a grant reference.
        pub u: u64 = "u.gmfn",
        /// Whose.
        pub domid: u16,
        /// Where in the page.
        pub offset: u16,
    }

    /// Argument of `GNTTABOP_copy`.
    pub struct GnttabCopy: "struct gnttab_copy", 40, align 8 {
        /// In: from where.
        pub source: GnttabCopyPtr,
        /// In: to where.
        pub dest: GnttabCopyPtr,
        /// In: bytes.
        pub len: u16,
        /// In: `GNTCOPY_*`.
        pub flags: u16,
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// Argument of `GNTTABOP_query_size`.
    pub struct GnttabQuerySize: "struct gnttab_query_size", 16, align 4 {
        /// In: whose table.
        pub dom: u16,
        /// Out: frames it has.
        pub nr_frames: u32,
        /// Out: frames it may have.
        pub max_nr_frames: u32,
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// Argument of `GNTTABOP_unmap_and_replace`.
    pub struct GnttabUnmapAndReplace: "struct gnttab_unmap_and_replace", 24, align 8 {
        /// In: the mapping to end.
        pub host_addr: u64,
        /// In: whose PTE moves there.
        pub new_addr: u64,
        /// In: what the map gave.
        pub handle: u32,
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// Argument of `GNTTABOP_set_version`.
    pub struct GnttabSetVersion: "struct gnttab_set_version", 4, align 4 {
        /// In: the wanted one. Out: the one in use.
        pub version: u32,
    }

    /// Argument of `GNTTABOP_get_status_frames`.
    pub struct GnttabGetStatusFrames: "struct gnttab_get_status_frames", 16, align 8 {
        /// In: how many.
        pub nr_frames: u32,
        /// In: whose.
        pub dom: u16,
        /// Out: `GNTST_*`.
        pub status: i16,
        /// Guest pointer to room for their u64 numbers.
        pub frame_list: u64,
    }

    /// Argument of `GNTTABOP_get_version`.
    pub struct GnttabGetVersion: "struct gnttab_get_version", 8, align 4 {
        /// In: whose table.
        pub dom: u16,
        /// Unused.
        pub pad: u16,
        /// Out: 1 or 2.
        pub version: u32,
    }

    /// Argument of `GNTTABOP_swap_grant_ref`.
    pub struct GnttabSwapGrantRef: "struct gnttab_swap_grant_ref", 12, align 4 {
        /// In: one.
        pub ref_a: u32,
        /// In: the other.
        pub ref_b: u32,
        /// Out: `GNTST_*`.
        pub status: i16,
    }

    /// Argument of `GNTTABOP_cache_flush`.
    pub struct GnttabCacheFlush: "struct gnttab_cache_flush", 16, align 8 {
        /// A machine address, or in the low 32 bits a grant reference.
        pub a: u64 = "a.dev_bus_addr",
        /// Where in the page.
        pub offset: u16,
        /// Bytes.
        pub length: u16,
        /// `GNTTAB_CACHE_*`.
        pub op: u32,
    }
}
