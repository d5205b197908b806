//! Our own toolstack in domain 0 on our hypervisor. The scripts are in tests/toolstack/dom0.

use rexen_tests::{
    host::Host,
    toolstack::{FAULTS, LIVES, demand},
};

#[test]
fn guests_live_and_die_as_asked() {
    demand(Host::Rexen, &LIVES);
}

#[test]
fn daemons_and_guests_may_end_at_any_step() {
    demand(Host::Rexen, &FAULTS);
}
