//! Names of domains, and references to domains.

use super::SpecError;
use std::fmt;
use std::str::FromStr;

/// A valid name: no digit first, and only letters, digits and `_-.:/+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let valid =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '+');
        match text.chars().next() {
            None => Err(SpecError::MissingName),
            Some(first) if first.is_ascii_digit() || !text.chars().all(valid) => {
                Err(SpecError::InvalidName(text.to_owned()))
            }
            Some(_) => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain as a user names it: by id or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DomainRef {
    /// By number.
    Id(u16),
    /// By name.
    Name(DomainName),
}

impl FromStr for DomainRef {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            // From 0x7ff0 on, numbers stand for something other than a domain.
            let id = text.parse().ok().filter(|id| *id < 0x7ff0);
            return id.map(Self::Id).ok_or_else(|| {
                SpecError::invalid("domain", text, "a domain's name, or its id below 32752")
            });
        }
        text.parse().map(Self::Name)
    }
}

impl fmt::Display for DomainRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}
