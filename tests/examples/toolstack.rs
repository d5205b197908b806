//! Our own toolstack in domain 0: a guest's whole life, with the daemons killed meanwhile, on our hypervisor and on Debian's
//! Xen 4.17. `cargo run -p rexen-tests --example toolstack [rexen|xen]`; it fails if a check does.
//!
//! Not yet a test that `cargo test` runs: tests/toolstack/README.md says why.
#![forbid(unsafe_code)]

use rexen_tests::{host::Host, toolstack::demand};

fn main() {
    let which = std::env::args().nth(1);
    for (name, host) in [("rexen", Host::Rexen), ("xen", Host::Xen)] {
        if which.as_deref().is_none_or(|which| which == name) {
            demand(host, "main");
        }
    }
}
