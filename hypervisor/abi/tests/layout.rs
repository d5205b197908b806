//! Holds every structure, field and constant of this crate against the headers of Debian's `libxen-dev`, and against our
//! own in `include/`, as C and as C++.
//!
//! The questions come out of the crate's own registries (`LAYOUTS`, `CONSTANTS`), so nothing can be forgotten here.

mod ask;

use ask::WITNESSES;
use rexen_abi::plain::{Constant, Field, Layout};
use rexen_abi::{CONSTANTS, LAYOUTS};
use std::path::{Path, PathBuf};

/// Asks every witness the questions (what it is about, its expression, our answer).
///
/// # Panics
/// If any answer is not ours; the message has them all.
fn everybody_agrees(topic: &str, questions: &[(String, String, u64)]) {
    let expressions: Vec<String> = questions.iter().map(|q| q.1.clone()).collect();
    let mut wrong = Vec::new();
    for witness in WITNESSES {
        let answers = witness.ask(topic, &expressions);
        for ((what, _, ours), theirs) in questions.iter().zip(answers) {
            if *ours != theirs {
                let name = witness.name;
                wrong.push(format!("{what}: the crate {ours:#x}, {name} {theirs:#x}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
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
        questions.push((
            format!("{what}: size"),
            format!("sizeof({c})"),
            layout.size as u64,
        ));
        questions.push((
            format!("{what}: alignment"),
            format!("__alignof__({c})"),
            layout.align as u64,
        ));
        for field in named_fields(layout) {
            let path = field.c_path;
            questions.push((
                format!("{what}: offset of {path}"),
                format!("offsetof({c}, {path})"),
                field.offset as u64,
            ));
            questions.push((
                format!("{what}: size of {path}"),
                format!("MEMBER_SIZE({c}, {path})"),
                field.size as u64,
            ));
        }
    }
    everybody_agrees("layouts", &questions);
}

#[test]
fn every_constant_is_the_headers() {
    let constants = CONSTANTS.iter().copied().flatten();
    let question = |c: &Constant| (c.name.to_string(), c.name.to_string(), c.value);
    everybody_agrees("constants", &constants.map(question).collect::<Vec<_>>());
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
    let questions: Vec<_> = variants
        .iter()
        .map(|(name, number)| (name.to_string(), format!("XEN_{name}"), *number))
        .collect();
    everybody_agrees("errno", &questions);
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
