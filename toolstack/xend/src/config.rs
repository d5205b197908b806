//! `/etc/xen/xend-config.sxp`: what the administrator decides for the host.
//!
//! 2.0's keys mean what they meant. Two defaults differ: nothing listens on TCP and no network script runs unless the file
//! says so (docs/decisions).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use rexen_config::sxp::{Reader, Sexp};

/// xend's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from, or would have.
    pub path: String,
    /// TCP port of the API; none unless configured.
    pub port: Option<u16>,
    /// TCP address of the API.
    pub address: String,
    /// The Unix socket of the API.
    pub socket: String,
    /// The group whose members may use the socket besides root.
    pub group: Option<String>,
    /// The file with the token that TCP clients must show.
    pub token_file: String,
    /// Names besides `localhost` and addresses that a `Host` header may have.
    pub hosts: Vec<String>,
    /// Script run when xend starts; none unless configured.
    pub network_script: Option<String>,
    /// Script for interfaces.
    pub vif_script: String,
    /// Bridge for interfaces.
    pub vif_bridge: String,
    /// Passed to the network script.
    pub vif_antispoof: bool,
    /// Scripts for disks by type.
    pub block: BTreeMap<String, String>,
    /// Folder of records and journals.
    pub dbroot: String,
    /// Folder of console logs.
    pub console_logs: String,
    /// Address of the consoles' TCP ports; none for no ports.
    pub console_address: Option<String>,
    /// The log.
    pub logfile: String,
    /// The lowest level that is logged.
    pub loglevel: Level,
    /// Folder of scripts with relative names.
    pub scripts: String,
}

/// Levels of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step.
    Debug,
    /// Each operation.
    Info,
    /// Odd, but served.
    Warning,
    /// Something asked for has failed.
    Error,
    /// xend cannot go on.
    Critical,
}

impl Level {
    /// The word in log lines and in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [
            Self::Debug,
            Self::Info,
            Self::Warning,
            Self::Error,
            Self::Critical,
        ]
        .into_iter()
        .find(|level| level.word() == word.to_ascii_uppercase())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/etc/xen/xend-config.sxp".into(),
            port: None,
            address: "localhost".into(),
            socket: "/run/xend/api.sock".into(),
            group: None,
            token_file: "/etc/xen/xend-token".into(),
            hosts: Vec::new(),
            network_script: None,
            vif_script: "vif-bridge".into(),
            vif_bridge: "xen-br0".into(),
            vif_antispoof: true,
            block: BTreeMap::from([
                ("file".into(), "block-file".into()),
                ("enbd".into(), "block-enbd".into()),
            ]),
            dbroot: "/var/lib/xen/xend-db".into(),
            console_logs: "/var/log/xen".into(),
            console_address: Some("127.0.0.1".into()),
            logfile: "/var/log/xend.log".into(),
            loglevel: Level::Debug,
            scripts: "/etc/xen/scripts".into(),
        }
    }
}

