//! Documents name files; a name that leads nowhere is a failure.

use std::path::{Path, PathBuf};

use rexen_installer::tree;

/// The top folders and files that a document may refer to; anything else in backquotes or text is not a path of ours.
const ROOTS: [&str; 16] = [
    ".cargo/",
    ".ci/",
    "ci/",
    "docs/",
    "etc/",
    "guest-kernel-patches/",
    "hypervisor/",
    "image/",
    "installer/",
    "tests/",
    "toolstack/",
    "core/src/",
    "abi/src/",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// All Markdown files of the tree, without build output and hidden folders.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("a folder of the tree can be read");
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "dist" {
                documents(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The paths that a line of a document names: words that start with one of the roots, and targets of relative links.
fn references(line: &str) -> Vec<String> {
    let is_end = |c: char| c.is_whitespace() || "`'\"()[]<>{}|,;*".contains(c);
    let mut found = Vec::new();
    for word in line.split(is_end) {
        let word = word.trim_end_matches(['.', ':', '!', '?']);
        let word = word.split('#').next().unwrap_or_default();
        if ROOTS.iter().any(|root| word.starts_with(root))
            && !word.contains("...")
            && !word.contains('…')
        {
            found.push(word.to_owned());
        }
    }
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("](") {
        let Some((target, after)) = after.split_once(')') else {
            break;
        };
        let target = target.split('#').next().unwrap_or_default();
        if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
            found.push(format!("](./{target}"));
        }
        rest = after;
    }
    found
}

/// Whether a reference in the document at `from` leads to a file or folder.
fn exists(root: &Path, from: &Path, reference: &str) -> bool {
    let beside = from.parent().unwrap_or(root);
    match reference.strip_prefix("](./") {
        Some(link) => beside.join(link).exists(),
        None => [root.to_owned(), beside.to_owned(), root.join("hypervisor")]
            .iter()
            .any(|base| base.join(reference).exists()),
    }
}

#[test]
fn every_path_in_the_documents_exists() {
    let root = tree::root();
    let mut files = Vec::new();
    documents(root, &mut files);
    assert!(files.len() >= 3, "only {} documents found", files.len());
    let mut dead = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a document can be read");
        for (number, line) in text.lines().enumerate() {
            for reference in references(line) {
                if !exists(root, file, &reference) {
                    let name = file.strip_prefix(root).unwrap_or(file).display();
                    dead.push(format!("{name}:{}: {reference}", number + 1));
                }
            }
        }
    }
    assert!(dead.is_empty(), "dead paths:\n{}", dead.join("\n"));
}

#[test]
fn references_are_found_and_urls_are_not() {
    assert_eq!(
        references(
            "See `tests/README.md`, docs/decisions/0001-stock-toolchain.md. And a/b or src/x.rs."
        ),
        ["tests/README.md", "docs/decisions/0001-stock-toolchain.md"]
    );
    assert_eq!(
        references("[a](other.md#part) [b](https://example.org/docs/x)"),
        ["](./other.md"]
    );
    assert_eq!(
        references("nothing here, and/or there"),
        Vec::<String>::new()
    );
}

#[test]
fn a_dead_path_is_noticed() {
    let root = tree::root();
    let from = root.join("README.md");
    assert!(exists(root, &from, "tests/README.md"));
    assert!(!exists(root, &from, "tests/NO-SUCH-FILE.md"));
    assert!(!exists(root, &from, "](./no-such-file.md"));
}
