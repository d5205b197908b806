//! Configuration fragments: what we ask Kconfig for, and what became of it.
//!
//! Kconfig drops a request it cannot honour without a word, so every request is looked up in the `.config` it made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A symbol that is off.
const OFF: &str = "n";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Our own fragments, made for the pinned source.
    Ours,
    /// A fragment of the user's.
    User,
}

/// One requested value and where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `y`, `m`, `n`, a number, or a quoted string, as Kconfig writes it.
    pub value: String,
    /// The fragment and the line in it.
    pub place: String,
    /// Who asked.
    pub asker: Asker,
}

/// All requests for one kernel, by symbol (without `CONFIG_`).
#[derive(Clone, Debug, Default)]
pub struct Requests(BTreeMap<String, Request>);

/// A request that did not survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The symbol, without `CONFIG_`.
    pub symbol: String,
    /// What was asked for.
    pub request: Request,
    /// What it is.
    pub became: String,
}

impl Requests {
    /// Reads our fragments, then the user's; a later one has the last word on a symbol.
    ///
    /// # Errors
    /// A file cannot be read, or a line is not one of Kconfig's.
    pub fn read(ours: &[PathBuf], users: &[PathBuf]) -> Result<Self> {
        let ours = ours.iter().map(|path| (path, Asker::Ours));
        let users = users.iter().map(|path| (path, Asker::User));
        let mut requests = Self::default();
        for (path, asker) in ours.chain(users) {
            let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
            requests.add(&path.display().to_string(), &text, asker)?;
        }
        Ok(requests)
    }

    /// Adds one fragment.
    ///
    /// # Errors
    /// A line is not one of Kconfig's.
    pub fn add(&mut self, name: &str, text: &str, asker: Asker) -> Result<()> {
        for (nr, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", nr + 1);
            match parse(line) {
                Ok(Some((symbol, value))) => {
                    let request = Request {
                        value,
                        place,
                        asker,
                    };
                    self.0.insert(symbol, request);
                }
                Ok(None) => {}
                Err(why) => {
                    return Err(Error::new(format!("{place}: {}", line.trim()))
                        .because(why)
                        .remedy("a line is CONFIG_NAME=y, m, n, a number or a quoted string; or a # remark"));
                }
            }
        }
        Ok(())
    }

    /// One fragment with all requests, in the order of symbols: the same requests are the same text.
    pub fn text(&self) -> String {
        self.0
            .iter()
            .map(|(symbol, request)| line(symbol, &request.value))
            .collect()
    }

    /// The requests that a `.config` does not honour.
    pub fn refused(&self, config: &Config) -> Vec<Refusal> {
        let asked = self.0.iter();
        asked
            .filter(|(symbol, request)| config.get(symbol) != request.value)
            .map(|(symbol, request)| Refusal {
                symbol: symbol.clone(),
                request: request.clone(),
                became: config.get(symbol).to_owned(),
            })
            .collect()
    }
}

/// A `.config` as Kconfig wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// Reads a `.config`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Ok(Self::parse(&text))
    }

    /// Reads the text of a `.config`; what is not a setting does not count.
    pub fn parse(text: &str) -> Self {
        let settings = text.lines().filter_map(|l| parse(l).ok().flatten());
        Self(settings.collect())
    }

    /// The value of a symbol; one that is not there is `n`.
    pub fn get(&self, symbol: &str) -> &str {
        self.0.get(symbol).map_or(OFF, String::as_str)
    }

    /// A fragment that asks for what `other` has and this one has not.
    pub fn changes_to(&self, other: &Config) -> String {
        let mut changes = String::new();
        for symbol in self.0.keys().chain(other.0.keys()) {
            let text = line(symbol, other.get(symbol));
            if self.get(symbol) != other.get(symbol) && !changes.contains(&text) {
                changes += &text;
            }
        }
        changes
    }
}

fn line(symbol: &str, value: &str) -> String {
    match value {
        OFF => format!("# CONFIG_{symbol} is not set\n"),
        value => format!("CONFIG_{symbol}={value}\n"),
    }
}

