//! `public/io/xenbus.h`: the states of a device's two ends, as decimal numbers in their nodes `state`.

use crate::plain::abi_constants;

abi_constants! {
    "State of one end of a device." u32 {
        XenbusStateUnknown = 0,
        XenbusStateInitialising = 1,
        /// Waits for what the other end, or a script, has to write.
        XenbusStateInitWait = 2,
        /// Waits for the other end to connect.
        XenbusStateInitialised = 3,
        XenbusStateConnected = 4,
        XenbusStateClosing = 5,
        XenbusStateClosed = 6,
        XenbusStateReconfiguring = 7,
        XenbusStateReconfigured = 8,
    }
}
