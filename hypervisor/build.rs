//! Tells the linker how the image is laid out. `link.ld` has the layout.
fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let args = [
        &format!("-T{dir}/link.ld"),
        "-static",
        "--no-pie",
        "-zmax-page-size=4096",
        "-znorelro",
        "--no-eh-frame-hdr",
        "--build-id=sha1",
        "--orphan-handling=error",
    ];
    for arg in args {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
}
