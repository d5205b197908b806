//! The same source, patches, settings and compiler give the same kernel to the last byte. It is xenU that is built twice,
//! for time's sake: here as everybody builds it, and once more in another folder, by another user, on a host with another
//! name, later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rexen_installer::cache::Cache;
use rexen_installer::kernel::{Flavour, Kernel, KernelOptions, build_kernel};
use rexen_installer::packages;

/// What a user's environment could bring in; ccache would only give back what the first build made.
const ENV: [(&str, &str); 6] = [
    ("USER", "somebody"),
    ("LOGNAME", "somebody"),
    ("HOSTNAME", "elsewhere"),
    ("HOME", "/nonexistent"),
    ("PWD", "/nonexistent"),
    ("CCACHE_DISABLE", "1"),
];
/// Runs a command on a host with another name, where nobody else may read what it makes. Who is not root becomes it there.
const SCRIPT: &str = "hostname elsewhere.example && umask 077 && exec \"$@\"";

#[test]
fn xen_u_is_the_same_wherever_it_is_built() {
    let scratch = Cache::open()
        .and_then(|cache| cache.scratch("kernel-again"))
        .expect("a folder");
    let first = build_kernel(Flavour::XenU, &KernelOptions::default()).expect("xenU");
    let user = if packages::is_root() {
        "--mount"
    } else {
        "--map-root-user"
    };
    let words = ["unshare", "--uts", user, "sh", "-c", SCRIPT, "sh"];
    let options = KernelOptions {
        work: Some(scratch.path().join("a/longer/path")),
        env: ENV.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        prefix: words.map(str::to_owned).to_vec(),
        ..KernelOptions::default()
    };
    let second = build_kernel(Flavour::XenU, &options).expect("xenU once more");
    assert!(second.image.starts_with(scratch.path()), "built anew");
    let differences = differences(&files(&first), &files(&second));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// All files of a kernel by the name they have once installed.
fn files(kernel: &Kernel) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
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

/// A line for each file that one of two kernels lacks, or that differs, with the first byte that does.
fn differences(
    first: &BTreeMap<String, PathBuf>,
    second: &BTreeMap<String, PathBuf>,
) -> Vec<String> {
    let names = first.keys().chain(second.keys());
    let mut lines: Vec<String> = names
        .filter_map(|name| match (first.get(name), second.get(name)) {
            (Some(a), Some(b)) => Some(format!("{name}: {}", first_difference(a, b)?)),
            _ => Some(format!("{name}: only one of them has it")),
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

fn first_difference(a: &Path, b: &Path) -> Option<String> {
    let [a, b] = [a, b].map(|path| fs::read(path).expect("a file"));
    let at = a.iter().zip(&b).position(|(a, b)| a != b);
    if at.is_none() && a.len() == b.len() {
        return None;
    }
    let at = at.unwrap_or(a.len().min(b.len()));
    let of = |bytes: &[u8]| {
        bytes
            .get(at)
            .map_or("end".to_owned(), |b| format!("{b:#04x}"))
    };
    Some(format!("byte {at} is {} and {}", of(&a), of(&b)))
}

#[test]
fn a_difference_is_told_with_its_place() {
    let dir = Cache::open()
        .and_then(|cache| cache.scratch("compare"))
        .expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let kernel = |x: &str, more: &[&str]| -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::from([("x".to_owned(), file(&format!("x-{x}"), x))]);
        files.extend(more.iter().map(|m| ((*m).to_owned(), file(m, "same"))));
        files
    };
    let first = kernel("kernel", &["map"]);
    assert_eq!(differences(&first, &first), Vec::<String>::new());
    let other = differences(&first, &kernel("kerxel", &["map"]));
    assert_eq!(other, ["x: byte 3 is 0x6e and 0x78"]);
    let longer = differences(&first, &kernel("kernels", &[]));
    assert_eq!(
        longer,
        ["map: only one of them has it", "x: byte 6 is end and 0x73"]
    );
}
