//! Links the guests as PV kernels, when they are built as images.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_IMAGE").is_none() {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    for argument in [
        format!("-T{folder}/link.ld"),
        "-static".into(),
        "--no-pie".into(),
        "-zmax-page-size=4096".into(),
        "-znorelro".into(),
        "--no-eh-frame-hdr".into(),
        "--build-id=none".into(),
        "--orphan-handling=error".into(),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