/// A line's symbol and value; none for remarks and empty lines.
fn parse(line: &str) -> std::result::Result<Option<(String, String)>, String> {
    let line = line.trim();
    let off = line
        .strip_prefix("# CONFIG_")
        .and_then(|l| l.strip_suffix(" is not set"));
    let (symbol, value) = match (off, line.strip_prefix("CONFIG_")) {
        (Some(symbol), _) => (symbol, OFF),
        (None, Some(setting)) => setting.split_once('=').ok_or("there is no `=`")?,
        (None, None) if line.is_empty() || line.starts_with('#') => return Ok(None),
        (None, None) => return Err("it does not begin with CONFIG_".to_owned()),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if symbol.is_empty() || !symbol.chars().all(is_name) {
        return Err(format!("{symbol:?} is not the name of a symbol"));
    }
    let is_value = match value.strip_prefix('"') {
        Some(rest) => rest.ends_with('"'),
        None => ["y", "m", OFF].contains(&value) || is_number(value),
    };
    match is_value {
        true => Ok(Some((symbol.to_owned(), value.to_owned()))),
        false => Err(format!("{value:?} is not a value")),
    }
}

fn is_number(value: &str) -> bool {
    match value.strip_prefix("0x") {
        Some(hex) => !hex.is_empty() && hex.chars().all(|c| c.is_ascii_hexdigit()),
        None => value.parse::<i64>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(fragments: &[&str]) -> Requests {
        let mut requests = Requests::default();
        for (nr, text) in fragments.iter().enumerate() {
            requests.add(&format!("f{nr}"), text, Asker::Ours).unwrap();
        }
        requests
    }

    #[test]
    fn the_last_fragment_has_the_last_word() {
        let merged = requests(&["# why\nCONFIG_B=y\n\nCONFIG_A=m\n", "CONFIG_B=n\n"]);
        assert_eq!(merged.text(), "CONFIG_A=m\n# CONFIG_B is not set\n");
        let in_other_order = requests(&["# CONFIG_B is not set\nCONFIG_A=m"]);
        assert_eq!(in_other_order.text(), merged.text());
    }

    #[test]
    fn a_request_that_did_not_survive_is_named_with_its_place() {
        let asked = requests(&[
            "CONFIG_OK=y\nCONFIG_N=\"-x\"\n",
            "\nCONFIG_GONE=m\nCONFIG_OFF=n\n",
        ]);
        let config = Config::parse("CONFIG_OK=y\nCONFIG_N=\"-x\"\nCONFIG_OFF=y\n");
        let refused = asked.refused(&config);
        let words: Vec<_> = refused
            .iter()
            .map(|r| (&*r.symbol, &*r.request.value, &*r.request.place, &*r.became))
            .collect();
        assert_eq!(
            words,
            [("GONE", "m", "f1:2", "n"), ("OFF", "n", "f1:3", "y")]
        );
        assert!(asked.refused(&Config::parse(&asked.text())).is_empty());
    }

    #[test]
    fn malformed_lines_are_refused_with_their_place() {
        for bad in [
            "CONFIG_A",
            "A=y",
            "CONFIG_A=yes",
            "CONFIG_A=\"open",
            "CONFIG_=y",
            "CONFIG_A=0x",
        ] {
            let e = Requests::default()
                .add("f", &format!("\n{bad}\n"), Asker::User)
                .unwrap_err();
            assert!(e.what.starts_with("f:2: "), "{bad}: {e}");
        }
        for good in [
            "CONFIG_A=0x1F",
            "CONFIG_A=-3",
            "CONFIG_A=\"\"",
            "#CONFIG_A",
            "# CONFIG_A is fine",
        ] {
            assert!(
                Requests::default().add("f", good, Asker::User).is_ok(),
                "{good}"
            );
        }
    }

    #[test]
    fn what_changed_between_two_configurations_is_a_fragment() {
        let before = Config::parse("CONFIG_A=y\nCONFIG_B=m\nCONFIG_S=\"x\"\n");
        let after = Config::parse("CONFIG_A=y\nCONFIG_C=y\nCONFIG_S=\"y\"\n");
        let changes = before.changes_to(&after);
        assert_eq!(
            changes,
            "# CONFIG_B is not set\nCONFIG_S=\"y\"\nCONFIG_C=y\n"
        );
        assert_eq!(before.changes_to(&before), "");
    }
}
