//! Our own toolstack in domain 0 on the peer, Debian's Xen 4.17. The scripts are in tests/toolstack/dom0.

use rexen_tests::{
    host::Host,
    toolstack::{LIVES, demand},
};

#[test]
fn guests_live_and_die_as_asked() {
    demand(Host::Xen, &LIVES);
}