impl Config {
    /// Reads a configuration file; one that is missing means all defaults.
    ///
    /// # Errors
    /// A sentence with file and line for what cannot be read or understood.
    pub fn load(path: &str) -> Result<Self, String> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self {
                path: path.to_owned(),
                ..Self::default()
            }),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// As `load`.
    pub fn parse(path: &str, text: &str) -> Result<Self, String> {
        let mut config = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let mut reader = Reader::new(text);
        loop {
            match reader.next_expression() {
                Ok(None) => return Ok(config),
                Ok(Some(form)) => {
                    let line = 1 + text
                        .get(..reader.position())
                        .unwrap_or(text)
                        .trim_end()
                        .matches('\n')
                        .count();
                    config
                        .set(&form)
                        .map_err(|problem| format!("{path}:{line}: {problem}"))?;
                }
                Err(error) => return Err(format!("{path}:{}: {}", error.line, error.kind)),
            }
        }
    }

    fn set(&mut self, form: &Sexp) -> Result<(), String> {
        let key = form
            .name()
            .ok_or_else(|| format!("expected (KEY VALUE), found {form}"))?;
        let value = match form.children() {
            [] => "",
            [value] => value
                .as_text()
                .ok_or_else(|| format!("the value of {key} is a list, not a word"))?,
            _ => {
                return Err(format!(
                    "{key} has more than one value; quote values with spaces"
                ));
            }
        };
        let some = (!value.is_empty()).then(|| value.to_owned());
        match key {
            "xend-port" => self.port = Some(port(key, value)?).filter(|port| *port != 0),
            "xend-address" => self.address = value.to_owned(),
            "xend-unix-path" => self.socket = some.ok_or("xend-unix-path needs a path")?,
            "xend-unix-group" => self.group = some,
            "xend-token-file" => self.token_file = some.ok_or("xend-token-file needs a path")?,
            "xend-host" => self.hosts.push(value.to_ascii_lowercase()),
            "network-script" => self.network_script = some.filter(|script| script != "none"),
            "vif-script" => self.vif_script = some.ok_or("vif-script needs a script")?,
            "vif-bridge" => self.vif_bridge = some.ok_or("vif-bridge needs a bridge")?,
            "vif-antispoof" => self.vif_antispoof = matches!(value, "yes" | "1" | "on"),
            "dbroot" => self.dbroot = some.ok_or("dbroot needs a folder")?,
            "console-logs" => self.console_logs = some.ok_or("console-logs needs a folder")?,
            "console-address" => self.console_address = console_address(value)?,
            "scripts" => self.scripts = some.ok_or("scripts needs a folder")?,
            "logfile" => self.logfile = some.ok_or("logfile needs a path")?,
            "loglevel" => {
                self.loglevel = Level::of(value).ok_or_else(|| {
                    format!("loglevel {value}: expected DEBUG, INFO, WARNING, ERROR or CRITICAL")
                })?;
            }
            _ => match key.strip_prefix("block-") {
                Some(kind) => {
                    self.block.remove(kind);
                    self.block
                        .extend(some.map(|script| (kind.to_owned(), script)));
                }
                None => return Err(format!("unknown key {key}{}", suggestion(key))),
            },
        }
        Ok(())
    }

    /// The script for disks of a type, if there is one.
    pub fn block_script(&self, kind: &str) -> Option<String> {
        self.block.get(kind).cloned()
    }

    /// The whole path of a script.
    pub fn script_path(&self, name: &str) -> String {
        Path::new(&self.scripts)
            .join(name)
            .to_string_lossy()
            .into_owned()
    }
}

/// Whoever reaches a console's port types on the console, so nobody beyond this host may.
fn console_address(value: &str) -> Result<Option<String>, String> {
    let is_loopback = value
        .parse::<IpAddr>()
        .map_or(value == "localhost", |address| address.is_loopback());
    match value {
        "" | "none" => Ok(None),
        _ if is_loopback => Ok(Some(value.to_owned())),
        _ => Err(format!(
            "console-address {value}: consoles ask nobody who they are, so only loopback addresses (127.0.0.1) or none \
             will do; from afar use ssh and `xm console`, or the API"
        )),
    }
}

fn port(key: &str, value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| format!("{key} {value}: expected a port number from 0 to 65535"))
}

/// A key of the file.
pub struct Key {
    /// The word.
    pub name: &'static str,
    /// Its default as it would be written; empty for none.
    pub default: &'static str,
    /// What it says, for people.
    pub meaning: &'static str,
}

macro_rules! keys {
    ($($name:literal $default:literal $meaning:literal)*) => {
        &[$(Key { name: $name, default: $default, meaning: $meaning }),*]
    };
}

/// Every key, as the manual page explains it.
pub const KEYS: &[Key] = keys! {
    "xend-unix-path" "/run/xend/api.sock" "The API's socket."
    "xend-unix-group" "" "The group that may use the socket besides root."
    "xend-port" "" "The API's TCP port; none unless it is named."
    "xend-address" "localhost" "The address of that port; empty for all addresses."
    "xend-token-file" "/etc/xen/xend-token" "The file with what TCP clients must show; drawn when it is missing."
    "xend-host" "" "A name that requests on TCP may be for, besides localhost and loopback addresses; may be repeated."
    "network-script" "" "The script run at start, with: start bridge=BRIDGE antispoof=yes|no."
    "vif-script" "vif-bridge" "The script of interfaces that name no other."
    "vif-bridge" "xen-br0" "The bridge of interfaces that name no other."
    "vif-antispoof" "yes" "Whether interfaces may only send from their own addresses."
    "block-file" "block-file" "The script of disks file:PATH. Likewise block-TYPE for any other TYPE."
    "block-enbd" "block-enbd" "The script of disks enbd:HOST:PORT."
    "scripts" "/etc/xen/scripts" "Where scripts without a path are."
    "console-address" "127.0.0.1" "The loopback address of the consoles' TCP ports; none for no ports."
    "console-logs" "/var/log/xen" "The folder of the consoles' logs."
    "dbroot" "/var/lib/xen/xend-db" "The folder of records and journals."
    "logfile" "/var/log/xend.log" "The log, which is rotated at 1 MiB; five are kept."
    "loglevel" "DEBUG" "DEBUG, INFO, WARNING, ERROR or CRITICAL."
};

