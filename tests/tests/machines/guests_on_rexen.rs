//! Every bare guest on our hypervisor.

use rexen_tests::{guest_tests, host::Host};

guest_tests!(Host::Rexen);
