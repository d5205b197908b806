//! What the tests of whole configurations share.

#[allow(dead_code, reason = "not every test is about faults")]
pub mod faults;

use rexen_config::create::{ConfigError, Source, Style, load};
use rexen_config::script::{Host, Ipv4Config};
use rexen_config::spec::DomainSpec;

/// A machine without network devices, that swallows what scripts print.
pub struct NoMachine;

impl Host for NoMachine {
    fn ipv4(&self, _: &str) -> Option<Ipv4Config> {
        None
    }

    fn print(&self, _: &str) {}
}

/// Reads a configuration with `NAME=VALUE` words beside it.
pub fn read(
    file: &str,
    text: &str,
    words: &[&str],
    style: Style,
) -> Result<DomainSpec, ConfigError> {
    let split = |word: &&str| {
        word.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let words: Vec<_> = words.iter().filter_map(split).collect();
    load(
        &Source {
            file,
            text,
            words: &words,
            directory: "/root",
            style,
        },
        &NoMachine,
    )
}
