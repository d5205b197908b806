//! `public/version.h`: what the hypervisor says about itself (`xen_version`).

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `xen_version`." u32 {
        XENVER_version = 0,
        XENVER_extraversion = 1,
        XENVER_compile_info = 2,
        XENVER_capabilities = 3,
        XENVER_changeset = 4,
        XENVER_platform_parameters = 5,
        XENVER_get_features = 6,
        XENVER_pagesize = 7,
        XENVER_guest_handle = 8,
        XENVER_commandline = 9,
        XENVER_build_id = 10,
    }
    "Length of an answer in bytes, the final NUL included." usize {
        XEN_EXTRAVERSION_LEN = 16,
        XEN_CAPABILITIES_INFO_LEN = 1024,
        XEN_CHANGESET_INFO_LEN = 64,
    }
}

/// Length of the answer of `XENVER_commandline` in bytes, the final NUL included (C: `xen_commandline_t`).
pub const XEN_COMMANDLINE_LEN: usize = 1024;

/// Length of a domain handle, a UUID, in bytes (C: `xen_domain_handle_t`).
pub const XEN_DOMAIN_HANDLE_LEN: usize = 16;

abi_structs! {
    /// Answer of `XENVER_compile_info`: NUL-terminated strings.
    pub struct XenCompileInfo: "struct xen_compile_info", 144, align 1 {
        /// Compiler.
        pub compiler: [u8; 64],
        /// Who built it.
        pub compile_by: [u8; 16],
        /// Where.
        pub compile_domain: [u8; 32],
        /// When.
        pub compile_date: [u8; 32],
    }

    /// Answer of `XENVER_platform_parameters`.
    pub struct XenPlatformParameters: "struct xen_platform_parameters", 8, align 8 {
        /// Where the hypervisor's part of the address space starts.
        pub virt_start: u64,
    }

    /// Argument of `XENVER_get_features`.
    pub struct XenFeatureInfo: "struct xen_feature_info", 8, align 4 {
        /// In: which 32 features.
        pub submap_idx: u32,
        /// Out: a bit per `XENFEAT_*`.
        pub submap: u32,
    }

    /// Head of the answer of `XENVER_build_id`; the id follows.
    pub struct XenBuildId: "struct xen_build_id", 4, align 4 {
        /// In: room for the id. Out: its length in bytes.
        pub len: u32,
    }
}
