//! `public/nmi.h`: the virtual NMI.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `nmi_op`." u32 {
        XENNMI_register_callback = 0,
        XENNMI_unregister_callback = 1,
    }
    "Bit of `arch_shared_info.nmi_reason`." u64 {
        XEN_NMIREASON_io_error = 1 << 0,
        XEN_NMIREASON_pci_serr = 1 << 1,
        XEN_NMIREASON_unknown = 1 << 2,
    }
}

abi_structs! {
    /// Argument of `XENNMI_register_callback`.
    pub struct XennmiCallback: "struct xennmi_callback", 16, align 8 {
        /// Linear address of the handler.
        pub handler_address: u64,
        /// Unused.
        pub pad: u64,
    }
}
