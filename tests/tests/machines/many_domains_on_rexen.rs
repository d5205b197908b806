//! Small domUs under the warden on our hypervisor.

use rexen_tests::{domain_tests, host::Host};

domain_tests!(Host::Rexen);

/// On ours only: Xen's heap goes on growing for long when domains with mapped grants are destroyed.
#[test]
fn domains_at_work_can_be_destroyed() {
    // `tiny` ends soon; the others are destroyed wherever they are.
    let others = [
        "hostile_grants vcpus=2 role=map",
        "hostile_vcpus vcpus=4",
        "hostile_events",
        "hostile_refcounts pages=2048",
        "f5 image=fuzz seed=5 seconds=60 vcpus=2 pages=2048",
        "f6 image=fuzz seed=6 seconds=60 pages=2048",
    ]
    .map(|guest| format!(" : {guest} background"))
    .concat();
    Ring::new(Host::RexenDebug)
        .round(&format!("repeat=20 heap=64 recount : tiny{others}"))
        .deadline(std::time::Duration::from_secs(180))
        .demand();
}
