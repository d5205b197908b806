//! A stock Debian 12 gets Rexen, runs a guest, loses its power on the way, and is as before in the end. The steps are in
//! tests/debian.

#[test]
fn a_stock_debian_gets_rexen_and_gives_it_back() {
    rexen_tests::debian_host::demand();
}
