//! Texts that random testing starts from, and random changes of them: an answer or an error, in bounded time and memory.

mod common;

use common::{NoMachine, read};
use proptest::prelude::*;
use rexen_config::create::Style;
use rexen_config::script::{Run, run};
use rexen_config::sxp::parse_all;
use std::path::Path;

/// The seeds whose names end so.
fn seeds(extension: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("tests/seeds can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            all.push((
                name,
                std::fs::read_to_string(&path).expect("a seed can be read"),
            ));
        }
    }
    all.sort();
    assert!(!all.is_empty());
    all
}

/// Runs a script; a panic inside would come back as this message.
fn outcome(text: &str) -> Result<(), String> {
    let result = run(
        &Run {
            file: "seed",
            text,
            ..Run::default()
        },
        &NoMachine,
    );
    let outcome = result.map(drop).map_err(|error| error.to_string());
    assert!(
        !outcome
            .as_ref()
            .is_err_and(|error| error.contains("please report")),
        "{outcome:?}\n{text}"
    );
    outcome
}

#[test]
fn each_seed_ends_as_it_should() {
    for (name, text) in seeds("py") {
        let wanted = matches!(
            name.as_str(),
            "all-syntax.py" | "empty-times-many.py" | "int-edge2.py"
        );
        let outcome = outcome(&text);
        assert_eq!(outcome.is_ok(), wanted, "{name}: {outcome:?}");
    }
    for (name, text) in seeds("sxp") {
        assert_eq!(
            parse_all(&text).is_ok(),
            matches!(name.as_str(), "sxp-all-forms.sxp" | "sxp-separators.sxp"),
            "{name}"
        );
    }
}

/// Cuts a piece out of a text, puts a piece of another in.
fn change(text: &str, other: &str, at: usize, cut: usize, from: usize, length: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let donor: Vec<char> = other.chars().collect();
    let at = at % (chars.len() + 1);
    let end = (at + cut).min(chars.len());
    let from = from % (donor.len() + 1);
    let piece = &donor[from..(from + length).min(donor.len())];
    chars[..at]
        .iter()
        .chain(piece)
        .chain(&chars[end..])
        .collect()
}

/// Two seeds, and where to cut and paste.
type Cut = (
    prop::sample::Index,
    prop::sample::Index,
    usize,
    usize,
    usize,
    usize,
);

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let index = any::<prop::sample::Index>;
    prop::collection::vec(
        (
            index(),
            index(),
            0usize..4096,
            0usize..12,
            0usize..4096,
            0usize..24,
        ),
        1..4,
    )
}

fn changed(all: &[(String, String)], cuts: &[Cut]) -> String {
    let mut text = cuts[0].0.get(all).1.clone();
    for (_, other, at, cut, from, length) in cuts {
        text = change(&text, &other.get(all).1, *at, *cut, *from, *length);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_scripts_run_or_fail(cuts in cuts()) {
        // The seeds that run into a limit on purpose take their time; changes of the others find more.
        let all: Vec<_> = seeds("py").into_iter().filter(|(name, _)| !name.contains("bomb") && name != "insert-front.py").collect();
        if let Err(error) = read("seed", &changed(&all, &cuts), &["vmid=3", "memory=64"], Style::Xm) {
            prop_assert!(!error.message.contains("please report"), "{}", error);
        }
    }

    #[test]
    fn changed_expressions_are_read_or_refused(cuts in cuts()) {
        if let Ok(all) = parse_all(&changed(&seeds("sxp"), &cuts)) {
            for expression in all {
                prop_assert_eq!(&parse_all(&expression.pretty()).expect("what is written reads back")[0], &expression);
            }
        }
    }
}
