//! From what was typed to a command: exact names, 2.0's abbreviations, then everybody's.

use clap::CommandFactory;

use super::Cli;
use super::groups::GROUPS;
use crate::error::{Error, Result};

/// Finds the command that a word means, by its own name.
///
/// An exact name wins; then the one command of 2.0 that begins so, as it always did; then the one command of all.
///
/// # Errors
/// There is none, or more than one.
pub fn command(word: &str) -> Result<String> {
    let defined = Cli::command();
    let names: Vec<(String, String)> = defined
        .get_subcommands()
        .flat_map(|c| {
            let own = c.get_name().to_owned();
            let aliases: Vec<_> = c.get_all_aliases().map(str::to_owned).collect();
            let all = std::iter::once(own.clone()).chain(aliases);
            all.map(move |name| (name, own.clone())).collect::<Vec<_>>()
        })
        .collect();
    if let Some((_, own)) = names.iter().find(|(name, _)| name == word) {
        return Ok(own.clone());
    }
    let classic = GROUPS.iter().flat_map(|g| g.classic);
    let classic: Vec<_> = classic.filter(|name| name.starts_with(word)).collect();
    if let [one] = classic[..] {
        return Ok((*one).to_owned());
    }
    let shown = |own: &str| {
        defined
            .get_subcommands()
            .any(|c| c.get_name() == own && !c.is_hide_set())
    };
    let mut near: Vec<String> = names
        .iter()
        .filter(|(name, own)| name.starts_with(word) && shown(own))
        .map(|(_, own)| own.clone())
        .collect();
    near.sort();
    near.dedup();
    match &near[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::UnknownCommand {
            word: word.to_owned(),
            near: closest(word, names.iter().map(|(name, _)| name.as_str())),
        }),
        _ => Err(Error::UnknownCommand {
            word: word.to_owned(),
            near,
        }),
    }
}

/// The name that a typing error may have come from, if there is one.
fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let best = names.map(|n| (distance(word, n), n)).min();
    let close = best.filter(|&(d, _)| d <= 1 + word.len() / 4);
    close.map(|(_, n)| n.to_owned()).into_iter().collect()
}

/// How many letters must be changed, added or left out to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Where the command's word is among the arguments after the program's name; options of all commands may come before it.
pub fn position(args: &[String]) -> Option<usize> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        match arg.as_str() {
            "-x" | "--xend" => at += 2,
            word if word.starts_with('-') && word != "--" => at += 1,
            _ => return Some(at),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(word: &str) -> String {
        command(word).unwrap()
    }

    #[test]
    fn an_exact_name_wins_over_a_longer_one() {
        assert_eq!(found("console"), "console");
        assert_eq!(found("bvt"), "bvt");
        assert_eq!(found("mem-set"), "balloon");
    }

    #[test]
    fn abbreviations_of_2_0_mean_what_they_meant() {
        for (word, name) in [
            ("cr", "create"),
            ("des", "destroy"),
            ("sh", "shutdown"),
            ("un", "unpause"),
            ("ba", "balloon"),
            ("re", "restore"),
            ("dm", "dmesg"),
            ("vif", "vif-list"),
        ] {
            assert_eq!(found(word), name, "{word}");
        }
    }

    #[test]
    fn newer_names_can_be_abbreviated_where_nothing_older_is_meant() {
        assert_eq!(found("ren"), "rename");
        assert_eq!(found("upt"), "uptime");
        assert_eq!(found("vcpu-l"), "vcpu-list");
        assert_eq!(found("mem-s"), "balloon");
    }

    #[test]
    fn ambiguous_and_unknown_words_are_refused_with_what_is_near() {
        let said = |word| command(word).unwrap_err().to_string();
        assert!(said("dom").starts_with("Unknown command: dom (one of domid, domname"));
        assert_eq!(said("lsit"), "Unknown command: lsit (did you mean list?)");
        assert_eq!(said("frobnicate"), "Unknown command: frobnicate");
    }

    #[test]
    fn the_command_is_found_behind_options() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(position(&words("list")), Some(0));
        assert_eq!(position(&words("--json -x a:1 list -l")), Some(3));
        assert_eq!(position(&words("--xend=a:1 list")), Some(1));
        assert_eq!(position(&words("--json")), None);
    }
}
