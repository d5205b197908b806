//! Small domUs under the warden on the peer, Debian's Xen 4.17.

use rexen_tests::{domain_tests, host::Host};

domain_tests!(Host::Xen);
