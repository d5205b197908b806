//! Hostile guests, as domUs on the peer, Debian's Xen 4.17: it must come to the same verdicts.

use rexen_tests::{host::Host, hostile_tests};

hostile_tests!(Host::Xen);
