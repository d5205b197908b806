//! docs/install-tree.md, which tells what became of every path of Xen 2.0's install tree, against that list (`seed.txt`)
//! and against the tree that our own list lays out.

use std::collections::BTreeSet;
use std::fs;

use super::Manifest;
use super::tests::laid_out;
use crate::tree;

/// What a word with braces stands for: the word with each of the alternatives.
fn expand(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else {
        return vec![word.to_owned()];
    };
    let (alternatives, after) = rest.split_once('}').expect("a brace is closed");
    let tails = expand(after);
    let with = |a: &str| tails.iter().map(|t| format!("{before}{a}{t}")).collect();
    let words = alternatives.split(',').map(with);
    words.collect::<Vec<Vec<_>>>().concat()
}

/// What stands in backquotes in a cell, expanded, as paths relative to the tree.
fn paths_in(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let relative = |path: String| path.trim_matches('/').to_owned();
    quoted.flat_map(expand).map(relative).collect()
}

/// The table's rows: the paths of 2.0, and what it says of them.
fn table() -> Vec<(Vec<String>, String)> {
    let text = fs::read_to_string(tree::root().join("docs/install-tree.md")).expect("the page");
    let (_, table) = text
        .split_once("| Xen 2.0 |")
        .expect("the page has the table");
    let (table, _) = table.split_once("\n\n").unwrap_or((table, ""));
    let rows = table.lines().skip(2).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "a row has two cells: {line}");
        (paths_in(cells[1]), cells[2].to_owned())
    });
    rows.collect()
}

#[test]
fn braces_stand_for_each_of_their_words() {
    assert_eq!(expand("a{b,c}d{,e}"), ["abd", "abde", "acd", "acde"]);
}

#[test]
fn every_path_of_the_seed_has_one_row() {
    let lines = include_str!("seed.txt")
        .lines()
        .filter(|l| !l.starts_with('#'));
    let seed: BTreeSet<String> = lines.flat_map(expand).collect();
    assert!(seed.len() > 200, "{} paths", seed.len());
    let mut told = BTreeSet::new();
    for path in table().into_iter().flat_map(|(paths, _)| paths) {
        assert!(told.insert(path.clone()), "{path} has two rows");
    }
    let without: Vec<_> = seed.difference(&told).collect();
    assert!(without.is_empty(), "no row for {without:#?}");
    let invented: Vec<_> = told.difference(&seed).collect();
    assert!(
        invented.is_empty(),
        "a row for what 2.0 does not install: {invented:#?}"
    );
}

#[test]
fn the_table_tells_what_the_tree_has() {
    let Manifest {
        entries: tree,
        missing,
        ..
    } = laid_out();
    for (paths, said) in table() {
        let named = paths_in(&said);
        let at = format!("{paths:?}: {said}");
        if said == "same" {
            for path in paths {
                assert!(tree.contains_key(&path), "the tree has no {path}");
            }
        } else if said.starts_with("renamed to") || said.starts_with("replaced by") {
            assert!(!named.is_empty(), "by what? {at}");
            for path in named {
                assert!(tree.contains_key(&path), "the tree has no {path}; {at}");
            }
            for path in paths {
                assert!(!tree.contains_key(&path), "the tree has {path}; {at}");
            }
        } else if said.starts_with("not yet") {
            let absent = if named.is_empty() { paths } else { named };
            for path in absent {
                assert!(!tree.contains_key(&path), "the tree has {path}; {at}");
                assert!(
                    missing.contains_key(&path),
                    "the manifest does not say that {path} is missing; {at}"
                );
            }
        } else {
            panic!("neither same, renamed to, replaced by nor not yet: {at}");
        }
    }
}

#[test]
fn what_the_manifest_calls_missing_is_not_in_the_tree() {
    let manifest = laid_out();
    assert!(!manifest.missing.is_empty());
    for path in manifest.missing.keys() {
        assert!(!manifest.entries.contains_key(path), "{path}");
    }
}
