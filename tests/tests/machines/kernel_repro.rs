//! The same source, patches, settings and compiler give the same kernel to the last byte. It is xenU that is built twice,
//! for time's sake: here as everybody builds it, and once more in another folder, by another user, on a host with another
//! name, later.

use std::fs;

use rexen_installer::cache::Cache;
use rexen_installer::compare::{self, Files};
use rexen_installer::kernel::{Flavour, Kernel, KernelOptions, build_kernel};
use rexen_installer::packages;
use rexen_installer::reproduce::ELSEWHERE;

/// What a user's environment could bring in; ccache would only give back what the first build made.
const ENV: [(&str, &str); 6] = [
    ("USER", "somebody"),
    ("LOGNAME", "somebody"),
    ("HOSTNAME", "elsewhere"),
    ("HOME", "/nonexistent"),
    ("PWD", "/nonexistent"),
    ("CCACHE_DISABLE", "1"),
];

#[test]
fn xen_u_is_the_same_wherever_it_is_built() {
    let scratch = Cache::open()
        .and_then(|cache| cache.scratch("kernel-again"))
        .expect("a folder");
    let first = build_kernel(Flavour::XenU, &KernelOptions::default()).expect("xenU");
    // Who is not root becomes it there.
    let user = if packages::is_root() {
        "--mount"
    } else {
        "--map-root-user"
    };
    let words = ["unshare", "--uts", user, "sh", "-c", ELSEWHERE, "sh"];
    let options = KernelOptions {
        work: Some(scratch.path().join("a/longer/path")),
        env: ENV.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        prefix: words.map(str::to_owned).to_vec(),
        ..KernelOptions::default()
    };
    let second = build_kernel(Flavour::XenU, &options).expect("xenU once more");
    assert!(second.image.starts_with(scratch.path()), "built anew");
    let differences = compare::files(&files(&first), &files(&second)).expect("both can be read");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// All files of a kernel by the name they have once installed.
fn files(kernel: &Kernel) -> Files {
    let mut files = Files::new();
    for path in [&kernel.image, &kernel.syms, &kernel.map, &kernel.config] {
        let name = path.file_name().expect("a file").to_string_lossy();
        files.insert(format!("boot/{name}"), path.clone());
    }
    let mut open = vec![(kernel.modules.clone(), "modules".to_owned())];
    while let Some((dir, name)) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a folder").flatten() {
            let (path, name) = (
                entry.path(),
                format!("{name}/{}", entry.file_name().to_string_lossy()),
            );
            match path.is_dir() {
                true => open.push((path, name)),
                false => drop(files.insert(name, path)),
            }
        }
    }
    files
}
