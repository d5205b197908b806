//! Hostile guests, as domUs on our hypervisor compiled with debug assertions.

use rexen_tests::{host::Host, hostile_tests};

hostile_tests!(Host::RexenDebug);
