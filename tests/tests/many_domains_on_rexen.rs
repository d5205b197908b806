//! Small domUs under the warden on our hypervisor.

use rexen_tests::{domain_tests, host::Host};

domain_tests!(Host::Rexen);