/// The known key that shares the most letters in order from both ends.
fn suggestion(key: &str) -> String {
    let common = |a: &str, b: &str| {
        let front = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
        let back = a
            .chars()
            .rev()
            .zip(b.chars().rev())
            .take_while(|(x, y)| x == y)
            .count();
        front + back
    };
    let known = KEYS.iter().map(|known| known.name);
    let best = known.max_by_key(|known| common(key, known));
    best.filter(|known| common(key, known) >= 5)
        .map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_means_defaults() {
        let config = Config::load("/proc/none/xend-config.sxp").unwrap();
        assert_eq!(
            config,
            Config {
                path: "/proc/none/xend-config.sxp".into(),
                ..Config::default()
            }
        );
        assert_eq!(config.port, None);
        assert_eq!(config.network_script, None);
    }

    #[test]
    fn the_keys_defaults_are_the_defaults() {
        let text: String = KEYS
            .iter()
            .filter(|key| !key.default.is_empty())
            .map(|key| format!("({} {})\n", key.name, key.default))
            .collect();
        let config = Config::parse(&Config::default().path, &text);
        assert_eq!(config, Ok(Config::default()));
    }

    #[test]
    fn every_key_is_read_and_in_the_documents() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        let read = |path: &str| fs::read_to_string(format!("{root}{path}")).unwrap();
        let (shipped, described) = (read("etc/xen/xend-config.sxp"), read("docs/xend.md"));
        for Key { name, .. } in KEYS {
            let refused = Config::parse("f", &format!("({name} '')")).err();
            assert!(
                !refused.is_some_and(|why| why.contains("unknown key")),
                "{name}"
            );
            assert!(
                described.contains(&format!("`{name}`")) || name.starts_with("block-"),
                "{name}: docs/xend.md"
            );
            assert!(
                shipped.contains(&format!("({name} ")) || *name == "scripts",
                "{name}: xend-config.sxp"
            );
        }
    }

    #[test]
    fn the_files_keys_take_effect() {
        let text = "# remark\n(xend-port 8000)\n(xend-address '')\n(network-script network)\n(block-nbd my-nbd)\n\
                    (block-enbd '')\n(loglevel info)\n(vif-antispoof no)";
        let config = Config::parse("f", text).unwrap();
        assert_eq!(config.port, Some(8000));
        assert_eq!(config.network_script.as_deref(), Some("network"));
        assert_eq!(config.block_script("nbd").as_deref(), Some("my-nbd"));
        assert_eq!(config.block_script("enbd"), None);
        assert_eq!(config.loglevel, Level::Info);
        assert!(!config.vif_antispoof);
        assert_eq!(
            config.script_path("vif-bridge"),
            "/etc/xen/scripts/vif-bridge"
        );
        assert_eq!(config.script_path("/opt/x"), "/opt/x");
    }

    #[test]
    fn an_error_names_file_line_and_a_remedy() {
        let of = |text| Config::parse("/etc/x.sxp", text).unwrap_err();
        assert_eq!(
            of("(dbroot /a)\n\n(xend-prot 8000)\n"),
            "/etc/x.sxp:3: unknown key xend-prot; did you mean xend-port?"
        );
        assert_eq!(
            of("(xend-port eight)"),
            "/etc/x.sxp:1: xend-port eight: expected a port number from 0 to 65535"
        );
        assert!(
            of("\n(logfile /x").starts_with("/etc/x.sxp:2:"),
            "{}",
            of("\n(logfile /x")
        );
        assert!(of("(loglevel LOUD)").contains("expected DEBUG"));
        assert!(of("(console-address 0.0.0.0)").contains("only loopback addresses"));
        assert!(of("(vif-script a b)").contains("more than one value"));
    }
}
