//! Debian's own, unmodified `xl` in domain 0 on the peer, Debian's Xen 4.17: this tests the tests. The scripts are in tests/xl/dom0.

use rexen_tests::{host::Host, xl::demand};

#[test]
fn every_command_of_xl_does_its_work() {
    demand(Host::Xen, "main");
}
