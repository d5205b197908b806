//! Two busy guests and a busy domain 0 get CPU time as their weights ask for; the script is tests/xl/dom0/shares.sh. It takes
//! `xl sched-credit2` on a Xen with that scheduler, so it can be run there by hand.

use rexen_tests::{host::Host, xl::demand};

#[test]
fn busy_domains_share_two_cpus_by_weight() {
    demand(Host::Rexen, "shares");
}
