//! All tests that boot machines or build kernels, in one program: two are always under way, and the longest do not wait for each
//! other's end. A module is a group; `cargo test -p rexen-tests --test machines hostile` runs those whose names say so.

mod bad_input;
mod bounded_work;
mod bvt_shares;
mod domain0_boot;
mod fuzz;
mod guests_on_rexen;
mod guests_on_xen;
mod hostile_on_rexen;
mod hostile_on_rexen_debug;
mod hostile_on_xen;
mod image;
mod install_on_debian;
mod kernel_repro;
mod kernels;
mod many_domains_on_rexen;
mod many_domains_on_xen;
mod stress;
mod toolstack_on_rexen;
mod toolstack_on_xen;
mod xl_on_rexen;
mod xl_on_xen;
