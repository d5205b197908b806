//! Two busy guests and a busy domain 0 get CPU time as their weights ask for; the script is tests/xl/dom0/shares.sh.

use rexen_tests::{host::Host, xl::demand};

#[test]
fn busy_domains_share_two_cpus_by_weight_on_rexen() {
    demand(Host::Rexen, "shares");
}

#[test]
fn busy_domains_share_two_cpus_by_weight_on_xen() {
    demand(Host::Xen, "shares");
}
