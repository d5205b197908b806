//! Debian's own, unmodified `xl` in domain 0 on our hypervisor. The scripts are in tests/xl/dom0.

use rexen_tests::{
    host::Host,
    xl::{demand, demand_on_our_store},
};

#[test]
fn every_command_of_xl_does_its_work() {
    demand(Host::Rexen, "main");
}

#[test]
fn guests_in_number_leave_nothing_behind() {
    demand(Host::Rexen, "many");
}

#[test]
fn guests_outlive_kills_of_our_xenstored_below_xl() {
    demand_on_our_store(Host::Rexen, "store");
}
