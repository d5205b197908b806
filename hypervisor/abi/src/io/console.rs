//! `public/io/console.h`: the page between a guest's console and the console daemon.

use crate::plain::abi_structs;

abi_structs! {
    /// Two byte rings. Indices run freely; the place in a ring is the index modulo its length.
    pub struct XenconsInterface: "struct xencons_interface", 3088, align 4 {
        /// To the guest; C: `in`.
        pub input: [u8; 1024] = "in",
        /// From the guest; C: `out`.
        pub output: [u8; 2048] = "out",
        /// How far the guest has read.
        pub in_cons: u32,
        /// How far the daemon has written.
        pub in_prod: u32,
        /// How far the daemon has read.
        pub out_cons: u32,
        /// How far the guest has written.
        pub out_prod: u32,
    }
}
