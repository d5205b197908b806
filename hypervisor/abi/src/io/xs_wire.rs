//! `public/io/xs_wire.h`: xenstore's messages, and the page between a domain and xenstored.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Value of `xsd_sockmsg.type`." u32 {
        XS_CONTROL = 0,
        XS_DIRECTORY = 1,
        XS_READ = 2,
        XS_GET_PERMS = 3,
        XS_WATCH = 4,
        XS_UNWATCH = 5,
        XS_TRANSACTION_START = 6,
        XS_TRANSACTION_END = 7,
        XS_INTRODUCE = 8,
        XS_RELEASE = 9,
        XS_GET_DOMAIN_PATH = 10,
        XS_WRITE = 11,
        XS_MKDIR = 12,
        XS_RM = 13,
        XS_SET_PERMS = 14,
        XS_WATCH_EVENT = 15,
        XS_ERROR = 16,
        XS_IS_DOMAIN_INTRODUCED = 17,
        XS_RESUME = 18,
        XS_SET_TARGET = 19,
        XS_RESET_WATCHES = 21,
        XS_DIRECTORY_PART = 22,
        /// One more than the highest number.
        XS_TYPE_COUNT = 23,
        /// Never a type.
        XS_INVALID = 0xffff,
    }
    "Bytes of one direction of `xenstore_domain_interface`." usize {
        XENSTORE_RING_SIZE = 1024,
    }
    "Most bytes: of a message after its header, of a path from the root, of a path from a domain's home." usize {
        XENSTORE_PAYLOAD_MAX = 4096,
        XENSTORE_ABS_PATH_MAX = 3072,
        XENSTORE_REL_PATH_MAX = 2048,
    }
    "Bit of `xenstore_domain_interface.server_features`: reconnection, and the field `error`." u32 {
        XENSTORE_SERVER_FEATURE_RECONNECTION = 1,
        XENSTORE_SERVER_FEATURE_ERROR = 2,
    }
    "Value of `xenstore_domain_interface.connection`; the guest asks for a reconnection, xenstored ends it." u32 {
        XENSTORE_CONNECTED = 0,
        XENSTORE_RECONNECT = 1,
    }
    "Value of `xenstore_domain_interface.error`: none, unknown, a bad index, a bad message." u32 {
        XENSTORE_ERROR_NONE = 0,
        XENSTORE_ERROR_COMM = 1,
        XENSTORE_ERROR_RINGIDX = 2,
        XENSTORE_ERROR_PROTO = 3,
    }
}

abi_structs! {
    /// The header of every message, request and answer alike.
    pub struct XsdSockmsg: "struct xsd_sockmsg", 16, align 4 {
        /// `XS_*` (C: `type`).
        pub kind: u32 = "type",
        /// Chosen by the client, repeated in the answer.
        pub req_id: u32,
        /// The transaction, or 0.
        pub tx_id: u32,
        /// Bytes that follow.
        pub len: u32,
    }

    /// The page: two byte rings. Indices run freely; the place in a ring is the index modulo its length.
    pub struct XenstoreDomainInterface: "struct xenstore_domain_interface", 2076, align 4 {
        /// Requests, to xenstored.
        pub req: [u8; XENSTORE_RING_SIZE],
        /// Answers and watch events, from xenstored.
        pub rsp: [u8; XENSTORE_RING_SIZE],
        /// How far xenstored has read.
        pub req_cons: u32,
        /// How far the guest has written.
        pub req_prod: u32,
        /// How far the guest has read.
        pub rsp_cons: u32,
        /// How far xenstored has written.
        pub rsp_prod: u32,
        /// `XENSTORE_SERVER_FEATURE_*`
        pub server_features: u32,
        /// `XENSTORE_CONNECTED` or `XENSTORE_RECONNECT`.
        pub connection: u32,
        /// `XENSTORE_ERROR_*`
        pub error: u32,
    }
}
