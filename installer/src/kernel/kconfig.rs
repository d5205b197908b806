//! Why Kconfig refused a request, as far as its files tell in plain words. It is a help for the reader, not an evaluator.

use std::fs;
use std::path::Path;

use super::fragment::{Config, Refusal};

/// What the Kconfig files of a source tree say about one symbol.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    is_there: bool,
    has_prompt: bool,
    depends: Vec<String>,
    selected_by: Vec<String>,
}

/// All Kconfig files of a source tree, read once.
pub struct Kconfig(Vec<String>);

impl Kconfig {
    /// Reads the files `Kconfig*` below `tree`; what cannot be read explains nothing.
    pub fn read(tree: &Path) -> Self {
        let mut files = Vec::new();
        let mut open = vec![tree.to_owned()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
                if is_dir {
                    open.push(entry.path());
                } else if entry.file_name().to_string_lossy().starts_with("Kconfig") {
                    files.extend(fs::read_to_string(entry.path()));
                }
            }
        }
        Self(files)
    }

    /// One line about why a request was not honoured.
    pub fn why(&self, refusal: &Refusal, config: &Config) -> String {
        let entry = self.look_up(&refusal.symbol);
        if !entry.is_there {
            return "there is no such symbol in this source".to_owned();
        }
        if refusal.request.value == "n" {
            let on = |s: &&String| config.get(s) != "n";
            let by: Vec<_> = entry.selected_by.iter().filter(on).cloned().collect();
            return match by.is_empty() {
                true => "something else turns it on, or it has no choice".to_owned(),
                false => format!("selected by {}", by.join(", ")),
            };
        }
        let off = entry.depends.iter().flat_map(|d| off_terms(d, config));
        let off: Vec<String> = off.collect();
        if !off.is_empty() {
            return format!("depends on {}", off.join(", "));
        }
        if !entry.has_prompt {
            return "it cannot be asked for: only other symbols select it".to_owned();
        }
        "an `if` or a menu around it is off, or it is part of a choice".to_owned()
    }

    fn look_up(&self, symbol: &str) -> Entry {
        let mut found = Entry::default();
        for text in &self.0 {
            let mut current = "";
            for line in text.replace("\\\n", " ").lines() {
                let indented = line.starts_with([' ', '\t']);
                let (word, rest) = match line.trim().split_once([' ', '\t']) {
                    Some((word, rest)) => (word, rest.trim()),
                    None => (line.trim(), ""),
                };
                match word {
                    "config" | "menuconfig" if !indented => {
                        current = if rest == symbol { symbol } else { "" };
                        found.is_there |= rest == symbol;
                    }
                    "menu" | "if" | "choice" | "comment" | "source" if !indented => current = "",
                    "depends" if current == symbol => {
                        let on = rest.trim_start_matches("on").trim();
                        found.depends.push(on.to_owned());
                    }
                    "bool" | "tristate" | "string" | "int" | "hex" | "prompt"
                        if current == symbol =>
                    {
                        found.has_prompt |= rest.contains('"');
                    }
                    _ => {}
                }
            }
        }
        found.selected_by = self.selectors(symbol);
        found
    }

    fn selectors(&self, symbol: &str) -> Vec<String> {
        let mut selectors = Vec::new();
        for text in &self.0 {
            let mut current = "";
            for line in text.lines() {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("config" | "menuconfig"), Some(name)) => current = name,
                    (Some("select"), Some(name)) if name == symbol => {
                        selectors.push(current.to_owned());
                    }
                    _ => {}
                }
            }
        }
        selectors.sort();
        selectors.dedup();
        selectors
    }
}

/// The symbols in an expression that are off and would have to be on: `A && (B || C)` asks for A, and for B or C.
fn off_terms(expression: &str, config: &Config) -> Vec<String> {
    let expression = expression.split('#').next().unwrap_or("");
    let all_of = expression.split("&&").map(|t| t.trim());
    all_of
        .filter(|term| !term.contains('='))
        .filter_map(|term| {
            let plain = term.trim_matches(['(', ')', ' ']);
            let any_of: Vec<_> = plain
                .split("||")
                .map(|t| t.trim_matches(['(', ')', ' ']))
                .collect();
            let is_met = any_of.iter().any(|t| match t.strip_prefix('!') {
                Some(name) => config.get(name.trim()) == "n",
                None => config.get(t) != "n" || *t == "y",
            });
            (!is_met).then(|| format!("{} (which is off)", any_of.join(" || ")))
        })
        .map(|t| match t.strip_prefix('!') {
            Some(name) => format!("{} being off", name.replace(" (which is off)", "")),
            None => t,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fragment::{Asker, Request};
    use super::*;

    const FILE: &str = "\
config IPV6
	tristate \"The IPv6 protocol\"
config INET
	bool \"TCP/IP\"
config NF_TABLES_INET
	bool \"inet family\"
	depends on INET && IPV6 # remark
	select NF_TABLES_IPV4
config HIDDEN
	bool
config LONELY
	bool \"no drivers\"
	depends on !INET
menu \"elsewhere\"
	depends on OTHER
config EITHER
	bool \"any\"
	depends on (IPV6 || OTHER)
";

    fn why(symbol: &str, value: &str, config: &str) -> String {
        let place = "f:1".to_owned();
        let value = value.to_owned();
        let refusal = Refusal {
            symbol: symbol.to_owned(),
            request: Request {
                value,
                place,
                asker: Asker::Ours,
            },
            became: String::new(),
        };
        Kconfig(vec![FILE.to_owned()]).why(&refusal, &Config::parse(config))
    }

    #[test]
    fn an_unmet_dependency_is_named() {
        let said = why("NF_TABLES_INET", "y", "CONFIG_INET=y\n");
        assert_eq!(said, "depends on IPV6 (which is off)");
        let said = why("EITHER", "y", "");
        assert_eq!(said, "depends on IPV6 || OTHER (which is off)");
        let said = why("LONELY", "y", "CONFIG_INET=y\n");
        assert_eq!(said, "depends on INET being off");
        assert!(!why("LONELY", "y", "").contains("OTHER"));
    }

    #[test]
    fn other_reasons_are_told_apart() {
        assert!(why("NONE", "y", "").contains("no such symbol"));
        assert!(why("HIDDEN", "y", "").contains("only other symbols"));
        let said = why("NF_TABLES_IPV4", "n", "CONFIG_NF_TABLES_INET=y\n");
        assert!(said.contains("no such symbol"), "{said}");
        assert!(why("IPV6", "y", "").contains("a menu around it"));
    }
}
