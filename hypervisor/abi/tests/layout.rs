//! Holds every structure, field and constant of this crate against the headers of Debian's `libxen-dev`.
//!
//! A C program is written out of the crate's own registries (`LAYOUTS`, `CONSTANTS`), so nothing can be forgotten here;
//! it prints what the C compiler makes of the headers. Where gcc or the headers are missing the tests fail: not having
//! looked is not a pass.

use rexen_abi::plain::{Constant, Field, Layout};
use rexen_abi::{CONSTANTS, LAYOUTS};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The headers that our modules stand for, as C finds them.
const HEADERS: &[&str] = &[
    "xen.h",
    "arch-x86/cpuid.h",
    "callback.h",
    "domctl.h",
    "elfnote.h",
    "errno.h",
    "event_channel.h",
    "features.h",
    "grant_table.h",
    "io/console.h",
    "memory.h",
    "nmi.h",
    "physdev.h",
    "platform.h",
    "sched.h",
    "sysctl.h",
    "vcpu.h",
    "version.h",
];

/// Compiles and runs a C program that prints the number that each expression is; returns the numbers, sign-extended.
///
/// # Panics
/// If gcc or the headers are missing, or the program does not compile.
fn ask_c(name: &str, expressions: &[String]) -> Vec<u64> {
    assert!(
        Path::new("/usr/include/xen/xen.h").exists(),
        "the Xen headers are missing: install the Debian package libxen-dev"
    );
    let mut source = String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
    // The toolstack's view of the newest interface: the one that has every structure.
    source.push_str("#define __XEN_TOOLS__ 1\n");
    for header in HEADERS {
        writeln!(source, "#include <xen/{header}>").unwrap();
    }
    source.push_str("#define MEMBER_SIZE(type, member) sizeof(((type *)0)->member)\n");
    source.push_str("int main(void)\n{\n");
    for expression in expressions {
        writeln!(
            source,
            "    printf(\"%lld\\n\", (long long)({expression}));"
        )
        .unwrap();
    }
    source.push_str("    return 0;\n}\n");

    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (c_file, program) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&c_file, source).unwrap();
    let compiled = Command::new("gcc")
        .args(["-std=gnu11", "-m64", "-o"])
        .args([&program, &c_file])
        .output()
        .expect("cannot run gcc: install the Debian packages gcc and libc6-dev");
    assert!(
        compiled.status.success(),
        "{} does not compile (is libc6-dev installed?):\n{}",
        c_file.display(),
        String::from_utf8_lossy(&compiled.stderr)
    );
    let ran = Command::new(&program).output().unwrap();
    assert!(ran.status.success(), "{} failed", program.display());
    let answers: Vec<u64> = String::from_utf8(ran.stdout)
        .unwrap()
        .lines()
        .map(|line| line.parse::<i64>().unwrap() as u64)
        .collect();
    assert_eq!(answers.len(), expressions.len());
    answers
}

fn layouts() -> impl Iterator<Item = &'static Layout> {
    LAYOUTS.iter().copied().flatten()
}

/// The fields that C can name.
fn named_fields(layout: &Layout) -> impl Iterator<Item = &'static Field> {
    layout
        .fields
        .iter()
        .filter(|field| !field.c_path.is_empty())
}

#[test]
fn every_structure_lies_as_in_c() {
    let mut questions = Vec::new();
    for layout in layouts() {
        let c = layout.c_name;
        let what = format!("{} ({c})", layout.rust_name);
        questions.push((format!("{what}: size"), format!("sizeof({c})"), layout.size));
        questions.push((
            format!("{what}: alignment"),
            format!("_Alignof({c})"),
            layout.align,
        ));
        for field in named_fields(layout) {
            let path = field.c_path;
            questions.push((
                format!("{what}: offset of {path}"),
                format!("offsetof({c}, {path})"),
                field.offset,
            ));
            questions.push((
                format!("{what}: size of {path}"),
                format!("MEMBER_SIZE({c}, {path})"),
                field.size,
            ));
        }
    }
    let expressions: Vec<String> = questions.iter().map(|q| q.1.clone()).collect();
    let answers = ask_c("layouts", &expressions);
    let wrong: Vec<String> = questions
        .iter()
        .zip(answers)
        .filter(|((_, _, ours), theirs)| *ours as u64 != *theirs)
        .map(|((what, _, ours), theirs)| format!("{what}: ours {ours}, C's {theirs}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_constant_is_the_headers() {
    let constants: Vec<&Constant> = CONSTANTS.iter().copied().flatten().collect();
    let expressions: Vec<String> = constants.iter().map(|c| c.name.to_string()).collect();
    let answers = ask_c("constants", &expressions);
    let wrong: Vec<String> = constants
        .iter()
        .zip(answers)
        .filter(|(ours, theirs)| ours.value != *theirs)
        .map(|(ours, theirs)| format!("{}: ours {:#x}, C's {theirs:#x}", ours.name, ours.value))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `Errno` is an enum and in no registry, so its variants are read out of its source.
#[test]
fn every_error_number_is_the_headers() {
    let source = include_str!("../src/errno.rs");
    let variants: Vec<(&str, u64)> = source
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "))
        .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
        .collect();
    assert!(variants.len() >= 29, "found only {variants:?}");
    let expressions: Vec<String> = variants.iter().map(|v| format!("XEN_{}", v.0)).collect();
    for ((name, ours), theirs) in variants.iter().zip(ask_c("errno", &expressions)) {
        assert_eq!(*ours, theirs, "{name}");
    }
}

/// Fields do not overlap, and lie closer than an alignment: a field that we forgot would show as a hole.
#[test]
fn fields_are_in_order_and_leave_no_hole_but_padding() {
    for layout in layouts() {
        let mut end = 0;
        for field in layout.fields {
            assert!(field.offset >= end, "{}.{}", layout.rust_name, field.c_path);
            assert!(
                field.offset - end < 8,
                "{}.{}",
                layout.rust_name,
                field.c_path
            );
            end = field.offset + field.size;
        }
        assert!(
            end <= layout.size && layout.size - end < 8,
            "{}",
            layout.rust_name
        );
    }
}

/// The registries in `lib.rs` name every module that declares something.
#[test]
fn no_module_is_missing_from_the_registries() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [src.clone(), src.join("io")] {
        files.extend(
            std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    let declaring = |what: &str| {
        let lines = files
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "rs"));
        lines
            .filter(|path| {
                let text = std::fs::read_to_string(path).unwrap();
                text.lines().any(|line| line == what)
            })
            .count()
    };
    assert_eq!(declaring("abi_structs! {"), LAYOUTS.len());
    assert_eq!(declaring("abi_constants! {"), CONSTANTS.len());
}
