//! Hostile guests, as domUs on our hypervisor.

use rexen_tests::{host::Host, hostile_tests};

hostile_tests!(Host::Rexen);
