//! `public/callback.h`: where a guest wants to be entered.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `callback_op`." u32 {
        CALLBACKOP_register = 0,
        CALLBACKOP_unregister = 1,
    }
    "Which callback." u16 {
        CALLBACKTYPE_event = 0,
        CALLBACKTYPE_failsafe = 1,
        CALLBACKTYPE_syscall = 2,
        CALLBACKTYPE_sysenter_deprecated = 3,
        CALLBACKTYPE_nmi = 4,
        CALLBACKTYPE_sysenter = 5,
        CALLBACKTYPE_syscall32 = 7,
    }
    "Bit of `callback_register.flags`: enter with events masked." u16 {
        CALLBACKF_mask_events = 1 << 0,
    }
}

abi_structs! {
    /// Argument of `CALLBACKOP_register`.
    pub struct CallbackRegister: "struct callback_register", 16, align 8 {
        /// `CALLBACKTYPE_*` (C: `type`).
        pub kind: u16 = "type",
        /// `CALLBACKF_mask_events` or 0.
        pub flags: u16,
        /// Linear address of the handler.
        pub address: u64,
    }

    /// Argument of `CALLBACKOP_unregister`.
    pub struct CallbackUnregister: "struct callback_unregister", 4, align 2 {
        /// `CALLBACKTYPE_*` (C: `type`).
        pub kind: u16 = "type",
        /// Unused.
        pub unused: u16 = "_unused",
    }
}
