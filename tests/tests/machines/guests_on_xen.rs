//! Every bare guest on the peer, Debian's Xen 4.17: this tests the guests, that is, our understanding of the ABI.

use rexen_tests::{guest_tests, host::Host};

guest_tests!(Host::Xen);
